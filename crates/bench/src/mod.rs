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
mod floor;
mod latency;
mod load;
mod outcome;
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

use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use rand::Rng as _;

pub(super) use self::arguments::BenchArgs;
use self::arguments::Scenario;
use self::outcome::Outcome;
use self::plot::Across;
use self::redis::OwnRedis;
use self::report::Report;
use self::run::Run;
use self::scenario::user;
use self::swarm::{Identity, Plan, Swarm};
use self::target::Target;
use super::token::mint_for;
use super::{Failure, complain, print};
use crate::settings::{AuthKind, Secret, Settings};
use crate::socket::descriptors::Descriptors;

/// Longer than any run.
const TOKEN_LIFE: Duration = Duration::from_secs(2 * 86_400);
/// The namespace that a gateway of our own opens to everybody.
const NAMESPACE: &str = "bench";
/// What the generator itself needs, beside its sockets.
const OWN_FILES: usize = 64;

/// Runs a scenario. `forwarded` are the settings among the arguments, for a gateway of its own.
pub(super) fn bench(
    settings: Settings,
    forwarded: Vec<String>,
    arguments: &BenchArgs,
) -> Result<ExitCode, Failure> {
    if arguments.scenario == Scenario::FloorServer {
        return floor::serve();
    }
    children::end_with_signals()?;
    match &arguments.sweep {
        Some(sweep) => sweep.run(&settings, &forwarded, arguments),
        None => {
            arguments.check()?;
            tell(&once(settings, forwarded, arguments)?)
        }
    }
}

/// Runs a scenario against the floor, if that is wanted, and the gateway.
fn once(
    mut settings: Settings,
    mut forwarded: Vec<String>,
    arguments: &BenchArgs,
) -> Result<Report, Failure> {
    check_limit(&settings, arguments)?;
    let redis = own_redis(&mut settings, &mut forwarded, arguments)?;
    // The floor first: what it leaves warm, the kernel above all, is to the good of the gateway.
    let floor = match arguments.floor {
        true => Some(measure(&settings, arguments, &mut Target::floor()?)?),
        false => None,
    };
    let mut target = if arguments.running {
        Target::running(&settings, arguments.pid)?
    } else {
        let environment = environment(&mut settings, &forwarded, arguments);
        Target::start(&settings, &forwarded, &environment)?
    };
    let gateway = measure(&settings, arguments, &mut target)?;
    let way = target.publisher()?.way();
    drop((target, redis));
    let auth = match settings.auth.kind {
        AuthKind::Jwt => "jwt",
        AuthKind::Signed => "signed",
        AuthKind::Insecure => "insecure",
    };
    Ok(Report { arguments: arguments.clone(), auth, way, gateway, floor })
}

