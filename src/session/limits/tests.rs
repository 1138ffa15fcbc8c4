use super::*;
use crate::socket::key_counts::MIN_CAPACITY;

fn user(id: &str) -> ChannelName {
    ChannelName::of_user(id).unwrap()
}

fn client(address: &str) -> Option<ClientPrefix> {
    Some(ClientPrefix::of(address.parse().unwrap()))
}

#[test]
fn unidentified_sessions_are_capped() {
    let limits = SessionLimits::new(SessionCaps { unidentified: 2, ..SessionCaps::default() });
    let (first, second) = (limits.admit(None).unwrap(), limits.admit(None).unwrap());
    for _ in 0..3 {
        assert_eq!(limits.admit(None).unwrap_err(), AdmitRefusal::Total);
    }
    drop(first);
    let third = limits.admit(None).unwrap();
    assert_eq!(limits.admit(None).unwrap_err(), AdmitRefusal::Total);
    drop((second, third));
    assert_eq!(limits.0.unidentified.load(Ordering::Relaxed), 0);
}

#[test]
fn one_address_cannot_use_up_all_unidentified_sessions() {
    let caps = SessionCaps { unidentified: 4, unidentified_per_address: 2, ..SessionCaps::default() };
    let limits = SessionLimits::new(caps);
    let (one, two) = (client("192.0.2.1"), client("192.0.2.2"));
    let (first, _second) = (limits.admit(one).unwrap(), limits.admit(one).unwrap());
    for _ in 0..100 {
        assert_eq!(limits.admit(one).unwrap_err(), AdmitRefusal::Address);
    }
    let others = [limits.admit(two).unwrap(), limits.admit(two).unwrap()];
    assert_eq!(limits.admit(client("192.0.2.3")).unwrap_err(), AdmitRefusal::Total);
    drop(first);
    let _third = limits.admit(one).unwrap();
    drop(others);
    assert_eq!(limits.0.addresses.lock().unidentified.keys(), 1, "a refused address has no entry");
}

#[test]
fn failed_identifies_count_for_their_address_only() {
    let caps = SessionCaps { failed_identifies_per_minute_per_address: 3, ..SessionCaps::default() };
    let (limits, start) = (SessionLimits::new(caps), Instant::now());
    let (one, two) = (client("2001:db8::1"), client("2001:db8:0:1::1"));
    for _ in 0..3 {
        assert!(limits.can_identify(one, start));
        limits.record_failure(one, start);
    }
    assert!(!limits.can_identify(one, start));
    assert!(!limits.can_identify(client("2001:db8::ffff"), start), "the same /64");
    assert!(limits.can_identify(two, start) && limits.can_identify(None, start));
    assert!(limits.can_identify(one, start + MINUTE / 3));
}

#[test]
fn tokens_that_fail_at_the_same_time_count_beyond_the_cap() {
    let caps = SessionCaps { failed_identifies_per_minute_per_address: 3, ..SessionCaps::default() };
    let (limits, start) = (SessionLimits::new(caps), Instant::now());
    let one = client("192.0.2.1");
    // All were being verified when the first one failed.
    (0..5).for_each(|_| limits.record_failure(one, start));
    assert!(!limits.can_identify(one, start + 2 * MINUTE / 3));
    assert!(limits.can_identify(one, start + MINUTE));
}

#[test]
fn sessions_are_capped_for_each_user_separately() {
    let limits = SessionLimits::new(SessionCaps { sessions_per_user: 2, ..SessionCaps::default() });
    let now = Instant::now();
    let first = limits.acquire_session(&user("1"), now).unwrap();
    let _second = limits.acquire_session(&user("1"), now).unwrap();
    assert_eq!(limits.acquire_session(&user("1"), now).unwrap_err(), IdentifyRefusal::Sessions);
    let _other = limits.acquire_session(&user("2"), now).unwrap();
    drop(first);
    let _third = limits.acquire_session(&user("1"), now).unwrap();
    assert_eq!(limits.acquire_session(&user("1"), now).unwrap_err(), IdentifyRefusal::Sessions);
}

#[test]
fn a_user_gets_a_minutes_rate_of_tokens_verified() {
    let caps =
        SessionCaps { sessions_per_user: 1, identifies_per_minute_per_user: 4, ..SessionCaps::default() };
    let (limits, start) = (SessionLimits::new(caps), Instant::now());
    for _ in 0..3 {
        drop(limits.acquire_session(&user("1"), start).unwrap());
    }
    let last = limits.acquire_session(&user("1"), start).unwrap();
    assert!(!last.acquire_refresh(start));
    let later = start + MINUTE / 4;
    assert_eq!(limits.acquire_session(&user("1"), later).unwrap_err(), IdentifyRefusal::Sessions);
    assert!(last.acquire_refresh(later), "a refused session does not use up the rate of the other one");
    drop(last);
    assert_eq!(limits.acquire_session(&user("1"), later).unwrap_err(), IdentifyRefusal::Rate);
    assert_eq!(limits.0.users.lock().sessions.keys(), 0, "a refused session has no count");
    drop(limits.acquire_session(&user("2"), later).unwrap());
}

#[test]
fn a_user_without_a_session_takes_no_memory() {
    let limits = SessionLimits::new(SessionCaps { sessions_per_user: 1, ..SessionCaps::default() });
    let now = Instant::now();
    let permits: Vec<_> =
        (0..10_000).map(|id| limits.acquire_session(&user(&id.to_string()), now).unwrap()).collect();
    drop(permits);
    assert_eq!(limits.0.users.lock().sessions.keys(), 0);
    assert!(limits.0.users.lock().sessions.capacity() <= 2 * MIN_CAPACITY);
}

#[test]
fn a_cap_of_zero_limits_nothing_and_keeps_no_counts() {
    let (limits, now) = (SessionLimits::new(SessionCaps::default()), Instant::now());
    let (one, user) = (client("192.0.2.1"), user("1"));
    let permits: Vec<_> = (0..1_000)
        .map(|_| {
            limits.record_failure(one, now);
            (limits.admit(one).unwrap(), limits.acquire_session(&user, now).unwrap())
        })
        .collect();
    assert_eq!(limits.0.users.lock().sessions.keys(), 0);
    assert_eq!(limits.0.users.lock().tokens.keys(), 0);
    assert_eq!(limits.0.addresses.lock().unidentified.keys(), 0);
    assert_eq!(limits.0.addresses.lock().failures.keys(), 0);
    drop(permits);
}
