//! A Redis Cluster: its slots, and the masters that own them.
//!
//! - `slot`: the slot of a key.
//! - `map`: which master owns each slot, and the vote of several nodes about it.
//! - `shards`: parses the answer of one node.
//! - `nodes`: asks the nodes.
//! - `redirects`: the owners of slots as redirections name them.

mod map;
mod nodes;
mod redirects;
mod shards;
pub(super) mod slot;

pub(super) use self::map::{NodeAddress, SlotMap};
pub(super) use self::nodes::ClusterNodes;
pub(super) use self::redirects::Redirects;
