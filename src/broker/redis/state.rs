//! The state of one link, shared by the link and its handles.

use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use redis::RedisError;
use redis::aio::MultiplexedConnection;
use tokio::sync::{Notify, watch};

use super::super::Health;
use super::super::link::{LinkId, SharedLink};
use super::assignment::{Assignment, Duties};
use super::cluster::NodeAddress;
use super::cluster::slot::Slot;
use super::commands::Commands;
use super::downtime::Downtime;
use super::known_dataset::KnownDataset;
use super::link_error::LinkError;
use super::missing_commands::MissingCommands;
use super::not_run::NotRun;
use super::process::ProcessState;
use super::refused::RefusedChannels;
use super::signal_queue::SignalQueue;
use super::token_connection::TokenConnection;
use protocol::channel::ChannelName;

/// Shared by the link's thread and all handles. Dereferences to what all links of the process share.
pub(super) struct RedisState {
    process: Arc<ProcessState>,
    id: LinkId,
    pub(super) link: Arc<SharedLink>,
    /// The master of a cluster that this link is for; `None`: there is one link, which finds its server.
    pub(super) node: Option<NodeAddress>,
    /// What the link is to serve.
    wanted: watch::Sender<Assignment>,
    /// What the current connection serves.
    assignment: Mutex<Assignment>,
    /// The part of the probe's name that cannot be guessed.
    probe: String,
    link_state: watch::Sender<LinkState>,
    /// Notified when a publication finds the connection broken, so the next probe runs at once.
    pub(super) probe_now: Notify,
    /// Whether this process has loaded or found the function library before.
    pub(super) is_function_settled: AtomicBool,
    /// Why Redis does not have the function for durable publishing, if it does not; `None`: not checked yet.
    function: watch::Sender<Option<Result<(), String>>>,
    /// The settings in force for the data, and notes about it.
    pub(super) dataset: KnownDataset,
    pub(super) downtime: Downtime,
    refused: RefusedChannels,
    pub(super) missing_commands: MissingCommands,
    /// Signals of this process' sessions that are to be published.
    pub(super) signals: SignalQueue,
    pub(super) tokens: TokenConnection,
    started: Instant,
    /// When the latest probe returned, in milliseconds after `started`.
    probe_returned_ms: AtomicU64,
}

/// The state of the link, with its connection for commands: one value, so that a healthy link always has a connection.
#[derive(Clone)]
pub(super) enum LinkState {
    /// The first connection is being made.
    Connecting,
    /// Connected; subscribing, repairing, or waiting for the first probe after that to return.
    Probing {
        commands: Commands,
        /// Why the previous link ended or was not made. The same may end this one.
        before: Option<LinkError>,
    },
    /// A probe returned that was sent when all wanted channels were subscribed and repaired.
    Ready { commands: Commands, since: Instant },
    /// Lost or not made; another attempt follows.
    Down(LinkError),
    /// Shut down.
    Stopped,
}

impl RedisState {
    /// A link that the router has added.
    pub(super) fn new(
        process: Arc<ProcessState>,
        (id, link): (LinkId, Arc<SharedLink>),
        node: Option<NodeAddress>,
        assignment: Assignment,
    ) -> Self {
        let (options, metrics) = (&process.options, &process.metrics);
        Self {
            link,
            node,
            wanted: watch::Sender::new(assignment.clone()),
            assignment: Mutex::new(assignment),
            probe: format!("{:032x}", rand::random::<u128>()),
            link_state: watch::Sender::new(LinkState::Connecting),
            probe_now: Notify::new(),
            is_function_settled: AtomicBool::new(false),
            function: watch::Sender::new(None),
            dataset: KnownDataset::new(options),
            downtime: Downtime::default(),
            refused: RefusedChannels::default(),
            missing_commands: MissingCommands::default(),
            signals: SignalQueue::new(metrics),
            tokens: TokenConnection::default(),
            started: Instant::now(),
            probe_returned_ms: AtomicU64::new(0),
            process,
            id,
        }
    }

    pub(super) fn id(&self) -> LinkId {
        self.id
    }

    /// What this link is to serve from now on. A connection that cannot go on with it ends.
    pub(super) fn assign(&self, assignment: Assignment) {
        {
            let mut current = self.assignment.lock();
            if current.can_become(&assignment) {
                current.slots = Arc::clone(&assignment.slots);
            }
        }
        self.wanted.send_if_modified(|wanted| {
            let is_another = *wanted != assignment;
            *wanted = assignment;
            is_another
        });
    }

    /// What this link is to serve.
    pub(super) fn wanted(&self) -> Assignment {
        self.wanted.borrow().clone()
    }

    /// A connection begins, with what the link is to serve.
    pub(super) fn begin(&self) {
        let wanted = self.wanted();
        *self.assignment.lock() = wanted;
    }

