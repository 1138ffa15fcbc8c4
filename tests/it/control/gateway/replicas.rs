//! Several replicas with one Redis.
