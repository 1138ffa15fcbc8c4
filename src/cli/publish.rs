//! `publish`: publishes a message through the admin port of a running gateway.

use std::io::Read as _;
use std::process::ExitCode;

use actix_http::header::AUTHORIZATION;
use clap::Args;
use serde_json::json;
use serde_json::value::RawValue;

use super::client::http::OutgoingRequest;
use super::client::{admin_url, send};
use super::{Failure, print, print_error};
use crate::settings::Settings;

#[derive(Debug, Args)]
pub(super) struct PublishArgs {
    /// Channel, such as user:42, all or room:7
    channel: String,
    /// Message: any JSON value; - reads it from standard input
    message: String,
    /// Store the message in the channel's history and print its position
    #[arg(long)]
    durable: bool,
    /// Publish at most once for this key, even if the command is repeated
    #[arg(long, value_name = "KEY", requires = "durable")]
    idempotency_key: Option<String>,
    /// URL of the admin port [default: http:// and server.admin_addr]
    #[arg(long, value_name = "URL")]
    url: Option<String>,
}

pub(super) fn publish(settings: &Settings, args: PublishArgs) -> Result<ExitCode, Failure> {
    let url = format!("{}/v1/publish", admin_url(args.url.as_deref(), settings.server.admin_addr)?);
    let mut message = args.message;
    if message == "-" {
        message.clear();
        std::io::stdin().read_to_string(&mut message)?;
    }
    let message = RawValue::from_string(message)
        .map_err(|error| Failure::Other(format!("the message is not valid JSON: {error}")))?;
    // Inserted as text: clients get the message byte for byte.
    let body = format!(
        r#"{{"channel":{},"durable":{},"idempotency_key":{},"message":{}}}"#,
        json!(args.channel),
        args.durable,
        json!(args.idempotency_key),
        message.get()
    );
    let request = OutgoingRequest::post_json(&url, body).and_then(|request| match &settings.admin.api_key {
        Some(key) => request.header(AUTHORIZATION, &format!("Bearer {}", key.expose())),
        None => Ok(request),
    });
    let (status, answer) = send(&url, request)?;
    let json: serde_json::Value = serde_json::from_str(&answer).unwrap_or_default();
    if status.is_success() {
        print(json["position"].as_str().unwrap_or(&answer))?;
        if let Some(replicas) = json["replicas"].as_u64() {
            print_error(&receivers(replicas, &args.channel));
        }
        return Ok(ExitCode::SUCCESS);
    }
    let detail = json["error"]["detail"].as_str().map(str::to_owned);
    Err(Failure::Other(detail.unwrap_or_else(|| format!("{url} answered {status}"))))
}

fn receivers(replicas: u64, channel: &str) -> String {
    match replicas {
        0 => format!("warning: no replica received it: no client is subscribed to {channel}"),
        1 => "received by 1 replica".to_owned(),
        several => format!("received by {several} replicas"),
    }
}