fn tell(report: &Report) -> Result<ExitCode, Failure> {
    let arguments = &report.arguments;
    if let Some(path) = &arguments.plot {
        let title = format!("{}, {} sockets", arguments.scenario.name(), arguments.sockets);
        let svg = plot::svg(&title, report.gateway.curves_show, &Across::Seconds, &report.gateway.curves);
        draw(path, &svg)?;
    }
    if arguments.json {
        print(&report.json().to_string())?;
        report.warnings().iter().for_each(|warning| complain(warning));
    } else {
        print(report.table().trim_end())?;
    }
    Ok(if report.is_exact() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn draw(path: &Path, svg: &str) -> Result<(), Failure> {
    std::fs::write(path, svg).map_err(|error| Failure::Other(format!("the plot {}: {error}", path.display())))
}

/// One run against one target.
fn measure(settings: &Settings, arguments: &BenchArgs, target: &mut Target) -> Result<Outcome, Failure> {
    let (begun, shape) = (Instant::now(), arguments.shape());
    let namespace = if arguments.running {
        let public = settings.channels.public_namespaces.first();
        public.map_or(NAMESPACE, String::as_str).to_owned()
    } else {
        NAMESPACE.to_owned()
    };
    let plan = Plan {
        address: target.address,
        identities: identities(settings, arguments, target, &namespace)?,
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
        heartbeat_interval: settings.session.heartbeat_interval,
        namespace,
        outcome: Outcome::default(),
    };
    arguments.scenario.run(&mut run)?;
    Ok(run.outcome)
}

/// Tokens are made before anything is measured.
fn identities(
    settings: &Settings,
    arguments: &BenchArgs,
    target: &Target,
    namespace: &str,
) -> Result<Vec<Identity>, Failure> {
    let sockets = arguments.sockets;
    let is_jwt = settings.auth.kind == AuthKind::Jwt;
    let has_channels = arguments.shape().has_channels;
    let is_public = settings.channels.public_namespaces.iter().any(|public| public == namespace);
    if arguments.running && has_channels && !is_jwt && !is_public {
        return Err(Failure::Other(
            "clients may subscribe to nothing: set channels.public_namespaces, or use auth.kind jwt"
                .to_owned(),
        ));
    }
    let grants = if is_jwt && has_channels { vec![format!("{namespace}:*")] } else { Vec::new() };
    let identity = |index: usize| {
        // The floor looks at no token.
        let token = match target.is_floor {
            true => user(index),
            false => mint_for(settings, &user(index), &grants, TOKEN_LIFE.min(settings.auth.max_age))?,
        };
        Ok(Identity { token, channels: arguments.channels(namespace, index) })
    };
    (0..sockets + arguments.beside()).map(identity).collect()
}

/// Raises the limit of open files, and says clearly when it has no room for so many sockets.
fn check_limit(settings: &Settings, arguments: &BenchArgs) -> Result<(), Failure> {
    let sockets = arguments.sockets + arguments.beside();
    let limit = rlimit::increase_nofile_limit(u64::MAX)?;
    let most = usize::try_from(limit).unwrap_or(usize::MAX).saturating_sub(OWN_FILES);
    let workers = match settings.server.workers {
        0 => std::thread::available_parallelism().map_or(1, usize::from),
        workers => workers,
    };
    // A gateway of our own has the same limit, and keeps more for itself.
    let descriptors = Descriptors::raise(workers, settings.admin.max_connections)?;
    let most = if arguments.running { most } else { most.min(descriptors.sockets()) };
    if sockets > most {
        return Err(Failure::Other(format!(
            "the limit of open files ({limit}) has room for {most} sockets, not for {sockets}: raise it (ulimit -n)"
        )));
    }
    Ok(())
}

/// Starts a Redis if one is wanted, and has the gateway use it.
fn own_redis(
    settings: &mut Settings,
    forwarded: &mut Vec<String>,
    arguments: &BenchArgs,
) -> Result<Option<OwnRedis>, Failure> {
    if !arguments.redis {
        return Ok(None);
    }
    if settings.broker.url != "memory:" {
        return Err(Failure::Other(
            "--redis starts a Redis, but broker.url names one: give one of the two".to_owned(),
        ));
    }
    let redis = OwnRedis::start()?;
    settings.broker.url.clone_from(&redis.url);
    forwarded.extend(["--broker-url".to_owned(), redis.url.clone()]);
    Ok(Some(redis))
}

/// What a gateway of our own is told besides, where its user has not said otherwise: tokens that have to be checked, and no
/// heartbeats where they would blur what is measured.
fn environment(
    settings: &mut Settings,
    forwarded: &[String],
    arguments: &BenchArgs,
) -> Vec<(String, String)> {
    let is_set = |key: &str| {
        let variable = format!("GATEWAY__{}", key.replace('.', "__").to_ascii_uppercase());
        std::env::var_os(variable).is_some()
            || forwarded.iter().any(|text| text.starts_with(&format!("{key}=")))
    };
    let mut wanted = vec![("channels.public_namespaces", NAMESPACE.to_owned())];
    if settings.auth.kind == AuthKind::Insecure && !is_set("auth.kind") {
        let mut bytes = [0; 32];
        rand::rng().fill_bytes(&mut bytes);
        let secret: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        settings.auth.kind = AuthKind::Jwt;
        settings.auth.secret = Some(Secret::from(secret.clone()));
        wanted.extend([("auth.kind", "jwt".to_owned()), ("auth.secret", secret)]);
    }
    if !arguments.shape().heartbeats {
        wanted.extend([
            ("session.heartbeat_interval", "1h".to_owned()),
            ("session.heartbeat_grace", "1h".to_owned()),
        ]);
    }
    if arguments.deflate {
        wanted.push(("server.compression", "true".to_owned()));
    }
    wanted.retain(|(key, _)| !is_set(key));
    let variable = |key: &str| format!("GATEWAY__{}", key.replace('.', "__").to_ascii_uppercase());
    wanted.into_iter().map(|(key, value)| (variable(key), value)).collect()
}
