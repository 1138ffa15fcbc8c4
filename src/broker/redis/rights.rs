//! Checks at each connect that Redis runs the commands that the gateway needs, so that the operator learns of a missing
//! one before clients do. An ACL may forbid them, and managed services disable or rename some.
//!
//! Each command is sent in a form that changes nothing, also those that only functions call: Redis checks them against
//! the rights of the caller. `COMMAND` and `ACL DRYRUN` would say the same, but are often forbidden themselves.

use std::convert::Infallible;
use std::time::Duration;

use parking_lot::Mutex;
use redis::aio::MultiplexedConnection;
use redis::{RedisError, RedisResult, Value};
use tokio::time::sleep;

use super::function;
use super::state::RedisState;

/// How often to check again while a command is missing.
const CHECK_INTERVAL: Duration = Duration::from_secs(15);

/// What does not work without a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Use {
    Histories,
    Publishing,
    Control,
    Inbox,
    ServerCheck,
}

impl Use {
    const ALL: [Self; 5] = [Self::Histories, Self::Publishing, Self::Control, Self::Inbox, Self::ServerCheck];

    /// What the operator is told.
    const fn failure(self) -> &'static str {
        match self {
            Self::Histories => "histories cannot be read",
            Self::Publishing => "durable publishing over HTTP fails",
            Self::Control => "control fails",
            Self::Inbox => "messages of clients are refused",
            Self::ServerCheck => "a server that is loading its data is not detected",
        }
    }
}

use Use::{Control, Histories, Inbox, Publishing, ServerCheck};

/// Each command with its arguments after the key, and what needs it. The key does not exist.
const KEYED: [(&str, &[&str], &[Use]); 15] = [
    ("GET", &[], &[Histories, Publishing, Inbox]),
    ("XRANGE", &["-", "+", "COUNT", "1"], &[Histories, Control]),
    ("XREVRANGE", &["+", "-", "COUNT", "1"], &[Histories]),
    ("EXISTS", &[], &[Publishing, Control, ServerCheck]),
    ("XADD", &["NOMKSTREAM", "*", "f", "v"], &[Publishing, Control, Inbox]),
    ("PEXPIRE", &["1"], &[Publishing, Control]),
    ("SET", &["", "XX"], &[Publishing, Inbox]),
    ("ZRANGEBYSCORE", &["0", "0"], &[Control]),
    ("ZADD", &["XX", "0", "m"], &[Control]),
    ("ZCARD", &[], &[Control]),
    ("ZREMRANGEBYSCORE", &["0", "0"], &[Control]),
    ("XLEN", &[], &[Inbox]),
    ("XINFO STREAM", &[], &[Publishing, Control]),
    ("TIME", &[], &[Histories, Publishing, Control]),
    ("FCALL", &[], &[Publishing, Control, Inbox]),
];
/// The last two, because a transaction that cannot end would swallow later commands.
const TRANSACTION: [&str; 2] = ["MULTI", "EXEC"];

/// Why a command does not run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Missing {
    Forbidden,
    Unknown,
}

/// The notes about missing commands of one link.
#[derive(Debug, Default)]
pub(super) struct MissingCommands(Mutex<Vec<String>>);

impl MissingCommands {
    pub(super) fn notes(&self) -> Vec<String> {
        self.0.lock().clone()
    }

    /// Replaces the notes, and logs each change.
    fn set(&self, notes: Vec<String>) {
        let mut known = self.0.lock();
        if *known == notes {
            return;
        }
        match &notes[..] {
            [] => log::info!("redis: no command is missing any more"),
            notes => notes.iter().for_each(|note| log::warn!("redis: {note}")),
        }
        *known = notes;
    }
}

/// Checks the commands once, and at each interval while one is missing.
pub(super) async fn run(state: &RedisState, commands: &MultiplexedConnection) -> Infallible {
    loop {
        if let Ok(missing) = find_missing(state, commands.clone()).await {
            state.missing_commands.set(notes(&missing));
        }
        if state.missing_commands.notes().is_empty() {
            return std::future::pending().await;
        }
        sleep(CHECK_INTERVAL.mul_f64(rand::random_range(0.8..1.2))).await;
    }
}

