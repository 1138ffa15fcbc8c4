//! The gateway's settings: one typed value, complete and checked before anything else starts.
//!
//! # Layout
//! - `sections`: the structs, one for each section of `config/default.toml`
//! - `sources`: where values come from; [`Settings::load`]
//! - `variables`: environment variables that are nearly settings, and `RUST_LOG`
//! - `nearest`: suggests the right name for a misspelt one
//! - `renamed`: old names, refused with the new one
//! - `layers`: unknown keys and wrong types, found before the sources are merged
//! - `files`: reading those that settings are in or name
//! - `validate`: ranges and unsafe combinations
//! - `print`: [`Settings::to_masked_toml`]
//! - [`Secret`], durations, [`SettingsError`]
//!
//! There are no hidden defaults: every default stands in `config/default.toml`, which is compiled in.

use std::fmt;

use serde::{Deserialize, Serialize};

mod duration;
mod error;
mod files;
mod layers;
mod nearest;
mod print;
mod renamed;
mod secret;
mod sections;
mod sources;
#[cfg(test)]
mod tests;
mod validate;
mod variables;

use self::sources::DEFAULT;
pub use self::{
    duration::{format_duration, parse_duration},
    error::{SettingsError, SettingsErrors},
    secret::{Secret, mask_url},
    sections::{
        AdminSettings, AuthKind, AuthSettings, BrokerSettings, ChannelSettings, DrainSettings, LimitSettings,
        LogFormat, LogSettings, ServerSettings, SessionSettings,
    },
    sources::Sources,
};
pub(crate) use self::{
    error::{one_line, plain_io},
    files::{check_is_file, read_bytes, read_text},
};

/// Which set of defaults applies, and how strict the checks are.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Profile {
    /// One machine, no secrets, no caps. The default.
    #[default]
    Development,
    /// Unsafe combinations are refused.
    Production,
}

impl fmt::Display for Profile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Development => "development",
            Self::Production => "production",
        })
    }
}

/// The effective settings. [`Settings::load`] is the way to get them; `Debug` and serialisation mask secrets.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// The profile; chosen by flag or `GATEWAY_PROFILE`, never by a file.
    #[serde(skip)]
    pub profile: Profile,
    /// What may be a mistake in the sources: a sentence for each.
    #[serde(skip)]
    pub warnings: Vec<String>,
    /// `[server]`
    pub server: ServerSettings,
    /// `[broker]`
    pub broker: BrokerSettings,
    /// `[session]`
    pub session: SessionSettings,
    /// `[auth]`
    pub auth: AuthSettings,
    /// `[admin]`
    pub admin: AdminSettings,
    /// `[drain]`
    pub drain: DrainSettings,
    /// `[limits]`
    pub limits: LimitSettings,
    /// `[channels]`
    pub channels: ChannelSettings,
    /// `[log]`
    pub log: LogSettings,
}
