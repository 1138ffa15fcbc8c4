use std::net::{Ipv4Addr, TcpListener};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tempfile::TempDir;
use tokio::time::{Instant, sleep};

use super::super::super::HistoryOptions;
use super::super::dataset::{evicted_keys, mark_command, parse_mark_answer};
use super::super::function;
use super::super::known_dataset::Dataset;
use super::super::not_run::NotRun;
use super::*;
use protocol::history::Proof;

/// A Redis for one test, with the function library and a connection.
pub(in super::super) struct Redis {
    child: Child,
    _folder: TempDir,
    pub(in super::super) options: RedisOptions,
    pub(in super::super) commands: MultiplexedConnection,
}

impl Redis {
    pub(in super::super) async fn start() -> Self {
        let folder = TempDir::new().unwrap();
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port();
        let program = std::env::var_os("GATEWAY_TEST_REDIS_SERVER").unwrap_or_else(|| "redis-server".into());
        let child = Command::new(program)
            .args(["--bind", "127.0.0.1", "--save", "", "--port"])
            .arg(port.to_string())
            .current_dir(folder.path())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let options = RedisOptions {
            max_payload_bytes: 100,
            history: HistoryOptions::of_size(100),
            ..RedisOptions::of_url(&format!("redis://127.0.0.1:{port}"))
        };
        let commands = connect(&options.url).await;
        let mut redis = Self { child, _folder: folder, options, commands };
        let mut load = redis::cmd("FUNCTION");
        load.arg("LOAD")
            .arg(function::code(redis.options.layout))
            .exec_async(&mut redis.commands)
            .await
            .unwrap();
        redis
    }

    /// Marks the data as a running process does.
    pub(in super::super) async fn mark(&mut self) -> Dataset {
        self.call_mark(false).await
    }

    /// Marks the data as a process does at its start, with this history TTL.
    pub(in super::super) async fn start_process(&mut self, ttl: Duration) -> Dataset {
        self.options.history.ttl = ttl;
        self.call_mark(true).await
    }

    async fn call_mark(&mut self, is_first: bool) -> Dataset {
        let answer = mark_command(&self.options, is_first).query_async(&mut self.commands).await.unwrap();
        parse_mark_answer(answer, evicted_keys("gateway:dataset", &mut self.commands).await).unwrap()
    }

    pub(in super::super) async fn run(&mut self, command: &str) {
        let mut words = command.split(' ');
        let mut command = redis::cmd(words.next().unwrap());
        words.for_each(|word| {
            command.arg(word);
        });
        command.exec_async(&mut self.commands).await.unwrap();
    }

    pub(in super::super) async fn page(&mut self, since: &str, max_entries: usize) -> Page {
        self.try_page(since, max_entries).await.unwrap()
    }

    async fn try_page(&mut self, since: &str, max_entries: usize) -> Result<Page, RedisReadError> {
        let since = Position::parse(since).unwrap();
        let channel = ChannelName::parse("room:1").unwrap();
        page(&mut self.commands, &self.options, &channel, EntryRange::After(since), max_entries, true).await
    }

    /// Runs a script that does not end, so Redis answers BUSY.
    async fn be_busy(&mut self) {
        self.run("CONFIG SET busy-reply-threshold 1").await;
        let mut other = connect(&self.options.url).await;
        tokio::spawn(async move {
            let script = redis::cmd("EVAL").arg("while true do end").arg(0).exec_async(&mut other).await;
            assert!(script.is_err(), "the script must be killed");
        });
        let end = Instant::now() + Duration::from_secs(10);
        while redis::cmd("PING").exec_async(&mut self.commands).await.is_ok() {
            assert!(Instant::now() < end, "the script does not run");
        }
    }

    /// Since when the data is whole, as a reader sees it.
    pub(in super::super) async fn whole_since_ms(&mut self) -> u64 {
        self.page("1-0", 1).await.whole_since_ms
    }
}

