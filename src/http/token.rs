//! Mints tokens for the console in development.
//!
//! Production mints none, because the right to publish must not include acting as any user. The admin port must be on a
//! loopback address even with a key, because more people may have the key than have access to the machine.

use std::time::{Duration, SystemTime};

use actix_web::{HttpResponse, web};
use serde::Deserialize;
use serde_json::json;

use super::body::AuthorizedBody;
use super::publish::parse;
use super::{AdminState, ApiError};
use crate::auth;

/// The maximum lifetime of a minted token.
const TOKEN_LIFETIME: Duration = Duration::from_secs(60 * 60);

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct MintRequest {
    user: String,
    /// The channels that a jwt lists.
    #[serde(default)]
    channels: Vec<String>,
}

/// `POST /v1/token`: mints a token for any user.
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
