//! `health`: queries the health routes of a running gateway, for container health checks.

use std::process::ExitCode;

use clap::Args;

use super::client::http::OutgoingRequest;
use super::client::{admin_url, send};
use super::{Failure, print};
use crate::settings::Settings;

#[derive(Debug, Args)]
pub(super) struct HealthArgs {
    /// Check readiness (/readyz) instead of liveness (/livez)
    #[arg(long)]
    ready: bool,
    /// URL of the admin port [default: http:// and server.admin_addr]
    #[arg(long, value_name = "URL")]
    url: Option<String>,
}

pub(super) fn health(settings: &Settings, args: HealthArgs) -> Result<ExitCode, Failure> {
    let base = admin_url(args.url.as_deref(), settings.server.admin_addr)?;
    let url = format!("{base}/{}", if args.ready { "readyz" } else { "livez" });
    let (status, body) = send(&url, OutgoingRequest::get(&url))?;
    if !body.starts_with('{') {
        return Err(Failure::Other(format!("{url} answered {status}: that is not a gateway's admin port")));
    }
    print(&body)?;
    Ok(if status.is_success() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
