//! Runs a command of Redis that is written as one line.

use redis::{Connection, FromRedisValue, RedisResult, cmd};

/// Runs a command whose words are separated by spaces. Returns the error of Redis.
pub(crate) fn query_line<T: FromRedisValue>(connection: &mut Connection, line: &str) -> RedisResult<T> {
    let mut words = line.split(' ');
    let mut command = cmd(words.next().unwrap_or_default());
    words.for_each(|word| {
        command.arg(word);
    });
    command.query(connection)
}

/// Runs a command whose words are separated by spaces. It must succeed.
#[track_caller]
pub(crate) fn run_line<T: FromRedisValue>(connection: &mut Connection, line: &str) -> T {
    query_line(connection, line).unwrap_or_else(|error| panic!("{line}: {error}"))
}
