//! A client that can violate the protocol: it upgrades by hand and reads and writes bytes.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpStream};
use std::time::Duration;

use socket2::{Domain, Socket, Type};

use super::http::Answer;
use super::process::SOON;

/// A valid upgrade request for the path `/`.
pub(crate) const UPGRADE: &str = "GET / HTTP/1.1\nconnection: upgrade\nupgrade: websocket\n\
                                  sec-websocket-version: 13\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==";

/// Encodes a short client frame with a mask of zeros.
pub(crate) fn text_frame(first: u8, text: &str) -> Vec<u8> {
    let length = u8::try_from(text.len()).ok().filter(|&length| length < 126).unwrap();
    [&[first, 0x80 | length, 0, 0, 0, 0], text.as_bytes()].concat()
}

/// An upgraded TCP connection that reads only on request.
pub(crate) struct RawSocket(TcpStream);

impl RawSocket {
    /// Upgrades to version 1.
    #[track_caller]
    pub(crate) fn connect(address: SocketAddr) -> Self {
        Self::connect_with(address, b"")
    }

    /// Upgrades to version 1 and sends `early` in the same write, without waiting for the answer.
    #[track_caller]
    pub(crate) fn connect_with(address: SocketAddr, early: &[u8]) -> Self {
        Self::connect_by(address, UPGRADE, early)
    }

    /// Upgrades with the request `head` and sends `early` after it.
    #[track_caller]
    pub(crate) fn connect_by(address: SocketAddr, head: &str, early: &[u8]) -> Self {
        Self::try_connect(address, Ipv4Addr::UNSPECIFIED, head, early)
            .unwrap_or_else(|answer| panic!("refused: {answer:?}"))
    }

    /// Upgrades with a small segment size. The gateway's kernel then buffers tens of KiB instead of megabytes, so
    /// unread data soon queues in the gateway.
    #[cfg(target_os = "linux")]
    #[track_caller]
    pub(crate) fn connect_narrowly(address: SocketAddr) -> Self {
        let socket = Self::socket(Ipv4Addr::UNSPECIFIED);
        socket.set_tcp_mss(536).unwrap();
        Self::upgrade(socket, address, UPGRADE, b"").unwrap_or_else(|answer| panic!("refused: {answer:?}"))
    }

    /// Upgrades as [`connect_by`](Self::connect_by) does, from the local address `source`; returns the answer if its
    /// status is not 101.
    #[track_caller]
    pub(crate) fn try_connect(
        address: SocketAddr,
        source: Ipv4Addr,
        head: &str,
        early: &[u8],
    ) -> Result<Self, Answer> {
        Self::upgrade(Self::socket(source), address, head, early)
    }

    fn socket(source: Ipv4Addr) -> Socket {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        socket.bind(&SocketAddr::from((source, 0)).into()).unwrap();
        // The smallest buffer that the kernel allows fills quickly.
        socket.set_recv_buffer_size(1).unwrap();
        socket
    }

