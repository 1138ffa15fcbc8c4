//! `check`: validates the settings and prints them with secrets masked.

use std::process::ExitCode;

use super::{Failure, print, print_error};
use crate::gateway;
use crate::settings::Settings;

pub(super) fn check(settings: &Settings) -> Result<ExitCode, Failure> {
    gateway::check(settings)?;
    for warning in gateway::warnings(settings) {
        print_error(&format!("warning: {warning}"));
    }
    print(settings.to_masked_toml().trim_end())?;
    Ok(ExitCode::SUCCESS)
}
