//! Loads the function library for durable publishing, presence and control into Redis, and calls it.
//!
//! Redis may be too old for functions, or the Redis user may not load one. Then only these are unavailable; the link
//! stays up.

use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::LazyLock;
use std::sync::atomic::Ordering;
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{Cmd, FromRedisValue, RedisError, RedisResult, Value, from_redis_value};
use tokio::time::sleep;

use super::data_settings::DataSettings;
use super::link_error::describe;
use super::names::Layout;
use super::options::RedisOptions;
use super::state::RedisState;

/// The library's name in Redis.
const LIBRARY: &str = "gateway";
/// The code of the library. It contains no settings, because all prefixes of one Redis share it.
const CODE: &str = concat!(
    include_str!("gateway.lua"),
    include_str!("gateway_slots.lua"),
    include_str!("gateway_json.lua"),
    include_str!("gateway_push.lua"),
    include_str!("gateway_publish.lua"),
    include_str!("gateway_mark.lua"),
    include_str!("gateway_presence.lua"),
    include_str!("gateway_rooms.lua"),
    include_str!("gateway_control.lua"),
    include_str!("gateway_inbox.lua")
);
/// The line of the code that differs in a cluster, and what replaces it there.
const CLUSTER: [&str; 2] = ["\nlocal CLUSTER = false\n", "\nlocal CLUSTER = true\n"];

/// The code as it is loaded into Redis.
pub(super) fn code(layout: Layout) -> &'static str {
    static IN_CLUSTER: LazyLock<String> = LazyLock::new(|| CODE.replacen(CLUSTER[0], CLUSTER[1], 1));
    match layout {
        Layout::Plain => CODE,
        Layout::OneSlot | Layout::Slots => &IN_CLUSTER,
    }
}

/// How often to check that Redis has the library: the functions may have been flushed, or a missing permission granted.
const CHECK_INTERVAL: Duration = Duration::from_secs(15);
/// How often to try to load the library: another gateway may load it between the check and the load.
const MAX_ATTEMPTS: usize = 3;

/// What to do with the library that Redis has.
#[derive(Debug, PartialEq, Eq)]
enum LibraryAction {
    Keep,
    Load,
    Replace,
    /// It is another program's library of the same name.
    Refuse,
}

fn version(library: &str) -> Option<u32> {
    library.lines().find_map(|line| line.strip_prefix("local VERSION = ")?.trim().parse().ok())
}

/// `is_first`: this process has not loaded or found the library before. Only then does it replace a different text of
/// the same version. No two releases share a version, but two builds may, and they must not replace each other's
/// library again and again.
fn library_action(found: Option<&str>, own: &str, is_first: bool) -> LibraryAction {
    let Some(found) = found else { return LibraryAction::Load };
    match version(found) {
        None => LibraryAction::Refuse,
        found_version if found_version < version(own) => LibraryAction::Replace,
        found_version if found_version == version(own) && is_first && found != own => LibraryAction::Replace,
        Some(_) => LibraryAction::Keep,
    }
}

/// Loads the library unless Redis has it, and records whether durable publishing is available.
///
/// # Errors
/// Redis did not run the commands, but may run them soon. That says nothing about the library.
pub(super) async fn ensure_loaded(
    state: &RedisState,
    commands: &mut MultiplexedConnection,
) -> RedisResult<()> {
    let is_first = !state.is_function_settled.load(Ordering::Acquire);
    let function = match try_load(commands, &state.options, is_first).await {
        Ok(true) => {
            state.is_function_settled.store(true, Ordering::Release);
            Ok(())
        }
        Ok(false) => Err(format!("another library in Redis has the name {LIBRARY}")),
        // An error of the connection, which the link detects. It says nothing about the library.
        Err(error) if error.code().is_none() => return Ok(()),
        Err(error) if state.is_not_run(&error) => return Err(error),
        Err(error) => Err(reason(&error)),
    };
    state.set_function(function);
    Ok(())
}

/// Returns whether Redis has the library; otherwise another program's library has its name.
async fn try_load(
    commands: &mut MultiplexedConnection,
    options: &RedisOptions,
    is_first: bool,
) -> RedisResult<bool> {
    let mut attempt = 1;
    loop {
        let found = find_library(commands).await?;
        let mut load = redis::cmd("FUNCTION");
        load.arg("LOAD");
        let code = code(options.layout);
        match library_action(found.as_deref(), code, is_first) {
            LibraryAction::Keep => return Ok(true),
            LibraryAction::Refuse => return Ok(false),
            LibraryAction::Replace => load.arg("REPLACE"),
            LibraryAction::Load => &mut load,
        };
        write_settings(commands, options).await;
        match load.arg(code).exec_async(commands).await {
            // Most likely another gateway has loaded it since `find_library`. The error has no code of its own.
            Err(error) if error.code() == Some("ERR") && attempt < MAX_ATTEMPTS => attempt += 1,
            outcome => return outcome.map(|()| true),
        }
    }
}

