//! What breaks, and how.

use super::plan::Fault;
use super::world::{NAMES, Replica, World, trace};
use crate::broker::Interrupted;
use crate::broker::redis::simulation::Server;
use crate::hub::simulation::SimulatedHub;

impl World {
    pub(super) fn break_something(&mut self, fault: Fault) {
        trace!(self, "FAULT {fault:?}");
        let replica = self.chance.below(self.replicas.len());
        match fault {
            Fault::LinkCut => self.cut_link(replica),
            Fault::PatienceEnds => {
                let Replica { link, hubs } = &mut self.replicas[replica];
                if link.proven().is_none() {
                    hubs.iter_mut().for_each(SimulatedHub::give_up);
                }
            }
            Fault::ReplicaRestart => {
                for client in 0..self.clients.len() {
                    if self.clients[client].session.as_ref().is_some_and(|session| session.replica == replica)
                    {
                        self.cut(client);
                    }
                }
                self.replicas[replica] = self.replica();
            }
            Fault::MessageLost => {
                self.replicas[replica].link.lose_one();
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
                let channel = self.chance.below(NAMES.len());
                self.server.delete(&self.records[channel].name);
                self.records[channel].delete();
            }
            Fault::ClockForward => self.server.clock_ms += self.chance.between(1, 2_000),
            Fault::ClockBack => self.server.clock_ms -= self.chance.between(1, 2_000),
        }
    }

    /// Redis ends and is there again: everybody loses his connection.
    fn restart(&mut self, restart: impl FnOnce(&mut Server)) {
        (0..self.replicas.len()).for_each(|replica| self.cut_link(replica));
        self.server.clock_ms += 10;
        restart(&mut self.server);
    }

    pub(super) fn save(&mut self) {
        self.server.save();
        self.saved = self.published.get();
    }

    fn cut_link(&mut self, replica: usize) {
        let Replica { link, hubs } = &mut self.replicas[replica];
        let (now, mut told) = (self.now, Vec::new());
        for name in link.cut(now) {
            told.extend(hubs.iter_mut().flat_map(|hub| hub.on_recovery(name, &Err(Interrupted), link, now)));
        }
        self.tell(told);
        for client in &mut self.clients {
            let is_waiting =
                (0..NAMES.len()).any(|channel| client.wants[channel] && !client.judges[channel].is_on);
            if let Some(session) = client.session.as_mut().filter(|session| session.replica == replica) {
                session.came_early |= is_waiting;
            }
        }
    }
}
