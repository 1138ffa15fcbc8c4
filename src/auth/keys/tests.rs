//! Tests of key sets, with the keys and tokens of the JWT vectors.

use std::fs;
use std::time::Duration;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use jsonwebtoken::{Algorithm, DecodingKey};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::jwks::{JwksError, ParsedKeys, parse};
use super::remote::{FetchWait, MAX_WAITING, RemoteKeys};
use super::{KeySet, MAX_CANDIDATES, VerificationKey, candidates};
use crate::auth::tests::{at, settings, vectors};
use crate::auth::{AuthError, Authenticator, ReloadableAuthenticator, mint};
use crate::settings::AuthSettings;

const ALL: [Algorithm; 12] = [
    Algorithm::HS256,
    Algorithm::HS384,
    Algorithm::HS512,
    Algorithm::RS256,
    Algorithm::RS384,
    Algorithm::RS512,
    Algorithm::PS256,
    Algorithm::PS384,
    Algorithm::PS512,
    Algorithm::ES256,
    Algorithm::ES384,
    Algorithm::EdDSA,
];
const SECRET: &str = "0123456789abcdef0123456789abcdef";

fn encode(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

fn oct(id: &str, secret: &str) -> Value {
    json!({"kty": "oct", "kid": id, "k": encode(secret)})
}

/// The public key of the vectors as a JSON Web Key.
fn jwk(name: &str, pem: &str) -> Value {
    let pem = pem.as_bytes();
    let bytes = |key: DecodingKey| key.try_get_as_bytes().unwrap().to_vec();
    match name {
        "p256" | "p384" => {
            let point = bytes(DecodingKey::from_ec_pem(pem).unwrap());
            let (x, y) = point[1..].split_at(point.len() / 2);
            let curve = if name == "p256" { "P-256" } else { "P-384" };
            json!({"kty": "EC", "kid": name, "crv": curve, "x": encode(x), "y": encode(y)})
        }
        "ed25519" => {
            let x = bytes(DecodingKey::from_ed_pem(pem).unwrap());
            json!({"kty": "OKP", "kid": name, "crv": "Ed25519", "x": encode(x)})
        }
        _ => {
            // A sequence of the modulus and the exponent 65537.
            let der = bytes(DecodingKey::from_rsa_pem(pem).unwrap());
            let length = if name == "short_rsa" { 128 } else { 256 };
            let modulus = &der[der.len() - 5 - length..der.len() - 5];
            json!({"kty": "RSA", "kid": name, "n": encode(modulus), "e": "AQAB"})
        }
    }
}

fn document(keys: &[Value]) -> String {
    json!({ "keys": keys }).to_string()
}

fn faults(key: Value) -> Vec<String> {
    let ParsedKeys { keys, faults, .. } = parse(&document(&[key]), &ALL).unwrap();
    assert!(keys.is_empty());
    faults
}

/// The settings with the document as `auth.keys_file`, which lives as long as the folder.
fn with_keys(keys: &[Value], algorithms: &[&str]) -> (AuthSettings, TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("keys.json");
    fs::write(&file, document(keys)).unwrap();
    let mut settings = settings("jwt", "");
    settings.algorithms = algorithms.iter().map(|name| (*name).to_owned()).collect();
    settings.keys_file = Some(file);
    (settings, folder)
}

#[test]
fn every_jwt_vector_gets_the_same_answer_from_a_key_set() {
    let vectors = vectors();
    for case in vectors.cases {
        let mut key = match &case.key {
            Some(name) => jwk(name, &vectors.public_keys[name]),
            None => oct("secret", &vectors.secret),
        };
        // The tokens have no `kid`, or any.
        key.as_object_mut().unwrap().remove("kid");
        let algorithms: Vec<_> = case.algorithms.iter().map(String::as_str).collect();
        let (mut settings, _folder) = with_keys(&[key], &algorithms);
        settings.audience = case.audience;
        settings.issuer = case.issuer;
        settings.leeway = Duration::from_secs(case.leeway);
        let result = Authenticator::new(&settings).expect(&case.name).verify(&case.token, at(case.now));
        let outcome = result.as_ref().map_or_else(|error| error.label(), |_| "ok");
        assert_eq!(outcome, case.expect, "{}", case.name);
    }
}

#[test]
fn one_key_set_serves_every_family() {
    let vectors = vectors();
    let mut keys: Vec<_> =
        ["rsa", "p256", "p384", "ed25519"].map(|name| jwk(name, &vectors.public_keys[name])).to_vec();
    keys.push(oct("secret", &vectors.secret));
    let names = ALL.map(|algorithm| format!("{algorithm:?}"));
    let (settings, _folder) = with_keys(&keys, &names.each_ref().map(String::as_str));
    let tokens = Authenticator::new(&settings).unwrap();
    let good = vectors.cases.iter().filter(|case| case.name.ends_with(" good"));
    let verified = good.map(|case| tokens.verify(&case.token, at(case.now)).expect(&case.name));
    assert!(verified.count() >= 9);
}

#[test]
fn weak_keys_are_refused() {
    let vectors = vectors();
    let short = jwk("short_rsa", &vectors.public_keys["short_rsa"]);
    assert_eq!(faults(short), ["has a key (short_rsa) that is an RSA key of fewer than 2048 bits"]);
    let leading_zero = json!({"kty": "RSA", "n": encode([[0; 128], [255; 128]].concat()), "e": "AQAB"});
    assert_eq!(faults(leading_zero), ["has a key (number 1) that is an RSA key of fewer than 2048 bits"]);
    assert_eq!(faults(oct("s", &SECRET[1..])), ["has a key (s) that is a secret of fewer than 32 bytes"]);
}

#[test]
fn forgeable_and_unusable_numbers_of_keys_are_refused() {
    let good = jwk("rsa", &vectors().public_keys["rsa"]);
    let wide = [3, 0, 0, 0, 1];
    for (name, number) in [
        ("e", &[0][..]),
        ("e", &[1]),
        ("e", &[0, 0, 1]),
        ("e", &[2]),
        ("e", &[]),
        ("e", &wide),
        ("n", &[254; 256]),
    ] {
        let mut weak = good.clone();
        weak[name] = json!(encode(number));
        let fault = "has a key (rsa) that is an RSA key with an invalid modulus or exponent";
        assert_eq!(faults(weak), [fault], "{name} {number:?}");
    }
    // Anyone can sign for these: the identity, and the point of order 2 with the other sign.
    let [mut identity, mut two] = [[0; 32], [255; 32]];
    (identity[0], two[0]) = (1, 0xec);
    for point in [[0; 32], identity, two] {
        let key = json!({"kty": "OKP", "crv": "Ed25519", "x": encode(point)});
        assert_eq!(faults(key), ["has a key (number 1) that is a point of small order"], "{point:?}");
    }
}

#[test]
fn broken_keys_are_refused() {
    let zeros = encode([0; 32]);
    for (key, reason) in [
        (json!({"kty": "RSA", "n": "!", "e": "AQAB"}), "has no valid \"n\""),
        (json!({"kty": "oct"}), "has no valid \"k\""),
        (json!({"kty": "EC", "crv": "P-256", "x": "AA", "y": "AA"}), "is not a point of its curve"),
        (json!({"kty": "EC", "crv": "P-256", "x": zeros, "y": zeros}), "is not valid"),
        (json!({"kty": "OKP", "crv": "Ed25519", "x": "AA"}), "is not a point of its curve"),
    ] {
        assert_eq!(faults(key.clone()), [format!("has a key (number 1) that {reason}")], "{key}");
    }
    assert_eq!(faults(json!({"kty": 7})), ["has an invalid key (number 1)"]);
}

#[test]
fn keys_for_other_purposes_are_ignored() {
    let good = oct("good", SECRET);
    let with = |name: &str, value: Value| {
        let mut key = oct("other", SECRET);
        key[name] = value;
        key
    };
    let others = [
        with("use", json!("enc")),
        with("key_ops", json!(["sign"])),
        with("alg", json!("HS512")),
        with("alg", json!("RS256")),
        with("alg", json!("A128KW")),
        json!({"kty": "EC", "crv": "secp256k1", "x": "AA", "y": "AA"}),
        json!({"kty": "OKP", "crv": "X25519", "x": "AA"}),
        json!({"kty": "future"}),
    ];
    let all: Vec<_> = others.iter().cloned().chain([good]).collect();
    let parsed = parse(&document(&all), &[Algorithm::HS256]).unwrap();
    assert_eq!(parsed.keys.iter().map(|key| key.id.as_deref()).collect::<Vec<_>>(), [Some("good")]);
    assert!(parsed.faults.is_empty(), "{:?}", parsed.faults);
    assert_eq!(parse(&document(&others), &[Algorithm::HS256]).err(), Some(JwksError::NoKey));
    for text in ["", "{}", "[]", r#"{"keys":{}}"#, "null"] {
        assert_eq!(parse(text, &ALL).err(), Some(JwksError::NotAKeySet), "{text}");
    }
}

#[test]
fn a_private_part_is_reported_and_not_used() {
    let vectors = vectors();
    let mut key = jwk("p256", &vectors.public_keys["p256"]);
    key["d"] = json!("c2VjcmV0");
    let parsed = parse(&document(&[key]), &ALL).unwrap();
    assert_eq!(parsed.keys.len(), 1);
    assert!(parsed.warnings[0].contains("the private part of a key (p256)"), "{:?}", parsed.warnings);
    assert!(!parsed.warnings[0].contains("c2VjcmV0"));
}

#[test]
fn a_token_cannot_choose_the_algorithm_of_a_key() {
    let vectors = vectors();
    let pem = &vectors.public_keys["rsa"];
    let (settings, _folder) = with_keys(&[jwk("rsa", pem), oct("secret", SECRET)], &["RS256", "HS256"]);
    let tokens = Authenticator::new(&settings).unwrap();
    // The public key as the secret of an HS token.
    let mut header = jsonwebtoken::Header::new(Algorithm::HS256);
    header.kid = Some("rsa".to_owned());
    let claims = json!({"sub": "42", "exp": 2_000_000_000});
    let key = jsonwebtoken::EncodingKey::from_secret(pem.as_bytes());
    let forged = jsonwebtoken::encode(&header, &claims, &key).unwrap();
    assert_eq!(tokens.verify(&forged, at(0)), Err(AuthError::UnknownKey));
    header.kid = None;
    let forged = jsonwebtoken::encode(&header, &claims, &key).unwrap();
    assert_eq!(tokens.verify(&forged, at(0)), Err(AuthError::BadSignature));
}

#[test]
fn tokens_of_the_previous_secret_are_accepted() {
    for kind in ["jwt", "signed"] {
        let old = settings(kind, SECRET);
        let mut new = settings(kind, "fedcba9876543210fedcba9876543210");
        new.previous_secret = old.secret.clone();
        let tokens = Authenticator::new(&new).unwrap();
        let token =
            |settings: &AuthSettings| mint(settings, "42", &[], Duration::from_secs(60), at(1000)).unwrap();
        assert!(tokens.verify(&token(&old), at(1000)).is_ok(), "{kind}");
        assert!(tokens.verify(&token(&new), at(1000)).is_ok(), "{kind}");
        // New tokens are signed with the new secret.
        assert!(Authenticator::new(&old).unwrap().verify(&token(&new), at(1000)).is_err(), "{kind}");
        new.previous_secret = None;
        let verified = Authenticator::new(&new).unwrap().verify(&token(&old), at(1000));
        assert_eq!(verified, Err(AuthError::BadSignature), "{kind}");
    }
}

fn hmac_key(id: Option<&str>, algorithm: Algorithm) -> VerificationKey {
    let key = DecodingKey::from_secret(b"0123456789abcdef0123456789abcdef");
    VerificationKey { id: id.map(str::to_owned), algorithms: vec![algorithm], key }
}

fn ids<'a>(set: &'a KeySet, id: Option<&str>, algorithm: Algorithm) -> Vec<Option<&'a str>> {
    candidates(&[set], id, algorithm).into_iter().map(|key| key.id.as_deref()).collect()
}