/// Writes the settings of this process if Redis has none. If that fails, the library's defaults are in force until the
/// first `gateway_mark`. Each slot of a cluster has settings of its own, which only `gateway_mark` writes.
async fn write_settings(commands: &mut MultiplexedConnection, options: &RedisOptions) {
    if options.names().is_sharded() {
        return;
    }
    let text = DataSettings::own(options).to_text();
    let mut set = redis::cmd("SET");
    if let Err(error) =
        set.arg(options.names().shared_dataset_keys().settings).arg(text).arg("NX").exec_async(commands).await
    {
        log::debug!(
            "redis: the settings of the data were not written before the library was loaded: {}",
            describe(&error)
        );
    }
}

/// The code of the library with this name, if Redis has one.
async fn find_library(commands: &mut MultiplexedConnection) -> RedisResult<Option<String>> {
    let mut list = redis::cmd("FUNCTION");
    list.arg("LIST").arg("LIBRARYNAME").arg(LIBRARY).arg("WITHCODE");
    let libraries: Vec<HashMap<String, Value>> = list.query_async(commands).await?;
    let code = libraries.into_iter().next().and_then(|mut library| library.remove("library_code"));
    Ok(code.map(from_redis_value).transpose()?)
}

/// Checks the library at each interval while the link is up.
pub(super) async fn run(state: &RedisState) -> Infallible {
    loop {
        sleep(CHECK_INTERVAL.mul_f64(rand::random_range(0.8..1.2))).await;
        if let Some(mut commands) = state.commands() {
            // A Redis that did not run the commands is asked again after the next wait.
            let _ = ensure_loaded(state, &mut commands).await;
        }
    }
}

/// Calls a function of the library, and loads the library first if Redis does not have it. A missing function has no
/// effect, so calling again is safe.
pub(super) async fn call<T: FromRedisValue>(
    state: &RedisState,
    commands: &mut MultiplexedConnection,
    call: &Cmd,
) -> RedisResult<T> {
    let answer = call.query_async(commands).await;
    if answer.as_ref().is_err_and(is_missing) {
        ensure_loaded(state, commands).await?;
        return call.query_async(commands).await;
    }
    answer
}

/// Whether Redis does not have the library.
pub(super) fn is_missing(error: &RedisError) -> bool {
    has_detail(error, "function not found")
}

/// Whether Redis does not support functions.
pub(super) fn is_unknown(error: &RedisError) -> bool {
    has_detail(error, "unknown command")
}

/// Whether the idempotency key was used with another message.
pub(super) fn is_key_reused(error: &RedisError) -> bool {
    has_detail(error, "this idempotency key was used with another message")
}

/// Whether a server's answer has this text, in lower case. Only for errors that have no code of their own.
fn has_detail(error: &RedisError, text: &str) -> bool {
    error.code().is_some() && error.detail().is_some_and(|detail| detail.to_lowercase().contains(text))
}

/// Why durable publishing is unavailable, in plain English.
pub(super) fn reason(error: &RedisError) -> String {
    if is_unknown(error) {
        return "this server has no functions: Redis 7 or Valkey is needed".into();
    }
    describe(error)
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEFAULTS: &str = include_str!("../../../config/default.toml");

    #[test]
    fn the_defaults_in_the_library_are_those_of_the_settings() {
        for (library, settings) in [
            ("history_size = '1000',", "history_size = 1000"),
            ("history_ttl_ms = '86400000',", "history_ttl = \"24h\""),
            ("idempotency_window_ms = '600000',", "idempotency_window = \"10m\""),
            ("max_payload_bytes = 1048576,", "max_payload_bytes = 1048576"),
            ("max_payload_depth = 128,", "max_payload_depth = 128"),
            ("revocation_ttl_ms = 2592005000,", "max_age = \"30d\""),
            ("inbox_max_entries = 100000,", "max_entries = 100000"),
        ] {
            assert!(CODE.lines().any(|line| line.trim() == library), "{library}");
            assert!(DEFAULTS.lines().any(|line| line == settings), "{settings}");
        }
        assert!(version(CODE).is_some());
        assert!(code(Layout::Slots).contains(CLUSTER[1]) && !CODE.contains(CLUSTER[1]));
    }

    #[test]
    fn an_older_library_is_replaced_and_a_newer_one_kept() {
        let of = |version: u32, size: u32| format!("local VERSION = {version}\nlocal SIZE = {size}\n");
        let own = of(2, 100);
        for (found, is_first, step) in [
            (None, true, LibraryAction::Load),
            (None, false, LibraryAction::Load),
            (Some(of(1, 100)), false, LibraryAction::Replace),
            (Some(of(2, 100)), true, LibraryAction::Keep),
            (Some(of(2, 50)), true, LibraryAction::Replace),
            (Some(of(2, 50)), false, LibraryAction::Keep),
            (Some(of(3, 50)), true, LibraryAction::Keep),
            (Some("return 1".into()), true, LibraryAction::Refuse),
        ] {
            assert_eq!(library_action(found.as_deref(), &own, is_first), step, "{found:?} {is_first}");
        }
    }
}
