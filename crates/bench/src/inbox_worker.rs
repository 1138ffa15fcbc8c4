//! A worker of the inbox, as a backend has it: a consumer group that reads entries in batches and deletes them.

use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use crate::redis::command;
use crate::{BenchError, RedisAddress};

const GROUP: &str = "bench";
/// How many entries are read and deleted together.
const BATCH: &str = "100";
/// How long a read waits for entries, in milliseconds.
const BLOCK: &str = "100";

/// A running worker.
pub(crate) struct InboxWorker {
    is_stopped: Arc<AtomicBool>,
    thread: JoinHandle<io::Result<u64>>,
}

/// A reply of Redis, as far as the worker needs it.
#[derive(Debug, PartialEq, Eq)]
enum Reply {
    /// A string or a number.
    Text(String),
    Array(Vec<Self>),
    Null,
}

impl InboxWorker {
    /// Starts a thread that reads the stream `key` until [`stop`](Self::stop).
    pub(crate) fn start(address: &RedisAddress, key: String) -> Result<Self, BenchError> {
        let stream = address.connect()?;
        let mut redis = Connection { writer: stream.try_clone()?, reader: BufReader::new(stream) };
        if !address.login.is_empty() {
            // `connect` has sent AUTH.
            redis.read()?;
        }
        redis.ask(&[&["XGROUP", "CREATE", &key, GROUP, "$", "MKSTREAM"]])?;
        let is_stopped = Arc::<AtomicBool>::default();
        let stops = Arc::clone(&is_stopped);
        let thread = std::thread::Builder::new()
            .name("bench-inbox".to_owned())
            .spawn(move || redis.work(&key, &stops))?;
        Ok(Self { is_stopped, thread })
    }

    /// Stops the worker when it has read all entries. Returns the largest number of entries that it found.
    pub(crate) fn stop(self) -> Result<u64, BenchError> {
        self.is_stopped.store(true, Ordering::Relaxed);
        let ended = self.thread.join().unwrap_or_else(|_| Err(io::Error::other("a panic")));
        ended.map_err(|error| BenchError::Run(format!("the worker of the inbox: {error}")))
    }
}

struct Connection {
    writer: TcpStream,
    reader: BufReader<TcpStream>,
}

impl Connection {
    fn work(&mut self, key: &str, is_stopped: &AtomicBool) -> io::Result<u64> {
        let mut most = 0;
        let read = ["XREADGROUP", "GROUP", GROUP, "1", "COUNT", BATCH, "BLOCK", BLOCK, "STREAMS", key, ">"];
        loop {
            let mut replies = self.ask(&[&["XLEN", key], &read])?;
            let entries = replies.pop().map(entry_ids).unwrap_or_default();
            if let Some(Reply::Text(length)) = replies.pop() {
                most = most.max(length.parse().unwrap_or(0));
            }
            if entries.is_empty() {
                if is_stopped.load(Ordering::Relaxed) {
                    return Ok(most);
                }
                continue;
            }
            let ids = || entries.iter().map(String::as_str);
            let acknowledge: Vec<_> = ["XACK", key, GROUP].into_iter().chain(ids()).collect();
            let delete: Vec<_> = ["XDEL", key].into_iter().chain(ids()).collect();
            self.ask(&[&["MULTI"], &acknowledge, &delete, &["EXEC"]])?;
        }
    }

    /// Sends commands together and reads their replies.
    fn ask(&mut self, commands: &[&[&str]]) -> io::Result<Vec<Reply>> {
        let bytes: Vec<_> = commands.iter().flat_map(|words| command(words)).collect();
        self.writer.write_all(&bytes)?;
        commands.iter().map(|_| self.read()).collect()
    }

    fn read(&mut self) -> io::Result<Reply> {
        read_reply(&mut self.reader)
    }
}

fn read_reply(reader: &mut BufReader<impl io::Read>) -> io::Result<Reply> {
    let mut line = String::new();
    reader.read_line(&mut line)?;
    let line = line.trim_end();
    let invalid = || io::Error::other(format!("unexpected reply: {line}"));
    let (kind, rest) = line.split_at_checked(1).ok_or_else(invalid)?;
    let length = || rest.parse::<i64>().map_err(|_| invalid());
    match kind {
        "+" | ":" => Ok(Reply::Text(rest.to_owned())),
        "$" | "*" if length()? < 0 => Ok(Reply::Null),
        "$" => {
            let mut text = vec![0; length()? as usize + 2];
            reader.read_exact(&mut text)?;
            text.truncate(text.len() - 2);
            Ok(Reply::Text(String::from_utf8_lossy(&text).into_owned()))
        }
        "*" => (0..length()?).map(|_| read_reply(reader)).collect::<io::Result<_>>().map(Reply::Array),
        _ => Err(invalid()),
    }
}

/// The ids of the entries in the reply of `XREADGROUP` for one stream.
fn entry_ids(reply: Reply) -> Vec<String> {
    let array = |reply| if let Reply::Array(found) = reply { found } else { Vec::new() };
    let streams = array(reply).into_iter();
    let entries = streams.flat_map(|stream| array(stream).into_iter().nth(1)).flat_map(array);
    let ids = entries.filter_map(|entry| array(entry).into_iter().next());
    ids.filter_map(|id| if let Reply::Text(id) = id { Some(id) } else { None }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(bytes: &[u8]) -> io::Result<Reply> {
        read_reply(&mut BufReader::new(bytes))
    }

    #[test]
    fn ids_are_read_from_a_reply_with_entries() {
        let reply = b"*1\r\n*2\r\n$5\r\ninbox\r\n*2\r\n*2\r\n$3\r\n1-0\r\n*2\r\n$1\r\na\r\n$1\r\nb\r\n*2\r\n$3\r\n2-0\r\n*-1\r\n";
        assert_eq!(entry_ids(parse(reply).unwrap()), ["1-0", "2-0"]);
        assert!(entry_ids(parse(b"*-1\r\n").unwrap()).is_empty());
    }

    #[test]
    fn an_error_of_redis_is_no_reply() {
        for reply in [&b"-NOGROUP none\r\n"[..], b"", b"\r\n", b"$x\r\n"] {
            assert!(parse(reply).is_err());
        }
    }
}
