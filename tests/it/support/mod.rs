//! What several tests need.

pub(crate) mod deadline;
pub(crate) mod redis_server;
