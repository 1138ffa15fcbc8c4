//! The gateway over a real Redis Cluster.
//!
//! - `exact_counts`: numbered messages while the cluster changes and fails
//! - `one_slot`: all features with `broker.shards = "one"`
//! - `slots`: all features with `broker.shards = "slots"`

mod exact_counts;
mod one_slot;
mod slots;
