//! The settings of the gateway: one typed value that is complete and checked before anything else starts.
//!
//! # Layout
//! - `sections`: one struct for each section of `config/default.toml`
//! - `namespaces`: the options of namespaces
//! - `sources`: files, environment and flags; [`Settings::load`]
//! - `layers`: finds unknown keys and wrong types before the sources are merged
//! - `variables`: misspelt environment variables, and `RUST_LOG`
//! - `nearest`: suggests the right name for a misspelt one
//! - `renamed`: the old names of settings
//! - `files`: reads the files that contain settings or that settings name
//! - `validate`: ranges and unsafe combinations
//! - `print`: [`Settings::to_masked_toml`]
//! - `secret`: [`Secret`] and the masks of passwords
//! - `duration`: durations as text
//! - `error`: [`SettingsError`]
//!
//! Every default is in `config/default.toml`, which is compiled in.

use std::fmt;

use serde::{Deserialize, Serialize};

mod duration;
mod error;
mod files;
mod layers;
mod namespaces;
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
    namespaces::{NamespaceSettings, Namespaces, RoomPresence, SubscribeRule},
    secret::{Secret, mask_url},
    sections::{
        AdminSettings, AuthKind, AuthSettings, BrokerSettings, ChannelSettings, ControlSettings,
        DrainSettings, InboxSettings, LimitSettings, LogFormat, LogSettings, PresenceSettings,
        ReadyWithShards, ServerSettings, SessionSettings, Shards, WhenStale,
    },
    sources::Sources,
};
pub(crate) use self::{
    error::{name_text, one_line, plain_io},
    files::{check_is_file, read_bytes, read_text},
};

/// Selects the defaults and how strict the checks are.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Profile {
    /// For one machine: no secrets and no limits. The default.
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

/// The effective settings, from [`Settings::load`]. `Debug` and serialisation mask secrets.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// Set by a flag or `GATEWAY_PROFILE`, never by a file.
    #[serde(skip)]
    pub profile: Profile,
    /// One sentence for each possible mistake in the sources.
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
    /// `[presence]`
    pub presence: PresenceSettings,
    /// `[namespaces.<name>]`
    pub namespaces: Namespaces,
    /// `[inbox]`
    pub inbox: InboxSettings,
    /// `[control]`
    pub control: ControlSettings,
    /// `[channels]`
    pub channels: ChannelSettings,
    /// `[log]`
    pub log: LogSettings,
}
