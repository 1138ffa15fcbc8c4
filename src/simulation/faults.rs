//! Injects the faults of a run.

use std::time::Duration;

use super::plan::Fault;
use super::redis::Server;
use super::replica::Replica;
use super::run::{NAMES, SimulationRun, trace};

impl SimulationRun {
    pub(super) fn inject_fault(&mut self, fault: Fault) {
        trace!(self, "FAULT {fault:?}");
        let replica = self.rng.below(self.replicas.len());
        match fault {
            Fault::LinkCut => self.replicas[replica].cut(self.now),
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
                self.replicas[replica] = Replica::new(&self.plan, &self.metrics);
            }
            Fault::Permission => {
                let channel = self.rng.below(NAMES.len());
                self.change_permission(channel);
            }
            Fault::MessageLost => {
                self.replicas[replica].drop_next_message();
            }
            Fault::Restart => self.restart(Server::restart),
            Fault::RestartWithLostEnd => {
                self.restart(Server::restart_with_lost_end);
                self.records.iter_mut().for_each(|record| record.lose_end(self.saved));
            }
            Fault::RestartEmpty => {
                self.restart(Server::restart_empty);
                self.save();
            }
            Fault::Flush => self.server.flush(),
            Fault::Delete => {
                let channel = self.rng.below(NAMES.len());
                self.server.delete(&self.records[channel].name);
                self.records[channel].delete();
            }
            Fault::ClockForward => self.server.clock_ms += self.rng.between(1, 2_000),
            Fault::ClockBack => self.server.clock_ms -= self.rng.between(1, 2_000),
        }
    }

    /// Changes the permission for a channel. Redis closes the connections of a user that is subscribed to a forbidden
    /// channel.
    fn change_permission(&mut self, channel: usize) {
        let name = &self.records[channel].name;
        if self.server.forbidden.remove(name) {
            return;
        }
        self.server.forbidden.insert(name.clone());
        for replica in self.replicas.iter_mut().filter(|replica| replica.is_subscribed(name)) {
            replica.cut(self.now);
        }
    }

    /// Restarts Redis, which closes all connections.
    fn restart(&mut self, restart: impl FnOnce(&mut Server)) {
        let now = self.now;
        self.replicas.iter_mut().for_each(|replica| replica.cut(now));
        self.server.clock_ms += 10;
        restart(&mut self.server);
    }

    pub(super) fn save(&mut self) {
        self.server.save();
        self.saved = self.published.get();
    }
}
