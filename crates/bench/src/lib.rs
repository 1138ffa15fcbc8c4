//! The load generator of the gateway, and a baseline server for comparison. The gateway's binary contains it as
//! `emagine-gateway bench`; it starts the same binary as `run` and as `bench baseline-server`.
//!
//! # Layout
//!
//! - `arguments`: the command line. `environment`: the settings of the gateway. `scenario`: one file for each scenario.
//!   `profile`: idle tests that others publish.
//! - `target`: the measured server. `baseline`: the baseline server. `other_server`: servers other than the gateway,
//!   with their protocols. `redis`, `redis_cluster`, `publisher`: publishing. `inbox_worker`: deletes what clients have
//!   sent. `children`: the child processes.
//! - `generator`: the processes that have the clients with `--replicas`.
//! - `clients`: all clients and their counts. `worker`: one thread of clients, what they receive, and their absences.
//!   `client`: one client. `wire`: the bytes that clients send and receive.
//! - `run`: one run against one target. `load`: publishing in a run. `latency`, `process`, `memory`: measurements.
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
mod generator;
mod inbox_worker;
mod latency;
mod load;
mod memory;
mod other_server;
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
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

pub use self::arguments::BenchArgs;
use self::arguments::Scenario;
use self::clients::{ClientIdentity, ClientPlan, Clients};
pub use self::environment::{BrokerAddress, Environment, MintToken, RedisAddress, TokenKind};
pub use self::error::BenchError;
use self::generator::GeneratorShare;
use self::other_server::{OtherServer, Protocol};
use self::outcome::BenchOutcome;
use self::redis::OwnRedis;
use self::report::Report;
use self::run::ScenarioRun;
use self::target::Target;

/// An interval in which a run sees no heartbeats of another server.
const NO_HEARTBEATS: Duration = Duration::from_secs(3_600);
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
    if arguments.generator {
        return generator::serve(environment, arguments);
    }
    children::end_children_on_signals()?;
    match &arguments.sweep {
        Some(sweep) => {
            arguments.check()?;
            sweep.run(environment, arguments)
        }
        None => {
            let arguments = arguments.with_replicas(environment.max_sockets, environment.is_memory());
            arguments.check()?;
            run_once(environment, &arguments)?.print()
        }
    }
}

/// Runs a scenario against the gateway, and before that against the baseline if requested.
fn run_once(environment: &Environment, arguments: &BenchArgs) -> Result<Report, BenchError> {
    check_limit(environment, arguments)?;
    let redis = own_redis(environment, arguments)?;
    // The baseline runs first, with colder caches of the kernel than the gateway.
    let baseline = match arguments.redis_cluster {
        _ if arguments.publish_http => {
            let by_redis = BenchArgs { publish_http: false, ..arguments.clone() };
            Some(measure_gateway(environment, &by_redis, redis.as_ref())?.outcome)
        }
        Some(_) => Some(measure_gateway(environment, arguments, Some(&OwnRedis::start()?))?.outcome),
        None if arguments.baseline => Some(measure(environment, arguments, None, Target::baseline()?)?),
        None => None,
    };
    let Measured { tokens, transport, mut outcome } = match (&arguments.server, &redis) {
        (Some(other), Some(redis)) => measure_other(environment, arguments, other, redis)?,
        _ => measure_gateway(environment, arguments, redis.as_ref())?,
    };
    if let (true, Some(by_redis)) = (arguments.publish_http, &baseline) {
        outcome.record_beyond(by_redis);
    }
    Ok(Report { arguments: arguments.clone(), tokens, transport, gateway: outcome, baseline })
}

/// The result of the measured server.
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
    let mut target = if arguments.running {
        Target::running(environment, arguments.pid)?
    } else {
        let is_cluster = redis.is_some_and(OwnRedis::is_cluster);
        let variables = environment.gateway_variables(arguments, secret.as_deref(), is_cluster);
        Target::start(environment, redis, &variables, arguments.replicas.unwrap_or(1))?
    };
    if arguments.publish_http {
        target.publish_over_http(environment, arguments.http_connections)?;
    }
    let transport = target.publisher.transport();
    let outcome = measure(environment, arguments, secret.as_deref(), target)?;
    let tokens = if secret.is_some() { TokenKind::Jwt } else { environment.tokens };
    Ok(Measured { tokens, transport, outcome })
}

