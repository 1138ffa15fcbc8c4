//! The errors of the admin API.

use actix_web::http::StatusCode;
use actix_web::http::header::WWW_AUTHENTICATE;
use actix_web::{HttpRequest, HttpResponse, Responder, ResponseError};
use serde_json::json;

use crate::broker::{ControlError, HistoryReadError, InboxError, PresenceError, PublishError};

/// Why a request to the admin API failed. The text is `detail` in the response.
#[derive(Debug, thiserror::Error)]
pub(super) enum ApiError {
    #[error("this path does not exist")]
    NotFound,
    #[error("this path does not accept this method")]
    MethodNotAllowed,
    #[error("the key is missing or wrong; send `Authorization: Bearer <admin.api_key>`")]
    Unauthorized,
    #[error("admin.api_key is not set, and this request needs it")]
    KeyNotConfigured,
    #[error("admin.api_key is not set: only same-origin requests to a loopback host are accepted")]
    OriginNotAllowed,
    #[error("tokens are minted only in the development profile on a loopback admin port")]
    MintingDisabled,
    #[error("the token was not minted: {0}")]
    NotMinted(#[from] crate::auth::MintError),
    #[error("the query is invalid: {0}")]
    BadQuery(String),
    #[error("the user id is not valid in a channel name")]
    BadUser,
    #[error("this session is on no replica, or has ended")]
    NoSuchSession,
    #[error("the body did not arrive within admin.request_timeout")]
    BodyTimeout,
    #[error("the body is too long")]
    BodyTooBig,
    #[error("the body is invalid: {0}")]
    BadBody(String),
    #[error("the channel is invalid: {0}")]
    BadChannel(#[from] protocol::channel::ChannelNameError),
    #[error("idempotency_key needs a durable message; add \"durable\":true")]
    KeyWithoutDurable,
    #[error("a batch can have at most {} messages", super::MAX_BATCH)]
    BatchTooLong,
    #[error(transparent)]
    Publish(#[from] PublishError),
    #[error(transparent)]
    Presence(#[from] PresenceError),
    #[error(transparent)]
    History(#[from] HistoryReadError),
    #[error(transparent)]
    Inbox(#[from] InboxError),
    #[error(transparent)]
    Control(#[from] ControlError),
}

impl ApiError {
    /// The error code, for programs.
    pub(super) fn code(&self) -> &'static str {
        match self {
            Self::NotFound => "not_found",
            Self::MethodNotAllowed => "method_not_allowed",
            Self::Unauthorized => "unauthorized",
            Self::KeyNotConfigured => "admin_key_not_configured",
            Self::OriginNotAllowed => "origin_not_allowed",
            Self::MintingDisabled => "token_minting_disabled",
            Self::NotMinted(_) => "token_not_minted",
            Self::BadQuery(_) => "bad_query",
            Self::BadUser => "bad_user",
            Self::NoSuchSession => "no_such_session",
            Self::BodyTimeout => "request_body_timeout",
            Self::BadBody(_) => "bad_body",
            Self::BadChannel(_) => "bad_channel",
            Self::KeyWithoutDurable => "key_without_durable",
            Self::BatchTooLong => "batch_too_long",
            Self::BodyTooBig | Self::Publish(PublishError::TooBig { .. }) => "too_big",
            Self::Publish(PublishError::Busy) => "busy",
            // The arms are apart because a test reads the codes from this source.
            Self::Publish(PublishError::Unavailable) => "broker_unavailable",
            Self::Presence(PresenceError::Unavailable) => "broker_unavailable",
            Self::Inbox(InboxError::Unavailable) => "broker_unavailable",
            Self::History(HistoryReadError::Unavailable) => "broker_unavailable",
            Self::Control(ControlError::Unavailable) => "broker_unavailable",
            Self::Publish(
                PublishError::Timeout | PublishError::Interrupted | PublishError::InvalidAnswer(_),
            ) => "broker_timeout",
            Self::Presence(PresenceError::Timeout) => "broker_timeout",
            Self::Inbox(InboxError::Timeout) => "broker_timeout",
            Self::History(HistoryReadError::Timeout) => "broker_timeout",
            Self::Control(ControlError::Timeout) => "broker_timeout",
            Self::Publish(PublishError::Refused(_)) => "broker_refused",
            Self::Presence(PresenceError::Refused(_)) => "broker_refused",
            Self::Inbox(InboxError::Refused(_)) => "broker_refused",
            Self::History(HistoryReadError::Unreadable) => "broker_refused",
            Self::Presence(PresenceError::Disabled | PresenceError::NamespaceOff(_)) => "presence_disabled",
            Self::Control(ControlError::Refused(_)) => "broker_refused",
            Self::Control(ControlError::BadCommand(_)) => "bad_command",
            Self::Publish(PublishError::HistoryUnavailable(_)) => "history_unavailable",
            Self::Publish(PublishError::BadIdempotencyKey) => "bad_idempotency_key",
            Self::Publish(PublishError::BadMessage(_)) => "bad_message",
            Self::Publish(PublishError::KeyReused) => "idempotency_key_reused",
            Self::Publish(PublishError::BadPush) => "bad_push",
            Self::Publish(PublishError::PresenceDisabled) => "presence_disabled",
        }
    }

    /// The error as JSON, `{"error":{"code":…,"detail":…}}`.
    pub(super) fn to_json(&self) -> serde_json::Value {
        json!({"error": {"code": self.code(), "detail": self.to_string()}})
    }
}

impl ResponseError for ApiError {
    fn status_code(&self) -> StatusCode {
        match self {
            Self::NotFound | Self::NoSuchSession => StatusCode::NOT_FOUND,
            Self::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
            Self::Unauthorized => StatusCode::UNAUTHORIZED,
            Self::KeyNotConfigured | Self::OriginNotAllowed | Self::MintingDisabled => StatusCode::FORBIDDEN,
            Self::BadBody(_)
            | Self::BadChannel(_)
            | Self::NotMinted(_)
            | Self::BadQuery(_)
            | Self::BadUser
            | Self::BatchTooLong
            | Self::KeyWithoutDurable
            | Self::Control(ControlError::BadCommand(_))
            | Self::Publish(
                PublishError::BadIdempotencyKey | PublishError::BadMessage(_) | PublishError::BadPush,
            ) => StatusCode::BAD_REQUEST,
            Self::Publish(PublishError::KeyReused | PublishError::PresenceDisabled)
            | Self::Presence(PresenceError::Disabled | PresenceError::NamespaceOff(_)) => {
                StatusCode::CONFLICT
            }
            Self::BodyTimeout => StatusCode::REQUEST_TIMEOUT,
            Self::BodyTooBig | Self::Publish(PublishError::TooBig { .. }) => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Publish(
                PublishError::Busy | PublishError::Unavailable | PublishError::HistoryUnavailable(_),
            )
            | Self::Presence(PresenceError::Unavailable)
            | Self::Inbox(InboxError::Unavailable)
            | Self::History(HistoryReadError::Unavailable)
            | Self::Control(ControlError::Unavailable) => StatusCode::SERVICE_UNAVAILABLE,
            Self::Publish(
                PublishError::Timeout | PublishError::Interrupted | PublishError::InvalidAnswer(_),
            )
            | Self::Presence(PresenceError::Timeout)
            | Self::Inbox(InboxError::Timeout)
            | Self::History(HistoryReadError::Timeout)
            | Self::Control(ControlError::Timeout) => StatusCode::GATEWAY_TIMEOUT,
            Self::Publish(PublishError::Refused(_))
            | Self::Presence(PresenceError::Refused(_))
            | Self::Inbox(InboxError::Refused(_))
            | Self::History(HistoryReadError::Unreadable)
            | Self::Control(ControlError::Refused(_)) => StatusCode::BAD_GATEWAY,
        }
    }

    fn error_response(&self) -> HttpResponse {
        let mut response = HttpResponse::build(self.status_code());
        if matches!(self, Self::Unauthorized) {
            response.insert_header((WWW_AUTHENTICATE, "Bearer"));
        }
        response.json(self.to_json())
    }
}

impl Responder for ApiError {
    type Body = actix_web::body::BoxBody;

    fn respond_to(self, _: &HttpRequest) -> HttpResponse {
        self.error_response()
    }
}
