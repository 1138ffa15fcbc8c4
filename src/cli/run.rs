//! `run`: serves until a signal stops the process.

use std::process::ExitCode;

use tokio::signal::unix::{Signal, SignalKind, signal};

use super::Failure;
use crate::gateway::{self, Gateway, StartError};
use crate::metrics::Metrics;
use crate::settings::Settings;

/// The exit code that shells report for a process ended by SIGINT.
const EXIT_INTERRUPTED: u8 = 130;

pub(super) fn run(settings: Settings, metrics: Metrics) -> Result<ExitCode, Failure> {
    actix_rt::System::new().block_on(serve(settings, metrics))
}

async fn serve(settings: Settings, metrics: Metrics) -> Result<ExitCode, Failure> {
    // First: until a handler is installed, a signal has the kernel's default action.
    let mut signals = Signals::new()?;
    gateway::check(&settings)?;
    let gateway = Gateway::start(settings, metrics).map_err(|error| match error {
        StartError::Auth(_) | StartError::Broker(_) | StartError::Settings(_) => {
            Failure::Settings(vec![error.to_string()])
        }
        StartError::Bind { .. } | StartError::Server(_) => Failure::Other(error.to_string()),
    })?;
    let mut interrupts = 0;
    loop {
        let meaning = tokio::select! {
            meaning = signals.next() => meaning,
            // No client was ever served, so the process ends at once.
            reason = gateway.setup_failed() => return Err(Failure::Settings(vec![reason])),
        };
        match meaning {
            SignalMeaning::Reload => gateway.reload(),
            SignalMeaning::Terminate => break,
            SignalMeaning::Interrupt => {
                interrupts += 1;
                break;
            }
        }
    }
    let mut drain = std::pin::pin!(gateway.drain());
    loop {
        tokio::select! {
            () = &mut drain => return Ok(ExitCode::SUCCESS),
            meaning = signals.next() => match meaning {
                // Orchestrators may send SIGTERM more than once.
                SignalMeaning::Terminate => log::info!("already draining; a second SIGINT ends the process at once"),
                SignalMeaning::Reload => log::info!("draining: SIGHUP is ignored"),
                SignalMeaning::Interrupt => {
                    interrupts += 1;
                    if interrupts > 1 {
                        exit_now();
                    }
                    log::info!("already draining; another SIGINT ends the process at once");
                }
            },
        }
    }
}

fn exit_now() -> ! {
    log::warn!("second SIGINT: ending at once");
    log::logger().flush();
    // Does not wait for the worker threads.
    std::process::exit(i32::from(EXIT_INTERRUPTED));
}

/// The action requested by a signal.
enum SignalMeaning {
    Terminate,
    Interrupt,
    Reload,
}

struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
}

impl Signals {
    fn new() -> std::io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: signal(SignalKind::hangup())?,
        })
    }

    async fn next(&mut self) -> SignalMeaning {
        tokio::select! {
            _ = self.terminate.recv() => SignalMeaning::Terminate,
            _ = self.interrupt.recv() => SignalMeaning::Interrupt,
            _ = self.hangup.recv() => SignalMeaning::Reload,
        }
    }
}
