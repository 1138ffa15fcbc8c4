//! `check`: are the settings right, and what are they?

use std::process::ExitCode;

use super::{Failure, print};
use crate::auth::Authenticator;
use crate::settings::Settings;

pub(super) fn check(settings: &Settings) -> Result<ExitCode, Failure> {
    // Keys are only read here: a wrong PEM file is a wrong setting.
    Authenticator::new(&settings.auth).map_err(|error| Failure::Settings(error.to_string()))?;
    print(settings.to_masked_toml().trim_end())?;
    Ok(ExitCode::SUCCESS)
}