    /// Returns once the connection cannot go on, because the link serves something else.
    pub(super) async fn reassigned(&self) {
        let is_another = |wanted: &Assignment| !self.assignment.lock().can_become(wanted);
        // The sender is in `self`, so the channel stays open.
        let _ = self.wanted.subscribe().wait_for(is_another).await;
    }

    /// Returns when the slots of the link have changed since the watch was made or last returned.
    pub(super) fn watch_slots(&self) -> watch::Receiver<Assignment> {
        self.wanted.subscribe()
    }

    /// What the current connection does besides following its channels.
    pub(super) fn duties(&self) -> Duties {
        self.assignment.lock().duties
    }

    /// The slots of the link; none where the slots do not matter.
    pub(super) fn slots(&self) -> Arc<[Slot]> {
        Arc::clone(&self.assignment.lock().slots)
    }

    /// One of the slots of the current connection; `None` where the slots do not matter.
    pub(super) fn home(&self) -> Option<Slot> {
        self.assignment.lock().home
    }

    /// The name of the channel of this link's own probes. No session can subscribe to it, because it has no namespace,
    /// and it cannot be guessed.
    pub(super) fn probe(&self) -> String {
        self.options.names().probe(&self.probe, self.home())
    }

    /// Names the server in messages.
    pub(super) fn name(&self) -> String {
        self.node.as_ref().map_or_else(|| "redis".to_owned(), |node| format!("redis at {node}"))
    }

    /// The connection for commands, while the link is up.
    pub(super) fn commands(&self) -> Option<MultiplexedConnection> {
        self.link_state.borrow().commands().map(Commands::connection)
    }

    /// The state of the link, and its changes.
    pub(super) fn watch(&self) -> watch::Receiver<LinkState> {
        self.link_state.subscribe()
    }

    /// The link is connected; `commands` is its connection for commands.
    pub(super) fn connected(&self, commands: MultiplexedConnection) {
        let commands = Commands::new(commands);
        if self.duties().control {
            self.control.connected();
        }
        self.change(|state| {
            let before = match state {
                LinkState::Down(error) => Some(error.clone()),
                _ => None,
            };
            Some(LinkState::Probing { commands, before })
        });
    }

    /// Replaces the connection for commands, if the link is up.
    pub(super) fn replace_commands(&self, new: MultiplexedConnection) {
        self.link_state.send_if_modified(|state| match state {
            LinkState::Probing { commands, .. } | LinkState::Ready { commands, .. } => {
                *commands = Commands::new(new);
                true
            }
            LinkState::Connecting | LinkState::Down(_) | LinkState::Stopped => false,
        });
    }

    /// Whether Redis did not run a command, but may run it soon.
    pub(super) fn is_not_run(&self, error: &RedisError) -> bool {
        let reason = NotRun::of(error);
        if let (Some("MOVED"), Some((to, slot)), Some(_)) = (error.code(), error.redirect_node(), &self.node)
        {
            self.redirects.note(slot, to.to_owned(), Instant::now());
        }
        if let Some(reason) = reason {
            self.note_not_run(reason);
        }
        reason.is_some()
    }

    /// Redis did not run a command. If another server has its slot, the map of the slots is stale, and the next probe,
    /// which runs at once, ends the link if it is the slot of the checked keys.
    pub(super) fn note_not_run(&self, reason: NotRun) {
        if reason == NotRun::Moved {
            self.map_stale.notify_one();
            self.probe_now.notify_one();
        }
    }

    /// Whether another server has the slot of a command, which was not run.
    pub(super) fn is_moved(&self, error: &RedisError) -> bool {
        self.is_not_run(error) && NotRun::of(error) == Some(NotRun::Moved)
    }

    /// Records that a probe returned, whether or not all channels are subscribed.
    pub(super) fn note_probe_returned(&self) {
        let heard = u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.probe_returned_ms.store(heard, Ordering::Relaxed);
    }

    /// The time since the last probe returned, if it is too long for a working link. The link detects that itself
    /// unless its thread is stalled.
    fn stalled(&self) -> Option<Duration> {
        let heard = Duration::from_millis(self.probe_returned_ms.load(Ordering::Relaxed));
        let silence = self.started.elapsed().saturating_sub(heard);
        (silence > self.options.probe_interval + self.options.probe_timeout).then_some(silence)
    }

    /// How long there has been no healthy link; `None`: it is healthy.
    pub(super) fn stale_for(&self) -> Option<Duration> {
        if matches!(&*self.link_state.borrow(), LinkState::Ready { .. }) && self.stalled().is_none() {
            return None;
        }
        Some(self.control.since_healthy())
    }

