//! Composes all parts of a gateway; starts, reloads and drains it.
//!
//! - `broker`: the broker from the settings. `keys`: keeps the keys of tokens current. `opaque`: asks about opaque
//!   tokens. `control`: applies the broker's commands to the sessions. `announce`: log lines and warnings at the start.
//!   `limits`: the limits of the parts. `running_time`: the time in which the process ran, for the drain.

mod announce;
mod broker;
mod control;
mod keys;
mod limits;
mod opaque;
mod running_time;

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use actix_rt::time::{Instant, interval};
use tokio::time::MissedTickBehavior;

use self::control::SessionControl;
use self::keys::{KeyLoader, KeyThread};
use self::limits::{
    caps, event_stream_rules, export_limits, hub_limits, raise_fd_limit, rules, session_caps, socket_options,
};
use self::running_time::RunningTime;
use crate::auth::{AuthSetupError, ReloadableAuthenticator};
use crate::broker::{Broker, BrokerSetupError};
use crate::http::{self, AdminState, ApiKey, CurrentKey, InstanceInfo, Readiness, ReplicaReporter};
use crate::hub::Hubs;
use crate::hub::messages::Drain;
use crate::metrics::Metrics;
use crate::session::admission::{DrainSwitch, Sessions};
use crate::session::limits::SessionLimits;
use crate::session::staleness::Staleness;
use crate::session::{SendQueues, Services};
use crate::settings::{AuthKind, Profile, Settings, SettingsErrors, format_duration, plain_io};
use crate::socket::limits::ConnectionLimiter;
use crate::socket::listener;
use crate::socket::origin::OriginPolicy;
use crate::socket::proxies::TrustedProxies;
use protocol::conversation::MAX_OPEN_REQUESTS;

