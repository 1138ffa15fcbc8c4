//! `publish`: publishes a message through the admin port of a running gateway.

use std::io::Read as _;
use std::process::ExitCode;

use actix_http::header::AUTHORIZATION;
use clap::Args;
use serde_json::json;
use serde_json::value::RawValue;

use super::client::error::status_text;
use super::client::send;
use super::client::url::admin_url;
use super::{Failure, print, print_error};
use crate::http_client::OutgoingRequest;
use crate::settings::{Settings, one_line};

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
    /// Hand the message to push if the user is away (docs/presence.md)
    #[arg(long, requires = "durable")]
    push: bool,
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
        r#"{{"channel":{},"durable":{},"idempotency_key":{}{},"message":{}}}"#,
        json!(args.channel),
        args.durable,
        json!(args.idempotency_key),
        // An earlier gateway does not know the field.
        if args.push { r#","push":true"# } else { "" },
        message.get()
    );
    let request = OutgoingRequest::post_json(&url, body).and_then(|request| match &settings.admin.api_key {
        Some(key) => request.header(AUTHORIZATION, &format!("Bearer {}", key.expose())),
        None => Ok(request),
    });
    let (status, answer) = send(&url, request)?;
    let json: serde_json::Value = serde_json::from_str(&answer).unwrap_or_default();
    let status_line = format!("{url} answered {}", status_text(status));
    if !status.is_success() {
        let detail = json["error"]["detail"].as_str().filter(|detail| !detail.trim().is_empty());
        return Err(Failure::Other(detail.map_or(status_line, one_line)));
    }
    let (position, replicas) = (json["position"].as_str(), json["replicas"].as_u64());
    match (args.durable, position, replicas) {
        (true, Some(position), _) => {
            print(&one_line(position))?;
            if let Some(is_pushed) = json["pushed"].as_bool() {
                print_error(if is_pushed {
                    "handed to push: the user is away"
                } else {
                    "not handed to push"
                });
            }
        }
        (false, _, Some(replicas)) => {
            print(answer.trim_end())?;
            print_error(&receivers(replicas, &args.channel));
        }
        // Another server answered, so nothing is known of the message.
        _ => return Err(Failure::Other(format!("{status_line}: that is not a gateway's admin port"))),
    }
    Ok(ExitCode::SUCCESS)
}

fn receivers(replicas: u64, channel: &str) -> String {
    match replicas {
        0 => format!("warning: no replica received it: no client is subscribed to {channel}"),
        1 => "received by 1 replica".to_owned(),
        several => format!("received by {several} replicas"),
    }
}
