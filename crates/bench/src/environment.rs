//! The settings of the measured gateway, as far as the load generator needs them.

use std::net::SocketAddr;
use std::time::Duration;

use crate::arguments::{BenchArgs, Scenario};
use crate::process::cores;

/// The public namespace of a gateway that the generator starts.
const NAMESPACE: &str = "bench";
const HEARTBEAT_INTERVAL: &str = "session.heartbeat_interval";

/// The settings of the measured gateway.
pub struct Environment {
    /// The public address of a running gateway.
    pub public_addr: SocketAddr,
    /// The admin address of a running gateway.
    pub admin_addr: SocketAddr,
    /// The key of the admin port.
    pub admin_key: Option<String>,
    /// The broker of publications.
    pub broker: BrokerAddress,
    /// The prefix of the gateway's channels in Redis.
    pub prefix: String,
    /// How tokens are checked.
    pub tokens: TokenKind,
    /// Mints tokens.
    pub mint_token: Box<MintToken>,
    /// Namespaces with public channels.
    pub public_namespaces: Vec<String>,
    /// The interval of heartbeats.
    pub heartbeat_interval: Duration,
    /// The maximum number of sockets of a gateway with these settings and this process' limit of open files.
    pub max_sockets: usize,
    /// Arguments of `emagine-gateway run` that start a gateway with these settings.
    pub run_arguments: Vec<String>,
}

/// Mints a token from a JWT secret, a user and granted channels. Without a secret, the token is signed with the
/// secret of the settings.
pub type MintToken = dyn Fn(Option<&str>, &str, &[String]) -> Result<String, String>;

/// How the gateway checks tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TokenKind {
    /// The token is the user id.
    Insecure,
    /// Tokens are JSON Web Tokens.
    Jwt,
    /// Tokens are E-Magine's login tokens.
    Signed,
}

/// The broker of publications.
pub enum BrokerAddress {
    /// The gateway's own memory.
    Memory,
    /// A Redis that speaks plain TCP.
    Redis(RedisAddress),
    /// A Redis that the load generator cannot connect to: over TLS, sentinels or a Unix socket.
    OtherRedis,
}

/// The address of a Redis that speaks plain TCP. No `Debug`, because it may contain a password.
#[derive(Clone)]
pub struct RedisAddress {
    /// Host name or IP address.
    pub host: String,
    /// TCP port.
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
    /// A new JWT secret, if the generator starts the gateway and `auth.kind` is not set: tokens are checked by default.
    pub(crate) fn generate_secret(&self, arguments: &BenchArgs) -> Option<String> {
        let is_free = self.tokens == TokenKind::Insecure && !self.is_set("auth.kind");
        (!arguments.running && is_free).then(random_secret)
    }

    /// Environment variables for a gateway that the generator starts: a namespace, a secret, and no heartbeats where
    /// they would distort the measurement. Settings of the user take precedence.
    pub(crate) fn gateway_variables(
        &self,
        arguments: &BenchArgs,
        secret: Option<&str>,
        is_cluster: bool,
    ) -> Vec<(String, String)> {
        let mut wanted = vec![("channels.public_namespaces", NAMESPACE)];
        if let Some(secret) = secret {
            wanted.extend([("auth.kind", "jwt"), ("auth.secret", secret)]);
        }
        if !arguments.has_heartbeats() {
            wanted.extend([(HEARTBEAT_INTERVAL, "1h"), ("session.heartbeat_grace", "1h")]);
        }
        if let Some(profile) = arguments.profile {
            wanted.push((HEARTBEAT_INTERVAL, profile.setting()));
        }
        if arguments.has_signals() {
            wanted.push(("namespaces.bench.signals", "true"));
        }
        if arguments.has_sends() {
            // The worker needs a moment at the start and after the end. All sockets together may be a few.
            wanted.extend([
                ("namespaces.bench.send", "true"),
                ("session.sends_per_minute", "1000000"),
                ("inbox.max_entries", "10000000"),
            ]);
        }
        if is_cluster {
            wanted.push(("broker.shards", "slots"));
        }
        let workers = arguments.replicas.map(|replicas| (cores() / replicas).max(1).to_string());
        if let Some(workers) = &workers {
            // All replicas share the machine, so Redis and its connections may wait for their turn.
            wanted.extend([
                ("server.workers", workers.as_str()),
                ("broker.response_timeout", "10s"),
                ("broker.probe_timeout", "10s"),
            ]);
        }
        if arguments.scenario == Scenario::Scale {
            wanted.extend([("drain.window", "10s"), ("drain.timeout", "2m")]);
        }
        if arguments.deflate {
            wanted.push(("server.compression", "true"));
        }
        wanted.retain(|(key, _)| !self.is_set(key));
        wanted.into_iter().map(|(key, value)| (variable(key), value.to_owned())).collect()
    }

    /// Whether the settings name no Redis.
    pub(crate) fn is_memory(&self) -> bool {
        matches!(self.broker, BrokerAddress::Memory)
    }

    /// The interval of heartbeats in a run.
    pub(crate) fn heartbeat_interval(&self, arguments: &BenchArgs) -> Duration {
        match arguments.profile {
            Some(profile) if !self.is_set(HEARTBEAT_INTERVAL) => profile.heartbeat_interval(),
            _ => self.heartbeat_interval,
        }
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

/// A new secret for tokens.
pub(crate) fn random_secret() -> String {
    format!("{:032x}{:032x}", rand::random::<u128>(), rand::random::<u128>())
}

fn variable(key: &str) -> String {
    format!("GATEWAY__{}", key.replace('.', "__").to_ascii_uppercase())
}
