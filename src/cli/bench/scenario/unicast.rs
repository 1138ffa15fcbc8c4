//! `unicast`: as many users as sockets, and each message goes to one of them.

use super::super::super::Failure;
use super::super::run::Run;
use super::one;

/// A prime: whoever comes next is seldom on the same page of memory.
const STRIDE: u64 = 7_919;

pub(super) fn run(run: &mut Run<'_>) -> Result<(), Failure> {
    run.connect_all()?;
    let (sockets, load) = (run.sockets, run.load(1));
    run.publish(load, |number| one((number * STRIDE % sockets as u64) as usize))?.note(&mut run.outcome);
    Ok(())
}
