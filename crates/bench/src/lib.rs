//! `bench`: a load generator for this gateway, and a floor to compare it with.
//!
//! # Layout
//!
//! - `arguments`: what can be asked for. `scenario`: what is tried, a file each.
//! - `target`: the gateway, started or found; `floor`: the least that a server can do; `redis`, `publisher`; `children`: the
//!   processes of these, which end with this one.
//! - `swarm`: the clients and what they count together; `worker`: one thread of them; `client`: one of them; `wire`: their
//!   bytes.
//! - `run`: one run against one target; `load`: publishing in it; `latency`, `process`: what is measured.
//! - `outcome`, `report`, `plot`, `progress`: what is told. `sweep`: the same for several values.
//!
//! Clients use nothing of the gateway's own socket layer, so that a fault there does not hide itself.

mod arguments;
mod children;
mod client;
mod environment;
mod error;
mod floor;
mod latency;
mod load;
mod outcome;
mod output;
mod plot;
mod process;
mod progress;
mod publisher;
mod redis;
mod report;
mod run;
mod scenario;
mod swarm;
mod sweep;
mod target;
mod wire;
mod worker;

use std::process::ExitCode;
use std::time::Instant;

pub use self::arguments::BenchArgs;
use self::arguments::Scenario;
pub use self::environment::{BrokerAddress, Environment, MintToken, RedisAddress, TokenKind};
pub use self::error::BenchError;
use self::outcome::Outcome;
use self::redis::OwnRedis;
use self::report::Report;
use self::run::Run;
use self::scenario::user;
use self::swarm::{Identity, Plan, Swarm};
use self::target::Target;

/// What the generator itself needs, beside its sockets.
const OWN_FILES: usize = 64;

/// Runs a scenario and prints what it found; returns the process' exit code.
///
/// # Errors
/// One sentence for the user.
pub fn run(environment: &Environment, arguments: &BenchArgs) -> Result<ExitCode, BenchError> {
    if arguments.scenario == Scenario::FloorServer {
        return floor::serve();
    }
    children::end_with_signals()?;
    match &arguments.sweep {
        Some(sweep) => sweep.run(environment, arguments),
        None => {
            arguments.check()?;
            once(environment, arguments)?.tell()
        }
    }
}

/// Runs a scenario against the floor, if that is wanted, and the gateway.
fn once(environment: &Environment, arguments: &BenchArgs) -> Result<Report, BenchError> {
    check_limit(environment, arguments)?;
    let redis = own_redis(environment, arguments)?;
    // The floor first: what it leaves warm, the kernel above all, is to the good of the gateway.
    let floor = match arguments.floor {
        true => Some(measure(environment, arguments, None, &mut Target::floor()?)?),
        false => None,
    };
    let secret = environment.own_secret(arguments);
    let mut target = if arguments.running {
        Target::running(environment, arguments.pid)?
    } else {
        Target::start(environment, redis.as_ref(), &environment.own_variables(arguments, secret.as_deref()))?
    };
    let gateway = measure(environment, arguments, secret.as_deref(), &mut target)?;
    let way = target.publisher()?.way();
    let tokens = if secret.is_some() { TokenKind::Jwt } else { environment.tokens };
    Ok(Report { arguments: arguments.clone(), tokens, way, gateway, floor })
}

/// One run against one target, whose tokens are signed with this secret or the settings' own.
fn measure(
    environment: &Environment,
    arguments: &BenchArgs,
    secret: Option<&str>,
    target: &mut Target,
) -> Result<Outcome, BenchError> {
    let (begun, shape) = (Instant::now(), arguments.shape());
    let namespace = environment.namespace(arguments).to_owned();
    let plan = Plan {
        address: target.address,
        identities: identities(environment, arguments, secret, target)?,
        is_v2: shape.is_v2,
        is_deflated: arguments.deflate,
        keeps_places: shape.keeps_places,
        comes_back: shape.comes_back,
        narrow_from: arguments.narrow_from(),
        apart_from: arguments.sockets + arguments.stalled_readers(),
    };
    let swarm = Swarm::start(plan, arguments.threads, begun)?;
    let mut run = Run {
        arguments,
        target,
        swarm,
        begun,
        sockets: arguments.sockets,
        heartbeat_interval: environment.heartbeat_interval,
        namespace,
        outcome: Outcome::default(),
    };
    arguments.scenario.run(&mut run)?;
    Ok(run.outcome)
}

/// Tokens are made before anything is measured.
fn identities(
    environment: &Environment,
    arguments: &BenchArgs,
    secret: Option<&str>,
    target: &Target,
) -> Result<Vec<Identity>, BenchError> {
    let namespace = environment.namespace(arguments);
    let is_jwt = secret.is_some() || environment.tokens == TokenKind::Jwt;
    let has_channels = arguments.shape().has_channels;
    let is_public = environment.public_namespaces.iter().any(|public| public == namespace);
    if arguments.running && has_channels && !is_jwt && !is_public {
        return Err(BenchError::Arguments(
            "clients may subscribe to nothing: set channels.public_namespaces, or use auth.kind jwt"
                .to_owned(),
        ));
    }
    let grants = if is_jwt && has_channels { vec![format!("{namespace}:*")] } else { Vec::new() };
    let identity = |index: usize| {
        // The floor looks at no token.
        let token = match target.is_floor {
            true => user(index),
            false => {
                (environment.mint_token)(secret, &user(index), &grants).map_err(BenchError::Arguments)?
            }
        };
        Ok(Identity { token, channels: arguments.channels(namespace, index) })
    };
    (0..arguments.sockets + arguments.beside()).map(identity).collect()
}

/// Raises the limit of open files, and says clearly when it has no room for so many sockets.
fn check_limit(environment: &Environment, arguments: &BenchArgs) -> Result<(), BenchError> {
    let sockets = arguments.sockets + arguments.beside();
    let limit = rlimit::increase_nofile_limit(u64::MAX)?;
    let most = usize::try_from(limit).unwrap_or(usize::MAX).saturating_sub(OWN_FILES);
    // A gateway of our own has the same limit, and keeps more for itself.
    let most = if arguments.running { most } else { most.min(environment.max_sockets) };
    if sockets > most {
        return Err(BenchError::Arguments(format!(
            "the limit of open files ({limit}) has room for {most} sockets, not for {sockets}: raise it (ulimit -n)"
        )));
    }
    Ok(())
}

/// Starts a Redis if one is wanted.
fn own_redis(environment: &Environment, arguments: &BenchArgs) -> Result<Option<OwnRedis>, BenchError> {
    match environment.broker {
        _ if !arguments.redis => Ok(None),
        BrokerAddress::Memory => OwnRedis::start().map(Some),
        _ => Err(BenchError::Arguments(
            "--redis starts a Redis, but broker.url names one: give one of the two".to_owned(),
        )),
    }
}