/// Sends each command.
async fn find_missing(
    state: &RedisState,
    mut commands: MultiplexedConnection,
) -> RedisResult<Vec<(&'static str, Missing, &'static [Use])>> {
    // No program writes to this key, and it is in a slot of this server.
    let key = state.probe();
    let has_inbox = state.options.history.inbox.is_used;
    let needed = KEYED.iter().filter(|(_, _, uses)| has_inbox || **uses != [Inbox]);
    let needed: Vec<_> = needed.map(|(name, arguments, uses)| (*name, *arguments, *uses)).collect();
    let mut pipeline = redis::pipe();
    for (name, arguments, _) in &needed {
        name.split(' ').enumerate().for_each(|(index, word)| {
            if index == 0 {
                pipeline.cmd(word);
            } else {
                pipeline.arg(word);
            }
        });
        match *name {
            "TIME" => {}
            // No function has this name.
            "FCALL" => {
                pipeline.arg("gateway_none").arg(1).arg(&key);
            }
            _ => {
                pipeline.arg(&key).arg(*arguments);
            }
        }
    }
    TRANSACTION.iter().for_each(|name| {
        pipeline.cmd(name);
    });
    let answers: Vec<RedisResult<Value>> = pipeline.ignore_errors().query_async(&mut commands).await?;
    let names = needed.iter().map(|(name, _, uses)| (*name, *uses));
    let names = names.chain(TRANSACTION.iter().map(|name| (*name, &[Histories] as &[_])));
    let used = |uses: &'static [Use]| if has_inbox { uses } else { without_inbox(uses) };
    Ok(names
        .zip(answers)
        .filter_map(|((name, uses), answer)| Some((name, missing(&answer.err()?)?, used(uses))))
        .collect())
}

/// The inbox is the last use of a command.
fn without_inbox(uses: &'static [Use]) -> &'static [Use] {
    match uses {
        [others @ .., Inbox] => others,
        all => all,
    }
}

fn missing(error: &RedisError) -> Option<Missing> {
    if function::is_unknown(error) {
        return Some(Missing::Unknown);
    }
    // `EXEC` answers its refusal in this way.
    matches!(error.code(), Some("NOPERM" | "EXECABORT")).then_some(Missing::Forbidden)
}

/// One sentence for each reason.
fn notes(missing: &[(&str, Missing, &[Use])]) -> Vec<String> {
    let reasons =
        [(Missing::Forbidden, "the Redis user may not run"), (Missing::Unknown, "this server does not know")];
    let note = |(reason, text): (Missing, &str)| {
        let found: Vec<_> = missing.iter().filter(|(_, why, _)| *why == reason).collect();
        let names: Vec<_> = found.iter().map(|(name, ..)| *name).collect();
        let failures = Use::ALL.into_iter().filter(|part| found.iter().any(|(.., uses)| uses.contains(part)));
        let failures: Vec<_> = failures.map(Use::failure).collect();
        (!found.is_empty()).then(|| format!("{text} {}: {}", names.join(", "), failures.join("; ")))
    };
    reasons.into_iter().filter_map(note).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_note_names_the_commands_and_what_fails_without_them() {
        let (forbidden, unknown) = (Missing::Forbidden, Missing::Unknown);
        let found: [(&str, Missing, &[Use]); 3] = [
            ("XREVRANGE", forbidden, &[Histories]),
            ("XRANGE", forbidden, &[Histories, Control]),
            ("MULTI", unknown, &[Histories]),
        ];
        assert_eq!(
            notes(&found),
            [
                "the Redis user may not run XREVRANGE, XRANGE: histories cannot be read; control fails",
                "this server does not know MULTI: histories cannot be read"
            ]
        );
        assert_eq!(notes(&[]), [""; 0]);
    }
}
