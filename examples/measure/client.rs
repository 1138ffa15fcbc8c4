//! A minimal client: opens a socket, identifies, and reads frames.

use std::net::{Ipv4Addr, SocketAddr};
use std::ops::Range;

use tokio::io::AsyncWriteExt as _;
use tokio::net::{TcpSocket, TcpStream};

async fn connect(address: SocketAddr, index: usize) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    // Uses several source addresses, because one address has fewer than 30 000 ports.
    let source = Ipv4Addr::new(127, 0, 0, 2 + (index / 10_000) as u8);
    socket.bind((source, 0).into()).unwrap();
    socket.connect(address).await.unwrap()
}

/// Connects, sends the handshake and Identify in one write, and reads up to Ready.
pub(crate) async fn identify(address: SocketAddr, index: usize, is_deflated: bool) -> TcpStream {
    identify_on(connect(address, index).await, index, is_deflated).await
}

async fn identify_on(mut stream: TcpStream, index: usize, is_deflated: bool) -> TcpStream {
    let identify = format!(r#"{{"op":1,"token":"{index}"}}"#);
    let mut bytes =
        b"GET /gateway HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
        Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
            .to_vec();
    if is_deflated {
        bytes.extend(b"Sec-WebSocket-Extensions: permessage-deflate\r\n");
    }
    bytes.extend(b"\r\n");
    bytes.extend([0x81, 0x80 | identify.len() as u8, 0, 0, 0, 0]);
    bytes.extend(identify.bytes());
    stream.write_all(&bytes).await.unwrap();
    let mut received = Vec::new();
    while !received.windows(7).any(|window| window == b"\"op\":2,") {
        stream.readable().await.unwrap();
        let mut buffer = [0; 1_024];
        match stream.try_read(&mut buffer) {
            Ok(length) if length > 0 => received.extend_from_slice(&buffer[..length]),
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
            other => panic!("the connection ended before Ready: {other:?}"),
        }
    }
    stream
}

/// Splits the bytes of a gateway into frames.
#[derive(Default)]
pub(crate) struct Frames(Vec<u8>);

impl Frames {
    /// Waits for bytes, and calls `on_frame` with the payload of each frame that they complete. Returns false if the
    /// connection has ended.
    pub(crate) async fn read(&mut self, stream: &TcpStream, mut on_frame: impl FnMut(&[u8])) -> bool {
        let mut buffer = [0; 16_384];
        loop {
            if stream.readable().await.is_err() {
                return false;
            }
            match stream.try_read(&mut buffer) {
                Ok(0) => return false,
                Ok(length) => {
                    self.0.extend_from_slice(&buffer[..length]);
                    break;
                }
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
                Err(_) => return false,
            }
        }
        let mut start = 0;
        while let Some(payload) = payload(&self.0[start..]) {
            on_frame(&self.0[start..][payload.clone()]);
            start += payload.end;
        }
        self.0.drain(..start);
        true
    }
}

/// The range of the first frame's payload; `None` if the frame is incomplete.
fn payload(bytes: &[u8]) -> Option<Range<usize>> {
    let (header, length) = match *bytes.get(1)? {
        126 => (4, usize::from(u16::from_be_bytes([*bytes.get(2)?, *bytes.get(3)?]))),
        127 => (10, u64::from_be_bytes(bytes.get(2..10)?.try_into().unwrap()) as usize),
        short => (2, usize::from(short)),
    };
    (bytes.len() >= header + length).then_some(header..header + length)
}

/// A client's frame with a mask of zeros.
pub(crate) fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![first];
    match payload.len() {
        short @ 0..=125 => frame.push(0x80 | short as u8),
        medium @ 126..=0xFFFF => {
            frame.push(0x80 | 126);
            frame.extend((medium as u16).to_be_bytes());
        }
        long => {
            frame.push(0x80 | 127);
            frame.extend((long as u64).to_be_bytes());
        }
    }
    frame.extend([0; 4]);
    frame.extend(payload);
    frame
}
