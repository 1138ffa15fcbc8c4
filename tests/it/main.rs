//! Integration tests of the gateway and its parts, through public interfaces and against a real Redis.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod broker;
mod control;
mod durable;
mod support;

mod admin;
mod auth;
mod bench;
mod cli_client;
mod cli_peers;
mod cluster;
mod commands;
mod compression;
mod contract;
mod corpus;
mod counting;
mod delivery;
mod deployments;
mod events;
mod history;
mod hostile;
mod inbox;
mod keys;
mod kubernetes;
mod limits;
mod liveness;
mod logging;
mod ordering;
mod presence;
mod prometheus;
mod publishing;
mod reload;
mod replicas;
mod resume;
mod sessions;
mod settings_cli;
mod shutdown;
mod signals;
mod snippets;
mod socket;
mod tokens;
mod wire_v1;
mod wire_v2;