/// A new connection, once the server answers.
async fn connect(url: &str) -> MultiplexedConnection {
    let client = redis::Client::open(url).unwrap();
    let config = redis::AsyncConnectionConfig::new().set_response_timeout(None);
    let end = Instant::now() + Duration::from_secs(10);
    loop {
        match client.get_multiplexed_async_connection_with_config(&config).await {
            Ok(commands) => break commands,
            Err(error) if Instant::now() > end => panic!("redis-server did not start: {error}"),
            Err(_) => sleep(Duration::from_millis(2)).await,
        }
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn positions(page: &Page) -> Vec<String> {
    page.entries.iter().map(|entry| entry.position.to_string()).collect()
}

#[tokio::test]
async fn an_unreadable_key_does_not_affect_other_tails() {
    let mut redis = Redis::start().await;
    redis.run("XADD gateway:room:1 1000-41 m 1").await;
    redis.run("XADD gateway:room:1 1000-42 m 2").await;
    redis.run("SET gateway:room:2 text").await;
    redis.run("XADD gateway:room:4 2000-1 m 1").await;
    let keys = [1, 2, 3, 4].map(|room| format!("gateway:room:{room}"));
    let found = tails(&mut redis.commands, &redis.options, &keys).await.unwrap();
    let at = |text| Tail::At(Position::parse(text).unwrap());
    let tails_read: Vec<_> = found.iter().map(|read| read.as_ref().ok().map(|read| read.tail)).collect();
    assert_eq!(tails_read, [Some(at("1000-42")), None, Some(Tail::Nothing), Some(at("2000-1"))]);
    assert!(matches!(found[1], Err(RedisReadError::Data(_))));
    assert!(found[0].as_ref().unwrap().now_ms > 1_700_000_000_000);
    assert!(tails(&mut redis.commands, &redis.options, &[]).await.unwrap().is_empty());
}

#[tokio::test]
async fn a_page_has_the_entries_after_a_position() {
    let mut redis = Redis::start().await;
    for (id, fields) in
        [("1000-41", "m {\"a\":1}"), ("1000-42", "m {broken"), ("2000-1", "m 3 a 1000-42"), ("2000-2", "m 4")]
    {
        redis.run(&format!("XADD gateway:room:1 {id} {fields}")).await;
    }
    let page = redis.page("1000-40", 100).await;
    assert_eq!(positions(&page), ["1000-41", "1000-42", "2000-1", "2000-2"]);
    let messages = page.entries.iter().map(|entry| Some(entry.publication.as_ref()?.message().get()));
    assert_eq!(messages.collect::<Vec<_>>(), [Some("{\"a\":1}"), None, Some("3"), Some("4")]);
    assert_eq!(page.entries[0].publication.as_ref().unwrap().position(), Position::parse("1000-41"));
    assert_eq!(page.entries[2].after, Position::parse("1000-42"));
    assert_eq!(page.tail.to_string(), "2000-2");
    assert_eq!(page.prove(Position::parse("1000-40").unwrap(), page.tail), Ok(Proof::Complete));
    assert_eq!(positions(&redis.page("1000-41", 2).await), ["1000-42", "2000-1"]);
    assert!(redis.page("2000-2", 100).await.entries.is_empty());
    let last = u64::MAX;
    assert!(redis.page(&format!("{last}-{last}"), 100).await.entries.is_empty());
    assert_eq!(redis.page(&format!("1000-{last}"), 1).await.entries.len(), 1);
}

#[tokio::test]
async fn a_page_up_to_a_position_has_the_newest_entries() {
    let mut redis = Redis::start().await;
    for (id, fields) in
        [("1000-41", "m 1"), ("1000-42", "m 2"), ("1000-44", "m 4"), ("2000-1", "m 5 a 1000-44")]
    {
        redis.run(&format!("XADD gateway:room:1 {id} {fields}")).await;
    }
    for (last, max_entries, expected) in [
        ("2000-1", 2, &["1000-44", "2000-1"][..]),
        ("2000-0", 2, &["1000-42", "1000-44"]),
        ("1000-43", 100, &["1000-41", "1000-42"]),
        ("1000-40", 100, &[]),
        ("0-0", 100, &[]),
        ("18446744073709551615-18446744073709551615", 1, &["2000-1"]),
    ] {
        let range = EntryRange::UpTo(Position::parse(last).unwrap());
        let channel = ChannelName::parse("room:1").unwrap();
        let page =
            page(&mut redis.commands, &redis.options, &channel, range, max_entries, false).await.unwrap();
        assert_eq!(positions(&page), expected, "{last}");
        if let Some(first) = page.entries.iter().find(|entry| entry.position.epoch == 2000) {
            assert_eq!(first.after, Position::parse("1000-44"));
        }
    }
}

#[tokio::test]
async fn fields_of_any_bytes_are_read() {
    let mut redis = Redis::start().await;
    let mut add = redis::cmd("XADD");
    add.arg("gateway:room:1").arg("1000-1").arg(&b"\xff"[..]).arg(&b"\xfe"[..]).arg("m").arg(1);
    add.exec_async(&mut redis.commands).await.unwrap();
    let page = redis.page("1-0", 10).await;
    assert_eq!(page.entries[0].publication.as_ref().unwrap().message().get(), "1");
    let found = tails(&mut redis.commands, &redis.options, &["gateway:room:1".into()]).await.unwrap();
    assert_eq!(found[0].as_ref().unwrap().tail, Tail::At(Position::parse("1000-1").unwrap()));
}

#[tokio::test]
async fn a_failed_read_distinguishes_data_server_and_connection() {
    let mut redis = Redis::start().await;
    let keys = ["gateway:room:1".to_owned(), "gateway:room:2".to_owned()];
    redis.run("SET gateway:room:1 text").await;
    let error = redis.try_page("1-0", 1).await.unwrap_err();
    assert!(matches!(&error, RedisReadError::Data(reason) if reason.contains("WRONGTYPE")), "{error:?}");
    // Refused while it is queued, so Redis refuses EXEC as a whole.
    redis.run("ACL SETUSER default -xrange").await;
    let error = redis.try_page("1-0", 1).await.unwrap_err();
    assert!(matches!(&error, RedisReadError::Data(reason) if reason.contains("NOPERM")), "{error:?}");
    redis.run("ACL SETUSER default +@all").await;

    redis.be_busy().await;
    let error = redis.try_page("1-0", 1).await.unwrap_err();
    assert!(matches!(error, RedisReadError::NotRun(NotRun::Busy, _)), "{error:?}");
    assert!(matches!(
        tails(&mut redis.commands, &redis.options, &keys).await,
        Err(RedisReadError::NotRun(NotRun::Busy, _))
    ));
    redis.run("SCRIPT KILL").await;

    redis.child.kill().unwrap();
    let error = redis.try_page("1-0", 1).await.unwrap_err();
    assert!(matches!(error, RedisReadError::Connection(_)), "{error:?}");
    assert!(matches!(
        tails(&mut redis.commands, &redis.options, &keys).await,
        Err(RedisReadError::Connection(_))
    ));
}

#[tokio::test]
async fn wrong_marker_and_settings_keys_leave_histories_readable() {
    let mut redis = Redis::start().await;
    redis.run("XADD gateway:room:1 1000-1 m 1").await;
    redis.run("XADD gateway:room:1 1000-2 m 2").await;
    for key in ["gateway:dataset", "gateway:settings"] {
        redis.run(&format!("RPUSH {key} text")).await;
        let page = redis.page("1000-1", 10).await;
        assert_eq!((positions(&page), page.whole_since_ms), (vec!["1000-2".to_owned()], u64::MAX), "{key}");
    }
}
