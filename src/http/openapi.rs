//! The contract of this port, for programs.

use actix_web::HttpResponse;

/// `docs/openapi.yaml` as JSON; a test holds that they are the same.
const DOCUMENT: &str = include_str!("openapi.json");

/// `GET /v1/openapi.json`
pub(super) async fn document() -> HttpResponse {
    HttpResponse::Ok().content_type("application/json").body(DOCUMENT)
}
