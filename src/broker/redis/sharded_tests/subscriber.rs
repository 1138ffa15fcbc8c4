//! A subscriber that only uses SSUBSCRIBE.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpStream;
use std::time::Duration;

/// Receives the messages of one sharded channel.
pub(super) struct ShardedSubscriber(BufReader<TcpStream>);

impl ShardedSubscriber {
    pub(super) fn subscribe(port: u16, channel: &str) -> Self {
        let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        write!(stream, "SSUBSCRIBE {channel}\r\n").unwrap();
        let mut subscriber = Self(BufReader::new(stream));
        // `*3`, then a name, the channel with their lengths, and the number of channels.
        let confirmation: Vec<_> = (0..6).map(|_| subscriber.line()).collect();
        assert_eq!((&*confirmation[2], &*confirmation[4]), ("ssubscribe", channel));
        subscriber
    }

    /// The payload of the next message.
    pub(super) fn next(&mut self) -> String {
        let message: Vec<_> = (0..7).map(|_| self.line()).collect();
        assert_eq!(message[2], "smessage");
        message[6].clone()
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.0.read_line(&mut line).unwrap();
        line.trim_end().to_owned()
    }
}