    #[track_caller]
    fn upgrade(socket: Socket, address: SocketAddr, head: &str, early: &[u8]) -> Result<Self, Answer> {
        socket.connect(&address.into()).unwrap();
        let mut stream: TcpStream = socket.into();
        stream.set_read_timeout(Some(SOON)).unwrap();
        stream.set_write_timeout(Some(SOON)).unwrap();
        let request = format!("{}\r\nhost: gateway\r\n\r\n", head.replace('\n', "\r\n"));
        stream.write_all(&[request.as_bytes(), early].concat()).unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            stream.read_exact(&mut byte).unwrap();
            head.push(byte[0]);
        }
        if head.starts_with(b"HTTP/1.1 101 ") {
            return Ok(Self(stream));
        }
        // A reset after the answer is no failure.
        let _ = stream.read_to_end(&mut head);
        Err(Answer::parse(&String::from_utf8_lossy(&head)).unwrap())
    }

    /// Closes the writing half of the connection; reading still works.
    #[track_caller]
    pub(crate) fn shutdown_write(&self) {
        self.0.shutdown(Shutdown::Write).unwrap();
    }

    /// Ends the connection with a reset.
    pub(crate) fn reset(self) {
        socket2::SockRef::from(&self.0).set_linger(Some(Duration::ZERO)).unwrap();
    }

    /// Whether the kernel still has the gateway's end of the connection, open or not.
    #[cfg(target_os = "linux")]
    #[track_caller]
    pub(crate) fn is_known_to_the_kernel(&self) -> bool {
        let port = |address: SocketAddr| format!(":{:04X}", address.port());
        let (ours, gateway_s) = (port(self.0.local_addr().unwrap()), port(self.0.peer_addr().unwrap()));
        let connections = std::fs::read_to_string("/proc/net/tcp").unwrap();
        connections.lines().any(|line| {
            let mut columns = line.split_whitespace().skip(1);
            columns.next().is_some_and(|local| local.ends_with(&gateway_s))
                && columns.next().is_some_and(|remote| remote.ends_with(&ours))
        })
    }

    /// Sends a text message.
    #[track_caller]
    pub(crate) fn send_text(&mut self, text: &str) {
        self.write(&text_frame(0x81, text));
    }

    /// Writes bytes.
    #[track_caller]
    pub(crate) fn write(&mut self, bytes: &[u8]) {
        self.0.write_all(bytes).unwrap();
    }

    /// Writes bytes; false if the gateway has ended the connection.
    pub(crate) fn try_write(&mut self, bytes: &[u8]) -> bool {
        self.0.write_all(bytes).is_ok()
    }

    /// Reads and drops bytes until the connection ends (true) or no byte has arrived for `time` (false).
    pub(crate) fn ends_within(&mut self, time: Duration) -> bool {
        self.0.set_read_timeout(Some(time)).unwrap();
        let ended = loop {
            match self.0.read(&mut [0; 4096]) {
                Ok(0) => break true,
                Ok(_) => {}
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                    break false;
                }
                Err(_) => break true,
            }
        };
        self.0.set_read_timeout(Some(SOON)).unwrap();
        ended
    }

    /// Reads and drops bytes until none arrives for 500 ms; returns their number.
    #[track_caller]
    pub(crate) fn read_available(&mut self) -> usize {
        self.0.set_read_timeout(Some(Duration::from_millis(500))).unwrap();
        let mut read = 0;
        let mut buffer = [0; 1 << 16];
        while let Ok(length @ 1..) = self.0.read(&mut buffer) {
            read += length;
        }
        self.0.set_read_timeout(Some(SOON)).unwrap();
        read
    }

    /// Reads and drops this many bytes.
    #[track_caller]
    pub(crate) fn read_exactly(&mut self, bytes: usize) {
        self.0.read_exact(&mut vec![0; bytes]).unwrap();
    }

    /// Reads one frame of the gateway: its first byte and its payload. Skips heartbeats, because the first one
    /// arrives at a random time.
    #[track_caller]
    pub(crate) fn frame(&mut self) -> (u8, Vec<u8>) {
        loop {
            let (first, payload) = self.any_frame();
            if first != 0x81 || !payload.starts_with(br#"{"op":10,"#) {
                return (first, payload);
            }
        }
    }

    #[track_caller]
    fn any_frame(&mut self) -> (u8, Vec<u8>) {
        let mut head = [0; 2];
        self.0.read_exact(&mut head).unwrap();
        let length = match head[1] {
            126 => {
                let mut length = [0; 2];
                self.0.read_exact(&mut length).unwrap();
                usize::from(u16::from_be_bytes(length))
            }
            short => {
                assert!(short < 126, "received a frame longer than 64 KiB");
                usize::from(short)
            }
        };
        let mut payload = vec![0; length];
        self.0.read_exact(&mut payload).unwrap();
        (head[0], payload)
    }

    /// Asserts that the next frame is this text.
    #[track_caller]
    pub(crate) fn expect_text(&mut self, text: &str) {
        let (first, payload) = self.frame();
        assert_eq!((first, std::str::from_utf8(&payload).unwrap()), (0x81, text));
    }

    /// Asserts that the next frame is Close with `code` and that the gateway ends the connection without an answer.
    #[track_caller]
    pub(crate) fn expect_close(&mut self, code: u16) {
        let (first, payload) = self.frame();
        assert_eq!((first, u16::from_be_bytes([payload[0], payload[1]])), (0x88, code));
        assert_eq!(self.0.read(&mut [0; 64]).unwrap(), 0, "received data after Close");
    }
}
