//! Answers about tokens, kept for a short time. Bounded in number and bytes.

use std::collections::{BTreeSet, HashMap};
use std::time::{Duration, Instant, SystemTime};

use super::super::{AuthError, Principal};
use super::hash::TokenHash;

/// The most answers, and their most bytes. An answer with 1000 channels has up to 300 KB.
const MAX_ENTRIES: usize = 100_000;
const MAX_BYTES: usize = 64 << 20;
/// What an entry takes besides the texts of its principal.
const ENTRY_BYTES: usize = 320;
/// What a text takes besides its characters.
const TEXT_BYTES: usize = 32;

/// A valid token, or one that is refused.
type Answer = Result<Principal, AuthError>;

/// The answers, by the hashes of their tokens.
#[derive(Debug, Default)]
pub(super) struct AnswerCache {
    entries: HashMap<TokenHash, CachedAnswer>,
    /// Every entry, by the end of its time. The answer that ends first makes room for a new one.
    by_end: BTreeSet<(Instant, TokenHash)>,
    bytes: usize,
}

#[derive(Debug)]
struct CachedAnswer {
    answer: Answer,
    until: Instant,
    bytes: usize,
}

impl AnswerCache {
    /// The answer about a token, while it is kept.
    pub(super) fn get(&mut self, hash: TokenHash, now: Instant, wall: SystemTime) -> Option<Answer> {
        let entry = self.entries.get(&hash)?;
        if entry.until <= now {
            self.remove(hash);
            return None;
        }
        // The wall clock decides about the expiry, and may have been set.
        Some(match &entry.answer {
            Ok(principal) if principal.expires_at.is_some_and(|at| at <= wall) => Err(AuthError::Expired),
            answer => answer.clone(),
        })
    }

    /// Keeps an answer for `ttl`, but not longer than the token is valid.
    pub(super) fn insert(
        &mut self,
        hash: TokenHash,
        answer: Answer,
        ttl: Duration,
        now: Instant,
        wall: SystemTime,
    ) {
        let expiry = answer.as_ref().ok().and_then(|principal| principal.expires_at);
        let left = expiry.map(|at| at.duration_since(wall).unwrap_or_default());
        let kept = left.map_or(ttl, |left| left.min(ttl));
        self.remove(hash);
        if kept.is_zero() {
            return;
        }
        let (until, bytes) = (now + kept, bytes_of(&answer));
        self.by_end.insert((until, hash));
        self.bytes += bytes;
        self.entries.insert(hash, CachedAnswer { answer, until, bytes });
        while self.bytes > MAX_BYTES || self.entries.len() > MAX_ENTRIES {
            let Some((_, first)) = self.by_end.first().copied() else { break };
            self.remove(first);
        }
        self.prune(now);
    }

    /// Removes answers whose time has ended.
    fn prune(&mut self, now: Instant) {
        while let Some((_, hash)) = self.by_end.first().copied().filter(|(until, _)| *until <= now) {
            self.remove(hash);
        }
    }

    fn remove(&mut self, hash: TokenHash) {
        if let Some(entry) = self.entries.remove(&hash) {
            self.by_end.remove(&(entry.until, hash));
            self.bytes -= entry.bytes;
        }
    }
}

fn bytes_of(answer: &Answer) -> usize {
    let Ok(principal) = answer else { return ENTRY_BYTES };
    let lists = principal.channels.iter().chain(&principal.subscribe);
    let lists: usize = lists.map(|text| text.len() + TEXT_BYTES).sum();
    let id = principal.token_id.as_ref().map_or(0, String::len);
    ENTRY_BYTES + principal.user.len() + id + lists
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn principal(expires_at: Option<SystemTime>, channels: Vec<String>) -> Principal {
        Principal {
            user: "42".into(),
            expires_at,
            channels,
            subscribe: vec![],
            token_id: None,
            issued_at: None,
        }
    }

    #[test]
    fn an_answer_is_kept_for_its_time_but_not_beyond_the_expiry() {
        let (mut cache, now, wall) = (AnswerCache::default(), Instant::now(), UNIX_EPOCH + 1000 * SECOND);
        let [long, short] = ["long", "short"].map(TokenHash::of);
        cache.insert(long, Ok(principal(None, vec![])), 10 * SECOND, now, wall);
        cache.insert(short, Ok(principal(Some(wall + 3 * SECOND), vec![])), 10 * SECOND, now, wall);
        assert!(cache.get(short, now + 2 * SECOND, wall + 2 * SECOND).is_some());
        assert!(cache.get(short, now + 3 * SECOND, wall + 3 * SECOND).is_none());
        assert!(cache.get(long, now + 9 * SECOND, wall + 9 * SECOND).is_some());
        assert!(cache.get(long, now + 10 * SECOND, wall + 10 * SECOND).is_none());
        assert_eq!((cache.entries.len(), cache.by_end.len(), cache.bytes), (0, 0, 0));
    }

    #[test]
    fn a_wall_clock_that_jumps_forward_expires_an_answer() {
        let (mut cache, now, wall) = (AnswerCache::default(), Instant::now(), UNIX_EPOCH + 1000 * SECOND);
        let token = TokenHash::of("token");
        cache.insert(token, Ok(principal(Some(wall + 60 * SECOND), vec![])), 10 * SECOND, now, wall);
        let answer = cache.get(token, now + SECOND, wall + 60 * SECOND);
        assert_eq!(answer, Some(Err(AuthError::Expired)));
    }

    #[test]
    fn the_answers_that_end_first_make_room() {
        let (mut cache, now, wall) = (AnswerCache::default(), Instant::now(), UNIX_EPOCH);
        let hash = |number: usize| TokenHash::of(&number.to_string());
        for number in 0..MAX_ENTRIES {
            cache.insert(hash(number), Ok(principal(None, vec![])), 10 * SECOND, now, wall);
        }
        let refused = TokenHash::of("refused");
        cache.insert(refused, Err(AuthError::Unknown), SECOND, now, wall);
        assert_eq!(cache.entries.len(), MAX_ENTRIES);
        assert!(cache.get(refused, now, wall).is_none(), "a refusal pushes no valid token out");
        let large = || Ok(principal(None, vec!["x".repeat(255); 1000]));
        (0..1000).for_each(|number| cache.insert(hash(number), large(), 10 * SECOND, now, wall));
        assert!(cache.bytes <= MAX_BYTES && cache.entries.len() == cache.by_end.len());
    }
}
