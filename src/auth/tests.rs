//! Tests of the JWT vectors, of keys, and of minted tokens of every kind.

use std::{
    collections::HashMap,
    fs,
    path::PathBuf,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use proptest::prelude::*;
use serde::Deserialize;

use super::*;
use crate::settings::{Settings, Sources};

/// The development settings with this kind and secret, and no leeway.
pub(super) fn settings(kind: &str, secret: &str) -> AuthSettings {
    let overrides = [("auth.kind", "insecure"), ("auth.secret", secret)];
    let overrides = overrides.map(|(key, value)| (key.to_owned(), value.to_owned())).to_vec();
    let mut settings = Settings::load(&Sources { overrides, ..Sources::default() }).unwrap().auth;
    settings.leeway = Duration::ZERO;
    settings.kind = match kind {
        "jwt" => AuthKind::Jwt,
        "signed" => AuthKind::Signed,
        _ => AuthKind::Insecure,
    };
    settings
}

#[derive(Deserialize)]
pub(super) struct Vectors {
    pub(super) secret: String,
    pub(super) public_keys: HashMap<String, String>,
    pub(super) cases: Vec<Case>,
}

#[derive(Deserialize)]
pub(super) struct Case {
    pub(super) name: String,
    pub(super) token: String,
    pub(super) now: u64,
    pub(super) algorithms: Vec<String>,
    pub(super) key: Option<String>,
    pub(super) audience: Option<String>,
    pub(super) issuer: Option<String>,
    pub(super) leeway: u64,
    pub(super) expect: String,
    pub(super) user: Option<String>,
    pub(super) expires_at: Option<f64>,
    pub(super) channels: Option<Vec<String>>,
}

pub(super) fn vectors() -> Vectors {
    serde_json::from_str(include_str!("../../tests/data/jwt.json")).unwrap()
}

/// The public keys as files, removed when dropped.
struct Keys(PathBuf);

impl Keys {
    fn new(test: &str, keys: &HashMap<String, String>) -> Self {
        let folder = std::env::temp_dir().join(format!("gateway-auth-{test}-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        for (name, pem) in keys {
            fs::write(folder.join(name), pem).unwrap();
        }
        Self(folder)
    }
}

impl Drop for Keys {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

pub(super) fn at(seconds: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(seconds)
}

fn public_key_settings(algorithm: &str, file: PathBuf) -> AuthSettings {
    let mut settings = settings("jwt", "");
    settings.algorithms = vec![algorithm.to_owned()];
    settings.public_key_file = Some(file);
    settings
}

#[test]
fn every_jwt_vector_gets_its_answer() {
    let Vectors { secret, public_keys, cases } = vectors();
    let keys = Keys::new("vectors", &public_keys);
    assert!(cases.len() > 150);
    for case in cases {
        let mut settings = settings("jwt", if case.key.is_some() { "" } else { &secret });
        settings.algorithms = case.algorithms;
        settings.public_key_file = case.key.map(|name| keys.0.join(name));
        settings.audience = case.audience;
        settings.issuer = case.issuer;
        settings.leeway = Duration::from_secs(case.leeway);
        let authenticator = Authenticator::new(&settings).expect(&case.name);
        let result = authenticator.verify(&case.token, at(case.now));
        let outcome = result.as_ref().map_or_else(|error| error.label(), |_| "ok");
        assert_eq!(outcome, case.expect, "{}", case.name);
        if let Ok(principal) = result {
            assert_eq!(Some(principal.user), case.user, "{}", case.name);
            assert_eq!(Some(principal.channels), case.channels, "{}", case.name);
            let expires_at = UNIX_EPOCH + Duration::from_secs_f64(case.expires_at.unwrap()) + settings.leeway;
            assert_eq!(principal.expires_at, Some(expires_at), "{}", case.name);
        }
    }
}

#[test]
fn a_key_that_does_not_fit_is_noticed_at_the_start() {
    let mut public_keys = vectors().public_keys;
    let private = "-----BEGIN PRIVATE KEY-----\nMC4CAQ==\n-----END PRIVATE KEY-----\n";
    public_keys.insert("private".to_owned(), private.to_owned());
    public_keys.insert("garbage".to_owned(), "not a key".to_owned());
    public_keys.insert("empty".to_owned(), String::new());
    let keys = Keys::new("keys", &public_keys);
    for (algorithm, file, part) in [
        ("RS256", "p256", "auth.algorithms"),
        ("RS256", "ed25519", "auth.algorithms"),
        ("RS256", "short_rsa", "2048 bits"),
        ("RS256", "private", "private key"),
        ("RS256", "garbage", "auth.algorithms"),
        ("RS256", "empty", "auth.algorithms"),
        ("RS256", "missing", "cannot be read"),
        ("ES256", "p384", "P-256"),
        ("ES384", "p256", "P-384"),
        ("ES256", "rsa", "auth.algorithms"),
        ("EdDSA", "p256", "auth.algorithms"),
    ] {
        let error = Authenticator::new(&public_key_settings(algorithm, keys.0.join(file))).unwrap_err();
        let sentence = error.to_string();
        assert!(
            sentence.starts_with("auth.public_key_file ") && sentence.contains(part),
            "{file}: {sentence}"
        );
    }
    assert!(Authenticator::new(&public_key_settings("RS512", keys.0.join("rsa"))).is_ok());
}

#[test]
fn incomplete_settings_are_refused() {
    for kind in ["jwt", "signed"] {
        assert_eq!(Authenticator::new(&settings(kind, "")).unwrap_err(), AuthSetupError::NoSecret);
    }
    let mut jwt = settings("jwt", "secret");
    for algorithms in [&["none"][..], &[], &["HS256", "RS256"], &["ES256", "ES384"]] {
        jwt.algorithms = algorithms.iter().map(|name| (*name).to_owned()).collect();
        assert_eq!(Authenticator::new(&jwt).unwrap_err(), AuthSetupError::Algorithms, "{algorithms:?}");
    }
    jwt.algorithms = vec!["EdDSA".to_owned()];
    assert_eq!(Authenticator::new(&jwt).unwrap_err(), AuthSetupError::NoPublicKey);
}

#[test]
fn keys_are_never_printed() {
    for (kind, expected) in [("insecure", "Insecure"), ("signed", "Signed"), ("jwt", "Jwt")] {
        let authenticator = Authenticator::new(&settings(kind, "hunter2")).unwrap();
        assert_eq!(format!("{authenticator:?}"), format!("Authenticator::{expected}"));
    }
}

#[test]
fn minted_tokens_expire_exactly_after_their_lifetime() {
    let now = 1_732_390_000;
    let ttl = Duration::from_secs(90);
    // A signed token is valid to the end of its last second, a jwt to the beginning of that second.
    for (kind, last) in [("signed", now + 90), ("jwt", now + 89)] {
        let settings = settings(kind, "0123456789abcdef0123456789abcdef");
        let authenticator = Authenticator::new(&settings).unwrap();
        let token = mint(&settings, "42", &[], ttl, at(now)).unwrap();
        for good in [now, last] {
            let principal = authenticator.verify(&token, at(good)).unwrap();
            assert_eq!((principal.user.as_str(), principal.expires_at), ("42", Some(at(now + 90))), "{kind}");
        }
        assert_eq!(authenticator.verify(&token, at(last + 1)), Err(AuthError::Expired), "{kind}");
    }
    let insecure = settings("insecure", "");
    let token = mint(&insecure, "42", &[], ttl, at(now)).unwrap();
    assert_eq!(Authenticator::Insecure.verify(&token, at(u32::MAX.into())).unwrap().user, "42");
}

#[test]
fn a_minted_jwt_satisfies_the_settings() {
    let mut settings = settings("jwt", "0123456789abcdef0123456789abcdef");
    settings.algorithms = vec!["HS384".to_owned(), "HS256".to_owned()];
    settings.audience = Some("app".to_owned());
    settings.issuer = Some("login".to_owned());
    let channels: Vec<String> = (0..1000).map(|number| format!("room:{number}")).collect();
    let token = mint(&settings, "42", &channels, Duration::from_secs(1), at(1000)).unwrap();
    let principal = Authenticator::new(&settings).unwrap().verify(&token, at(1000)).unwrap();
    assert_eq!(principal.channels, channels);
}

#[test]
fn a_token_with_thousands_of_channels_is_refused() {
    let settings = settings("jwt", "0123456789abcdef0123456789abcdef");
    let key = jsonwebtoken::EncodingKey::from_secret(settings.secret.as_ref().unwrap().expose().as_bytes());
    let authenticator = Authenticator::new(&settings).unwrap();
    let verify = |count: usize| {
        let claims = serde_json::json!({"sub": "42", "exp": 2000, "channels": vec!["room:7"; count]});
        let token = jsonwebtoken::encode(&jsonwebtoken::Header::default(), &claims, &key).unwrap();
        authenticator.verify(&token, at(1000)).map(|principal| principal.channels.len())
    };
    assert_eq!(verify(1_000), Ok(1_000));
    for count in [1_001, 5_000] {
        assert_eq!(verify(count), Err(AuthError::BadChannels), "{count}");
    }
}

#[test]
fn impossible_tokens_are_not_minted() {
    let day = Duration::from_secs(86_400);
    let room = ["room:7".to_owned()];
    let jwt = settings("jwt", "0123456789abcdef0123456789abcdef");
    let signed = settings("signed", "secret");
    for user in ["", "4 2", "*", "é"] {
        assert_eq!(mint(&jwt, user, &[], day, at(0)), Err(MintError::InvalidUser), "{user}");
    }
    assert_eq!(mint(&jwt, "42", &["room".to_owned()], day, at(0)), Err(MintError::InvalidChannels));
    assert_eq!(mint(&jwt, "42", &vec![room[0].clone(); 1001], day, at(0)), Err(MintError::InvalidChannels));
    assert_eq!(mint(&signed, "42", &room, day, at(0)), Err(MintError::ChannelsUnsupported));
    assert_eq!(mint(&settings("insecure", ""), "42", &room, day, at(0)), Err(MintError::ChannelsUnsupported));
    assert_eq!(mint(&signed, "42", &[], 31 * day, at(0)), Err(MintError::LifetimeTooLong));
    assert_eq!(mint(&jwt, "42", &[], Duration::MAX, at(0)), Err(MintError::LifetimeTooLong));
    assert_eq!(mint(&settings("jwt", ""), "42", &[], day, at(0)), Err(AuthSetupError::NoSecret.into()));
    let rsa = public_key_settings("RS256", PathBuf::from("key.pem"));
    assert_eq!(mint(&rsa, "42", &[], day, at(0)), Err(MintError::PrivateKeyNeeded));
}

proptest! {
    #[test]
    fn no_text_makes_a_jwt_panic(token in "\\PC*|[A-Za-z0-9_-]{0,40}\\.[A-Za-z0-9_-]{0,40}\\.[A-Za-z0-9_-]{0,40}") {
        let authenticator = Authenticator::new(&settings("jwt", "0123456789abcdef0123456789abcdef")).unwrap();
        prop_assert!(authenticator.verify(&token, at(0)).is_err());
    }

    #[test]
    fn only_valid_claims_are_accepted(claims in "\\{(\"(sub|exp|nbf|channels)\":(\"[0-9a-z:*]{0,4}\"|[1-9][0-9]{0,11}|null|true|\\[\\]|\\[\"a:\\*\"\\]),){0,3}\"exp\":[1-9][0-9]{0,11}\\}") {
        // The signature is valid, so the claims are checked.
        let settings = settings("jwt", "0123456789abcdef0123456789abcdef");
        let claims: serde_json::Value = serde_json::from_str(&claims).unwrap();
        let key = jsonwebtoken::EncodingKey::from_secret(settings.secret.as_ref().unwrap().expose().as_bytes());
        let token = jsonwebtoken::encode(&jsonwebtoken::Header::default(), &claims, &key).unwrap();
        if let Ok(principal) = Authenticator::new(&settings).unwrap().verify(&token, at(1_732_390_000)) {
            prop_assert!(principal.expires_at.unwrap() > at(1_732_390_000));
            prop_assert!(!principal.user.is_empty());
            prop_assert!(claims["nbf"].is_null() || claims["nbf"].is_u64());
        }
    }
}

#[test]
fn the_id_and_issue_time_of_a_jwt_are_read() {
    let settings = settings("jwt", "0123456789abcdef0123456789abcdef");
    let key = jsonwebtoken::EncodingKey::from_secret(settings.secret.as_ref().unwrap().expose().as_bytes());
    let authenticator = Authenticator::new(&settings).unwrap();
    let verify = |iat: serde_json::Value, jti: serde_json::Value| {
        let claims = serde_json::json!({"sub": "42", "exp": 2000, "iat": iat, "jti": jti});
        let token = jsonwebtoken::encode(&jsonwebtoken::Header::default(), &claims, &key).unwrap();
        authenticator.verify(&token, at(1000)).map(|principal| (principal.issued_at, principal.token_id))
    };
    let null = serde_json::Value::Null;
    assert_eq!(verify(null.clone(), null.clone()), Ok((None, None)));
    assert_eq!(verify(900.into(), "a".into()), Ok((Some(at(900)), Some("a".to_owned()))));
    assert_eq!(verify(null.clone(), 7.into()), Ok((None, Some("7".to_owned()))));
    // A token from the future would outlast a revocation.
    assert_eq!(verify(1001.into(), null.clone()), Ok((None, None)));
    assert_eq!(verify("900".into(), null.clone()), Err(AuthError::Malformed));
    assert_eq!(verify(null, true.into()), Err(AuthError::Malformed));
}

#[test]
fn minted_tokens_have_their_own_id_and_the_issue_time() {
    let settings = settings("jwt", "0123456789abcdef0123456789abcdef");
    let authenticator = Authenticator::new(&settings).unwrap();
    let verified = [(); 2].map(|()| {
        let token = mint(&settings, "42", &[], Duration::from_secs(60), at(1000)).unwrap();
        authenticator.verify(&token, at(1000)).unwrap()
    });
    assert!(verified[0].token_id.is_some() && verified[0].token_id != verified[1].token_id);
    assert_eq!(verified[0].issued_at, Some(at(1000)));
}
