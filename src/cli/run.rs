//! `run`: serve until told to stop.

use std::process::ExitCode;

use futures_util::future::{Either, select};
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::Failure;
use crate::gateway::{Gateway, StartError};
use crate::settings::Settings;

/// What a shell reports for a process that was interrupted.
const EXIT_INTERRUPTED: u8 = 130;

pub(super) fn run(settings: Settings) -> Result<ExitCode, Failure> {
    actix_rt::System::new().block_on(serve(settings))
}

async fn serve(settings: Settings) -> Result<ExitCode, Failure> {
    // Before anything else, so that a signal at the wrong moment is not the kernel's to handle.
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let gateway = Gateway::start(settings).map_err(|error| match error {
        StartError::Auth(_) | StartError::Broker(_) | StartError::Settings(_) => {
            Failure::Settings(error.to_string())
        }
        StartError::Bind { .. } | StartError::Server(_) => Failure::Other(error.to_string()),
    })?;
    next(&mut terminate, &mut interrupt).await;
    let drain = std::pin::pin!(gateway.drain());
    let again = std::pin::pin!(next(&mut terminate, &mut interrupt));
    Ok(match select(drain, again).await {
        Either::Left(_) => ExitCode::SUCCESS,
        Either::Right(_) => {
            log::warn!("a second signal: ending at once");
            // Threads that still serve are not waited for.
            std::process::exit(i32::from(EXIT_INTERRUPTED));
        }
    })
}

async fn next(terminate: &mut Signal, interrupt: &mut Signal) {
    let (terminate, interrupt) = (std::pin::pin!(terminate.recv()), std::pin::pin!(interrupt.recv()));
    select(terminate, interrupt).await;
}
