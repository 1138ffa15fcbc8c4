//! `fanout`: each message goes to every socket.

use super::super::super::Failure;
use super::super::run::Run;
use super::everybody;

pub(super) fn run(run: &mut Run<'_>) -> Result<(), Failure> {
    run.connect_all()?;
    let (sockets, load) = (run.sockets, run.load(1));
    run.publish(load, |_| everybody(sockets))?.note(&mut run.outcome);
    Ok(())
}
