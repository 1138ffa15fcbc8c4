//! Reads the claims of opaque tokens, which the backend puts into Redis, on a connection of its own. So many clients
//! that come back at once delay no probe and no publication.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::try_join_all;
use redis::{RedisError, RedisResult, Value};
use tokio::time::{Instant, sleep, timeout};

use super::RedisBroker;
use super::cluster::slot::Slot;
use super::connect::Endpoint;
use super::link_error::describe;
use super::links::RedisLinks;
use super::not_run::NotRun;
use super::read_error::RedisReadError;
use super::resend;
use super::routes::Routes;
use super::state::RedisState;
use super::token_connection::Connected;
use crate::auth::opaque::{CallError, IssuerAnswer, TokenIssuer, TokenQuery};
use crate::backoff::Backoff;

/// The waits before the next connection.
const RETRY_MIN: Duration = Duration::from_millis(20);
const RETRY_MAX: Duration = Duration::from_secs(1);
/// How long a read waits for a connection.
const CONNECTION_WAIT: Duration = Duration::from_millis(500);

/// Keeps the connection while the link is up.
pub(super) async fn run(state: &RedisState, endpoint: &Endpoint) -> Infallible {
    let tokens = &state.tokens;
    // The sender is in `state`, so the channel stays open.
    let _ = state.are_tokens_wanted.subscribe().wait_for(|is_wanted| *is_wanted).await;
    #[allow(clippy::expect_used, reason = "both are constants")]
    let mut backoff = Backoff::new(RETRY_MIN, RETRY_MAX).expect("0 < min <= max");
    loop {
        match endpoint.connect_commands(&state.options).await {
            Ok(connection) => {
                let _connected = Connected(tokens);
                tokens.current.send_replace(Some(connection));
                backoff.reset();
                tokens.lost.notified().await;
            }
            Err(error) => log::debug!("redis: no connection for reading tokens: {error}"),
        }
        sleep(backoff.next(&mut rand::rng())).await;
    }
}

/// The claims that the backend puts at `<prefix>:token:<hash>`.
pub struct RedisTokens(RedisBroker);

impl RedisTokens {
    /// The tokens in the Redis of this broker.
    pub fn new(broker: RedisBroker) -> Self {
        broker.handle.links.process.are_tokens_wanted.send_replace(true);
        Self(broker)
    }
}

impl TokenIssuer for RedisTokens {
    // Redis answers so many in a fraction of a millisecond.
    const MAX_TOKENS: usize = 128;
    const NAME: &str = "redis";
    const READS_TEXT: bool = false;

    async fn ask(&self, tokens: Vec<TokenQuery>) -> Result<Vec<IssuerAnswer>, CallError> {
        self.0.handle.links.read_tokens(&tokens).await.map_err(|error| match error {
            RedisReadError::Connection(error) if error.is_timeout() => CallError::Timeout,
            error => CallError::Failed(error.to_string()),
        })
    }
}

impl RedisLinks {
    /// Reads the claims of tokens, in their order. Each token is on the server of its slot. The read is repeated if
    /// slots have moved.
    async fn read_tokens(&self, tokens: &[TokenQuery]) -> Result<Vec<IssuerAnswer>, RedisReadError> {
        let mut changes = self.routes.subscribe();
        loop {
            let routes = Arc::clone(&changes.borrow_and_update());
            if let Some(link) = routes.only() {
                return read_until_run(link, tokens).await;
            }
            tokio::select! {
                biased;
                // The sender is in `self`, so the channel stays open.
                _ = changes.changed() => {}
                outcome = self.read_by_slot(&routes, tokens) => return outcome,
            }
        }
    }