/// Why a gateway did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The key for tokens is invalid; the settings must be corrected.
    #[error(transparent)]
    Auth(#[from] AuthSetupError),
    /// A setting is invalid.
    #[error(transparent)]
    Settings(#[from] SettingsErrors),
    /// The broker cannot be set up; the settings must be corrected.
    #[error(transparent)]
    Broker(#[from] BrokerSetupError),
    /// A port cannot be bound: it is in use, or this user may not bind it.
    #[error("cannot listen on {address} ({key}): {}", plain_io(error))]
    Bind {
        /// The name of the setting.
        key: &'static str,
        /// The value of the setting.
        address: SocketAddr,
        /// The error of the system call.
        error: io::Error,
    },
    /// A server did not start.
    #[error("the server did not start: {}", plain_io(.0))]
    Server(#[from] io::Error),
}

/// Checks the settings as [`Gateway::start`] does, without starting anything.
///
/// # Errors
/// All errors that were found.
pub fn check(settings: &Settings) -> Result<(), Vec<StartError>> {
    let authenticator = ReloadableAuthenticator::new(&settings.auth).map(drop).map_err(StartError::from);
    let broker = broker::check(settings).map_err(StartError::from);
    let errors: Vec<_> = [authenticator, broker].into_iter().filter_map(Result::err).collect();
    if errors.is_empty() { Ok(()) } else { Err(errors) }
}

/// The warnings of [`Gateway::start`]: one sentence for each valid but questionable setting.
pub fn warnings(settings: &Settings) -> Vec<String> {
    announce::warnings(settings)
}

/// A running gateway.
#[derive(Debug)]
pub struct Gateway {
    settings: Settings,
    broker: Broker,
    hubs: Hubs,
    connections: ConnectionLimiter,
    drain: DrainSwitch,
    keys: KeyLoader,
    _key_thread: Option<KeyThread>,
    api_key: CurrentKey,
    servers: [actix_server::ServerHandle; 2],
}

impl Gateway {
    /// Builds all parts, binds both ports and starts to serve. Must be called on an actix system.
    ///
    /// Invalid settings are reported before a port is bound. Does not check whether Redis is reachable: see
    /// [`setup_failed`](Self::setup_failed).
    pub fn start(settings: Settings, metrics: Metrics) -> Result<Self, StartError> {
        let tokens = ReloadableAuthenticator::new(&settings.auth)?;
        let broker = broker::start(&settings, &metrics)?;
        let opaque = opaque::start(&settings, &broker, &tokens, &metrics);
        let networks = settings.server.trusted_networks().map_err(SettingsErrors::from)?;
        let proxies = TrustedProxies::new(networks);
        let fd_limit = raise_fd_limit(&settings);
        let public = bind("server.public_addr", settings.server.public_addr, listener::BACKLOG)?;
        let admin = bind("server.admin_addr", settings.server.admin_addr, http::BACKLOG)?;
        let (public_addr, admin_addr) = (public.local_addr()?, admin.local_addr()?);

        let (hubs, drain) = (Hubs::default(), DrainSwitch::default());
        let staleness = Staleness::new(broker.clone(), settings.control);
        let connections = ConnectionLimiter::new(caps(&settings, fd_limit));
        let readiness = Readiness {
            broker: broker.clone(),
            tokens: tokens.clone(),
            staleness: staleness.clone(),
            opaque: opaque.clone(),
            drain: drain.clone(),
            connections: connections.clone(),
            max_connections: settings.server.max_connections,
            fd_limit,
        };
        let instance = instance(&settings, public_addr, &tokens);
        let reporter = ReplicaReporter {
            metrics: metrics.clone(),
            readiness: readiness.clone(),
            instance: instance.clone(),
        };
        broker.set_control_handler(Arc::new(SessionControl { hubs: hubs.clone(), reporter }));
        let sessions = {
            let (hubs, broker, metrics, drain) =
                (hubs.clone(), broker.clone(), metrics.clone(), drain.clone());
            let (rules, tokens) = (Arc::new(rules(&settings)), tokens.clone());
            let event_stream_rules = Arc::new(event_stream_rules(&settings));
            let (staleness, opaque) = (staleness.clone(), opaque.clone());
            let server = &settings.server;
            let origins = OriginPolicy::new(&server.allowed_origins, server.allow_missing_origin);
            let limits = SessionLimits::new(session_caps(&settings));
            let hub_limits = hub_limits(&settings);
            // Runs on each worker thread, which then owns the hub and its sessions.
            move || Sessions {
                services: Rc::new(Services {
                    rules: Arc::clone(&rules),
                    event_stream_rules: Arc::clone(&event_stream_rules),
                    // A client may have so many pages on their way without being closed as a slow reader.
                    max_history_bytes: hub_limits.rules.recovery.bytes / usize::from(MAX_OPEN_REQUESTS),
                    tokens: tokens.clone(),
                    opaque: opaque.clone(),
                    hub: hubs.start_here(&broker, hub_limits.clone(), &metrics),
                    broker: broker.clone(),
                    sends: SendQueues::default(),
                    staleness: staleness.clone(),
                    metrics: metrics.clone(),
                }),
                origins: origins.clone(),
                drain: drain.clone(),
                limits: limits.clone(),
            }
        };
        let workers = settings.server.worker_threads();
        export_limits(&settings, &metrics, fd_limit);
        let options = socket_options(&settings, &metrics, proxies, fd_limit);
        let public = listener::serve(public, workers, options, connections.clone(), sessions)?;
        let keys = KeyLoader::new(&settings, &tokens, &metrics);
        let key_thread = keys.clone().start()?;
        let api_key = CurrentKey::new(api_key(&settings));
        let admin = http::serve(
            admin,
            AdminState {
                broker: broker.clone(),
                metrics,
                readiness,
                hubs: hubs.clone(),
                instance,
                key: api_key.clone(),
                max_payload_bytes: settings.broker.max_payload_bytes,
                max_connections: settings.admin.max_connections,
                request_timeout: settings.admin.request_timeout,
            },
        )?;
        let servers = [public.handle(), admin.handle()];
        actix_rt::spawn(public);
        actix_rt::spawn(admin);
        broker::spawn_presence_timer(&broker);
        announce::announce(&settings, workers, public_addr, admin_addr);
        Ok(Self {
            settings,
            broker,
            hubs,
            connections,
            drain,
            keys,
            _key_thread: key_thread,
            api_key,
            servers,
        })
    }

    /// Returns when the gateway has found, before it was ever ready, that it cannot serve with its settings. Returns one
    /// sentence for the operator.
    pub async fn setup_failed(&self) -> String {
        self.broker.setup_failed().await
    }

    /// Reloads keys and certificates. If a file is invalid, the gateway logs an error and keeps the old key or
    /// certificate. Sessions are not affected.
    pub fn reload(&self) {
        self.keys.load();
        let settings = match self.settings.reload_other_files() {
            Ok(settings) => settings,
            Err(errors) => {
                for error in errors.iter() {
                    log::error!("reload failed: {error}; the old settings stay in force");
                }
                return;
            }
        };
        let has_keys = settings.auth.kind != AuthKind::Insecure;
        let has_link = !matches!(self.broker, Broker::Memory(_));
        let has_admin_key = settings.admin.api_key_file.is_some();
        if has_admin_key {
            self.api_key.replace(api_key(&settings));
            log::info!("reload: admin key reloaded");
        }
        // The link reads its files whenever it connects.
        match broker::check(&settings) {
            Ok(()) if has_link => {
                log::info!("reload: the link to the broker reads its files again when it next connects")
            }
            Ok(()) => {}
            Err(error) => {
                log::error!("reload failed: {error}; the current link stays connected, but cannot reconnect")
            }
        }
        if !(has_keys || has_admin_key || has_link) {
            log::info!("reload: no files to reload");
        }
    }

    /// Drains the gateway. It stops being ready at once and continues to serve for `drain.delay`. Then it closes all
    /// sockets within `drain.window`, gives up the presence lease and stops. Takes `drain.timeout` and a second at most.
    pub async fn drain(self) {
        let settings = &self.settings.drain;
        log::info!(
            "draining: open sockets: {}; closing them within {}, after a delay of {}",
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
                "drain.timeout has passed with {} sockets left; cutting them",
                self.connections.count()
            );
        }
        self.broker.end_lease().await;
        self.broker.shutdown();
        for server in &self.servers {
            server.stop(false).await;
        }
    }

    /// Closes all sockets. Returns whether all closed before `drain.timeout`. Only the time in which the process runs
    /// counts, so each socket gets its close code even if the process was stopped meanwhile.
    async fn drain_sockets(&self) -> bool {
        let settings = &self.settings.drain;
        let mut ticks = interval(Duration::from_millis(10));
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut running = RunningTime::start(std::time::Instant::now());
        let mut has_notified = false;
        loop {
            ticks.tick().await;
            let used = running.sample(std::time::Instant::now());
            if !has_notified && used >= settings.delay {
                self.drain.refuse_sessions();
                self.hubs.drain(Drain { window: settings.window });
                has_notified = true;
            }
            if has_notified && self.connections.count() == 0 {
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

/// The facts of this process that the console shows.
fn instance(settings: &Settings, public_addr: SocketAddr, tokens: &ReloadableAuthenticator) -> InstanceInfo {
    InstanceInfo {
        profile: settings.profile,
        auth: settings.auth.kind,
        broker: if settings.broker.url == "memory:" { "memory" } else { "redis" },
        public_addr,
        socket_url: settings.admin.socket_url.clone(),
        minting: is_local(settings).then(|| tokens.clone()),
        started: std::time::Instant::now(),
    }
}

/// Whether the profile is development and only this machine can reach the admin port.
fn is_local(settings: &Settings) -> bool {
    settings.profile == Profile::Development && settings.server.admin_addr.ip().is_loopback()
}

/// The key of the admin API. Without a key, the API is open only if other machines cannot reach it.
fn api_key(settings: &Settings) -> ApiKey {
    match &settings.admin.api_key {
        Some(key) => ApiKey::Required(key.clone()),
        None if is_local(settings) => ApiKey::Open,
        None => ApiKey::Closed,
    }
}
