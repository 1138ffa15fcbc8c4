//! Reads the body of an authorized request within a deadline.

use actix_web::dev::Payload;
use actix_web::http::StatusCode;
use actix_web::web::{self, Bytes};
use actix_web::{Error, FromRequest, HttpRequest};
use futures_util::FutureExt as _;
use futures_util::future::LocalBoxFuture;

use super::{AdminState, ApiError};
use crate::timeout::timeout_awake;

/// A complete body. The key is checked before the body is read, so a client without the key cannot fill the memory.
/// The HTTP server has no deadline for a body, and a peer that never finishes one would keep its connection.
pub(super) struct AuthorizedBody(pub(super) Bytes);

impl FromRequest for AuthorizedBody {
    type Error = Error;
    type Future = LocalBoxFuture<'static, Result<Self, Error>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let request = request.clone();
        let mut payload = payload.take();
        async move {
            // `routes` sets the state for all handlers, so it is never missing.
            let admin = request.app_data::<web::Data<AdminState>>().ok_or(ApiError::NotFound)?;
            admin.authorize(&request).await?;
            let body = Bytes::from_request(&request, &mut payload);
            let body = timeout_awake(admin.request_timeout, body).await.map_err(|_| ApiError::BodyTimeout)?;
            body.map(Self).map_err(|error| match error.as_response_error().status_code() {
                StatusCode::PAYLOAD_TOO_LARGE => ApiError::BodyTooBig.into(),
                _ => ApiError::BadBody(error.to_string()).into(),
            })
        }
        .boxed_local()
    }
}