    async fn read_by_slot(
        &self,
        routes: &Routes,
        tokens: &[TokenQuery],
    ) -> Result<Vec<IssuerAnswer>, RedisReadError> {
        let names = self.process.options.names();
        let mut by_link = BTreeMap::new();
        for (index, token) in tokens.iter().enumerate() {
            let link = routes.of_slot(Slot::of_key(&names.token(&token.hash)));
            let (_, indexes, of_link) =
                by_link.entry(link.id()).or_insert_with(|| (link, Vec::new(), Vec::new()));
            indexes.push(index);
            of_link.push(token.clone());
        }
        let reading = by_link.into_values().map(|(link, indexes, of_link)| async move {
            let answers = read_until_run(link, &of_link).await?;
            Ok::<_, RedisReadError>(indexes.into_iter().zip(answers).collect::<Vec<_>>())
        });
        let mut answers: Vec<_> = try_join_all(reading).await?.into_iter().flatten().collect();
        answers.sort_by_key(|(index, _)| *index);
        Ok(answers.into_iter().map(|(_, answer)| answer).collect())
    }
}

/// Reads the claims of tokens. Repeats this while Redis answers that it did not run it, and once if the connection
/// breaks.
async fn read_until_run(
    state: &RedisState,
    tokens: &[TokenQuery],
) -> Result<Vec<IssuerAnswer>, RedisReadError> {
    let deadline = Instant::now() + state.options.response_timeout;
    let mut has_reconnected = false;
    loop {
        match read(state, tokens).await {
            Err(RedisReadError::Connection(error)) if !error.is_timeout() && !has_reconnected => {
                has_reconnected = true;
                state.tokens.lost.notify_one();
                state.tokens.current.send_replace(None);
            }
            Err(RedisReadError::NotRun(reason, text)) => {
                state.note_not_run(reason);
                if !resend::wait(deadline).await {
                    return Err(RedisReadError::NotRun(reason, text));
                }
            }
            outcome => return outcome,
        }
    }
}

async fn read(state: &RedisState, tokens: &[TokenQuery]) -> Result<Vec<IssuerAnswer>, RedisReadError> {
    let mut current = state.tokens.current.subscribe();
    let connection = timeout(CONNECTION_WAIT, current.wait_for(Option::is_some)).await;
    let connection = connection.ok().and_then(Result::ok).and_then(|current| current.clone());
    let Some(mut connection) = connection else {
        return Err(RedisReadError::Busy("there is no connection to Redis".to_owned()));
    };
    let mut pipeline = redis::pipe();
    for token in tokens {
        let key = state.options.names().token(&token.hash);
        pipeline.cmd("GET").arg(&key).cmd("PTTL").arg(&key);
    }
    // Each command has a result of its own, so an error of the call is one of the connection or of all commands.
    let answers: Vec<RedisResult<Value>> = pipeline.ignore_errors().query_async(&mut connection).await?;
    let mut answers = answers.into_iter();
    let mut next = || answers.next().unwrap_or(Ok(Value::Nil));
    tokens.iter().map(|_| answer(next(), next())).collect()
}

/// A value of another type is the backend's mistake about one token. Any other error is about all of them.
fn answer(claims: RedisResult<Value>, ttl: RedisResult<Value>) -> Result<IssuerAnswer, RedisReadError> {
    let is_wrong_type = |error: &RedisError| error.code() == Some("WRONGTYPE");
    Ok(match (claims, ttl) {
        (Err(error), _) if is_wrong_type(&error) => IssuerAnswer::Malformed,
        (Err(error), _) | (_, Err(error)) => return Err(refusal(error)),
        // The key may expire between the two commands.
        (Ok(Value::Nil), _) | (_, Ok(Value::Int(-2))) => IssuerAnswer::Unknown,
        (Ok(Value::BulkString(json)), Ok(Value::Int(ttl_ms))) => {
            IssuerAnswer::Claims { json, expires_in: u64::try_from(ttl_ms).ok().map(Duration::from_millis) }
        }
        _ => return Err(RedisReadError::unexpected("an answer to GET or PTTL has the wrong form")),
    })
}

fn refusal(error: RedisError) -> RedisReadError {
    match NotRun::of(&error) {
        Some(reason) => RedisReadError::NotRun(reason, describe(&error)),
        None => RedisReadError::Data(describe(&error)),
    }
}
