//! The composition: the only file that knows all parts. Start, readiness, reload, drain.
//!
//! - `broker`: the broker by the settings. `announce`: what the log says at the start. `running_time`: how long the
//!   process has run, for the drain.

mod announce;
mod broker;
mod running_time;

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use actix_rt::time::{Instant, interval};
use tokio::time::MissedTickBehavior;

use self::running_time::RunningTime;
use crate::auth::{AuthSetupError, Authenticator, Tokens};
use crate::broker::{Broker, BrokerSetupError, RecoveryLimits};
use crate::http::{self, Admin, ApiKey, CurrentKey, Deployment, Readiness};
use crate::hub::core::HubRules;
use crate::hub::messages::Drain;
use crate::hub::{HubLimits, Hubs};
use crate::metrics::Metrics;
use crate::session::admission::{DrainSwitch, Sessions};
use crate::session::limits::{SessionCaps, SessionLimits};
use crate::session::{Services, heartbeat};
use crate::settings::{Profile, Settings, SettingsErrors, format_duration, plain_io};
use crate::socket::descriptors::Descriptors;
use crate::socket::guard::Bounds;
use crate::socket::limits::{Caps, Connections};
use crate::socket::origin::OriginPolicy;
use crate::socket::proxies::TrustedProxies;
use crate::socket::{SocketOptions, listener};
use protocol::conversation::Rules;

