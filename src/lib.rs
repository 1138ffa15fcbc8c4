//! E-Magine's real-time gateway.
