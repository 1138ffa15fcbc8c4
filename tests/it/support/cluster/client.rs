//! A blocking client of a cluster, for the backends of a test.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::time::Duration;

use redis::{Cmd, Connection, ErrorKind, FromRedisValue, RedisError, RedisResult, Value, cmd};

use super::{AGREEMENT_TIMEOUT, SLOTS};
use crate::support::deadline::eventually;

/// Longer than any healthy answer takes.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(1);
/// How many redirections one attempt follows.
const MAX_REDIRECTIONS: usize = 5;

/// Sends each command to the owner of its key, as MOVED and ASK name it. Needs no map of the cluster.
pub(crate) struct ClusterClient {
    seeds: Vec<SocketAddr>,
    connections: HashMap<u16, Connection>,
    /// The port of the owner of each slot, as the last redirection or answer showed it.
    owners: HashMap<u16, u16>,
    /// The seed that the next unknown slot is asked at.
    next_seed: usize,
}

impl ClusterClient {
    pub(super) fn new(seeds: Vec<SocketAddr>) -> Self {
        Self { seeds, connections: HashMap::new(), owners: HashMap::new(), next_seed: 0 }
    }

    /// Runs a command about `key`, following redirections. An error may be over soon: CLUSTERDOWN, a lost connection.
    pub(crate) fn try_call<T: FromRedisValue>(&mut self, key: &str, command: &Cmd) -> RedisResult<T> {
        self.try_call_with_copies(key, command, 0)
    }

    /// As [`try_call`](Self::try_call), until it succeeds.
    #[track_caller]
    pub(crate) fn call<T: FromRedisValue>(&mut self, key: &str, command: &Cmd) -> T {
        eventually(AGREEMENT_TIMEOUT, || self.try_call(key, command).ok())
    }

    /// As [`try_call`](Self::try_call). Fails unless this number of Redis replicas has the result: a failover loses
    /// writes that only the old owner had.
    pub(crate) fn try_call_with_copies<T: FromRedisValue>(
        &mut self,
        key: &str,
        command: &Cmd,
        copies: u32,
    ) -> RedisResult<T> {
        let slot = slot_of(key);
        let mut port = self.owners.get(&slot).copied().unwrap_or_else(|| self.any_port());
        let mut is_asking = false;
        for _ in 0..MAX_REDIRECTIONS {
            let error = match self.run(port, (key, command), is_asking, copies) {
                Ok(value) => {
                    if !is_asking {
                        self.owners.insert(slot, port);
                    }
                    return Ok(value);
                }
                Err(error) => error,
            };
            let Some(target) = redirection(&error) else {
                self.forget(slot, port);
                return Err(error);
            };
            is_asking = error.code() == Some("ASK");
            if !is_asking {
                self.owners.insert(slot, target);
            }
            port = target;
        }
        Err((ErrorKind::Client, "too many redirections").into())
    }

    /// Publishes a plain message on a channel of sharded publish/subscribe. Returns the number of receivers.
    pub(crate) fn spublish(&mut self, channel: &str, message: &str) -> RedisResult<usize> {
        self.try_call(channel, cmd("SPUBLISH").arg(channel).arg(message))
    }

    /// Publishes a plain message with PUBLISH, through the owner of the channel's slot.
    pub(crate) fn publish(&mut self, channel: &str, message: &str) -> RedisResult<usize> {
        // Any node accepts PUBLISH; only a command with a key names the owner.
        self.try_call::<Value>(channel, cmd("EXISTS").arg(channel))?;
        self.try_call(channel, cmd("PUBLISH").arg(channel).arg(message))
    }

    /// Publishes a durable message with an idempotency key. Succeeds when `copies` Redis replicas have it.
    pub(crate) fn publish_durably(
        &mut self,
        channel: &str,
        message: &str,
        idempotency_key: &str,
        copies: u32,
    ) -> RedisResult<()> {
        let mut call = cmd("FCALL");
        call.arg("gateway_publish").arg(1).arg(channel).arg(message).arg(idempotency_key);
        self.try_call_with_copies::<Value>(channel, &call, copies).map(drop)
    }

    fn run<T: FromRedisValue>(
        &mut self,
        port: u16,
        (key, command): (&str, &Cmd),
        is_asking: bool,
        copies: u32,
    ) -> RedisResult<T> {
        if !self.connections.contains_key(&port) {
            self.connections.insert(port, connect(self.seeds[0], port)?);
        }
        let connection = self.connections.get_mut(&port).expect("the connection was added above");
        if is_asking {
            cmd("ASKING").exec(connection)?;
        }
        let value = command.query(connection)?;
        if copies > 0 {
            // WAIT covers the writes of this connection only, and a repeated command may have written nothing.
            cmd("SET").arg(beside(key)).arg(1).exec(connection)?;
            let timeout_ms = ANSWER_TIMEOUT.as_millis() / 2;
            let made: u32 = cmd("WAIT").arg(copies).arg(timeout_ms).query(connection)?;
            if made < copies {
                return Err((ErrorKind::Io, "too few copies").into());
            }
        }
        Ok(value)
    }

    /// Asks another node next time: this one may be dead, or not know that it is no longer the owner.
    fn forget(&mut self, slot: u16, port: u16) {
        self.owners.remove(&slot);
        self.connections.remove(&port);
    }

    fn any_port(&mut self) -> u16 {
        self.next_seed += 1;
        self.seeds[self.next_seed % self.seeds.len()].port()
    }
}

/// Another key in the same slot.
fn beside(key: &str) -> String {
    if key.contains('{') { format!("{key}:copies") } else { format!("copies:{{{key}}}") }
}

/// The port that MOVED or ASK names.
fn redirection(error: &RedisError) -> Option<u16> {
    let (address, _) = error.redirect_node()?;
    address.rsplit_once(':')?.1.parse().ok()
}

#[allow(clippy::disallowed_methods, reason = "a test's own connection may block")]
fn connect(seed: SocketAddr, port: u16) -> RedisResult<Connection> {
    let client = redis::Client::open(format!("redis://{}:{port}", seed.ip()))?;
    let connection = client.get_connection_with_timeout(ANSWER_TIMEOUT)?;
    connection.set_read_timeout(Some(ANSWER_TIMEOUT))?;
    connection.set_write_timeout(Some(ANSWER_TIMEOUT))?;
    Ok(connection)
}

/// The slot of a key: CRC16 (XMODEM) of the key, or of its hash tag.
pub(crate) fn slot_of(key: &str) -> u16 {
    let tag = key.split_once('{').and_then(|(_, rest)| rest.split_once('}')).map(|(tag, _)| tag);
    let hashed = tag.filter(|tag| !tag.is_empty()).unwrap_or(key);
    let shift = |crc: u16| if crc & 0x8000 == 0 { crc << 1 } else { (crc << 1) ^ 0x1021 };
    let crc =
        hashed.bytes().fold(0, |crc, byte| (0..8).fold(crc ^ (u16::from(byte) << 8), |crc, _| shift(crc)));
    crc % SLOTS
}
