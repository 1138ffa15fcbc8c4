//! Minting tokens, for the console in development.
//!
//! Never in production, where whoever may publish must not become any user; and only on a loopback admin port,
//! whatever the key: a key may be in more hands than a machine.

use std::time::{Duration, SystemTime};

use actix_web::{HttpResponse, web};
use serde::Deserialize;
use serde_json::json;

use super::body::AuthorizedBody;
use super::publish::parse;
use super::{AdminState, ApiError};
use crate::auth;

/// How long a minted token is good. Enough for an afternoon's try, and no more.
const TOKEN_LIFETIME: Duration = Duration::from_secs(60 * 60);

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct MintRequest {
    user: String,
    /// What a jwt is to open.
    #[serde(default)]
    channels: Vec<String>,
}

/// `POST /v1/token`: a token for any user, good for an hour at most.
pub(super) async fn mint(
    admin: web::Data<AdminState>,
    AuthorizedBody(body): AuthorizedBody,
) -> Result<HttpResponse, ApiError> {
    let settings = admin.instance.minting.as_ref().ok_or(ApiError::MintingDisabled)?.settings();
    let mint: MintRequest = parse(&body)?;
    let lifetime = TOKEN_LIFETIME.min(auth::longest_lifetime(&settings));
    let token = auth::mint(&settings, &mint.user, &mint.channels, lifetime, SystemTime::now())?;
    Ok(HttpResponse::Ok().json(json!({ "token": token })))
}
