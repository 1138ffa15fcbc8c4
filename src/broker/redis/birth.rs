//! Since when the data of Redis has been whole: whatever removes all of it removes this too.
//!
//! Redis cannot write its own clock into a key in one step, and what is written in two may have a loss between them.
//! So the first step writes a mark that nobody else ever uses, and reads the clock in the same transaction; the
//! second writes when that was. Only together they count: the mark of before a loss is not there behind it.

use redis::aio::MultiplexedConnection;
use redis::{Pipeline, RedisResult};

use super::history::{Time, milliseconds};
use super::options::RedisOptions;

/// Others may write at the same time, and then the two keys do not belong together. Whoever comes next tries again.
const MAX_ATTEMPTS: usize = 3;

/// One of the two keys, as it is read.
pub(super) type Mark = Option<String>;

/// When the data was marked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Birth {
    mark: String,
    /// By the clock of Redis, in the step in which the mark was written.
    pub(super) unix_ms: u64,
}

impl Birth {
    /// Adds the two questions whose answers [`of`](Self::of) takes. They are to be asked in one transaction.
    pub(super) fn ask(pipeline: &mut Pipeline, options: &RedisOptions) {
        pipeline.cmd("GET").arg(mark_key(options)).cmd("GET").arg(since_key(options));
    }

    /// What the keys say; `None` if they say nothing, or do not belong together.
    pub(super) fn of(mark: Mark, since: Mark) -> Option<Self> {
        let (mark, since) = (mark?, since?);
        let (unix_ms, of_mark) = since.split_once('@')?;
        (of_mark == mark).then_some(Self { unix_ms: unix_ms.parse().ok()?, mark })
    }

    /// The first step. What it returns holds once it is [written](Self::write).
    pub(super) async fn mark(
        commands: &mut MultiplexedConnection,
        options: &RedisOptions,
    ) -> RedisResult<Self> {
        let mark = rand::random::<u128>().to_string();
        let mut pipeline = redis::pipe();
        pipeline.atomic().cmd("TIME").cmd("SET").arg(mark_key(options)).arg(&mark).ignore();
        let (time,): (Time,) = pipeline.query_async(commands).await?;
        Ok(Self { mark, unix_ms: milliseconds(time) })
    }

    /// The second step.
    pub(super) async fn write(
        &self,
        commands: &mut MultiplexedConnection,
        options: &RedisOptions,
    ) -> RedisResult<()> {
        let value = format!("{}@{}", self.unix_ms, self.mark);
        redis::cmd("SET").arg(since_key(options)).arg(value).exec_async(commands).await
    }
}

/// Says since when the data has been whole, unless it was said already.
///
/// # Errors
/// Those of the connection, and Redis' own.
pub(super) async fn mark_born(
    commands: &mut MultiplexedConnection,
    options: &RedisOptions,
) -> RedisResult<()> {
    for _ in 0..MAX_ATTEMPTS {
        let mut pipeline = redis::pipe();
        Birth::ask(pipeline.atomic(), options);
        let (mark, since): (Mark, Mark) = pipeline.query_async(commands).await?;
        if Birth::of(mark, since).is_some() {
            break;
        }
        Birth::mark(commands, options).await?.write(commands, options).await?;
    }
    Ok(())
}

fn mark_key(options: &RedisOptions) -> String {
    options.redis_channel("born")
}

/// No channel has such a name: it has no namespace.
fn since_key(options: &RedisOptions) -> String {
    options.redis_channel("born_at")
}
