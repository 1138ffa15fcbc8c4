//! Verifies login tokens. After an even first byte, the rest is the token. After an odd first byte, the rest describes
//! changes to a valid token, three bytes for each change.

use std::collections::BTreeSet;
use std::sync::OnceLock;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use emagine_gateway::auth::{AuthError, Authenticator, Principal};
use emagine_gateway::settings::{Settings, Sources};
use protocol::channel::ChannelName;
use serde_json::Value;

/// The times of verification: while the test vectors are valid, a day before, and long after.
const TIMES: [u64; 3] = [1_732_390_000, 1_732_303_600, 4_102_444_801];
/// The expected results of the test vectors without an issuer's signature. All other vectors have one.
const NOT_SIGNED_BY_ISSUERS: [&str; 3] = ["malformed", "bad_signature", "wrong_algorithm"];
/// The most changes to a token. Each change may double its length.
const MAX_CHANGES: usize = 6;

/// The authenticators under test, and the tokens that their issuers signed.
struct Verifiers {
    authenticators: Vec<Authenticator>,
    issued: BTreeSet<String>,
    valid: Vec<String>,
}

/// Only tokens that an issuer signed are accepted, and every accepted principal is within its bounds.
pub fn check(data: &[u8]) {
    static VERIFIERS: OnceLock<Verifiers> = OnceLock::new();
    let verifiers = VERIFIERS.get_or_init(Verifiers::new);
    let Some((&options, rest)) = data.split_first() else { return };
    let token = if options & 1 == 0 {
        std::str::from_utf8(rest).map(str::to_owned).ok()
    } else {
        let valid = &verifiers.valid[usize::from(options >> 1) % verifiers.valid.len()];
        String::from_utf8(mutate(valid.clone().into_bytes(), rest)).ok()
    };
    let Some(token) = token else { return };
    let is_issued = verifiers.issued.contains(&token);
    for authenticator in &verifiers.authenticators {
        for seconds in TIMES {
            if let Ok(identity) = authenticator.verify(&token, at(seconds)) {
                assert!(is_issued, "{authenticator:?} accepts a token that no issuer signed: {token}");
                check_identity(&identity);
            }
        }
    }
    check_insecure(&token);
}

/// Applies changes of three bytes each: the operation, the index, and an operand.
fn mutate(mut token: Vec<u8>, changes: &[u8]) -> Vec<u8> {
    for change in changes.chunks_exact(3).take(MAX_CHANGES) {
        let length = token.len();
        let (at, byte) = (usize::from(change[1]), change[2]);
        // Some indexes count from the end, where the signature is.
        let at = if change[0] & 0x10 == 0 { at } else { length.wrapping_sub(at) };
        match change[0] & 0x07 {
            0 if at < length => token[at] = byte,
            1 if at <= length => token.insert(at, byte),
            2 if at < length => drop(token.remove(at)),
            3 => token.truncate(at),
            4 if at < length => token[at] ^= 1 << (byte & 7),
            5 if at < length => token.swap(at, (at + usize::from(byte)) % length),
            6 => token.extend_from_within(at.min(length)..),
            _ => token.push(byte),
        }
    }
    token
}

fn check_identity(identity: &Principal) {
    assert!(!identity.user.contains('*'));
    assert!(identity.user.len() <= 128);
    assert!(ChannelName::of_user(&identity.user).is_ok(), "{:?} is not a user", identity.user);
    assert!(identity.channels.len() <= 1_000);
    for pattern in &identity.channels {
        assert!(ChannelName::parse(pattern).is_ok(), "{pattern:?} is neither a channel nor a pattern");
    }
}

/// In insecure mode the token is the user id. The id is still checked, because channels and logs contain it.
fn check_insecure(token: &str) {
    match Authenticator::Insecure.verify(token, UNIX_EPOCH) {
        Ok(identity) => {
            assert_eq!(identity.user, token);
            check_identity(&identity);
        }
        Err(error) => assert!(matches!(error, AuthError::NoUser | AuthError::UserNotAllowed)),
    }
}

impl Verifiers {
    fn new() -> Self {
        let signed: Value = parse(include_str!("../../tests/data/itsdangerous.json"));
        let jwt: Value = parse(include_str!("../../tests/data/jwt.json"));
        let secret = text(&jwt["secret"]);
        let hs = "HS256,HS384,HS512";
        let mut authenticators = vec![
            authenticator(&[("auth.kind", "signed"), ("auth.secret", text(&signed["secret"]))]),
            authenticator(&[("auth.kind", "jwt"), ("auth.secret", secret), ("auth.algorithms", hs)]),
            authenticator(&[
                ("auth.kind", "jwt"),
                ("auth.secret", secret),
                ("auth.audience", "app"),
                ("auth.issuer", "login"),
                ("auth.leeway", "5m"),
            ]),
        ];
        for (key, algorithms) in
            [("rsa", "RS256,PS384"), ("p256", "ES256"), ("p384", "ES384"), ("ed25519", "EdDSA")]
        {
            authenticators.push(with_public_key(text(&jwt["public_keys"][key]), algorithms));
        }
        let cases: Vec<&Value> = [&signed, &jwt].iter().flat_map(|vectors| list(&vectors["cases"])).collect();
        let tokens = |wanted: &dyn Fn(&str) -> bool| -> BTreeSet<String> {
            let wanted = cases.iter().filter(|case| wanted(text(&case["expect"])));
            wanted.map(|case| text(&case["token"]).to_owned()).collect()
        };
        let valid = tokens(&|expect| expect == "ok").into_iter().collect();
        Self { authenticators, issued: tokens(&|expect| !NOT_SIGNED_BY_ISSUERS.contains(&expect)), valid }
    }
}

fn with_public_key(pem: &str, algorithms: &str) -> Authenticator {
    let file = std::env::temp_dir().join(format!("gateway-fuzz-{}-{algorithms}.pem", std::process::id()));
    std::fs::write(&file, pem).expect("cannot write to the folder for temporary files");
    let path = file.to_str().expect("the name of the key file is not UTF-8");
    let made = authenticator(&[
        ("auth.kind", "jwt"),
        ("auth.algorithms", algorithms),
        ("auth.public_key_file", path),
    ]);
    std::fs::remove_file(&file).expect("cannot remove the key file");
    made
}

fn authenticator(overrides: &[(&str, &str)]) -> Authenticator {
    let overrides = overrides.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
    let settings =
        Settings::load(&Sources { overrides, ..Sources::default() }).expect("the settings do not load");
    Authenticator::new(&settings.auth).expect("the key is refused")
}

fn at(seconds: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(seconds)
}

fn parse(json: &str) -> Value {
    serde_json::from_str(json).expect("the test vectors are not JSON")
}

fn text(value: &Value) -> &str {
    value.as_str().expect("a field of the test vectors is not a string")
}

fn list(value: &Value) -> &[Value] {
    value.as_array().expect("a field of the test vectors is not a list")
}
