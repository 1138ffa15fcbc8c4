//! The broker's share of the simulation (`crate::simulation`): a Redis in memory and links to it, one step at a
//! time. Only what is input and output is played; what decides is the code that runs in production.

mod connection;
mod link;
mod server;

pub(crate) use link::{Link, LinkOptions, LinkStep, Recovering};
pub(crate) use server::Server;
