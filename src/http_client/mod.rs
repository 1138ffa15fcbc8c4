//! An HTTP/1.1 client: one request on its own connection, with the codec that the server links as well.
//!
//! A request has one timeout for everything, a bound for the body of the response, and follows no redirect. Errors
//! contain nothing of the URL, the headers or the bodies. The futures run on any actix runtime.
//!
//! - `error`: why a request has no response.
//! - `resolve`: host names.
//! - `exchange`: sends a request over an open connection and reads the response.
//! - `tls`: which certificate authorities are trusted.
//! - `form`: bodies of forms, and client credentials.
//! - `request`: a request from its URL to the response.

mod error;
mod exchange;
mod form;
mod request;
mod resolve;
mod tls;

pub(crate) use self::{
    error::HttpError,
    form::{basic_credentials, form_body},
    request::{OutgoingRequest, port},
    tls::TlsTrust,
};
