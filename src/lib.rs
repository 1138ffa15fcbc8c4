//! E-Magine's real-time gateway.

pub mod settings;
