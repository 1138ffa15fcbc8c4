//! The core with its clock, its tasks and its metrics.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt as _, StreamExt as _};
use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::sleep;

use super::super::claims::ClaimRules;
use super::super::verification::AnswerSender;
use super::super::{AuthError, PendingVerification, TokenError, Verification};
use super::core::{Lookup, OpaqueCore, OpaqueLimits, Waiter};
use super::hash::TokenHash;
use super::issuer::{CallError, IssuerAnswer, TokenIssuer, TokenQuery};
use crate::metrics::{Metrics, TokenCallResult, TokenLookupResult};
use crate::settings::AuthSettings;
use crate::timeout::timeout_awake;

/// The time between two looks at the queue while the issuer fails, so that the tokens that wait are asked about.
const PROBE_INTERVAL: Duration = Duration::from_millis(50);

/// Verifies opaque tokens. Clones share the answers and the calls.
#[derive(Clone)]
pub struct OpaqueTokens(Arc<SharedTokens>);

struct SharedTokens {
    core: Mutex<OpaqueCore<AnswerSender>>,
    /// Notified when a token waits for a call.
    asked: Notify,
    /// Why the issuer fails, while it does.
    failure: Mutex<Option<CallError>>,
    metrics: Metrics,
    call_timeout: Duration,
}

impl std::fmt::Debug for OpaqueTokens {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("OpaqueTokens")
    }
}

impl Waiter for AnswerSender {
    fn is_gone(&self) -> bool {
        self.is_closed()
    }
}

impl OpaqueTokens {
    /// Tokens that an issuer of this type is asked about, once [`OpaqueTokens::run`] runs.
    pub fn new<I: TokenIssuer>(settings: &AuthSettings, metrics: &Metrics) -> Self {
        let limits = OpaqueLimits {
            cache_ttl: settings.cache_ttl,
            max_parallel_calls: settings.max_parallel_calls,
            max_tokens_per_call: I::MAX_TOKENS,
            must_be_printable: I::READS_TEXT,
        };
        // Neither a login in Redis nor an introspected token needs an expiry.
        let rules = ClaimRules { requires_expiry: false, ..ClaimRules::new(settings) };
        Self(Arc::new(SharedTokens {
            core: Mutex::new(OpaqueCore::new(limits, rules, rand::random())),
            asked: Notify::new(),
            failure: Mutex::default(),
            metrics: metrics.clone(),
            call_timeout: settings.call_timeout,
        }))
    }

    /// Verifies a token, or starts to. `on_late_refusal` is called if the token is refused after nobody waits for the
    /// answer any more.
    pub fn verify(&self, token: &str, on_late_refusal: impl FnOnce() + Send + 'static) -> Verification {
        let mut pending = None;
        let waiter = || {
            let (sender, receiver) = PendingVerification::new(Box::new(on_late_refusal));
            pending = Some(receiver);
            sender
        };
        let found = self.0.core.lock().look_up(token, waiter, Instant::now(), SystemTime::now());
        Metrics::count(&self.0.metrics.token_lookups, result_of(&found));
        if found == Lookup::Asked {
            self.0.asked.notify_one();
        }
        match (pending, found) {
            (Some(pending), _) => Verification::Pending(pending),
            (None, Lookup::Cached(answer)) => Verification::Known(answer),
            (None, Lookup::TooLong | Lookup::NotAToken) => {
                Verification::Known(Err(TokenError::Refused(AuthError::Malformed)))
            }
            (None, _) => Verification::Known(Err(TokenError::Unavailable)),
        }
    }

    /// Why tokens cannot be verified, while the issuer fails.
    pub fn note(&self) -> Option<String> {
        let failure = self.0.failure.lock();
        let failure = failure.as_ref()?;
        Some(format!("tokens cannot be verified: {failure}; Identifies are closed with 1013"))
    }

    /// Makes the calls, until it is dropped.
    pub async fn run<I: TokenIssuer>(self, issuer: I) {
        let mut calls = FuturesUnordered::new();
        loop {
            let next = || self.0.core.lock().next_call(Instant::now());
            while let Some(tokens) = next() {
                calls.push(self.call(&issuer, tokens));
            }
            let is_failing = self.0.core.lock().is_failing();
            tokio::select! {
                Some(()) = calls.next() => {}
                () = self.0.asked.notified() => {}
                () = sleep(PROBE_INTERVAL), if is_failing => {}
            }
        }
    }

    /// Makes one call, and passes its answers on.
    async fn call<I: TokenIssuer>(&self, issuer: &I, tokens: Vec<TokenQuery>) {
        let hashes: Vec<_> = tokens.iter().map(|token| token.hash).collect();
        let started = Instant::now();
        let asked = timeout_awake(self.0.call_timeout, AssertUnwindSafe(issuer.ask(tokens)).catch_unwind());
        let outcome = match asked.await {
            Ok(Ok(outcome)) => outcome,
            Ok(Err(_)) => Err(CallError::Failed("the gateway panicked during a call".to_owned())),
            Err(_) => Err(CallError::Timeout),
        };
        self.0.metrics.token_call_seconds.observe(started.elapsed().as_secs_f64());
        self.end::<I>(&hashes, outcome);
    }

    fn end<I: TokenIssuer>(&self, hashes: &[TokenHash], outcome: Result<Vec<IssuerAnswer>, CallError>) {
        let result = match &outcome {
            Ok(_) => TokenCallResult::Answered,
            Err(CallError::Timeout) => TokenCallResult::Timeout,
            Err(CallError::Failed(_) | CallError::Rejected(_)) => TokenCallResult::Failed,
        };
        Metrics::count(&self.0.metrics.token_calls, result);
        let error = outcome.as_ref().err().cloned();
        let (answered, is_failing) = {
            let mut core = self.0.core.lock();
            (core.end_call(hashes, outcome, Instant::now(), SystemTime::now()), core.is_failing())
        };
        self.note_failure::<I>(error, is_failing);
        for (waiter, answer) in answered {
            waiter.send(answer);
        }
    }

    /// Logs when the issuer begins to fail, and when it answers again.
    fn note_failure<I: TokenIssuer>(&self, error: Option<CallError>, is_failing: bool) {
        self.0.metrics.tokens_unavailable.set(is_failing.into());
        let mut failure = self.0.failure.lock();
        match (error, is_failing) {
            (Some(error), true) => {
                if failure.is_none() {
                    log::warn!("{}: tokens cannot be verified: {error}; asking again after a pause", I::NAME);
                }
                *failure = Some(error);
            }
            (Some(error), false) => log::debug!("{}: a call failed: {error}", I::NAME),
            (None, false) => {
                if failure.take().is_some() {
                    log::info!("{}: tokens can be verified again", I::NAME);
                }
            }
            (None, true) => {}
        }
    }
}

const fn result_of(found: &Lookup) -> TokenLookupResult {
    match found {
        Lookup::Cached(_) => TokenLookupResult::Cached,
        Lookup::TooLong => TokenLookupResult::TooLong,
        Lookup::NotAToken => TokenLookupResult::NotAToken,
        Lookup::Shared => TokenLookupResult::Shared,
        Lookup::Asked => TokenLookupResult::Asked,
        Lookup::BackingOff => TokenLookupResult::BackingOff,
        Lookup::Overloaded => TokenLookupResult::Overloaded,
    }
}
