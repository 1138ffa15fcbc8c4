//! The revoked tokens that this replica knows. A revocation is kept until its tokens have expired.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use parking_lot::RwLock;

use super::Revocation;

/// The most revocations of a deployment. Beyond it, `revoke` is refused.
pub const MAX_REVOCATIONS: usize = 100_000;
/// The most revocations in memory: after Redis lost its data, the new ones are added to the old ones.
const MAX_KNOWN: usize = 2 * MAX_REVOCATIONS;

/// The revoked tokens; clones share them.
#[derive(Clone, Default)]
pub struct Revocations(Arc<RwLock<Known>>);

#[derive(Default)]
struct Known {
    /// When the revocation of each `jti` may be forgotten.
    tokens: HashMap<Arc<str>, u64>,
    users: HashMap<Arc<str>, Vec<OfUser>>,
    /// Each revocation by the time when it may be forgotten.
    by_end: BTreeSet<(u64, Key)>,
}

/// The tokens of a user that were issued before a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct OfUser {
    issued_before: u64,
    until: u64,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Key {
    Token(Arc<str>),
    User(Arc<str>, u64),
}

/// There are [`MAX_REVOCATIONS`] already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Full;

impl Revocations {
    /// Whether a token is revoked. All times are in Unix milliseconds. `issued_at_ms`: `None` if the token does not say
    /// when it was issued; then every revocation of its user applies to it.
    pub fn is_revoked(&self, user: &str, jti: Option<&str>, issued_at_ms: Option<u64>, now_ms: u64) -> bool {
        let known = self.0.read();
        if known.by_end.is_empty() {
            return false;
        }
        let is_token = jti.and_then(|jti| known.tokens.get(jti)).is_some_and(|until| *until > now_ms);
        is_token
            || known.users.get(user).is_some_and(|all| {
                let applies = |one: &OfUser| issued_at_ms.is_none_or(|issued| issued < one.issued_before);
                all.iter().any(|one| one.until > now_ms && applies(one))
            })
    }

    /// The number of revocations that are kept.
    pub fn count(&self) -> usize {
        self.0.read().by_end.len()
    }

    /// Adds a revocation whose times are set, unless there are too many.
    pub(super) fn add_bounded(&self, revocation: &Revocation, now_ms: u64) -> Result<(), Full> {
        let mut known = self.0.write();
        known.prune(now_ms);
        if known.by_end.len() >= MAX_REVOCATIONS {
            return Err(Full);
        }
        known.add(revocation);
        Ok(())
    }

    /// Adds revocations that Redis has, with their times.
    pub(super) fn add_all<'a>(&self, revocations: impl IntoIterator<Item = &'a Revocation>, now_ms: u64) {
        let mut known = self.0.write();
        known.prune(now_ms);
        revocations.into_iter().for_each(|revocation| known.add(revocation));
        while known.by_end.len() > MAX_KNOWN && known.remove_first() {}
    }
}

impl Known {
    fn add(&mut self, revocation: &Revocation) {
        let until = revocation.until.unwrap_or(u64::MAX);
        if let Some(jti) = &revocation.jti {
            self.add_token(jti.as_str().into(), until);
        } else if let Some(user) = &revocation.user {
            let issued_before = revocation.issued_before.unwrap_or(u64::MAX);
            self.add_user(user.as_str().into(), OfUser { issued_before, until });
        }
    }

    fn add_token(&mut self, jti: Arc<str>, until: u64) {
        let before = self.tokens.get(&jti).copied();
        if before.is_some_and(|before| before >= until) {
            return;
        }
        if let Some(before) = before {
            self.by_end.remove(&(before, Key::Token(Arc::clone(&jti))));
        }
        self.tokens.insert(Arc::clone(&jti), until);
        self.by_end.insert((until, Key::Token(jti)));
    }

    fn add_user(&mut self, user: Arc<str>, new: OfUser) {
        let Self { users, by_end, .. } = self;
        let all = users.entry(Arc::clone(&user)).or_default();
        let covers = |a: &OfUser, b: &OfUser| a.issued_before >= b.issued_before && a.until >= b.until;
        if all.iter().any(|one| covers(one, &new)) {
            return;
        }
        all.retain(|one| {
            let is_kept = !covers(&new, one);
            if !is_kept {
                by_end.remove(&(one.until, Key::User(Arc::clone(&user), one.issued_before)));
            }
            is_kept
        });
        all.push(new);
        by_end.insert((new.until, Key::User(user, new.issued_before)));
    }

    /// Forgets the revocations whose tokens have expired.
    fn prune(&mut self, now_ms: u64) {
        while self.by_end.first().is_some_and(|(until, _)| *until <= now_ms) && self.remove_first() {}
    }

    /// Forgets the revocation that ends first. Returns whether there was one.
    fn remove_first(&mut self) -> bool {
        let Some((until, key)) = self.by_end.pop_first() else { return false };
        match key {
            Key::Token(jti) => drop(self.tokens.remove(&jti)),
            Key::User(user, issued_before) => {
                if let Some(all) = self.users.get_mut(&user) {
                    all.retain(|one| *one != OfUser { issued_before, until });
                    if all.is_empty() {
                        self.users.remove(&user);
                    }
                }
            }
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of_token(jti: &str, until: u64) -> Revocation {
        Revocation { jti: Some(jti.into()), until: Some(until), ..Revocation::default() }
    }

    fn of_user(user: &str, issued_before: u64, until: u64) -> Revocation {
        Revocation {
            user: Some(user.into()),
            issued_before: Some(issued_before),
            until: Some(until),
            ..Revocation::default()
        }
    }

    #[test]
    fn a_token_is_revoked_until_it_has_expired() {
        let known = Revocations::default();
        known.add_all([&of_token("a", 100), &of_token("a", 50)], 0);
        assert!(known.is_revoked("42", Some("a"), Some(1), 99));
        assert!(!known.is_revoked("42", Some("a"), Some(1), 100));
        assert!(!known.is_revoked("42", Some("b"), Some(1), 99));
        assert!(!known.is_revoked("a", None, None, 99));
    }

    #[test]
    fn only_tokens_issued_before_are_revoked_for_a_user() {
        let known = Revocations::default();
        known.add_all([&of_user("42", 10, 100), &of_user("42", 20, 50), &of_user("42", 5, 50)], 0);
        assert_eq!(known.count(), 2, "one is covered by another");
        for (issued, now, expected) in
            [(9, 99, true), (10, 99, false), (19, 49, true), (20, 49, false), (9, 100, false)]
        {
            assert_eq!(known.is_revoked("42", None, Some(issued), now), expected, "{issued} {now}");
        }
        assert!(known.is_revoked("42", Some("a"), None, 99), "a token that does not say when it was issued");
        assert!(!known.is_revoked("43", None, Some(1), 1));
    }

    #[test]
    fn expired_revocations_are_pruned_and_their_number_is_bounded() {
        let known = Revocations::default();
        for number in 0..MAX_REVOCATIONS as u64 {
            known.add_bounded(&of_token(&format!("{number}"), 10 + number), 0).unwrap();
        }
        assert_eq!(known.add_bounded(&of_user("42", 1, 10), 9), Err(Full));
        known.add_bounded(&of_user("42", 1, 1_000_000), 10).unwrap();
        known.add_all([], 2_000_000);
        assert_eq!((known.count(), known.0.read().users.len(), known.0.read().tokens.len()), (0, 0, 0));
    }
}
