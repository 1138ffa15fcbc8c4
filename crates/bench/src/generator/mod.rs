//! Generators in processes of their own, for `--replicas`: a process may open too few files for all clients.
//!
//! - `group`: the side of the load generator that the user started. It sends orders and adds up the counts.
//! - `serve`: a generator process. It has a share of the clients, and obeys the orders on its standard input.
//! - `messages`: the lines between the two.

mod group;
mod messages;
mod serve;

pub(crate) use self::group::GeneratorGroup;
pub(crate) use self::messages::GeneratorShare;
pub(crate) use self::serve::serve;
