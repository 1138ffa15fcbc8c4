//! The load generator of the gateway, and a baseline server for comparison. The gateway's binary contains it as
//! `emagine-gateway bench`; it starts the same binary as `run` and as `bench baseline-server`.
//!
//! # Layout
//!
//! - `arguments`: the command line. `environment`: the settings of the gateway. `scenario`: one file for each scenario.
//!   `profile`: idle tests that others publish.
//! - `target`: the measured gateway or baseline. `baseline`: the baseline server. `redis`, `redis_cluster`, `publisher`: publishing.
//!   `inbox_worker`: deletes what clients have sent.
//!   `children`: the child processes.
//! - `clients`: all clients and their counts. `worker`: one thread of clients, and their absences. `client`: one client. `wire`: the bytes
//!   that clients send and receive.
//! - `run`: one run against one target. `load`: publishing in a run. `latency`, `process`: measurements.
//! - `outcome`, `report`, `plot`, `progress`, `output`: results. `sweep`: a scenario for several values of an option.
//!
//! Clients share no code with the gateway's socket layer, so a bug there cannot hide itself.

mod arguments;
mod baseline;
mod children;
mod client;
mod clients;
mod environment;
mod error;
mod inbox_worker;
mod latency;
mod load;
mod outcome;
mod output;
mod plot;
mod process;
mod profile;
mod progress;
mod publisher;
mod redis;
mod redis_cluster;
mod report;
mod run;
mod scenario;
mod sweep;
mod target;
mod wire;
mod worker;

use std::process::ExitCode;
use std::time::Instant;

pub use self::arguments::BenchArgs;
use self::arguments::Scenario;
use self::clients::{ClientIdentity, ClientPlan, Clients};
pub use self::environment::{BrokerAddress, Environment, MintToken, RedisAddress, TokenKind};
pub use self::error::BenchError;
use self::outcome::BenchOutcome;
use self::redis::OwnRedis;
use self::report::Report;
use self::run::ScenarioRun;
use self::target::Target;

/// Open files of the generator in addition to its sockets.
const OWN_FILES: usize = 64;

/// Runs a scenario and prints the result; returns the exit code of the process.
///
/// # Errors
/// The arguments are invalid, or the run failed.
pub fn run(environment: &Environment, arguments: &BenchArgs) -> Result<ExitCode, BenchError> {
    if arguments.scenario == Scenario::BaselineServer {
        return baseline::serve();
    }
    children::end_children_on_signals()?;
    match &arguments.sweep {
        Some(sweep) => sweep.run(environment, arguments),
        None => {
            arguments.check()?;
            run_once(environment, arguments)?.print()
        }
    }
}

/// Runs a scenario against the gateway, and before that against the baseline if requested.
fn run_once(environment: &Environment, arguments: &BenchArgs) -> Result<Report, BenchError> {
    check_limit(environment, arguments)?;
    let redis = own_redis(environment, arguments)?;
    // The baseline runs first, with colder caches of the kernel than the gateway.
    let baseline = match arguments.redis_cluster {
        Some(_) => Some(measure_gateway(environment, arguments, Some(&OwnRedis::start()?))?.outcome),
        None if arguments.baseline => Some(measure(environment, arguments, None, Target::baseline()?)?),
        None => None,
    };
    let Measured { tokens, transport, outcome } = measure_gateway(environment, arguments, redis.as_ref())?;
    Ok(Report { arguments: arguments.clone(), tokens, transport, gateway: outcome, baseline })
}

/// The result of a gateway.
struct Measured {
    tokens: TokenKind,
    transport: &'static str,
    outcome: BenchOutcome,
}

/// Measures the running gateway, or one that it starts for this Redis.
fn measure_gateway(
    environment: &Environment,
    arguments: &BenchArgs,
    redis: Option<&OwnRedis>,
) -> Result<Measured, BenchError> {
    let secret = environment.generate_secret(arguments);
    let target = if arguments.running {
        Target::running(environment, arguments.pid)?
    } else {
        let is_cluster = redis.is_some_and(OwnRedis::is_cluster);
        let variables = environment.gateway_variables(arguments, secret.as_deref(), is_cluster);
        Target::start(environment, redis, variables)?
    };
    let transport = target.publisher.transport();
    let outcome = measure(environment, arguments, secret.as_deref(), target)?;
    let tokens = if secret.is_some() { TokenKind::Jwt } else { environment.tokens };
    Ok(Measured { tokens, transport, outcome })
}

