//! Opaque tokens: the backend that issued a token is asked what it says.
//!
//! - `hash`: [`TokenHash`], by which a token is known here; its text is kept only until the issuer is asked.
//! - `issuer`: [`TokenIssuer`], how an issuer is asked. `introspection`: RFC 7662. Redis is in `broker::redis::tokens`.
//! - `cache`: answers, for a short time. `breaker`: pauses the calls to an issuer that fails.
//! - `core`: joins both, shares calls and bounds them. Reads no clock and starts no task.
//! - `driver`: [`OpaqueTokens`], the core with its clock, its tasks and its metrics.

mod breaker;
mod cache;
mod core;
mod driver;
mod hash;
mod introspection;
mod issuer;

pub use self::{
    core::OpaqueLimits,
    driver::OpaqueTokens,
    hash::TokenHash,
    introspection::{Authorities, IntrospectionIssuer},
    issuer::{CallError, IssuerAnswer, TokenIssuer, TokenQuery},
};
