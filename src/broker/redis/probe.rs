//! Checks that publications arrive: once all channels are subscribed, and then at each interval.

use std::time::Instant;

use redis::RedisError;
use redis::aio::MultiplexedConnection;
use tokio::sync::watch;
use tokio::time::{sleep_until, timeout};

use super::super::link::LinkCore;
use super::connect::Endpoint;
use super::link_error::LinkError;
use super::role::RoleQuery;
use super::server_check::{ServerCheck, first_error};
use super::state::RedisState;
use super::{function, inbox, publish};
use crate::timeout::was_late;

/// Probes one link.
pub(super) struct HealthProbe<'a> {
    pub(super) state: &'a RedisState,
    pub(super) endpoint: &'a Endpoint,
    pub(super) commands: MultiplexedConnection,
    pub(super) role: RoleQuery,
    pub(super) check: ServerCheck,
    /// The latest nonce received.
    pub(super) received_nonce: watch::Receiver<u64>,
}

impl HealthProbe<'_> {
    /// Probes the link until a probe fails.
    pub(super) async fn run(mut self) -> LinkError {
        let state = self.state;
        // A healthy link has also tried to load the function. The probe's channel is subscribed before the link is up.
        let mut commands = self.commands.clone();
        let (_, _) =
            tokio::join!(state.link.until(LinkCore::is_up), function::ensure_loaded(state, &mut commands));
        loop {
            let started = Instant::now();
            let is_repaired = state.link.lock().is_complete();
            let was_complete = is_repaired && (!state.duties().control || state.control.is_loaded());
            if let Err(error) = self.probe_while_awake().await {
                return error;
            }
            if was_complete {
                self.report_healthy();
            }
            tokio::select! {
                () = sleep_until((started + state.options.probe_interval).into()) => {}
                () = state.probe_now.notified() => {}
                () = state.link.until(LinkCore::is_complete), if !is_repaired => {}
            }
        }
    }

    /// Marks the link as healthy: a probe returned after all channels had been subscribed and repaired.
    fn report_healthy(&self) {
        let state = self.state;
        state.downtime.healthy(Instant::now(), &state.metrics);
        if state.mark_healthy() {
            let channels = state.link.lock().wanted();
            let endpoint = self.endpoint.name();
            log::info!("redis at {endpoint}: link is healthy; channels subscribed: {channels}");
        }
    }

    /// Probes once. A timeout that was noticed late, because the process was stopped, does not count: another probe
    /// decides.
    async fn probe_while_awake(&mut self) -> Result<(), LinkError> {
        let started = Instant::now();
        match self.probe().await {
            Err(LinkError::ProbeTimeout(_)) if was_late(started, self.state.options.probe_timeout) => {
                self.probe().await
            }
            outcome => outcome,
        }
    }

    /// Probes once, within `probe_timeout`. Replaces the connection for commands if it is closed.
    async fn probe(&mut self) -> Result<(), LinkError> {
        let bound = self.state.options.probe_timeout;
        let probe = async {
            match self.publish_and_await().await {
                // The subscriber's connection may be healthy, and then no message is missed. So replace only this one.
                Err(LinkError::Closed) => {
                    self.commands = self.endpoint.connect_commands(&self.state.options).await?;
                    self.state.replace_commands(self.commands.clone());
                    self.publish_and_await().await
                }
                outcome => outcome,
            }
        };
        timeout(bound, probe).await.unwrap_or(Err(LinkError::ProbeTimeout(bound)))
    }

    /// Publishes a nonce as any publication is published, and waits until it arrives. Checks the server, queries
    /// its role and counts the entries of the inbox in the same round trip.
    async fn publish_and_await(&mut self) -> Result<(), LinkError> {
        let Self { state, commands, role, check, received_nonce, .. } = self;
        let nonce = rand::random::<u64>().max(1);
        let started = Instant::now();
        let (mut for_role, mut for_check, mut for_inbox) =
            (commands.clone(), commands.clone(), commands.clone());
        let (channel, payload) = (state.probe(), nonce.to_string());
        let (published, role, check, ()) = tokio::join!(
            publish(commands, state.options.names(), &channel, &payload),
            role.verify_master(state, &mut for_role),
            check.verify(state, &mut for_check),
            inbox::count_entries(state, &mut for_inbox),
        );
        published.map_err(|error| command_error(state, &error))?;
        first_error(check, role)?;
        // The sender lives as long as the link.
        let _ = received_nonce.wait_for(|received| *received == nonce).await;
        state.note_probe_returned();
        state.metrics.probed(started.elapsed());
        Ok(())
    }
}

fn command_error(state: &RedisState, error: &RedisError) -> LinkError {
    if error.is_timeout() {
        return LinkError::ProbeTimeout(state.options.response_timeout);
    }
    LinkError::of_command(error)
}
