//! Token introspection (RFC 7662): one request over HTTPS for each token.

use std::path::Path;

use actix_http::StatusCode;
use actix_http::header::{ACCEPT, AUTHORIZATION};
use serde::Deserialize;

use super::super::{AuthSetupError, ReloadableAuthenticator};
use super::issuer::{CallError, IssuerAnswer, TokenIssuer, TokenQuery};
use crate::http_client::{HttpError, OutgoingRequest, TlsTrust, basic_credentials, form_body};
use crate::settings::AuthSettings;

/// The most bytes of an answer. A list of 1000 channels has up to 260 KB.
const MAX_ANSWER_BYTES: usize = 512 << 10;

/// The certificate authorities that HTTPS trusts. `None`: the URL of the server is one of a loopback address over HTTP.
#[derive(Clone)]
pub struct Authorities(Option<TlsTrust>);

impl Authorities {
    /// The authorities for `url`. Without HTTPS none are needed, and a small image may have none.
    pub(in crate::auth) fn load(url: &str, ca_file: Option<&Path>) -> Result<Self, AuthSetupError> {
        let needs_tls = url.to_ascii_lowercase().starts_with("https:");
        let trust = needs_tls.then(|| TlsTrust::load(ca_file)).transpose();
        trust.map(Self).map_err(|error| AuthSetupError::CaFile(error.to_string()))
    }

    pub(in crate::auth) fn tls(&self) -> Option<TlsTrust> {
        self.0.clone()
    }
}

/// The server at `auth.introspection_url`, with the current client secret and certificate authorities.
pub struct IntrospectionIssuer(ReloadableAuthenticator);

/// The part of the answer that says whether the token is valid.
#[derive(Deserialize)]
struct Activity {
    active: bool,
}

impl IntrospectionIssuer {
    /// The server that the settings of `tokens` name.
    pub fn new(tokens: ReloadableAuthenticator) -> Self {
        Self(tokens)
    }

    async fn introspect(&self, token: &str) -> Result<IssuerAnswer, CallError> {
        let Some((settings, tls)) = self.0.introspection() else {
            return Err(CallError::Failed("auth.kind is not introspection".to_owned()));
        };
        let request = request(&settings, token).map_err(|error| failed(&error))?;
        let request = match tls {
            Some(tls) => request.tls(tls),
            None => request,
        };
        let (status, body) = request.send().await.map_err(|error| failed(&error))?;
        match status {
            StatusCode::OK => read(body),
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Err(CallError::Failed(format!(
                "auth.introspection_url refuses the client credentials with status {}",
                status.as_u16()
            ))),
            other => Err(refusal(other)),
        }
    }
}

/// A status that may be about one token says nothing about the next one.
fn refusal(status: StatusCode) -> CallError {
    let reason = format!("auth.introspection_url answers with status {}", status.as_u16());
    match status.as_u16() {
        400 | 413 | 414 | 422 | 431 => CallError::Rejected(reason),
        _ => CallError::Failed(reason),
    }
}

fn failed(error: &HttpError) -> CallError {
    match error {
        HttpError::Timeout | HttpError::BodyTimeout => CallError::Timeout,
        error => CallError::Failed(format!("auth.introspection_url: {error}")),
    }
}

fn request(settings: &AuthSettings, token: &str) -> Result<OutgoingRequest, HttpError> {
    let body = form_body(&[("token", token), ("token_type_hint", "access_token")]);
    let url = settings.introspection_url.as_deref().unwrap_or_default();
    let request = OutgoingRequest::post_form(url, body)?
        .header(ACCEPT, "application/json")?
        .timeout(settings.call_timeout)
        .max_body_bytes(MAX_ANSWER_BYTES);
    let credentials =
        settings.introspection_client_id.as_deref().zip(settings.introspection_client_secret.as_ref());
    match credentials {
        Some((id, secret)) => request.header(AUTHORIZATION, &basic_credentials(id, secret)),
        None => Ok(request),
    }
}

fn read(body: String) -> Result<IssuerAnswer, CallError> {
    match serde_json::from_str(&body) {
        Ok(Activity { active: true }) => {
            Ok(IssuerAnswer::Claims { json: body.into_bytes(), expires_in: None })
        }
        Ok(Activity { active: false }) => Ok(IssuerAnswer::Unknown),
        Err(_) => Err(CallError::Failed(
            "auth.introspection_url answers with something other than what RFC 7662 defines".to_owned(),
        )),
    }
}

impl TokenIssuer for IntrospectionIssuer {
    const MAX_TOKENS: usize = 1;
    const NAME: &str = "introspection";
    const READS_TEXT: bool = true;

    async fn ask(&self, tokens: Vec<TokenQuery>) -> Result<Vec<IssuerAnswer>, CallError> {
        let mut answers = Vec::with_capacity(tokens.len());
        for token in tokens {
            answers.push(self.introspect(&token.text).await?);
        }
        Ok(answers)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_object_with_active_is_an_answer() {
        assert_eq!(read(r#"{"active":false,"sub":"42"}"#.to_owned()), Ok(IssuerAnswer::Unknown));
        let valid = r#"{"active":true,"sub":"42","scope":"a b","aud":"x"}"#;
        let expected = IssuerAnswer::Claims { json: valid.into(), expires_in: None };
        assert_eq!(read(valid.to_owned()), Ok(expected));
        for wrong in ["", "<html>", "{}", r#"{"active":"true"}"#, "[]", "null", r#"{"active":null}"#] {
            assert!(read(wrong.to_owned()).is_err(), "{wrong}");
        }
    }
}
