//! `bench`: passes the settings to the load generator (crates/bench) and runs it.

use std::process::ExitCode;
use std::time::{Duration, SystemTime};

pub(super) use ::bench::BenchArgs;
use ::bench::{BrokerAddress, Environment, MintToken, RedisAddress, TokenKind};
use redis::{ConnectionAddr, IntoConnectionInfo as _};

use super::Failure;
use super::client::url::reachable;
use crate::auth::mint;
use crate::settings::{AuthKind, AuthSettings, BrokerSettings, Secret, Settings};
use crate::socket::fd_limit::FdLimit;

/// Longer than any run.
const TOKEN_LIFETIME: Duration = Duration::from_secs(2 * 86_400);

/// Runs a scenario. `run_arguments` are arguments of `run` that start a gateway with the same settings.
pub(super) fn bench(
    settings: Settings,
    run_arguments: Vec<String>,
    arguments: &BenchArgs,
) -> Result<ExitCode, Failure> {
    let workers = settings.server.worker_threads();
    let environment = Environment {
        public_addr: reachable(settings.server.public_addr),
        admin_addr: reachable(settings.server.admin_addr),
        admin_key: settings.admin.api_key.map(|key| key.expose().to_owned()),
        broker: broker(&settings.broker),
        prefix: settings.broker.redis_prefix().into_owned(),
        tokens: match settings.auth.kind {
            AuthKind::Insecure => TokenKind::Insecure,
            AuthKind::Jwt => TokenKind::Jwt,
            AuthKind::Signed => TokenKind::Signed,
            // Minting fails, and says that the backend hands these tokens out.
            AuthKind::Redis | AuthKind::Introspection => TokenKind::Signed,
        },
        mint_token: mint_token(settings.auth),
        public_namespaces: settings.channels.public_namespaces,
        heartbeat_interval: settings.session.heartbeat_interval,
        max_sockets: FdLimit::raise(workers, settings.admin.max_connections)?.sockets(),
        run_arguments,
    };
    ::bench::run(&environment, arguments).map_err(|error| Failure::Other(error.to_string()))
}

fn mint_token(settings: AuthSettings) -> Box<MintToken> {
    Box::new(move |secret, user, channels| {
        let mut settings = settings.clone();
        if let Some(secret) = secret {
            settings.kind = AuthKind::Jwt;
            settings.secret = Some(Secret::from(secret.to_owned()));
        }
        let lifetime = TOKEN_LIFETIME.min(settings.max_age);
        mint(&settings, user, channels, lifetime, SystemTime::now()).map_err(|error| error.to_string())
    })
}

fn broker(settings: &BrokerSettings) -> BrokerAddress {
    if settings.url == "memory:" {
        return BrokerAddress::Memory;
    }
    let Ok(info) = settings.url.as_str().into_connection_info() else { return BrokerAddress::OtherRedis };
    let ConnectionAddr::Tcp(host, port) = info.addr() else { return BrokerAddress::OtherRedis };
    // The settings allow one source of the password: the URL, `password` or `password_file`. So the order is free.
    let read_file = || settings.password_file.as_deref().and_then(|path| Secret::read_file(path).ok());
    let password = settings.password.clone().or_else(read_file).map(|secret| secret.expose().to_owned());
    let password = info.redis_settings().password().map(str::to_owned).or(password);
    let user = info.redis_settings().username().map(str::to_owned).or_else(|| settings.username.clone());
    let login = password.as_ref().and(user).into_iter().chain(password.clone()).collect();
    BrokerAddress::Redis(RedisAddress { host: host.clone(), port: *port, login })
}
