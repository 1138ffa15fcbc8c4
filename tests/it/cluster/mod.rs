//! The gateway over a real Redis Cluster.
//!
//! - `exact_counts`: numbered messages while the cluster changes and fails

mod exact_counts;
