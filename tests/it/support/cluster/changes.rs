//! Changes of a cluster, as operators and faults make them.

use std::time::Duration;

use redis::{Cmd, Connection, RedisResult, cmd, pipe};

use super::view::View;
use super::{TestCluster, eventually_agreed};

/// The number of keys that one MIGRATE moves.
const KEYS_AT_ONCE: usize = 100;
/// Longer than MIGRATE takes on loopback.
const MIGRATE_TIMEOUT: Duration = Duration::from_secs(5);

impl TestCluster {
    /// Makes a Redis replica of `master` the new master, in the planned way that loses no write. Returns the new master
    /// when all running nodes agree.
    #[track_caller]
    pub(crate) fn failover(&self, master: usize) -> usize {
        let replica = *self.replicas_of(master).first().expect("the master has a Redis replica");
        cluster("FAILOVER").exec(&mut self.connection(replica)).unwrap();
        self.wait_replaced(master);
        self.settle();
        replica
    }

    /// Kills the owner of a slot, as a crash does. Returns it at once.
    pub(crate) fn kill_owner(&mut self, slot: u16) -> usize {
        let owner = self.owner(slot);
        self.server_mut(owner).kill();
        owner
    }

    /// Waits until no running node takes this one for the owner of slots.
    #[track_caller]
    pub(crate) fn wait_replaced(&self, node: usize) {
        let id = self.nodes[node].id.clone();
        eventually_agreed(|| {
            let is_replaced = |view: View| view.is_serving() && !view.is_owner(&id);
            self.views().all(is_replaced).then_some(())
        });
    }

    /// Starts a killed node again and waits until all running nodes agree. Its data are lost unless it becomes a Redis
    /// replica of another node.
    #[track_caller]
    pub(crate) fn restart(&mut self, node: usize) {
        self.server_mut(node).restart();
        self.settle();
    }

    /// Moves a slot with its keys to another master, as `redis-cli --cluster reshard` does.
    #[track_caller]
    pub(crate) fn move_slot(&self, slot: u16, to: usize) {
        self.move_slots(&[slot], to);
    }

    /// Moves slots with their keys to another master.
    #[track_caller]
    pub(crate) fn move_slots(&self, slots: &[u16], to: usize) {
        for from in self.masters() {
            let owned = self.slots_of(from);
            let slots: Vec<u16> = slots.iter().copied().filter(|slot| owned.contains(slot)).collect();
            if from != to && !slots.is_empty() {
                self.move_between(&slots, from, to);
            }
        }
        self.settle();
        let owned = self.slots_of(to);
        assert!(slots.iter().all(|slot| owned.contains(slot)), "node {to} owns only {owned:?}");
    }

    fn move_between(&self, slots: &[u16], from: usize, to: usize) {
        let (source, target) = (&mut self.connection(from), &mut self.connection(to));
        let (source_id, target_id) = (&self.nodes[from].id, &self.nodes[to].id);
        set_slots(slots, "IMPORTING", source_id, target).unwrap();
        set_slots(slots, "MIGRATING", target_id, source).unwrap();
        for slot in slots {
            self.move_keys(*slot, source, to);
        }
        // The target first, so that no slot is without an owner in between.
        set_slots(slots, "NODE", target_id, target).unwrap();
        // The source may have heard of the new owner and, left without slots, refuse as its Redis replica.
        let _ = set_slots(slots, "NODE", target_id, source);
        for other in self.masters().into_iter().filter(|other| ![from, to].contains(other)) {
            set_slots(slots, "NODE", target_id, &mut self.connection(other)).unwrap();
        }
    }

    fn move_keys(&self, slot: u16, source: &mut Connection, to: usize) {
        let mut ask = cluster("GETKEYSINSLOT");
        ask.arg(slot).arg(KEYS_AT_ONCE);
        loop {
            let keys: Vec<Vec<u8>> = ask.query(source).unwrap();
            if keys.is_empty() {
                return;
            }
            let mut migrate = cmd("MIGRATE");
            migrate.arg("127.0.0.1").arg(self.nodes[to].port_of_cluster()).arg("").arg(0);
            migrate.arg(MIGRATE_TIMEOUT.as_millis());
            if let Some(password) = self.server(to).password() {
                migrate.arg("AUTH").arg(password);
            }
            migrate.arg("KEYS").arg(keys).exec(source).unwrap();
        }
    }

