//! What the parts promise, tested through their public face and against a real Redis.

mod broker;
mod support;
