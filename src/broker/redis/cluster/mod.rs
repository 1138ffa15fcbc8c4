//! A Redis Cluster: its slots, and the masters that own them.
//!
//! - `slot`: the slot of a key.
//! - `map`: which master owns each slot, and the vote of several nodes about it.
//! - `shards`: parses the answer of one node.
//! - `nodes`: asks the nodes.
//! - `owner_watch`: whether they still name the master of a link.

mod map;
mod nodes;
mod owner_watch;
mod shards;
pub(super) mod slot;

pub(super) use self::map::{NodeAddress, SlotMap};
pub(super) use self::nodes::{ClusterNodes, ask_for_map};
pub(super) use self::owner_watch::OwnerWatch;