/// Measures one target. Tokens are signed with `secret`, or with the secret of the settings.
fn measure(
    environment: &Environment,
    arguments: &BenchArgs,
    secret: Option<&str>,
    target: Target,
) -> Result<BenchOutcome, BenchError> {
    let started_at = Instant::now();
    let plan = ClientPlan {
        address: target.address,
        identities: identities(environment, arguments, secret, target.is_baseline)?,
        is_v2: arguments.has_channels() || arguments.resumes(),
        resumes: arguments.resumes(),
        is_deflated: arguments.deflate,
        small_buffers: arguments.sockets..arguments.sockets + arguments.stalled_readers(),
    };
    let clients = Clients::start(plan, arguments.threads, started_at)?;
    let (heartbeat_interval, namespace) =
        (environment.heartbeat_interval(arguments), environment.namespace(arguments).to_owned());
    let outcome = BenchOutcome::default();
    let mut run =
        ScenarioRun { arguments, target, clients, started_at, heartbeat_interval, namespace, outcome };
    scenario::run(&mut run)?;
    Ok(run.outcome)
}

/// Mints all tokens, before the measurement.
fn identities(
    environment: &Environment,
    arguments: &BenchArgs,
    secret: Option<&str>,
    is_baseline: bool,
) -> Result<Vec<ClientIdentity>, BenchError> {
    let namespace = environment.namespace(arguments);
    let is_jwt = secret.is_some() || environment.tokens == TokenKind::Jwt;
    let has_channels = arguments.has_channels();
    let is_public = environment.public_namespaces.iter().any(|public| public == namespace);
    if arguments.running && has_channels && !is_jwt && !is_public {
        return Err(BenchError::Arguments(
            "clients may not subscribe to any channel: set channels.public_namespaces, or use auth.kind jwt"
                .to_owned(),
        ));
    }
    let grants = if is_jwt && has_channels { vec![format!("{namespace}:*")] } else { Vec::new() };
    let identity = |index: usize| {
        let user = scenario::user(index);
        // The baseline does not check tokens.
        let token = if is_baseline { Ok(user) } else { (environment.mint_token)(secret, &user, &grants) };
        let channels = scenario::channels(arguments, namespace, index);
        Ok(ClientIdentity { token: token.map_err(BenchError::Arguments)?, channels })
    };
    (0..arguments.clients()).map(identity).collect()
}

/// Raises the limit of open files; fails if it is too low for the sockets.
fn check_limit(environment: &Environment, arguments: &BenchArgs) -> Result<(), BenchError> {
    let sockets = arguments.clients();
    let limit = rlimit::increase_nofile_limit(u64::MAX)?;
    let most = usize::try_from(limit).unwrap_or(usize::MAX).saturating_sub(OWN_FILES);
    // A gateway started by the generator has the same limit and reserves more files.
    let most = if arguments.running { most } else { most.min(environment.max_sockets) };
    if sockets > most {
        return Err(BenchError::Arguments(format!(
            "the limit of open files ({limit}) has room for {most} of {sockets} sockets: raise the limit (ulimit -n)"
        )));
    }
    Ok(())
}

/// Starts a Redis or a cluster if requested.
fn own_redis(environment: &Environment, arguments: &BenchArgs) -> Result<Option<OwnRedis>, BenchError> {
    match (arguments.redis_cluster, arguments.redis, &environment.broker) {
        (None, false, _) => Ok(None),
        (Some(masters), _, BrokerAddress::Memory) => OwnRedis::start_cluster(masters).map(Some),
        (None, true, BrokerAddress::Memory) => OwnRedis::start().map(Some),
        (cluster, ..) => {
            let option = if cluster.is_some() { "--redis-cluster" } else { "--redis" };
            Err(BenchError::Arguments(format!(
                "{option} starts a Redis, but broker.url names one: use only one of the two"
            )))
        }
    }
}
