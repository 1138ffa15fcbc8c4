//! Other servers, measured with the same clients, scenarios and baseline as the gateway (docs/comparison.md).

mod anycable;
mod centrifugo;

use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::Stdio;
use std::str::FromStr;
use std::time::{Duration, Instant};

use crate::children::ChildProcess;
use crate::client::identify;
use crate::clients::ClientIdentity;
use crate::publisher::{Publisher, Recipients};
use crate::redis::{OwnRedis, free_port};
use crate::wire::{self, ServerEvent};
use crate::{BenchError, RedisAddress, TokenKind};

pub(crate) use self::anycable::REDIS_CHANNEL as ANYCABLE_CHANNEL;

/// The maximum time until a peer accepts connections.
const START_TIMEOUT: Duration = Duration::from_secs(20);

/// What clients speak to the measured server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Protocol {
    /// The gateway's protocol, which the baseline imitates.
    Gateway,
    /// Centrifugo's bidirectional JSON protocol.
    Centrifugo,
    /// Action Cable's JSON protocol.
    AnyCable,
}

/// The value of `--peer`: a server other than the gateway, and its program.
#[derive(Debug, Clone)]
pub(crate) struct Peer {
    pub(crate) protocol: Protocol,
    program: PathBuf,
}

/// A peer that accepts connections.
pub(crate) struct RunningPeer {
    pub(crate) child: ChildProcess,
    pub(crate) address: SocketAddr,
    pub(crate) publisher: Publisher,
}

/// What a peer needs to start.
struct PeerSettings<'a> {
    port: u16,
    redis: &'a RedisAddress,
    /// The secret of the clients' tokens and of publications.
    secret: &'a str,
    /// The interval of pings.
    heartbeat_interval: Duration,
}

impl Protocol {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Gateway => "gateway",
            Self::Centrifugo => "centrifugo",
            Self::AnyCable => "anycable",
        }
    }

    /// The upgrade request.
    pub(crate) fn handshake(self, is_v2: bool, is_deflated: bool) -> String {
        match self {
            Self::Gateway => wire::handshake(is_v2, is_deflated),
            Self::Centrifugo => wire::upgrade_request(centrifugo::PATH, ""),
            Self::AnyCable => wire::upgrade_request(anycable::PATH, anycable::SUBPROTOCOL),
        }
    }

    /// Whether a client may send its first frame with the upgrade request. Peers in Go refuse that.
    pub(crate) fn may_send_early(self) -> bool {
        self == Self::Gateway
    }

    /// The first frames of a client, which make it Ready.
    pub(crate) fn opening(self, identity: &ClientIdentity, since: Option<&str>) -> Vec<u8> {
        match self {
            Self::Gateway => wire::client_frame(&identify(identity, since)),
            Self::Centrifugo => centrifugo::opening(&identity.token),
            Self::AnyCable => anycable::opening(&identity.channels),
        }
    }

    /// The channels that the opening or the token of a client subscribes to. The gateway needs none of them.
    pub(crate) fn channels(self, user: &str) -> Vec<String> {
        ["all".to_owned(), format!("user:{user}")].iter().map(|channel| self.channel(channel)).collect()
    }

    /// The channels that a client's token names.
    pub(crate) fn claimed(self, channels: &[String]) -> &[String] {
        if self == Self::Centrifugo { channels } else { &[] }
    }

    /// How the peer checks tokens.
    pub(crate) fn tokens(self) -> TokenKind {
        if self == Self::Centrifugo { TokenKind::Jwt } else { TokenKind::Insecure }
    }

    /// The peer's name of a channel.
    fn channel(self, channel: &str) -> String {
        match self {
            Self::Centrifugo => centrifugo::channel(channel),
            Self::Gateway | Self::AnyCable => channel.to_owned(),
        }
    }

    /// The messages of a frame. Centrifugo puts several into a frame, one a line.
    pub(crate) fn messages(self, payload: &[u8]) -> impl Iterator<Item = &[u8]> {
        let most = if self == Self::Centrifugo { usize::MAX } else { 1 };
        payload.splitn(most, |byte| *byte == b'\n')
    }

    pub(crate) fn parse(self, payload: &[u8]) -> ServerEvent<'_> {
        match self {
            Self::Gateway => wire::parse(payload),
            Self::Centrifugo => centrifugo::parse(payload),
            Self::AnyCable => anycable::parse(payload),
        }
    }

    /// The answer to a heartbeat, if the protocol has one.
    pub(crate) fn heartbeat_answer(self, rest: &str) -> Option<Vec<u8>> {
        match self {
            Self::Gateway => Some(wire::client_frame(&format!("{{\"op\":11,{rest}"))),
            Self::Centrifugo => Some(wire::client_frame("{}")),
            Self::AnyCable => None,
        }
    }

    /// A publication to a peer, as the content of a request or of a message at Redis.
    pub(crate) fn publication(self, recipients: &Recipients, message: &str) -> String {
        let channel = self.channel(&recipients.channel);
        match self {
            Self::AnyCable => anycable::publication(&channel, message),
            Self::Gateway | Self::Centrifugo => centrifugo::publication(&channel, message),
        }
    }
}

impl FromStr for Peer {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, program) = text.split_once('=').ok_or("expected NAME=PROGRAM")?;
        let known = [Protocol::Centrifugo, Protocol::AnyCable];
        let protocol = known.into_iter().find(|protocol| protocol.name() == name);
        let protocol = protocol.ok_or_else(|| format!("unknown peer {name}: use centrifugo or anycable"))?;
        Ok(Self { protocol, program: program.into() })
    }
}

impl Peer {
    /// Starts the peer with this Redis and waits until it accepts connections.
    pub(crate) fn start(
        &self,
        redis: &OwnRedis,
        secret: &str,
        heartbeat_interval: Duration,
        http_connections: usize,
    ) -> Result<RunningPeer, BenchError> {
        let [redis] = &*redis.addresses else {
            return Err(BenchError::Arguments("--peer needs one Redis server".to_owned()));
        };
        let settings = PeerSettings { port: free_port()?, redis, secret, heartbeat_interval };
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, settings.port));
        let mut command = match self.protocol {
            Protocol::AnyCable => anycable::command(&self.program, &settings),
            Protocol::Gateway | Protocol::Centrifugo => centrifugo::command(&self.program, &settings),
        };
        let publisher = match self.protocol {
            Protocol::AnyCable => Publisher::anycable(redis)?,
            Protocol::Gateway | Protocol::Centrifugo => {
                Publisher::centrifugo(address, secret, http_connections)
            }
        };
        command.stdin(Stdio::null()).stdout(Stdio::null());
        let (child, _) = ChildProcess::start(&mut command)
            .map_err(|error| BenchError::Server(format!("{}: {error}", self.program.display())))?;
        let started_at = Instant::now();
        while TcpStream::connect(address).is_err() {
            if started_at.elapsed() > START_TIMEOUT {
                return Err(BenchError::Server(format!("{} did not start", self.program.display())));
            }
            std::thread::park_timeout(Duration::from_millis(50));
        }
        Ok(RunningPeer { child, address, publisher })
    }
}

#[cfg(test)]
mod tests;
