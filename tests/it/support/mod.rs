//! Servers, clients and helpers shared by the tests.

pub(crate) mod certificates;
pub(crate) mod client;
#[allow(dead_code, reason = "the tests over a cluster use it")]
pub(crate) mod cluster;
pub(crate) mod contract;
pub(crate) mod deadline;
pub(crate) mod fault_proxy;
pub(crate) mod gateway;
pub(crate) mod http;
pub(crate) mod introspection_server;
pub(crate) mod jwks_server;
pub(crate) mod numbered_publisher;
pub(crate) mod ports;
pub(crate) mod process;
pub(crate) mod raw_socket;
pub(crate) mod redis_line;
pub(crate) mod redis_server;
pub(crate) mod resuming_client;
pub(crate) mod sentinel;
pub(crate) mod stopped_thread;
pub(crate) mod verdict;
