//! E-Magine's real-time gateway.

pub mod backoff;
pub mod broker;
pub mod metrics;
pub mod protocol;
pub mod settings;
pub mod socket;
