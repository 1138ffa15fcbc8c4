//! A worker that stands still, as one does whose log nobody reads: a thread that writes a line waits for its reader.

use std::io::Write as _;
use std::net::TcpStream;
use std::sync::MutexGuard;

use super::deadline::eventually;
use super::gateway::{Plan, TestGateway};
use super::process::SOON;
use super::raw_socket::{UPGRADE, text_frame};

/// How many sockets come between two looks. Each is worth half a KiB of the log; some hundred fill the pipe.
const AT_A_TIME: usize = 50;

/// Until it is dropped nobody reads the gateway's log, and sockets come that are worth some lines each.
pub(crate) struct StuckWorker<'a> {
    gateway: &'a TestGateway,
    sockets: Vec<TcpStream>,
    _unread: MutexGuard<'a, Vec<String>>,
}

impl<'a> StuckWorker<'a> {
    /// A gateway that logs the life of its sessions.
    pub(crate) fn plan(plan: Plan) -> Plan {
        plan.with("log.format", "json").variable("RUST_LOG", "info,emagine_gateway::session=debug")
    }

    /// Stops reading the log of such a gateway.
    pub(crate) fn of(gateway: &'a TestGateway) -> Self {
        Self { gateway, sockets: Vec::new(), _unread: gateway.leave_log_unread() }
    }

    /// Lets sockets come until `probe` yields a value.
    #[track_caller]
    pub(crate) fn until<T>(&mut self, mut probe: impl FnMut() -> Option<T>) -> T {
        eventually(SOON, || {
            for _ in 0..AT_A_TIME {
                self.connect();
            }
            probe()
        })
    }

    /// Asks for a socket and identifies itself, without waiting for any answer: none may come.
    #[track_caller]
    fn connect(&mut self) {
        let mut socket = TcpStream::connect(self.gateway.public).unwrap();
        let head = UPGRADE.replace('\n', "\r\n");
        let identify = text_frame(0x81, &format!(r#"{{"op":1,"token":"{}"}}"#, "x".repeat(100)));
        socket.write_all(format!("{head}\r\nhost: localhost\r\n\r\n").as_bytes()).unwrap();
        socket.write_all(&identify).unwrap();
        self.sockets.push(socket);
    }
}