    /// A probe returned after all channels were subscribed. Returns whether it was the first such probe of this link.
    pub(super) fn mark_healthy(&self) -> bool {
        self.gauges.report(self.id, |link| link.is_ready = true);
        self.was_healthy.store(true, Ordering::Release);
        if self.duties().control {
            self.control.note_healthy();
        }
        self.change(|state| match state {
            LinkState::Probing { commands, .. } => {
                Some(LinkState::Ready { commands: commands.clone(), since: Instant::now() })
            }
            _ => None,
        })
    }

    /// The link is lost. Returns its previous state.
    pub(super) fn disconnected(&self, error: LinkError) -> LinkState {
        self.gauges.report(self.id, |link| link.is_ready = false);
        let before = self.link_state.borrow().clone();
        self.change(|_| Some(LinkState::Down(error)));
        before
    }

    /// Changes the state. [`LinkState::Stopped`] is final.
    fn change(&self, next: impl FnOnce(&LinkState) -> Option<LinkState>) -> bool {
        self.link_state.send_if_modified(|state| {
            let next = if matches!(state, LinkState::Stopped) { None } else { next(state) };
            next.map(|next| *state = next).is_some()
        })
    }

    /// Records whether durable publishing is available, and logs each change.
    pub(super) fn set_function(&self, function: Result<(), String>) {
        self.gauges.report(self.id, |link| link.has_function = function.is_ok());
        let before = self.function.send_replace(Some(function.clone()));
        if before.as_ref() == Some(&function) {
            return;
        }
        match function {
            Ok(()) => log::info!("{}: durable publishing is available", self.name()),
            Err(reason) => log::warn!("{}: {}", self.name(), unavailable(&reason)),
        }
    }

    /// Records whether the server may evict keys, and how many it has evicted, if that is known.
    pub(super) fn note_evictions(&self, may_evict: bool, evicted_keys: Option<u64>) {
        self.gauges.report(self.id, |link| {
            link.may_evict = may_evict;
            link.evicted_keys = evicted_keys.unwrap_or(link.evicted_keys);
        });
    }

    /// Warnings about this link's server for the operator.
    pub(super) fn notes(&self) -> Vec<String> {
        let function = self.function.borrow().clone();
        let unavailable = function.and_then(Result::err).map(|reason| unavailable(&reason));
        let refused = self.refused.recent(Instant::now());
        let notes = unavailable.into_iter().chain(self.dataset.notes()).chain(refused);
        notes.chain(self.missing_commands.notes()).collect()
    }

    /// Notes channels that the Redis user may not subscribe to.
    pub(super) fn note_refused(&self, channels: &[ChannelName]) {
        if let Some(note) = self.refused.note(Instant::now(), channels, &self.metrics) {
            log::warn!("redis: {note}");
        }
    }

    pub(super) fn health(&self) -> Health {
        let (state, reason) = match &*self.link_state.borrow() {
            LinkState::Ready { .. } => match self.stalled() {
                None => match self.link.lock().interrupted() {
                    0 => return Health { is_ready: true, state: "ready", reasons: Vec::new() },
                    channels => {
                        ("moving", format!("{channels} channels of moved slots are not subscribed yet"))
                    }
                },
                Some(silence) => ("stalled", format!("no probe returned for {:.1}s", silence.as_secs_f64())),
            },
            LinkState::Connecting => ("connecting", "connecting for the first time".into()),
            LinkState::Probing { before: None, .. } => {
                ("proving", "connected, but no probe returned yet".into())
            }
            LinkState::Probing { before: Some(error), .. } => {
                ("proving", format!("connected again, but no probe returned yet (before: {error})"))
            }
            LinkState::Down(error) => ("down", error.to_string()),
            LinkState::Stopped => ("stopped", "the broker is stopped".into()),
        };
        Health { is_ready: false, state, reasons: vec![format!("{}: {reason}", self.name())] }
    }

    /// Tells the link to end.
    pub(super) fn stop(&self) {
        self.change(|_| Some(LinkState::Stopped));
    }

    /// Returns when the link must end.
    pub(super) async fn stopped(&self) {
        // The sender is in `self`, so the channel stays open.
        let _ = self.link_state.subscribe().wait_for(|state| matches!(state, LinkState::Stopped)).await;
    }
}

impl Deref for RedisState {
    type Target = ProcessState;

    fn deref(&self) -> &ProcessState {
        &self.process
    }
}

impl LinkState {
    /// The connection for publications, unless it is known to be closed.
    pub(super) fn publishing(&self) -> Option<Commands> {
        self.commands().filter(|commands| !commands.is_closed()).cloned()
    }

    pub(super) fn is_stopped(&self) -> bool {
        matches!(self, Self::Stopped)
    }

    fn commands(&self) -> Option<&Commands> {
        match self {
            Self::Probing { commands, .. } | Self::Ready { commands, .. } => Some(commands),
            Self::Connecting | Self::Down(_) | Self::Stopped => None,
        }
    }
}

/// The note in `/readyz`.
fn unavailable(reason: &str) -> String {
    format!("durable publishing is not available: {reason}")
}
