//! Serves the OpenAPI document.

use actix_web::HttpResponse;

/// `docs/openapi.yaml` as JSON. A test compares both.
const DOCUMENT: &str = include_str!("openapi.json");

/// `GET /v1/openapi.json`
pub(super) async fn document() -> HttpResponse {
    HttpResponse::Ok().content_type("application/json").body(DOCUMENT)
}