    /// Makes the other nodes forget this one and its slots, for a minute unless they [`meet`](Self::meet) it. Its own
    /// Redis replicas cannot forget it.
    #[track_caller]
    pub(crate) fn forget(&self, node: usize) {
        let id = &self.nodes[node].id;
        let followers = self.replicas_of(node);
        let others = || self.running().filter(|other| *other != node && !followers.contains(other));
        eventually_agreed(|| {
            for other in others() {
                // An error means that the node has forgotten it already.
                let _ = cluster("FORGET").arg(id).exec(&mut self.connection(other));
            }
            let has_forgotten = |other| View::of(self.server(other)).is_some_and(|view| !view.knows(id));
            others().all(has_forgotten).then_some(())
        });
    }

    /// Makes all nodes know a forgotten one again, and waits until they agree.
    #[track_caller]
    pub(crate) fn meet(&self, node: usize) {
        self.running().filter(|other| *other != node).for_each(|other| self.introduce(other, node));
        self.settle();
    }

    /// Takes a slot from its owner without giving it to another node, so that all nodes answer CLUSTERDOWN.
    #[track_caller]
    pub(crate) fn take_down(&mut self, slot: u16) {
        self.deleted.push((slot, self.owner(slot)));
        eventually_agreed(|| {
            for node in self.running() {
                // An error means that the slot has no owner already.
                let _ = cluster("DELSLOTS").arg(slot).exec(&mut self.connection(node));
            }
            let is_down = |view: View| !view.is_serving() && view.owner(slot).is_none();
            self.views().all(is_down).then_some(())
        });
    }

    /// Ends [`take_down`](Self::take_down) and waits until all running nodes agree.
    #[track_caller]
    pub(crate) fn bring_up(&mut self) {
        for (slot, owner) in std::mem::take(&mut self.deleted) {
            cluster("ADDSLOTS").arg(slot).exec(&mut self.connection(owner)).unwrap();
        }
        self.settle();
    }

    /// Starts a further master and moves these slots with their keys to it. Returns it.
    #[track_caller]
    pub(crate) fn add_master(&mut self, slots: &[u16]) -> usize {
        self.launch_node();
        let added = self.nodes.len() - 1;
        self.nodes[added].wait_up();
        self.running().filter(|other| *other != added).for_each(|other| self.introduce(other, added));
        self.wait_acquainted();
        self.settle();
        self.move_slots(slots, added);
        added
    }

    /// Moves the slots of a master without Redis replicas to the other masters in turn, makes all nodes forget it, and
    /// kills it.
    #[track_caller]
    pub(crate) fn remove_master(&mut self, node: usize) {
        let others: Vec<usize> = self.masters().into_iter().filter(|other| *other != node).collect();
        let slots = self.slots_of(node);
        for (at, other) in others.iter().enumerate() {
            let share: Vec<u16> = slots.iter().copied().skip(at).step_by(others.len()).collect();
            self.move_slots(&share, *other);
        }
        self.forget(node);
        self.nodes[node].is_removed = true;
        self.server_mut(node).kill();
        self.settle();
    }
}

fn cluster(name: &str) -> Cmd {
    let mut command = cmd("CLUSTER");
    command.arg(name);
    command
}

/// Sends `CLUSTER SETSLOT` for each slot over one connection.
fn set_slots(slots: &[u16], state: &str, id: &str, connection: &mut Connection) -> RedisResult<()> {
    let mut all = pipe();
    for slot in slots {
        all.cmd("CLUSTER").arg("SETSLOT").arg(*slot).arg(state).arg(id).ignore();
    }
    all.exec(connection)
}
