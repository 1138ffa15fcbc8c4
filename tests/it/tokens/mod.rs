//! Opaque tokens: the gateway asks the backend that handed them out.
//!
//! - `redis`: the claims are in Redis. `introspection`: the claims come from an HTTP server.

mod introspection;
mod redis;

use serde_json::Value;

use crate::support::gateway::TestGateway;

/// The reason in the Close of a client whose token cannot be verified now.
const UNVERIFIABLE: &str = "tokens cannot be verified now, try again later";

/// The notes in `/readyz`.
#[track_caller]
fn notes(gateway: &TestGateway) -> String {
    gateway.get("/readyz").json()["notes"].to_string()
}

/// The number of Identifies and Refreshes with this result.
#[track_caller]
fn identifies(gateway: &TestGateway, result: &str) -> i64 {
    gateway.metric(&format!("identifies_total{{result=\"{result}\"}}"))
}

/// Asserts that a client with this token gets Ready; returns it.
#[track_caller]
fn assert_accepted(gateway: &TestGateway, token: &str) -> Value {
    let mut client = gateway.connect_v2();
    client.identify(token);
    client.expect_ready()
}

/// The code with which a client with this token is closed; `None` if it gets Ready.
#[track_caller]
fn code_of(gateway: &TestGateway, token: &str) -> Option<u16> {
    let mut client = gateway.connect_v2();
    client.identify(token);
    client.next_or_code().err().flatten()
}
