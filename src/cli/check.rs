//! `check`: are the settings right, and what are they?

use std::process::ExitCode;

use super::{Failure, complain, print};
use crate::gateway;
use crate::settings::Settings;

pub(super) fn check(settings: &Settings) -> Result<ExitCode, Failure> {
    gateway::check(settings)?;
    for warning in gateway::warnings(settings) {
        complain(&format!("warning: {warning}"));
    }
    print(settings.to_masked_toml().trim_end())?;
    Ok(ExitCode::SUCCESS)
}
