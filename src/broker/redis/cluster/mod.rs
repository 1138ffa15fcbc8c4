//! A Redis Cluster: its slots, and the masters that own them.
//!
//! - `slot`: the slot of a key.
//! - `map`: which master owns each slot, and the vote of several nodes about it.
//! - `shards`: parses the answer of one node.
//! - `nodes`: asks the nodes.

mod map;
mod nodes;
mod shards;
pub(super) mod slot;

pub(super) use self::map::{NodeAddress, SlotMap};
pub(super) use self::nodes::ClusterNodes;