/// Measures another server, which it starts for this Redis.
fn measure_other(
    environment: &Environment,
    arguments: &BenchArgs,
    other: &OtherServer,
    redis: &OwnRedis,
) -> Result<Measured, BenchError> {
    let secret = environment::random_secret();
    let interval =
        if arguments.has_heartbeats() { environment.heartbeat_interval(arguments) } else { NO_HEARTBEATS };
    let target = Target::other(other, redis, &secret, interval, arguments.http_connections)?;
    let transport = target.publisher.transport();
    let outcome = measure(environment, arguments, Some(&secret), target)?;
    Ok(Measured { tokens: other.product.tokens(), transport, outcome })
}

/// Measures one target. Tokens are signed with `secret`, or with the secret of the settings.
fn measure(
    environment: &Environment,
    arguments: &BenchArgs,
    secret: Option<&str>,
    target: Target,
) -> Result<BenchOutcome, BenchError> {
    let (started_at, started_at_us) = (Instant::now(), since_1970().as_micros() as u64);
    let share = |share: usize, shares: usize| {
        let clients = arguments.clients();
        GeneratorShare {
            secret: secret.map(str::to_owned),
            started_at_us,
            clients: clients * share / shares..clients * (share + 1) / shares,
            addresses: target.servers.iter().map(|server| server.address).collect(),
        }
    };
    let clients = match arguments.replicas {
        Some(replicas) => {
            let shares: Vec<_> = (0..replicas).map(|number| share(number, replicas)).collect();
            Clients::start_processes(&shares, arguments.resumes())?
        }
        None => {
            let plan =
                client_plan(environment, arguments, &share(0, 1), (target.protocol, target.is_baseline))?;
            Clients::start(plan, arguments.threads, started_at)?
        }
    };
    let (heartbeat_interval, namespace) =
        (environment.heartbeat_interval(arguments), environment.namespace(arguments).to_owned());
    let outcome = BenchOutcome::default();
    let mut run =
        ScenarioRun { arguments, target, clients, started_at, heartbeat_interval, namespace, outcome };
    let result = scenario::run(&mut run);
    children::kill_together(&[run.target.processes(), run.clients.processes()].concat());
    result.map(|()| run.outcome)
}

/// The time by the clock of the machine, which all processes share.
fn since_1970() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

/// The clients of one process. `server`: the protocol, and whether the server is the baseline.
fn client_plan(
    environment: &Environment,
    arguments: &BenchArgs,
    share: &GeneratorShare,
    server: (Protocol, bool),
) -> Result<ClientPlan, BenchError> {
    Ok(ClientPlan {
        addresses: share.addresses.clone(),
        protocol: server.0,
        first: share.clients.start,
        identities: identities(environment, arguments, share, server)?,
        is_v2: arguments.has_channels() || arguments.resumes(),
        resumes: arguments.resumes(),
        is_deflated: arguments.deflate,
        small_buffers: arguments.sockets..arguments.sockets + arguments.stalled_readers(),
    })
}

/// Mints the tokens of these clients, before the measurement.
fn identities(
    environment: &Environment,
    arguments: &BenchArgs,
    GeneratorShare { secret, clients, .. }: &GeneratorShare,
    (protocol, is_baseline): (Protocol, bool),
) -> Result<Vec<ClientIdentity>, BenchError> {
    let secret = secret.as_deref();
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
        if let Protocol::Other(product) = protocol {
            let channels = product.channels(&user);
            let token = (environment.mint_token)(secret, &user, product.claimed(&channels));
            return Ok(ClientIdentity { token: token.map_err(BenchError::Arguments)?, channels });
        }
        // The baseline does not check tokens.
        let token = if is_baseline { Ok(user) } else { (environment.mint_token)(secret, &user, &grants) };
        let channels = scenario::channels(arguments, namespace, index);
        Ok(ClientIdentity { token: token.map_err(BenchError::Arguments)?, channels })
    };
    clients.clone().map(identity).collect()
}

/// Raises the limit of open files; fails if it is too low for the sockets.
fn check_limit(environment: &Environment, arguments: &BenchArgs) -> Result<(), BenchError> {
    let sockets = arguments.clients_of_process();
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
