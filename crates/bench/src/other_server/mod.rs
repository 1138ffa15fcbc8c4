//! Servers other than the gateway, measured with the same clients, scenarios and baseline (docs/comparison.md).

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

/// The maximum time until a server accepts connections.
const START_TIMEOUT: Duration = Duration::from_secs(20);

/// What clients speak to the measured server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Protocol {
    /// The gateway's protocol, which the baseline imitates.
    Gateway,
    Other(Product),
}

/// A server that is not the gateway.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Product {
    /// Clients speak its bidirectional JSON protocol.
    Centrifugo,
    /// Clients speak Action Cable's JSON protocol.
    AnyCable,
}

/// The value of `--server`: a server other than the gateway, and its program.
#[derive(Debug, Clone)]
pub(crate) struct OtherServer {
    pub(crate) product: Product,
    program: PathBuf,
}

/// A server that accepts connections.
pub(crate) struct RunningServer {
    pub(crate) child: ChildProcess,
    pub(crate) address: SocketAddr,
    pub(crate) publisher: Publisher,
}

/// What a server needs to start.
struct OtherServerSettings<'a> {
    port: u16,
    redis: &'a RedisAddress,
    /// The secret of the clients' tokens and of publications.
    secret: &'a str,
    /// The interval of pings.
    heartbeat_interval: Duration,
}

impl Protocol {
    /// The name of the measured server.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Gateway => "gateway",
            Self::Other(product) => product.name(),
        }
    }

    /// The upgrade request.
    pub(crate) fn handshake(self, is_v2: bool, is_deflated: bool) -> String {
        match self {
            Self::Gateway => wire::handshake(is_v2, is_deflated),
            Self::Other(Product::Centrifugo) => wire::upgrade_request(centrifugo::PATH, ""),
            Self::Other(Product::AnyCable) => wire::upgrade_request(anycable::PATH, anycable::SUBPROTOCOL),
        }
    }

    /// Whether a client may send its first frame with the upgrade request. Servers in Go refuse that.
    pub(crate) fn may_send_early(self) -> bool {
        self == Self::Gateway
    }

    /// The first frames of a client, which make it Ready.
    pub(crate) fn opening(self, identity: &ClientIdentity, since: Option<&str>) -> Vec<u8> {
        match self {
            Self::Gateway => wire::client_frame(&identify(identity, since)),
            Self::Other(Product::Centrifugo) => centrifugo::opening(&identity.token),
            Self::Other(Product::AnyCable) => anycable::opening(&identity.channels),
        }
    }

    /// The messages of a frame. Centrifugo puts several into a frame, one a line.
    pub(crate) fn messages(self, payload: &[u8]) -> impl Iterator<Item = &[u8]> {
        let most = if self == Self::Other(Product::Centrifugo) { usize::MAX } else { 1 };
        payload.splitn(most, |byte| *byte == b'\n')
    }

    pub(crate) fn parse(self, payload: &[u8]) -> ServerEvent<'_> {
        match self {
            Self::Gateway => wire::parse(payload),
            Self::Other(Product::Centrifugo) => centrifugo::parse(payload),
            Self::Other(Product::AnyCable) => anycable::parse(payload),
        }
    }

    /// The answer to a heartbeat, if the protocol has one.
    pub(crate) fn heartbeat_answer(self, rest: &str) -> Option<Vec<u8>> {
        match self {
            Self::Gateway => Some(wire::client_frame(&format!("{{\"op\":11,{rest}"))),
            Self::Other(Product::Centrifugo) => Some(wire::client_frame("{}")),
            Self::Other(Product::AnyCable) => None,
        }
    }
}

impl Product {
    const ALL: [Self; 2] = [Self::Centrifugo, Self::AnyCable];

    fn name(self) -> &'static str {
        match self {
            Self::Centrifugo => "centrifugo",
            Self::AnyCable => "anycable",
        }
    }

    /// The channels that the opening or the token of a client subscribes to.
    pub(crate) fn channels(self, user: &str) -> Vec<String> {
        ["all".to_owned(), format!("user:{user}")].iter().map(|channel| self.channel(channel)).collect()
    }

    /// The channels that a client's token names.
    pub(crate) fn claimed(self, channels: &[String]) -> &[String] {
        match self {
            Self::Centrifugo => channels,
            Self::AnyCable => &[],
        }
    }

    /// How the server checks tokens.
    pub(crate) fn tokens(self) -> TokenKind {
        match self {
            Self::Centrifugo => TokenKind::Jwt,
            Self::AnyCable => TokenKind::Insecure,
        }
    }

    /// The server's name of a channel.
    fn channel(self, channel: &str) -> String {
        match self {
            Self::Centrifugo => centrifugo::channel(channel),
            Self::AnyCable => channel.to_owned(),
        }
    }

    /// A publication to the server, as the content of a request or of a message at Redis.
    pub(crate) fn publication(self, recipients: &Recipients, message: &str) -> String {
        let channel = self.channel(&recipients.channel);
        match self {
            Self::Centrifugo => centrifugo::publication(&channel, message),
            Self::AnyCable => anycable::publication(&channel, message),
        }
    }
}

impl FromStr for OtherServer {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, program) = text.split_once('=').ok_or("expected NAME=PROGRAM")?;
        let product = Product::ALL.into_iter().find(|product| product.name() == name);
        let product = product.ok_or_else(|| format!("unknown server {name}: use centrifugo or anycable"))?;
        Ok(Self { product, program: program.into() })
    }
}

impl OtherServer {
    /// Starts the server with this Redis and waits until it accepts connections.
    pub(crate) fn start(
        &self,
        redis: &OwnRedis,
        secret: &str,
        heartbeat_interval: Duration,
        http_connections: usize,
    ) -> Result<RunningServer, BenchError> {
        let [redis] = &*redis.addresses else {
            return Err(BenchError::Arguments("--server needs one Redis server".to_owned()));
        };
        let settings = OtherServerSettings { port: free_port()?, redis, secret, heartbeat_interval };
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, settings.port));
        let (mut command, publisher) = match self.product {
            Product::Centrifugo => (
                centrifugo::command(&self.program, &settings),
                Publisher::centrifugo(address, secret, http_connections),
            ),
            Product::AnyCable => (anycable::command(&self.program, &settings), Publisher::anycable(redis)?),
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
        Ok(RunningServer { child, address, publisher })
    }
}

#[cfg(test)]
mod tests;
