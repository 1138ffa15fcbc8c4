//! Looks tokens up: in the cache, in a call that is being made, or in a new call.
//!
//! Equal tokens share one call. The calls at one time, the tokens that wait for a call, and the bytes of their texts are
//! bounded. Answers are cached; failures are not, but after some of them the calls pause.

use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant, SystemTime};

use super::super::claims::{ClaimRules, Claims};
use super::super::{AuthError, Principal, TokenAnswer, TokenError};
use super::breaker::{Allowance, Breaker};
use super::cache::AnswerCache;
use super::hash::TokenHash;
use super::issuer::{CallError, IssuerAnswer, TokenQuery};

/// The longest token, in bytes. Issuers use some dozens.
const MAX_TOKEN_BYTES: usize = 8 * 1024;
/// The most tokens that wait for a call, and the most bytes of their texts.
const MAX_QUEUED: usize = 20_000;
const MAX_QUEUED_BYTES: usize = 16 << 20;
/// How long a refusal is kept.
const REFUSAL_TTL: Duration = Duration::from_secs(1);

/// The limits of the settings.
#[derive(Debug, Clone, Copy)]
pub struct OpaqueLimits {
    /// How long an answer is kept; zero: not at all.
    pub cache_ttl: Duration,
    /// The calls at one time.
    pub max_parallel_calls: usize,
    /// The most tokens of one call.
    pub max_tokens_per_call: usize,
    /// Whether a token must consist of printable ASCII characters.
    pub must_be_printable: bool,
}

/// What waits for an answer.
pub(super) trait Waiter {
    /// Whether the answer is not needed any more.
    fn is_gone(&self) -> bool;
}

/// The result of looking up a token.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Lookup {
    /// The answer is known.
    Cached(TokenAnswer),
    /// The token is too long to be one.
    TooLong,
    /// The text cannot be a token.
    NotAToken,
    /// The waiter waits for a call that was asked for before.
    Shared,
    /// The waiter waits for a new call.
    Asked,
    /// The issuer failed, and the calls to it pause.
    BackingOff,
    /// Too many tokens wait for a call.
    Overloaded,
}

/// A token without an answer.
struct PendingToken<W> {
    waiters: Vec<W>,
    /// The text, until a call begins.
    text: Option<Box<str>>,
}

/// The tokens that are being looked up, and the answers.
pub(super) struct OpaqueCore<W> {
    limits: OpaqueLimits,
    rules: ClaimRules,
    cache: AnswerCache,
    breaker: Breaker,
    pending: HashMap<TokenHash, PendingToken<W>>,
    /// The tokens that wait for a call, in order.
    queue: VecDeque<TokenHash>,
    queued_bytes: usize,
    calls: usize,
}

impl<W: Waiter> OpaqueCore<W> {
    /// `seed` spreads the pauses of several replicas.
    pub(super) fn new(limits: OpaqueLimits, rules: ClaimRules, seed: u64) -> Self {
        Self {
            limits,
            rules,
            cache: AnswerCache::default(),
            breaker: Breaker::new(seed),
            pending: HashMap::new(),
            queue: VecDeque::new(),
            queued_bytes: 0,
            calls: 0,
        }
    }

    /// Whether the issuer fails.
    pub(super) fn is_failing(&self) -> bool {
        self.breaker.is_failing()
    }

    /// Looks up a token. `waiter` is called if the answer comes later.
    pub(super) fn look_up(
        &mut self,
        token: &str,
        waiter: impl FnOnce() -> W,
        now: Instant,
        wall: SystemTime,
    ) -> Lookup {
        if token.len() > MAX_TOKEN_BYTES {
            return Lookup::TooLong;
        }
        // An issuer that fails at an odd character would be left alone, and then nobody could identify.
        let is_odd = |byte: u8| !(b' '..=b'~').contains(&byte);
        if token.is_empty() || self.limits.must_be_printable && token.bytes().any(is_odd) {
            return Lookup::NotAToken;
        }
        let hash = TokenHash::of(token);
        if let Some(answer) = self.cache.get(hash, now, wall) {
            return Lookup::Cached(answer.map_err(TokenError::Refused));
        }
        if let Some(pending) = self.pending.get_mut(&hash) {
            pending.waiters.push(waiter());
            return Lookup::Shared;
        }
        if self.breaker.is_open(now) {
            return Lookup::BackingOff;
        }
        if self.queue.len() >= MAX_QUEUED || self.queued_bytes + token.len() > MAX_QUEUED_BYTES {
            return Lookup::Overloaded;
        }
        self.queued_bytes += token.len();
        self.queue.push_back(hash);
        let pending = PendingToken { waiters: vec![waiter()], text: Some(token.into()) };
        self.pending.insert(hash, pending);
        Lookup::Asked
    }