#[test]
fn a_kid_selects_its_keys_or_those_without_one() {
    use Algorithm::{HS256, HS384};
    let (a, b, nameless) = (hmac_key(Some("a"), HS256), hmac_key(Some("b"), HS384), hmac_key(None, HS256));
    let set = KeySet::new(vec![a, b, nameless]);
    assert_eq!(ids(&set, Some("a"), HS256), [Some("a")]);
    assert_eq!(ids(&set, Some("b"), HS256), [None], "the key of this kid has another algorithm");
    assert_eq!(ids(&set, Some("c"), HS256), [None]);
    assert_eq!(ids(&set, None, HS256), [Some("a"), None]);
    assert_eq!(ids(&set, Some("c"), HS384), []);
}

#[test]
fn a_token_is_tried_with_few_keys() {
    let set = KeySet::new((0..20).map(|_| hmac_key(Some("same"), Algorithm::HS256)).collect());
    assert_eq!(ids(&set, None, Algorithm::HS256).len(), MAX_CANDIDATES);
    assert_eq!(ids(&set, Some("same"), Algorithm::HS256).len(), MAX_CANDIDATES);
}

#[test]
fn a_pipe_instead_of_a_key_file_blocks_nothing() {
    let folder = TempDir::new().unwrap();
    let pipe = folder.path().join("pipe");
    assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let of_pem = AuthSettings { public_key_file: Some(pipe.clone()), ..settings("jwt", "") };
    let of_set = AuthSettings { keys_file: Some(pipe), ..settings("jwt", "") };
    for mut settings in [of_pem, of_set] {
        settings.algorithms = vec!["RS256".to_owned()];
        let error = Authenticator::new(&settings).unwrap_err().to_string();
        assert!(error.contains("not a regular file"), "{error}");
    }
}

