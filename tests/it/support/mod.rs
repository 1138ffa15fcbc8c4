//! What several tests need.

pub(crate) mod client;
pub(crate) mod deadline;
pub(crate) mod fault_proxy;
pub(crate) mod gateway;
pub(crate) mod http;
pub(crate) mod process;
pub(crate) mod raw_socket;
pub(crate) mod redis_server;
