//! What the clients of a thread receive.

use std::io::{self, Read as _, Write as _};
use std::sync::atomic::Ordering::SeqCst;

use bytes::BytesMut;
use protocol::deflate::Inflater;

use super::Worker;
use crate::BenchError;
use crate::client::ClientState as State;
use crate::clients::{CONNECTING, PHASES};
use crate::wire::{self, ServerEvent};

/// The maximum size of a decompressed message.
const MAX_INFLATED_BYTES: usize = 128 << 20;
/// The text before the position: of `all` in Ready, of `all` in Subscription, and in a message.
const POSITION_OF_ALL: &[u8] = br#""channel":"all","position":""#;
const SUBSCRIBED_TO_ALL: &[u8] = br#""channel":"all","state":"subscribed","position":""#;
const POSITION: &[u8] = br#""position":""#;

impl Worker {
    /// Reads all received bytes. An error ends the connection.
    pub(super) fn receive(&mut self, at: usize, buffer: &mut [u8]) -> Result<(), BenchError> {
        self.now_us = self.elapsed_us();
        loop {
            let Some(stream) = &mut self.clients[at].stream else { return Ok(()) };
            let length = match stream.read(buffer) {
                Ok(0) => return Err(BenchError::Run("the connection was closed".to_owned())),
                Ok(length) => length,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error.into()),
            };
            let mut partial = std::mem::take(&mut self.clients[at].partial);
            if partial.is_empty() {
                let taken = self.handle_frames(at, &buffer[..length])?;
                partial.extend_from_slice(&buffer[taken..length]);
            } else {
                partial.extend_from_slice(&buffer[..length]);
                let taken = self.handle_frames(at, &partial)?;
                partial.drain(..taken);
            }
            if !partial.is_empty() {
                self.clients[at].partial = partial;
            }
            // A read that does not fill the buffer has drained the socket (epoll(7)).
            if length < buffer.len() {
                return Ok(());
            }
        }
    }

    /// Handles the complete frames at the front; returns their size in bytes.
    fn handle_frames(&mut self, at: usize, bytes: &[u8]) -> Result<usize, BenchError> {
        let mut taken = 0;
        if self.clients[at].state == State::Upgrading {
            let upgraded = wire::upgrade(bytes);
            let Some(end) =
                upgraded.map_err(|status| BenchError::Run(format!("refused with HTTP {status}")))?
            else {
                return Ok(0);
            };
            self.clients[at].on_upgraded(&self.plan)?;
            taken = end;
        }
        while let Some((first, range)) = wire::first_frame(&bytes[taken..]) {
            let payload = &bytes[taken..][range.clone()];
            taken += range.end;
            match first {
                0x81 => self.plan.protocol.messages(payload).for_each(|message| self.on_text(at, message)),
                0xC1 => {
                    let (mut inflater, mut inflated) = (Inflater::new(), BytesMut::new());
                    let mut push = |piece: &[u8]| inflater.push(piece, &mut inflated, MAX_INFLATED_BYTES);
                    if push(payload).and_then(|_| push(&[0x00, 0x00, 0xFF, 0xFF])).is_ok() {
                        self.on_text(at, &inflated);
                    }
                }
                0x88 => {
                    let code = payload.first_chunk().map_or(1005, |code| u16::from_be_bytes(*code));
                    return Err(BenchError::Run(format!("closed with {code}")));
                }
                _ => {}
            }
        }
        Ok(taken)
    }

    fn on_text(&mut self, at: usize, payload: &[u8]) {
        let (client, counts) = (&mut self.clients[at], &self.counts);
        let event = self.plan.protocol.parse(payload);
        let position = match event {
            ServerEvent::Message(_) if client.stalls => POSITION,
            ServerEvent::Message(stamp) => {
                let phase = usize::from(stamp.phase).min(PHASES - 1);
                if phase > 0 {
                    self.latencies[phase].record(stamp.at_us, self.now_us.saturating_sub(stamp.at_us));
                }
                counts.deliveries[phase].fetch_add(1, SeqCst);
                POSITION
            }
            ServerEvent::Ready | ServerEvent::Subscription => {
                match client.recovered(payload) {
                    Some(true) => drop(counts.recovered.fetch_add(1, SeqCst)),
                    Some(false) => drop(counts.not_recovered.fetch_add(1, SeqCst)),
                    None => {}
                }
                if event == ServerEvent::Ready { POSITION_OF_ALL } else { SUBSCRIBED_TO_ALL }
            }
            ServerEvent::Heartbeat(rest) => {
                counts.heartbeats.fetch_add(1, SeqCst);
                if let (Some(stream), Some(answer)) =
                    (&mut client.stream, self.plan.protocol.heartbeat_answer(rest))
                {
                    // The frame is small: if the kernel's buffer is full, the connection is lost anyway.
                    let _ = stream.write(&answer);
                }
                return;
            }
            ServerEvent::Other => return,
        };
        if self.plan.resumes
            && let Some(position) = wire::text_after(payload, position)
        {
            client.since = Some(position.into());
        }
        if event == ServerEvent::Ready && client.state == State::Identifying {
            client.state = if client.stalls { State::Stalled } else { State::Ready };
            let latency_us = self.now_us.saturating_sub(client.due_us);
            self.latencies[usize::from(CONNECTING)].record(client.due_us, latency_us);
            self.in_flight -= 1;
            counts.ready.fetch_add(1, SeqCst);
        }
        if let ServerEvent::Message(stamp) = event {
            self.count_received(at, stamp.at_us);
        }
    }
}
