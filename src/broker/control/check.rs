//! The rules for a command. `gateway_control.lua` applies the same ones.

use serde::Serialize;

use super::{ChannelChange, ControlCommand, ControlError, Disconnection, Revocation, SessionQuery};
use protocol::channel::ChannelName;

/// The longest command, in bytes of JSON.
pub const MAX_COMMAND_BYTES: usize = 4096;
/// The longest reason in a Close frame, in bytes.
const MAX_REASON_BYTES: usize = 123;
/// The longest id of a token, in bytes.
const MAX_JTI_BYTES: usize = 255;
/// The most sessions of one answer to `sessions`.
pub const MAX_LISTED: usize = 1000;
/// An earlier time is one in seconds: in milliseconds it would be in 1973.
const MIN_TIME_MS: u64 = 100_000_000_000;
/// How far in the future `issued_before` may be. The clocks of backends are not exact.
const MAX_CLOCK_LEAD_MS: u64 = 60_000;
/// The latest time, in Unix milliseconds: a Lua number has 15 exact decimal digits.
const MAX_TIME_MS: u64 = 999_999_999_999_999;

impl ControlCommand {
    /// Checks that the command says which sessions, channel or tokens it is for, and that they can exist.
    ///
    /// # Errors
    /// [`ControlError::BadCommand`].
    pub fn check(&self) -> Result<(), ControlError> {
        match self {
            Self::Disconnect(command) => command.check(),
            Self::Subscribe(command) | Self::Unsubscribe(command) => command.check(),
            Self::Revoke(command) => command.check(),
            Self::Sessions(command) => command.check(),
        }?;
        let bytes = self.to_text().len();
        if bytes > MAX_COMMAND_BYTES {
            return refuse(format!("it has {bytes} bytes; the maximum is {MAX_COMMAND_BYTES}"));
        }
        Ok(())
    }

    /// The command as JSON.
    pub(crate) fn to_text(&self) -> String {
        to_text(self)
    }
}

fn to_text(value: &impl Serialize) -> String {
    // Serialising these fields cannot fail.
    serde_json::to_string(value).unwrap_or_default()
}

impl Disconnection {
    fn check(&self) -> Result<(), ControlError> {
        let chosen = [&self.user, &self.session, &self.channel].into_iter().flatten().count();
        if chosen != 1 {
            return refuse("disconnect needs exactly one of user, session and channel");
        }
        check_names(self.user.as_deref(), self.session.as_deref(), self.channel.as_deref())?;
        match &self.reason {
            Some(reason) if reason.len() > MAX_REASON_BYTES => {
                refuse(format!("a reason has at most {MAX_REASON_BYTES} bytes"))
            }
            _ => Ok(()),
        }
    }
}

impl ChannelChange {
    fn check(&self) -> Result<(), ControlError> {
        if self.user.is_some() == self.session.is_some() {
            return refuse("subscribe and unsubscribe need exactly one of user and session");
        }
        check_names(self.user.as_deref(), self.session.as_deref(), Some(&self.channel))
    }
}

impl Revocation {
    fn check(&self) -> Result<(), ControlError> {
        match (&self.jti, &self.user) {
            (Some(jti), None) => {
                if jti.is_empty()
                    || jti.len() > MAX_JTI_BYTES
                    || jti.bytes().any(|byte| byte.is_ascii_control())
                {
                    return refuse(format!(
                        "a jti has 1 to {MAX_JTI_BYTES} bytes without control characters"
                    ));
                }
                if self.issued_before.is_some() {
                    return refuse("issued_before needs user");
                }
            }
            (None, Some(_)) => check_names(self.user.as_deref(), None, None)?,
            _ => return refuse("revoke needs exactly one of jti and user"),
        }
        if [self.issued_before, self.until].into_iter().flatten().any(|time| time > MAX_TIME_MS) {
            return refuse("a time is in Unix milliseconds, with at most 15 digits");
        }
        Ok(())
    }

    /// Checks that the times are in milliseconds, that the revocation is not over, and that it is not for tokens which
    /// are not minted yet. With Redis, the function does this, by Redis' clock.
    pub(in crate::broker) fn check_times(&self, now_ms: u64) -> Result<(), ControlError> {
        let Self { issued_before, until, .. } = *self;
        let reason = if issued_before.is_some_and(|time| time < MIN_TIME_MS) {
            "issued_before is too early; times are in Unix milliseconds"
        } else if until.is_some_and(|time| time < MIN_TIME_MS) {
            "until is too early; times are in Unix milliseconds"
        } else if until.is_some_and(|time| time <= now_ms) {
            "until is in the past; times are in Unix milliseconds"
        } else if issued_before.is_some_and(|time| time > now_ms + MAX_CLOCK_LEAD_MS) {
            "issued_before is in the future; it would refuse tokens that are not minted yet"
        } else {
            return Ok(());
        };
        refuse(format!("revoke: {reason}"))
    }
}

impl SessionQuery {
    fn check(&self) -> Result<(), ControlError> {
        check_names(self.user.as_deref(), self.after.as_deref(), self.channel.as_deref())?;
        match self.limit {
            Some(limit) if !(1..=MAX_LISTED).contains(&limit) => {
                refuse(format!("a limit is from 1 to {MAX_LISTED}"))
            }
            _ => Ok(()),
        }
    }
}

fn check_names(user: Option<&str>, session: Option<&str>, channel: Option<&str>) -> Result<(), ControlError> {
    if user.is_some_and(|user| ChannelName::of_user(user).is_err()) {
        return refuse("this is not a user id");
    }
    if session.is_some_and(|session| !is_session_id(session)) {
        return refuse("a session id has 32 hexadecimal digits");
    }
    if channel.is_some_and(|channel| ChannelName::parse(channel).is_err()) {
        return refuse("this is not a channel");
    }
    Ok(())
}

fn is_session_id(text: &str) -> bool {
    text.len() == 32 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

fn refuse<T>(reason: impl Into<String>) -> Result<T, ControlError> {
    Err(ControlError::BadCommand(reason.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `gateway_control.lua` is tested with the same commands in tests/it/control/function.rs.
    const COMMANDS: &str = include_str!("commands.txt");
    /// A time that is between those of the commands, as the real one is.
    const NOW_MS: u64 = 1_790_000_000_000;

    #[test]
    fn every_listed_command_is_accepted_or_refused() {
        for line in COMMANDS.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
            let (expected, text) = line.split_once(' ').unwrap();
            let long = text.replace("<200>", &"x".repeat(200)).replace("<300>", &"x".repeat(300));
            let command: Result<ControlCommand, _> = serde_json::from_str(&long);
            let is_valid = command.is_ok_and(|command| {
                let has_good_times = match &command {
                    ControlCommand::Revoke(revocation) => revocation.check_times(NOW_MS).is_ok(),
                    _ => true,
                };
                command.check().is_ok() && has_good_times
            });
            assert_eq!(is_valid, expected == "valid", "{line}");
        }
    }
}
