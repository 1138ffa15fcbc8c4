//! What the load generator knows about the gateway that it measures.

use std::net::SocketAddr;
use std::time::Duration;

use crate::arguments::BenchArgs;

/// The namespace that a gateway of our own opens to everybody.
const NAMESPACE: &str = "bench";

/// Facts of the gateway's settings.
pub struct Environment {
    /// Where clients reach a gateway that is already running.
    pub public_addr: SocketAddr,
    /// Where the admin port of a gateway that is already running is reached.
    pub admin_addr: SocketAddr,
    /// The key of the admin port.
    pub admin_key: Option<String>,
    /// What carries publications.
    pub broker: BrokerAddress,
    /// The prefix of the gateway's channels in Redis.
    pub prefix: String,
    /// How tokens are checked.
    pub tokens: TokenKind,
    /// Mints tokens.
    pub mint_token: Box<MintToken>,
    /// Namespaces whose channels are open to everybody.
    pub public_namespaces: Vec<String>,
    /// How often the gateway expects a heartbeat of each client.
    pub heartbeat_interval: Duration,
    /// How many sockets a gateway with these settings has room for, started with this process' limit of open files.
    pub max_sockets: usize,
    /// The arguments of `emagine-gateway run` that start a gateway with these settings.
    pub run_arguments: Vec<String>,
}

/// Mints a token for a user that opens these channels. It is signed with this JWT secret instead of the settings' own,
/// if there is one.
pub type MintToken = dyn Fn(Option<&str>, &str, &[String]) -> Result<String, String>;

/// How the gateway checks tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TokenKind {
    /// Not at all.
    Insecure,
    /// JSON Web Tokens.
    Jwt,
    /// E-Magine's own login tokens.
    Signed,
}

/// What carries publications.
pub enum BrokerAddress {
    /// The gateway's own memory.
    Memory,
    /// A Redis that speaks plain TCP.
    Redis(RedisAddress),
    /// A Redis that the load generator does not speak to: over TLS, sentinels or a Unix socket.
    OtherRedis,
}

/// A Redis that speaks plain TCP. No `Debug`: it may hold a password.
#[derive(Clone)]
pub struct RedisAddress {
    /// The host.
    pub host: String,
    /// The port.
    pub port: u16,
    /// The arguments of `AUTH`: none, a password, or a user and a password.
    pub login: Vec<String>,
}

impl TokenKind {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Insecure => "insecure",
            Self::Jwt => "jwt",
            Self::Signed => "signed",
        }
    }
}

impl Environment {
    /// The secret of a gateway of our own whose user has not said how tokens are checked: they are checked, then.
    pub(crate) fn generate_secret(&self, arguments: &BenchArgs) -> Option<String> {
        let is_free = self.tokens == TokenKind::Insecure && !self.is_set("auth.kind");
        let secret = || format!("{:032x}{:032x}", rand::random::<u128>(), rand::random::<u128>());
        (!arguments.running && is_free).then(secret)
    }

    /// Environment variables for a gateway of our own, which yield to what its user has set: a namespace, this secret for
    /// tokens, and no heartbeats where they would blur what is measured.
    pub(crate) fn gateway_variables(
        &self,
        arguments: &BenchArgs,
        secret: Option<&str>,
    ) -> Vec<(String, String)> {
        let mut wanted = vec![("channels.public_namespaces", NAMESPACE)];
        if let Some(secret) = secret {
            wanted.extend([("auth.kind", "jwt"), ("auth.secret", secret)]);
        }
        if !arguments.has_heartbeats() {
            wanted.extend([("session.heartbeat_interval", "1h"), ("session.heartbeat_grace", "1h")]);
        }
        if arguments.deflate {
            wanted.push(("server.compression", "true"));
        }
        wanted.retain(|(key, _)| !self.is_set(key));
        wanted.into_iter().map(|(key, value)| (variable(key), value.to_owned())).collect()
    }

    fn is_set(&self, key: &str) -> bool {
        std::env::var_os(variable(key)).is_some()
            || self.run_arguments.iter().any(|text| text.starts_with(&format!("{key}=")))
    }

    /// The namespace of the channels that clients subscribe to.
    pub(crate) fn namespace(&self, arguments: &BenchArgs) -> &str {
        match self.public_namespaces.first() {
            Some(public) if arguments.running => public,
            _ => NAMESPACE,
        }
    }
}

fn variable(key: &str) -> String {
    format!("GATEWAY__{}", key.replace('.', "__").to_ascii_uppercase())
}
