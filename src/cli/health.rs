//! `health`: queries the health routes of a running gateway, for container health checks.

use std::process::ExitCode;

use clap::Args;

use super::client::error::status_text;
use super::client::send;
use super::client::url::admin_url;
use super::{Failure, print};
use crate::http_client::OutgoingRequest;
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
    let (route, field) = if args.ready { ("readyz", "ready") } else { ("livez", "live") };
    let url = format!("{base}/{route}");
    let (status, body) = send(&url, OutgoingRequest::get(&url))?;
    let json: serde_json::Value = serde_json::from_str(&body).unwrap_or_default();
    let Some(is_healthy) = json[field].as_bool() else {
        let status = status_text(status);
        return Err(Failure::Other(format!("{url} answered {status}: that is not a gateway's admin port")));
    };
    print(body.trim_end())?;
    Ok(if is_healthy && status.is_success() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
