//! E-Magine's real-time gateway.

pub mod auth;
pub mod settings;
