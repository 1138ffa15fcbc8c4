//! A Redis Cluster: its slots.
//!
//! - `slot`: the slot of a key.

#[allow(dead_code, reason = "the map of the slots uses it")]
pub(super) mod slot;
#[allow(dead_code)]
pub(super) mod map;
