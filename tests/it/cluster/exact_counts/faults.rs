//! What happens to the cluster while messages are published.

use std::time::Duration;

use redis::cmd;

use super::run::Run;
use crate::support::cluster::SLOTS;
use crate::support::fault_proxy::hold;

/// How long nodes stay forgotten: longer than the gateways may take to notice it, so that readiness is checked.
const FORGOTTEN: Duration = Duration::from_secs(3);
/// How long the cluster is down.
const DOWN: Duration = Duration::from_secs(1);

/// A change or a failure of the cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    /// CLUSTER FAILOVER: a Redis replica becomes the owner.
    Failover,
    /// Slots with channels move to another master, with their keys.
    MoveSlots,
    /// CLIENT KILL of all connections, or of those with subscriptions.
    KillConnections,
    /// The other nodes forget the owner, and meet it again.
    Forget,
    /// A slot has no owner: all nodes answer CLUSTERDOWN.
    ClusterDown,
    /// A further master gets slots with channels, gives them back and leaves.
    AddAndRemoveMaster,
    /// The owner is killed, replaced and restarted.
    KillOwner,
}

/// All faults, once.
pub(super) const ALL: [Fault; 7] = [
    Fault::Failover,
    Fault::MoveSlots,
    Fault::KillConnections,
    Fault::Forget,
    Fault::ClusterDown,
    Fault::AddAndRemoveMaster,
    Fault::KillOwner,
];

impl Fault {
    /// Injects the fault and returns when the cluster is whole again.
    pub(super) fn inject(self, run: &mut Run) {
        let slots = run.busy_slots();
        let slot = slots[0];
        match self {
            Self::Failover => {
                run.cluster.failover(run.cluster.owner(slot));
            }
            Self::MoveSlots => {
                let owner = run.cluster.owner(slot);
                let others = run.cluster.masters().into_iter().filter(|node| *node != owner);
                for target in others.collect::<Vec<_>>() {
                    run.cluster.move_slots(&slots, target);
                    run.publish(10);
                }
            }
            Self::KillConnections => kill_connections(run),
            Self::Forget => {
                let owner = run.cluster.owner(slot);
                run.cluster.forget(owner);
                hold(FORGOTTEN);
                run.cluster.meet(owner);
            }
            Self::ClusterDown => {
                // The last slot has no channel in either layout.
                run.cluster.take_down(SLOTS - 1);
                hold(DOWN);
                run.cluster.bring_up();
            }
            Self::AddAndRemoveMaster => {
                // The added master has no Redis replica, so no number may wait for one.
                run.set_copies(0);
                let added = run.cluster.add_master(&slots);
                run.publish(20);
                run.cluster.remove_master(added);
                run.set_copies(1);
            }
            Self::KillOwner => kill_owner(run, slot),
        }
    }
}

fn kill_connections(run: &Run) {
    for kind in ["pubsub", "normal"] {
        for node in run.cluster.masters() {
            let mut connection = run.cluster.connection(node);
            cmd("CLIENT").arg("KILL").arg("TYPE").arg(kind).exec(&mut connection).unwrap();
        }
        run.publish(10);
    }
}

/// The gateway's HTTP does not wait for Redis replicas, and the killed owner takes what only it had with it.
fn kill_owner(run: &mut Run, slot: u16) {
    run.http.pause();
    hold(Duration::from_millis(100));
    let killed = run.cluster.kill_owner(slot);
    run.cluster.wait_replaced(killed);
    // The new owner has no Redis replica.
    run.set_copies(0);
    run.http.resume();
    run.publish(10);
    run.cluster.restart(killed);
    run.set_copies(1);
}
