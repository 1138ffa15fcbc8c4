//! Keeps the unread rest of a request body until the response is written.
//!
//! If the reader of a chunked body is dropped, `actix-http` waits without a deadline for the end of the body, and the
//! connection stays open. While the reader exists, `actix-http` closes the connection soon after the response, as for a
//! body of known length.

use std::cell::RefCell;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use actix_web::HttpMessage as _;
use actix_web::body::{BodySize, MessageBody};
use actix_web::dev::{Payload, ServiceRequest};
use actix_web::web::Bytes;
use futures_util::StreamExt as _;
use futures_util::stream::poll_fn;

/// The body of a request, which its handler may read only in part. Clones share it.
#[derive(Clone)]
pub(super) struct UnreadBody(Rc<RefCell<Payload>>);

impl UnreadBody {
    /// Shares the body of this request with its handler.
    pub(super) fn take(request: &mut ServiceRequest) -> Self {
        let body = Self(Rc::new(RefCell::new(request.take_payload())));
        let shared = body.clone();
        let payload = poll_fn(move |cx| shared.0.borrow_mut().poll_next_unpin(cx)).boxed_local();
        request.set_payload(Payload::Stream { payload });
        body
    }
}

/// The body of a response, which keeps the body of its request.
pub(super) struct ResponseBody<B> {
    pub(super) body: Pin<Box<B>>,
    pub(super) _unread: UnreadBody,
}

impl<B: MessageBody> MessageBody for ResponseBody<B> {
    type Error = B::Error;

    fn size(&self) -> BodySize {
        self.body.size()
    }

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, Self::Error>>> {
        self.body.as_mut().poll_next(cx)
    }
}
