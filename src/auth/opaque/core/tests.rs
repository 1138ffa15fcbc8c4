//! The core in virtual time.

use std::cell::Cell;
use std::rc::Rc;
use std::time::UNIX_EPOCH;

use super::*;
use crate::auth::tests::settings;

const SECOND: Duration = Duration::from_secs(1);

/// A waiter with a number, which may have gone.
#[derive(Debug, Clone)]
struct TestWaiter(u32, Rc<Cell<bool>>);

impl Waiter for TestWaiter {
    fn is_gone(&self) -> bool {
        self.1.get()
    }
}

struct Test {
    core: OpaqueCore<TestWaiter>,
    now: Instant,
    wall: SystemTime,
}

impl Test {
    fn new() -> Self {
        let limits = OpaqueLimits {
            cache_ttl: 10 * SECOND,
            max_parallel_calls: 2,
            max_tokens_per_call: 3,
            must_be_printable: true,
        };
        let rules = ClaimRules { requires_expiry: false, ..ClaimRules::new(&settings("jwt", "")) };
        let core = OpaqueCore::new(limits, rules, 7);
        Self { core, now: Instant::now(), wall: UNIX_EPOCH + 1_000_000 * SECOND }
    }

    fn advance(&mut self, time: Duration) {
        self.now += time;
        self.wall += time;
    }

    fn look_up(&mut self, token: &str, waiter: u32) -> Lookup {
        let waiter = TestWaiter(waiter, Rc::default());
        self.core.look_up(token, || waiter, self.now, self.wall)
    }

    fn next_call(&mut self) -> Option<Vec<TokenHash>> {
        let tokens = self.core.next_call(self.now)?;
        Some(tokens.into_iter().map(|token| token.hash).collect())
    }

    fn end(
        &mut self,
        tokens: &[TokenHash],
        outcome: Result<Vec<IssuerAnswer>, CallError>,
    ) -> Vec<(u32, TokenAnswer)> {
        let answered = self.core.end_call(tokens, outcome, self.now, self.wall);
        answered.into_iter().map(|(waiter, answer)| (waiter.0, answer)).collect()
    }

    fn fail(&mut self, tokens: &[TokenHash]) -> Vec<u32> {
        let answered = self.end(tokens, Err(CallError::Timeout));
        assert!(answered.iter().all(|(_, answer)| *answer == Err(TokenError::Unavailable)));
        answered.into_iter().map(|(waiter, _)| waiter).collect()
    }

    /// Three calls that fail: a pause begins.
    fn trip(&mut self) {
        for number in 0..3 {
            self.look_up(&format!("failing {number}"), 0);
            let call = self.next_call().unwrap();
            self.fail(&call);
        }
        assert_eq!(self.look_up("another", 0), Lookup::BackingOff);
    }
}

fn claims(json: &str) -> IssuerAnswer {
    IssuerAnswer::Claims { json: json.into(), expires_in: None }
}

fn user_of(answer: &TokenAnswer) -> &str {
    &answer.as_ref().unwrap().user
}

