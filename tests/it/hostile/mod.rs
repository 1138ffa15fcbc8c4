//! What a peer may send, withhold or refuse to read, and that its neighbours do not notice.

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

/// A gateway with one healthy client, which must get every message whatever others do.
struct HealthyPeer {
    // Before its gateway, so that it is gone when the gateway checks that nothing was left behind.
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

    /// Opens a socket and takes its Hello.
    #[track_caller]
    fn attacker(&self) -> RawSocket {
        let mut raw = RawSocket::connect(self.gateway.public);
        raw.expect_text(HELLO);
        raw
    }

    /// The healthy client still gets its next message.
    #[track_caller]
    fn assert_served(&mut self, after: &str) {
        self.published += 1;
        let message = format!("[{},{after:?}]", self.published);
        self.gateway.publish("user:43", &message);
        self.client.expect_text(&format!(r#"{{"op":3,"message":{message}}}"#));
    }

    /// The link to Redis has been the same all the time.
    #[track_caller]
    fn assert_no_link_loss(&self) {
        let samples = self.gateway.metrics();
        let mut losses =
            samples.iter().filter(|(name, _)| name.starts_with("gateway_redis_link_losses_total"));
        assert!(losses.all(|(_, count)| *count == 0.0), "{}", self.gateway.log());
    }
}

/// A frame with a mask, its length in the shortest form.
fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mask = [0x37, 0xFA, 0x21, 0x3D];
    let mut frame = header(first, payload.len() as u64);
    let start = frame.len() - mask.len();
    frame[start..].copy_from_slice(&mask);
    frame.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, key)| byte ^ key));
    frame
}

/// The header of a frame of so many bytes, in the shortest form, with a mask of zeros.
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