#[test]
fn a_full_queue_for_a_fetch_refuses_no_token() {
    let remote = RemoteKeys::new(Duration::from_secs(600));
    remote.started();
    let is_pending = |_| matches!(remote.wait_for_fetch("a", Box::new(|| {})), FetchWait::Pending(_));
    assert!((0..MAX_WAITING).all(is_pending));
    assert!(matches!(remote.wait_for_fetch("a", Box::new(|| {})), FetchWait::Full));
    assert_eq!(remote.ended(Ok(KeySet::default())).len(), MAX_WAITING);
    assert!(is_pending(0), "one more fetch is due");
    remote.started();
    remote.ended(Ok(KeySet::default()));
    assert!(matches!(remote.wait_for_fetch("a", Box::new(|| {})), FetchWait::NotDue));
}

#[test]
fn a_forged_signature_of_a_known_key_waits_for_no_fetch() {
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("keys");
    fs::write(&file, json!({"keys": [oct("a", SECRET)]}).to_string()).unwrap();
    let url = Some("http://127.0.0.1:1/keys".to_owned());
    let settings = AuthSettings { keys_file: Some(file), jwks_url: url, ..settings("jwt", "") };
    let tokens = ReloadableAuthenticator::new(&settings).unwrap();
    let refusal = |id: &str| {
        let header = jsonwebtoken::Header { kid: Some(id.to_owned()), ..Default::default() };
        let key = jsonwebtoken::EncodingKey::from_secret(b"another secret");
        let token = jsonwebtoken::encode(&header, &json!({"sub": "42", "exp": 2000}), &key).unwrap();
        tokens.verify(&token, at(1000))
    };
    assert_eq!(refusal("a"), Err(AuthError::BadSignature));
    assert_eq!(refusal("b"), Err(AuthError::UnknownKey), "its key may be fetched");
}
