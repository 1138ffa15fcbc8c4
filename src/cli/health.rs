//! `health`: for container health checks.

use std::process::ExitCode;

use clap::Args;

use super::client::{http, reachable, read};
use super::{Failure, print};
use crate::settings::Settings;

#[derive(Debug, Args)]
pub(super) struct HealthArgs {
    /// Ask whether it delivers (/readyz) and not only whether it lives (/livez)
    #[arg(long)]
    ready: bool,
    /// The admin port [default: http:// and server.admin_addr]
    #[arg(long, value_name = "URL")]
    url: Option<String>,
}

pub(super) fn health(settings: &Settings, args: HealthArgs) -> Result<ExitCode, Failure> {
    let base = args.url.unwrap_or_else(|| format!("http://{}", reachable(settings.server.admin_addr)));
    let url = format!("{}/{}", base.trim_end_matches('/'), if args.ready { "readyz" } else { "livez" });
    let (status, body) =
        actix_rt::System::new().block_on(async { read(http().get(&url).send(), &url).await })?;
    print(&body)?;
    Ok(if status.is_success() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
