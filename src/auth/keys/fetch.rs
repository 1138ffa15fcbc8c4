//! Fetches a key set.

use std::time::Duration;

use actix_http::{StatusCode, header};
use jsonwebtoken::Algorithm;

use super::jwks::{self, JwksError, ParsedKeys};
use crate::auth::AuthSetupError;
use crate::auth::jwt::algorithms_of;
use crate::http_client::{HttpError, OutgoingRequest, TlsTrust};
use crate::settings::{AuthSettings, plain_io};

/// The time for one fetch. Tokens with an unknown key wait as long at most.
const TIMEOUT: Duration = Duration::from_secs(5);

/// The key set of `auth.jwks_url`.
#[derive(Clone)]
pub(in crate::auth) struct JwksSource {
    url: String,
    tls: Option<TlsTrust>,
    algorithms: Vec<Algorithm>,
}

/// Why a fetch has no keys. The sentence contains nothing of the response.
#[derive(Debug, thiserror::Error)]
pub(in crate::auth) enum FetchError {
    #[error("{}", plain_io(.0))]
    Http(#[from] HttpError),
    #[error("the server answered {}", .0.as_str())]
    Status(StatusCode),
    #[error("the document {0}")]
    Document(#[from] JwksError),
    #[error("the document {0}")]
    NoUsableKey(String),
}

impl JwksSource {
    /// `None`: the settings have no URL.
    pub(in crate::auth) fn new(settings: &AuthSettings) -> Result<Option<Self>, AuthSetupError> {
        let Some(url) = settings.jwks_url.clone() else { return Ok(None) };
        let tls = if url.to_ascii_lowercase().starts_with("https:") {
            let trust = TlsTrust::load(settings.ca_file.as_deref());
            Some(trust.map_err(|error| AuthSetupError::CaFile(error.to_string()))?)
        } else {
            None
        };
        Ok(Some(Self { url, tls, algorithms: algorithms_of(settings)? }))
    }

    /// Fetches the document. Weak and broken keys are left out, because others in it may be in use.
    pub(in crate::auth) async fn fetch(&self) -> Result<ParsedKeys, FetchError> {
        let request = OutgoingRequest::get(&self.url)?
            .header(header::ACCEPT, "application/json")?
            .timeout(TIMEOUT)
            .max_body_bytes(jwks::MAX_BYTES);
        let request = match &self.tls {
            Some(tls) => request.tls(tls.clone()),
            None => request,
        };
        let (status, body) = request.send().await?;
        if status != StatusCode::OK {
            return Err(FetchError::Status(status));
        }
        let mut parsed = jwks::parse(&body, &self.algorithms)?;
        // Anyone who can read the document could mint tokens with its secrets.
        let before = parsed.keys.len();
        parsed.keys.retain(|key| !key.algorithms.iter().copied().any(super::is_hmac));
        if parsed.keys.len() < before {
            parsed.faults.push("has a secret, which is accepted only from auth.keys_file".to_owned());
        }
        match parsed.faults.first() {
            Some(fault) if parsed.keys.is_empty() => Err(FetchError::NoUsableKey(fault.clone())),
            _ => Ok(parsed),
        }
    }
}