    /// The tokens of the next call, if one may begin now.
    pub(super) fn next_call(&mut self, now: Instant) -> Option<Vec<TokenQuery>> {
        let max_tokens = match self.breaker.allowance(now) {
            _ if self.calls >= self.limits.max_parallel_calls => return None,
            Allowance::Nothing => return None,
            Allowance::OneToken => 1,
            Allowance::Any => self.limits.max_tokens_per_call,
        };
        let mut tokens = Vec::new();
        while tokens.len() < max_tokens
            && let Some(hash) = self.queue.pop_front()
        {
            tokens.extend(self.begin(hash));
        }
        if tokens.is_empty() {
            return None;
        }
        self.calls += 1;
        self.breaker.begin();
        Some(tokens)
    }

    /// Takes the text of a token. `None` if nothing waits for it any more.
    fn begin(&mut self, hash: TokenHash) -> Option<TokenQuery> {
        let pending = self.pending.get_mut(&hash)?;
        let text = pending.text.take()?;
        self.queued_bytes -= text.len();
        if pending.waiters.iter().all(Waiter::is_gone) {
            self.pending.remove(&hash);
            return None;
        }
        Some(TokenQuery { hash, text })
    }

    /// A call has ended. Returns the answers for what waits.
    pub(super) fn end_call(
        &mut self,
        tokens: &[TokenHash],
        outcome: Result<Vec<IssuerAnswer>, CallError>,
        now: Instant,
        wall: SystemTime,
    ) -> Vec<(W, TokenAnswer)> {
        self.calls -= 1;
        let mut answered = Vec::new();
        let is_rejected = matches!(outcome, Err(CallError::Rejected(_)));
        let mut has_failed = outcome.is_err();
        let mut answers = outcome.unwrap_or_default().into_iter();
        for hash in tokens {
            let answer = match answers.next() {
                Some(answer) => self.keep(*hash, answer, now, wall).map_err(TokenError::Refused),
                None => Err(TokenError::Unavailable),
            };
            has_failed |= answer == Err(TokenError::Unavailable);
            self.answer(*hash, &answer, &mut answered);
        }
        if !has_failed {
            self.breaker.succeeded();
        } else if is_rejected {
            self.breaker.rejected();
        } else if self.breaker.failed(now) {
            // The clients come back later. Otherwise they would wait for a call that is not made.
            for hash in std::mem::take(&mut self.queue) {
                self.answer(hash, &Err(TokenError::Unavailable), &mut answered);
            }
            self.queued_bytes = 0;
        }
        answered
    }

    fn answer(&mut self, hash: TokenHash, answer: &TokenAnswer, answered: &mut Vec<(W, TokenAnswer)>) {
        let Some(pending) = self.pending.remove(&hash) else { return };
        answered.extend(pending.waiters.into_iter().map(|waiter| (waiter, answer.clone())));
    }

    /// Caches what the issuer says.
    fn keep(
        &mut self,
        hash: TokenHash,
        answer: IssuerAnswer,
        now: Instant,
        wall: SystemTime,
    ) -> Result<Principal, AuthError> {
        let answer = read(&self.rules, answer, wall);
        let ttl = self.limits.cache_ttl;
        let ttl = if answer.is_ok() { ttl } else { ttl.min(REFUSAL_TTL) };
        self.cache.insert(hash, answer.clone(), ttl, now, wall);
        answer
    }
}

/// The principal of a token: its session ends when the claims expire or when the issuer removes the token, whichever is
/// first.
fn read(rules: &ClaimRules, answer: IssuerAnswer, wall: SystemTime) -> Result<Principal, AuthError> {
    let (json, expires_in) = match answer {
        IssuerAnswer::Unknown => return Err(AuthError::Unknown),
        IssuerAnswer::Malformed => return Err(AuthError::Malformed),
        IssuerAnswer::Claims { json, expires_in } => (json, expires_in),
    };
    let claims: Claims = serde_json::from_slice(&json).map_err(|_| AuthError::Malformed)?;
    let principal = rules.check(claims, wall)?;
    let removed_at = expires_in.and_then(|time| wall.checked_add(time));
    let expires_at = principal.expires_at.into_iter().chain(removed_at).min();
    Ok(Principal { expires_at, ..principal })
}

#[cfg(test)]
mod tests;
