//! The gateway over a real Redis Cluster.
//!
//! - `exact_counts`: numbered messages while the cluster changes and fails
//! - `one_slot`: all features with `broker.shards = "one"`
//! - `slots`: everything, with each channel in its own slot

mod exact_counts;
mod one_slot;
mod slots;
