//! Injects the faults of a run.

use std::time::Duration;

use super::cluster::ServerAddress;
use super::plan::Fault;
use super::redis::Server;
use super::replica::Replica;
use super::run::{NAMES, SimulationRun, trace};

impl SimulationRun {
    pub(super) fn inject_fault(&mut self, fault: Fault) {
        trace!(self, "FAULT {fault:?}");
        let replica = self.rng.below(self.replicas.len());
        match fault {
            Fault::LinkCut => {
                let address = self.pick_master();
                self.replicas[replica].cut(address, self.now);
            }
            Fault::ReadsCut => self.replicas[replica].cut_reads(self.now),
            Fault::TimePasses => {
                let passed = self.rng.between(100, 12_000);
                self.now += Duration::from_millis(passed);
                self.unix_ms += passed;
            }
            Fault::ReplicaRestart => {
                for client in 0..self.clients.len() {
                    if self.clients[client].session.as_ref().is_some_and(|session| session.replica == replica)
                    {
                        self.disconnect(client);
                    }
                }
                self.replicas[replica] = Replica::new(&self.plan, &self.cluster, &self.metrics);
            }
            Fault::Permission => {
                let channel = self.rng.below(NAMES.len());
                self.change_permission(channel);
            }
            Fault::MessageLost => {
                self.replicas[replica].drop_next_message();
            }
            Fault::Restart => {
                let address = self.pick_master();
                self.restart(address, Server::restart);
            }
            Fault::RestartWithLostEnd => {
                let address = self.pick_master();
                self.restart(address, Server::restart_with_lost_end);
                self.lose_end(address, address);
            }
            Fault::RestartEmpty => {
                let address = self.pick_master();
                self.restart(address, Server::restart_empty);
                self.cluster.server(address).save(self.published.get());
            }
            Fault::Flush => {
                let address = self.pick_master();
                self.cluster.server(address).flush();
            }
            Fault::Delete => {
                let channel = self.rng.below(NAMES.len());
                let name = &self.records[channel].name;
                let address = self.cluster.history_at(name);
                self.cluster.server(address).delete(name);
                self.records[channel].delete();
            }
            Fault::ClockForward => {
                let change = self.rng.between(1, 2_000);
                self.cluster.change_clocks(|clock_ms| clock_ms + change);
            }
            Fault::ClockBack => {
                let change = self.rng.between(1, 2_000);
                self.cluster.change_clocks(|clock_ms| clock_ms - change);
            }
            Fault::SlotMigrates => self.move_slot(false),
            Fault::SlotMoves => self.move_slot(true),
            Fault::MasterReplaced => self.replace_master(),
            Fault::MapRead => self.read_map(replica),
        }
    }

    /// A master that owns a slot. No number is drawn if there is one master.
    fn pick_master(&mut self) -> ServerAddress {
        match *self.cluster.owners() {
            [only] => only,
            ref owners => self.rng.pick(owners),
        }
    }

    /// A slot begins to migrate, and with `is_finished` belongs to its new owner.
    fn move_slot(&mut self, is_finished: bool) {
        let channel = self.rng.below(NAMES.len());
        let name = self.records[channel].name.clone();
        let targets = self.cluster.targets(&name);
        if !targets.is_empty() {
            let target = self.rng.pick(&targets);
            trace!(self, "{name} moves to {target}");
            self.cluster.migrate(&name, target, self.published.get());
        }
        if is_finished {
            self.finish_migration(channel);
        }
    }

    fn finish_migration(&mut self, channel: usize) {
        let name = &self.records[channel].name;
        if let Some(before) = self.cluster.finish(name) {
            self.replicas.iter_mut().for_each(|replica| replica.end_subscription(before, name));
        }
    }

    pub(super) fn finish_migrations(&mut self) {
        (0..NAMES.len()).for_each(|channel| self.finish_migration(channel));
    }

    /// A master fails. The master that replaces it may lack the latest writes.
    fn replace_master(&mut self) {
        self.finish_migrations();
        let address = self.pick_master();
        let loses_end = self.plan.may(Fault::RestartWithLostEnd) && self.rng.percent(50);
        if self.cluster.replace(address, loses_end) {
            let now = self.now;
            self.replicas.iter_mut().for_each(|replica| replica.cut(address, now));
            self.cluster.change_clocks(|clock_ms| clock_ms + 10);
            if loses_end {
                let new = self.cluster.newest();
                self.lose_end(address, new);
            }
        }
    }

    /// The latest writes of a master are lost; its slots are at `now_at`.
    fn lose_end(&mut self, address: ServerAddress, now_at: ServerAddress) {
        let saved_at = self.cluster.server(address).saved_at;
        let cluster = &self.cluster;
        let lost = self.records.iter_mut().filter(|record| cluster.history_at(&record.name) == now_at);
        lost.for_each(|record| record.lose_end(saved_at));
    }

    /// A replica reads the map. A master may know an old one.
    pub(super) fn read_map(&mut self, replica: usize) {
        let is_late = !self.is_settling() && self.rng.percent(25);
        let late = if is_late { self.rng.below(4) } else { 0 };
        let map = self.cluster.map(late).clone();
        self.replicas[replica].apply_map(map);
    }

    /// Changes the permission for a channel. Redis closes the connections of a user that is subscribed to a forbidden
    /// channel.
    fn change_permission(&mut self, channel: usize) {
        let name = &self.records[channel].name;
        if self.cluster.forbidden.remove(name) {
            return;
        }
        self.cluster.forbidden.insert(name.clone());
        self.replicas.iter_mut().for_each(|replica| replica.cut_subscribers(name, self.now));
    }

    /// Restarts a master, which closes all its connections.
    fn restart(&mut self, address: ServerAddress, restart: impl FnOnce(&mut Server)) {
        let now = self.now;
        self.replicas.iter_mut().for_each(|replica| replica.cut(address, now));
        self.cluster.change_clocks(|clock_ms| clock_ms + 10);
        restart(self.cluster.server(address));
    }
}
