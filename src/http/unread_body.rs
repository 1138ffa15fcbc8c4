//! Keeps what is unread of a request's body until its response is written.
//!
//! `actix-http` waits for the end of a chunked body whose reader is gone, without a deadline, and so does the connection.
//! While the reader exists, it closes the connection soon after the response instead, as it does with a body of known
//! length.

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

/// The body of a request, which its handler reads and may leave. Cloning shares it.
#[derive(Clone)]
pub(super) struct UnreadBody(Rc<RefCell<Payload>>);

impl UnreadBody {
    /// The body of this request. Its handler still reads it as it would.
    pub(super) fn take(request: &mut ServiceRequest) -> Self {
        let body = Self(Rc::new(RefCell::new(request.take_payload())));
        let shared = body.clone();
        let payload = poll_fn(move |cx| shared.0.borrow_mut().poll_next_unpin(cx)).boxed_local();
        request.set_payload(Payload::Stream { payload });
        body
    }
}

/// The body of a response, and with it that of the request.
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
