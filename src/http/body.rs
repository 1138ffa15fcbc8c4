//! The body of a request, if it comes in time.

use actix_web::dev::Payload;
use actix_web::http::StatusCode;
use actix_web::rt::time::timeout;
use actix_web::web::{self, Bytes};
use actix_web::{Error, FromRequest, HttpRequest};
use futures_util::FutureExt as _;
use futures_util::future::LocalBoxFuture;

use super::{Admin, ApiError};

/// A whole body. The HTTP server has no deadline for it: a peer that sends it for ever would keep its place.
pub(super) struct Body(pub(super) Bytes);

impl FromRequest for Body {
    type Error = Error;
    type Future = LocalBoxFuture<'static, Result<Self, Error>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let limit = request.app_data::<web::Data<Admin>>().map(|admin| admin.request_timeout);
        let body = Bytes::from_request(request, payload);
        async move {
            // The routes and what they work with are configured in one place.
            let limit = limit.unwrap_or_default();
            let body = timeout(limit, body).await.map_err(|_| ApiError::BodyTooSlow)?;
            body.map(Self).map_err(|error| match error.as_response_error().status_code() {
                StatusCode::PAYLOAD_TOO_LARGE => ApiError::BodyTooBig.into(),
                _ => ApiError::BadBody(error.to_string()).into(),
            })
        }
        .boxed_local()
    }
}
