//! `unicast`: each message goes to one user; each socket has its own user.

use super::{STRIDE, one};
use crate::BenchError;
use crate::clients::Pace;
use crate::run::ScenarioRun;

pub(crate) fn run(run: &mut ScenarioRun<'_>) -> Result<(), BenchError> {
    run.connect_all(Pace::DEFAULT)?;
    let sockets = run.arguments.sockets as u64;
    run.publish_and_record(|number| one((number * STRIDE % sockets) as usize))
}
