//! Hostile peers: they send invalid data, send too much, or do not read. A healthy client must not be affected.
//!
//! - `addresses`: limits of one client address
//! - `broken`: a panic inside a session
//! - `churn`: thousands of short connections
//! - `closing`: peers that ignore the closing handshake
//! - `crowds`: too many connections on either port
//! - `endless`: frames and messages without an end
//! - `floods`: control frames, and queues of peers that do not read
//! - `frames`: a table of invalid frames
//! - `handshakes`: a table of invalid upgrade requests
//! - `publishers`: invalid and too long publications
//! - `slow`: requests and messages that arrive slowly
//! - `stalled`: peers that stop reading or sending
//! - `stopped`: deadlines after the process was stopped
//! - `unidentified`: peers that violate the protocol above RFC 6455
//! - `users`: identified users in a loop

mod addresses;
mod broken;
mod churn;
mod closing;
mod crowds;
mod endless;
mod floods;
mod frames;
mod handshakes;
mod publishers;
mod slow;
mod stalled;
mod stopped;
mod unidentified;
mod users;

use crate::support::client::Client;
use crate::support::gateway::{Plan, TestGateway};
use crate::support::raw_socket::RawSocket;

const HELLO: &str = r#"{"op":0,"heartbeat_interval":45000}"#;

/// A gateway and one healthy client, which must receive every message regardless of other peers.
struct HealthyPeer {
    // Declared before its gateway: the client must be gone when the dropped gateway checks for leftover state.
    client: Client,
    gateway: TestGateway,
    published: u32,
}

impl HealthyPeer {
    #[track_caller]
    fn of(plan: &Plan) -> Self {
        let gateway = plan.spawn();
        let client = gateway.ready_client("43").answering_heartbeats();
        Self { gateway, client, published: 0 }
    }

    /// Opens another socket and reads Hello.
    #[track_caller]
    fn attacker(&self) -> RawSocket {
        let mut raw = RawSocket::connect(self.gateway.public);
        raw.expect_text(HELLO);
        raw
    }

    /// Asserts that the healthy client receives its next message. `after` names the attack in a failure.
    #[track_caller]
    fn assert_served(&mut self, after: &str) {
        self.published += 1;
        let message = format!("[{},{after:?}]", self.published);
        self.gateway.publish("user:43", &message);
        self.client.expect_text(&format!(r#"{{"op":3,"message":{message}}}"#));
    }

    /// Asserts that the gateway has never lost its Redis link.
    #[track_caller]
    fn assert_no_link_loss(&self) {
        let samples = self.gateway.metrics();
        let mut losses =
            samples.iter().filter(|(name, _)| name.starts_with("gateway_redis_link_losses_total"));
        assert!(losses.all(|(_, count)| *count == 0.0), "{}", self.gateway.log());
    }
}

/// Encodes a masked frame with the shortest form of its length.
fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mask = [0x37, 0xFA, 0x21, 0x3D];
    let mut frame = header(first, payload.len() as u64);
    let start = frame.len() - mask.len();
    frame[start..].copy_from_slice(&mask);
    frame.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, key)| byte ^ key));
    frame
}

/// Encodes the header of a frame of `length` bytes with the shortest form of the length and a mask of zeros.
fn header(first: u8, length: u64) -> Vec<u8> {
    let mut header = vec![first];
    match length {
        0..=125 => header.push(0x80 | length as u8),
        126..=0xFFFF => {
            header.push(0x80 | 126);
            header.extend((length as u16).to_be_bytes());
        }
        _ => {
            header.push(0x80 | 127);
            header.extend(length.to_be_bytes());
        }
    }
    header.extend([0; 4]);
    header
}