/// Why the gateway did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The tokens' key cannot be used: mend the settings.
    #[error(transparent)]
    Auth(#[from] AuthSetupError),
    /// A setting cannot be used: mend it.
    #[error(transparent)]
    Settings(#[from] SettingsErrors),
    /// The broker cannot be set up: mend the settings.
    #[error(transparent)]
    Broker(#[from] BrokerSetupError),
    /// A port cannot be bound: it is taken, or not ours to take.
    #[error("cannot listen on {address} ({key}): {}", plain_io(error))]
    Bind {
        /// The setting.
        key: &'static str,
        /// What it says.
        address: SocketAddr,
        /// What the system answered.
        error: io::Error,
    },
    /// The server did not start.
    #[error("the server did not start: {}", plain_io(.0))]
    Server(#[from] io::Error),
}

/// Checks the settings as [`Gateway::start`] does, without starting anything.
///
/// # Errors
/// Every mistake.
pub fn check(settings: &Settings) -> Result<(), Vec<StartError>> {
    let authenticator = Authenticator::new(&settings.auth).map(drop).map_err(StartError::from);
    let broker = broker::check(settings).map_err(StartError::from);
    let errors: Vec<_> = [authenticator, broker].into_iter().filter_map(Result::err).collect();
    if errors.is_empty() { Ok(()) } else { Err(errors) }
}

/// The warnings of [`Gateway::start`]: a sentence for each questionable setting.
pub fn warnings(settings: &Settings) -> Vec<String> {
    announce::warnings(settings)
}

/// A gateway that is serving.
#[derive(Debug)]
pub struct Gateway {
    settings: Settings,
    broker: Broker,
    hubs: Hubs,
    connections: Connections,
    drain: DrainSwitch,
    tokens: Tokens,
    api_key: CurrentKey,
    servers: [actix_server::ServerHandle; 2],
}

impl Gateway {
    /// Builds all parts, binds both ports and starts to serve. Must be called on an actix system.
    ///
    /// What is wrong with the settings is found before a port is bound; whether Redis is there is not asked.
    pub fn start(settings: Settings, metrics: Metrics) -> Result<Self, StartError> {
        let tokens = Tokens::new(&settings.auth)?;
        let broker = broker::start(&settings, &metrics)?;
        let networks = settings.server.trusted_networks().map_err(SettingsErrors::from)?;
        let proxies = TrustedProxies::new(networks);
        let descriptors = raise_descriptors(&settings);
        let public = bind("server.public_addr", settings.server.public_addr, listener::BACKLOG)?;
        let admin = bind("server.admin_addr", settings.server.admin_addr, http::BACKLOG)?;
        let (public_addr, admin_addr) = (public.local_addr()?, admin.local_addr()?);

        let (hubs, drain) = (Hubs::default(), DrainSwitch::default());
        let connections = Connections::new(caps(&settings, descriptors));
        let sessions = {
            let (hubs, broker, metrics, drain) =
                (hubs.clone(), broker.clone(), metrics.clone(), drain.clone());
            let (rules, tokens) = (Arc::new(rules(&settings)), tokens.clone());
            let server = &settings.server;
            let origins = OriginPolicy::new(&server.allowed_origins, server.allow_missing_origin);
            let limits = SessionLimits::new(session_caps(&settings));
            let hub_limits = hub_limits(&settings);
            // Runs on each worker thread: its hub and its sessions stay there.
            move || Sessions {
                services: Rc::new(Services {
                    rules: Arc::clone(&rules),
                    tokens: tokens.clone(),
                    hub: hubs.start_here(&broker, hub_limits, &metrics),
                    metrics: metrics.clone(),
                }),
                origins: origins.clone(),
                drain: drain.clone(),
                limits: limits.clone(),
            }
        };
        let workers = settings.server.worker_threads();
        show_limits(&settings, &metrics, descriptors);
        let options = socket_options(&settings, &metrics, proxies, descriptors);
        let public = listener::serve(public, workers, options, connections.clone(), sessions)?;
        let api_key = CurrentKey::new(api_key(&settings));
        let admin = http::serve(
            admin,
            Admin {
                broker: broker.clone(),
                metrics,
                readiness: Readiness {
                    broker: broker.clone(),
                    drain: drain.clone(),
                    connections: connections.clone(),
                    max_connections: settings.server.max_connections,
                    descriptors,
                },
                hubs: hubs.clone(),
                deployment: deployment(&settings, public_addr, &tokens),
                key: api_key.clone(),
                max_payload_bytes: settings.broker.max_payload_bytes,
                max_connections: settings.admin.max_connections,
                request_timeout: settings.admin.request_timeout,
            },
        )?;
        let servers = [public.handle(), admin.handle()];
        actix_rt::spawn(public);
        actix_rt::spawn(admin);
        announce::announce(&settings, workers, public_addr, admin_addr);
        Ok(Self { settings, broker, hubs, connections, drain, tokens, api_key, servers })
    }

    /// Reloads keys and certificates. If a file cannot be used, the old ones stay in force and the log has an error.
    /// Sessions are not affected.
    pub fn reload(&self) {
        let settings = match self.settings.read_files_again() {
            Ok(settings) => settings,
            Err(errors) => {
                for error in errors.iter() {
                    log::error!("reload failed: {error}; the old settings stay in force");
                }
                return;
            }
        };
        match self.tokens.replace(&settings.auth) {
            Ok(()) => log::info!("reload: auth keys reloaded"),
            Err(error) => log::error!("reload failed: {error}; the old keys stay in force"),
        }
        if settings.admin.api_key_file.is_some() {
            self.api_key.replace(api_key(&settings));
            log::info!("reload: the key of the admin API was read again");
        }
        // A link reads its files itself, each time that it is made.
        match broker::check(&settings) {
            Ok(()) => log::info!("reload: the next link to the broker reads its files again"),
            Err(error) => {
                log::error!("reload failed: {error}; the current link stays, but a new link cannot be made")
            }
        }
    }

    /// Goes away in order: not ready any more, but still serving; after `drain.delay` every socket is told so and closed, spread
    /// over `drain.window`; then everything stops. Takes `drain.timeout` at most.
    pub async fn drain(self) {
        let settings = &self.settings.drain;
        log::info!(
            "draining: {} sockets, over {} after {}",
            self.connections.count(),
            format_duration(settings.window),
            format_duration(settings.delay)
        );
        let started = Instant::now();
        self.drain.start();
        if self.drain_sockets().await {
            log::info!("drained in {:.1}s", started.elapsed().as_secs_f64());
        } else {
            log::warn!(
                "drain.timeout has passed with {} sockets left; they are cut",
                self.connections.count()
            );
        }
        self.broker.shutdown();
        for server in &self.servers {
            server.stop(false).await;
        }
    }

    /// Closes all sockets. Returns whether this finished before `drain.timeout`. Only the time in which the process
    /// runs counts, so that after a stop each socket still gets its close code.
    async fn drain_sockets(&self) -> bool {
        let settings = &self.settings.drain;
        let mut look = interval(Duration::from_millis(10));
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut running = RunningTime::start(std::time::Instant::now());
        let mut is_told = false;
        loop {
            look.tick().await;
            let used = running.look(std::time::Instant::now());
            if !is_told && used >= settings.delay {
                self.drain.refuse();
                self.hubs.drain(Drain { window: settings.window });
                is_told = true;
            }
            if is_told && self.connections.count() == 0 {
                return true;
            }
            if used >= settings.timeout {
                return false;
            }
        }
    }
}

fn bind(key: &'static str, address: SocketAddr, backlog: i32) -> Result<TcpListener, StartError> {
    listener::bind(address, backlog).map_err(|error| StartError::Bind { key, address, error })
}

fn rules(settings: &Settings) -> Rules {
    let session = &settings.session;
    Rules {
        heartbeat: heartbeat::rules(session),
        identify_timeout: session.identify_timeout,
        max_message_bytes: session.max_message_bytes,
        messages_per_minute: session.messages_per_minute,
        max_subscriptions: settings.limits.subscriptions_per_session,
        public_namespaces: settings.channels.public_namespaces.clone(),
    }
}

fn hub_limits(settings: &Settings) -> HubLimits {
    let recovery = RecoveryLimits {
        messages: settings.session.recovery_limit,
        // What comes meanwhile needs room as well.
        bytes: settings.session.outbound_bytes / 2,
    };
    HubLimits {
        inbox_bytes: settings.broker.inbox_bytes,
        rules: HubRules::new(recovery, settings.broker.response_timeout),
    }
}

/// How many sockets settings and system allow. Over this the system would refuse, which cuts off the admin port and
/// Redis as well.
fn max_connections(settings: &Settings, descriptors: Descriptors) -> usize {
    match settings.server.max_connections {
        0 => descriptors.sockets(),
        cap => cap.min(descriptors.sockets()),
    }
}

/// The limits on sockets.
fn caps(settings: &Settings, descriptors: Descriptors) -> Caps {
    Caps {
        connections: max_connections(settings, descriptors),
        connections_per_address: settings.limits.connections_per_address,
        handshakes_per_address: handshakes_per_address(settings, descriptors),
        connects_per_second: settings.limits.connects_per_second,
        connects_per_second_per_address: settings.limits.connects_per_second_per_address,
    }
}

/// What sessions, users and their addresses may do.
fn session_caps(settings: &Settings) -> SessionCaps {
    let limits = &settings.limits;
    SessionCaps {
        unidentified: limits.unidentified,
        // Without separate client addresses, one address may represent all clients.
        unidentified_per_address: match limits.connections_per_address {
            0 => 0,
            _ => limits.unidentified.div_ceil(2),
        },
        sessions_per_user: limits.sessions_per_user,
        identifies_per_minute_per_user: limits.identifies_per_minute_per_user,
        failed_identifies_per_minute_per_address: limits.failed_identifies_per_minute_per_address,
    }
}

/// An address may not have more handshakes than sockets, nor more than half of all: the others are for others. A
/// handshake counts a little longer than it takes, so that very few would refuse who only comes back at once.
fn handshakes_per_address(settings: &Settings, descriptors: Descriptors) -> u32 {
    const FEWEST: u32 = 16;
    let half = u32::try_from(descriptors.handshakes() / 2).unwrap_or(u32::MAX);
    match settings.limits.connections_per_address {
        0 => 0,
        sockets => sockets.max(FEWEST).min(half),
    }
}

/// Sees to it that there are as many descriptors as there can be, and says how many sockets that is.
fn raise_descriptors(settings: &Settings) -> Descriptors {
    let max_connections = settings.server.max_connections;
    let workers = settings.server.worker_threads();
    let descriptors = Descriptors::raise(workers, settings.admin.max_connections).unwrap_or_else(|error| {
        log::warn!("the limit of open files cannot be read or raised: {error}");
        Descriptors::default()
    });
    let (limit, room) = (descriptors.limit(), descriptors.sockets());
    log::info!("open files: at most {limit}, which has room for {room} sockets");
    if max_connections > room {
        log::warn!(
            "server.max_connections is {max_connections}, but the limit of open files ({limit}) has room for \
             {room} sockets: raise that limit, or lower the setting"
        );
    }
    descriptors
}

/// Puts the bounds beside what they bound, for alerts.
fn show_limits(settings: &Settings, metrics: &Metrics, descriptors: Descriptors) {
    let shown = |limit: usize| i64::try_from(limit).unwrap_or(0);
    let (server, limits) = (&settings.server, &metrics.limits);
    limits.connections.set(shown(max_connections(settings, descriptors)));
    limits.admin_connections.set(shown(settings.admin.max_connections));
    limits.hub_inbox_bytes.set(shown(settings.broker.inbox_bytes * server.worker_threads()));
    limits.outbound_queued_bytes.set(shown(server.outbound_bytes));
}

fn socket_options(
    settings: &Settings,
    metrics: &Metrics,
    trusted_proxies: TrustedProxies,
    descriptors: Descriptors,
) -> SocketOptions {
    let session = &settings.session;
    SocketOptions {
        inbound: Bounds { message_bytes: session.max_message_bytes, fragments: session.max_fragments as u32 },
        message_timeout: session.message_timeout,
        control_frames_per_minute: session.control_frames_per_minute,
        outbound_bytes: session.outbound_bytes,
        outbound_bytes_of_all: match settings.server.outbound_bytes {
            0 => usize::MAX,
            bytes => bytes,
        },
        write_timeout: session.write_timeout,
        close_timeout: settings.server.close_timeout,
        handshake_timeout: settings.server.handshake_timeout,
        compression: settings.server.compression,
        handshakes: descriptors.handshakes(),
        trusted_proxies,
        metrics: metrics.clone(),
        traffic: Default::default(),
    }
}

/// What the console is told of this process.
fn deployment(settings: &Settings, public_addr: SocketAddr, tokens: &Tokens) -> Deployment {
    Deployment {
        profile: settings.profile,
        auth: settings.auth.kind,
        broker: if settings.broker.url == "memory:" { "memory" } else { "redis" },
        public_addr,
        socket_url: settings.admin.socket_url.clone(),
        minting: is_local(settings).then(|| tokens.clone()),
        started: std::time::Instant::now(),
    }
}

/// Whether this is development, and nobody else can reach the admin port.
fn is_local(settings: &Settings) -> bool {
    settings.profile == Profile::Development && settings.server.admin_addr.ip().is_loopback()
}

/// Without a key, the admin API is open only where nobody else can reach it.
fn api_key(settings: &Settings) -> ApiKey {
    match &settings.admin.api_key {
        Some(key) => ApiKey::Required(key.clone()),
        None if is_local(settings) => ApiKey::Open,
        None => ApiKey::Closed,
    }
}