#[test]
fn equal_tokens_share_a_call_and_the_answer_is_cached() {
    let mut test = Test::new();
    assert_eq!(test.look_up("a", 1), Lookup::Asked);
    assert_eq!(test.look_up("a", 2), Lookup::Shared);
    let call = test.next_call().unwrap();
    assert_eq!(test.look_up("a", 3), Lookup::Shared);
    assert_eq!(test.next_call(), None);
    let answered = test.end(&call, Ok(vec![claims(r#"{"sub":"42"}"#)]));
    assert_eq!(answered.iter().map(|(waiter, _)| *waiter).collect::<Vec<_>>(), [1, 2, 3]);
    assert!(answered.iter().all(|(_, answer)| user_of(answer) == "42"));
    test.advance(9 * SECOND);
    assert!(matches!(test.look_up("a", 4), Lookup::Cached(Ok(_))));
    test.advance(SECOND);
    assert_eq!(test.look_up("a", 5), Lookup::Asked);
}

#[test]
fn refusals_are_cached_for_a_second() {
    let mut test = Test::new();
    for (token, answer, error) in [
        ("a", IssuerAnswer::Unknown, AuthError::Unknown),
        ("b", IssuerAnswer::Malformed, AuthError::Malformed),
        ("c", claims("no JSON"), AuthError::Malformed),
        ("d", claims(r#"{"active":true}"#), AuthError::NoUser),
        ("e", claims(r#"{"sub":"42","exp":1}"#), AuthError::Expired),
    ] {
        test.look_up(token, 1);
        let call = test.next_call().unwrap();
        let refused = Err(TokenError::Refused(error));
        assert_eq!(test.end(&call, Ok(vec![answer])), [(1, refused.clone())]);
        assert_eq!(test.look_up(token, 2), Lookup::Cached(refused));
        test.advance(SECOND);
        assert_eq!(test.look_up(token, 3), Lookup::Asked);
        let call = test.next_call().unwrap();
        test.end(&call, Ok(vec![IssuerAnswer::Unknown]));
    }
}

#[test]
fn the_session_ends_when_the_claims_or_the_key_expire() {
    let mut test = Test::new();
    let answer = |json: &str, expires_in| IssuerAnswer::Claims { json: json.into(), expires_in };
    for (token, answer, expected) in [
        ("neither", answer(r#"{"sub":"42"}"#, None), None),
        ("key", answer(r#"{"sub":"42"}"#, Some(30 * SECOND)), Some(1_000_030)),
        ("claims", answer(r#"{"sub":"42","exp":1000060}"#, None), Some(1_000_060)),
        ("both", answer(r#"{"sub":"42","exp":1000060}"#, Some(30 * SECOND)), Some(1_000_030)),
    ] {
        test.look_up(token, 1);
        let call = test.next_call().unwrap();
        let answered = test.end(&call, Ok(vec![answer]));
        let expires_at = answered[0].1.as_ref().unwrap().expires_at;
        let expected = expected.map(|seconds| UNIX_EPOCH + Duration::from_secs(seconds));
        assert_eq!(expires_at, expected, "{token}");
    }
}

#[test]
fn calls_and_their_tokens_are_bounded() {
    let mut test = Test::new();
    for number in 0..8 {
        assert_eq!(test.look_up(&number.to_string(), number), Lookup::Asked);
    }
    let (first, second) = (test.next_call().unwrap(), test.next_call().unwrap());
    assert_eq!((first.len(), second.len(), test.next_call()), (3, 3, None));
    let answered = test.end(&second, Ok(vec![IssuerAnswer::Unknown; 3]));
    assert_eq!(answered.iter().map(|(waiter, _)| *waiter).collect::<Vec<_>>(), [3, 4, 5]);
    assert_eq!(test.next_call().unwrap().len(), 2);
    assert_eq!(test.look_up(&"x".repeat(MAX_TOKEN_BYTES + 1), 9), Lookup::TooLong);
}

#[test]
fn the_queue_is_bounded_in_tokens_and_bytes() {
    let mut test = Test::new();
    for number in 0..MAX_QUEUED {
        assert_eq!(test.look_up(&number.to_string(), 0), Lookup::Asked);
    }
    assert_eq!(test.look_up("one more", 0), Lookup::Overloaded);
    let mut test = Test::new();
    for number in 0..MAX_QUEUED_BYTES / MAX_TOKEN_BYTES {
        let token = format!("{number:0>width$}", width = MAX_TOKEN_BYTES);
        assert_eq!(test.look_up(&token, 0), Lookup::Asked);
    }
    assert_eq!(test.look_up("one more", 0), Lookup::Overloaded);
    test.next_call().unwrap();
    assert_eq!(test.look_up("one more", 0), Lookup::Asked);
}

#[test]
fn a_token_that_nobody_waits_for_is_not_asked_about() {
    let mut test = Test::new();
    let gone = TestWaiter(1, Rc::new(Cell::new(true)));
    test.core.look_up("gone", || gone, test.now, test.wall);
    test.look_up("here", 2);
    assert_eq!(test.next_call().unwrap(), [TokenHash::of("here")]);
    assert_eq!(test.look_up("gone", 3), Lookup::Asked);
}

#[test]
fn a_failing_issuer_is_asked_once_after_each_pause() {
    let mut test = Test::new();
    test.trip();
    assert!(test.core.is_failing());
    let (mut asked, mut refused) = (0, 0);
    for number in 0..60_000 {
        // A client every millisecond, for a minute.
        match test.look_up(&format!("client {number}"), number) {
            Lookup::Asked => {}
            Lookup::BackingOff => refused += 1,
            other => panic!("{other:?}"),
        }
        if let Some(call) = test.next_call() {
            assert_eq!(call.len(), 1, "the probe has one token");
            asked += 1;
            assert_eq!(test.fail(&call), [number]);
        }
        test.advance(Duration::from_millis(1));
    }
    assert!((12..=120).contains(&asked), "{asked} calls in a minute");
    assert_eq!(refused + asked, 60_000);
}

#[test]
fn tokens_that_the_issuer_refuses_do_not_lock_others_out() {
    let mut test = Test::new();
    for number in 0..10 {
        let token = format!("poison {number}");
        assert_eq!(test.look_up(&token, number), Lookup::Asked);
        let call = test.next_call().unwrap();
        let rejected = Err(CallError::Rejected("status 400".into()));
        assert_eq!(test.end(&call, rejected), [(number, Err(TokenError::Unavailable))]);
        assert_eq!(test.core.is_failing(), number >= 2, "operators are told");
    }
    assert_eq!(test.look_up("good", 1), Lookup::Asked);
    let call = test.next_call().unwrap();
    test.end(&call, Ok(vec![claims(r#"{"sub":"42"}"#)]));
    assert!(!test.core.is_failing());
}

#[test]
fn a_text_that_is_no_token_is_not_asked_about() {
    let mut test = Test::new();
    for text in ["", "\0", "a\0b", "é", "a\nb", "\u{7f}"] {
        assert_eq!(test.look_up(text, 1), Lookup::NotAToken, "{text:?}");
    }
    assert_eq!(test.look_up("a b~!", 1), Lookup::Asked);
    test.core.limits.must_be_printable = false;
    assert_eq!((test.look_up("é", 1), test.look_up("", 1)), (Lookup::Asked, Lookup::NotAToken));
}

#[test]
fn one_success_ends_the_pauses() {
    let mut test = Test::new();
    test.trip();
    test.advance(5 * SECOND);
    for number in 0..5 {
        test.look_up(&number.to_string(), number);
    }
    let probe = test.next_call().unwrap();
    assert_eq!((probe.len(), test.next_call()), (1, None));
    test.end(&probe, Ok(vec![IssuerAnswer::Unknown]));
    assert!(!test.core.is_failing());
    assert_eq!(test.next_call().unwrap().len(), 3);
}

#[test]
fn a_failure_answers_all_that_wait_and_is_not_cached() {
    let mut test = Test::new();
    test.look_up("a", 1);
    let call = test.next_call().unwrap();
    assert_eq!(test.fail(&call), [1]);
    assert_eq!(test.look_up("a", 2), Lookup::Asked);
    let call = test.next_call().unwrap();
    // An answer without content is a failure too.
    assert_eq!(test.end(&call, Ok(vec![])), [(2, Err(TokenError::Unavailable))]);
    for number in 3..12 {
        test.look_up(&number.to_string(), number);
    }
    let (first, second) = (test.next_call().unwrap(), test.next_call().unwrap());
    let answered = test.fail(&first);
    assert_eq!(answered, [3, 4, 5, 9, 10, 11], "the queue is answered when a pause begins");
    assert_eq!(test.fail(&second), [6, 7, 8]);
    assert_eq!((test.core.queued_bytes, test.core.pending.len(), test.core.calls), (0, 0, 0));
}
