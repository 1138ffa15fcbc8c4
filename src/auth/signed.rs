//! E-Magine's login tokens: `TimestampSigner` of itsdangerous with its defaults.
//!
//! A token is `<payload>.<timestamp>.<signature>`. Each part is unpadded URL-safe base64: the user id, the seconds
//! since 1970 as big-endian bytes without leading zeros, and an HMAC-SHA1 of everything before the last separator. The
//! key of the HMAC is the SHA-1 of the salt, `signer` and the secret ("django-concat").

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha1::{Digest as _, Sha1};

use super::{AuthError, AuthSetupError, Principal, principal::parse_user_id};
use crate::settings::{AuthSettings, Secret};

const SALT: &[u8] = b"itsdangerous.Signer";
const SEPARATOR: char = '.';

/// Signs and verifies tokens.
#[derive(Clone)]
pub struct TimestampSigner {
    /// The state with the key, before any data.
    mac: Hmac<Sha1>,
    /// That of the previous secret, which signs no new tokens.
    previous_mac: Option<Hmac<Sha1>>,
    max_age: Duration,
    leeway: Duration,
}

impl TimestampSigner {
    pub(super) fn new(settings: &AuthSettings) -> Result<Self, AuthSetupError> {
        let secret = settings.secret.as_ref().ok_or(AuthSetupError::NoSecret)?;
        Ok(Self {
            mac: mac_of(secret)?,
            previous_mac: settings.previous_secret.as_ref().map(mac_of).transpose()?,
            max_age: settings.max_age,
            leeway: settings.leeway,
        })
    }

    /// Verifies the signature first, so no data of a forged token is parsed.
    pub(super) fn verify(&self, token: &str, now: SystemTime) -> Result<Principal, AuthError> {
        let (signed, signature) = token.rsplit_once(SEPARATOR).ok_or(AuthError::Malformed)?;
        let signature = URL_SAFE_NO_PAD.decode(signature).map_err(|_| AuthError::BadSignature)?;
        // `verify_slice` compares in constant time.
        let is_right = |mac: &Hmac<Sha1>| mac.clone().chain_update(signed).verify_slice(&signature).is_ok();
        if !is_right(&self.mac) && !self.previous_mac.as_ref().is_some_and(is_right) {
            return Err(AuthError::BadSignature);
        }

        let (payload, timestamp) = signed.rsplit_once(SEPARATOR).ok_or(AuthError::Malformed)?;
        let issued = parse_timestamp(timestamp)?;
        // In whole seconds, as itsdangerous counts: a token is valid to the end of the last second of its maximum age.
        let now = now.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        if issued > now.saturating_add(self.leeway.as_secs()) {
            return Err(AuthError::NotYetValid);
        }
        if now.saturating_sub(issued) > self.max_age.as_secs().saturating_add(self.leeway.as_secs()) {
            return Err(AuthError::Expired);
        }

        let user = URL_SAFE_NO_PAD.decode(payload).map_err(|_| AuthError::Malformed)?;
        // A token is valid within its leeway, so its session lasts as long.
        let issued_at = UNIX_EPOCH.checked_add(Duration::from_secs(issued));
        let expires_at = issued_at.and_then(|at| at.checked_add(self.max_age.saturating_add(self.leeway)));
        let user = parse_user_id(&user)?;
        Ok(Principal {
            user,
            expires_at,
            channels: Vec::new(),
            subscribe: Vec::new(),
            token_id: None,
            issued_at,
        })
    }

    /// A token for `user` with the issue time `issued`, in seconds since 1970.
    pub(super) fn sign(&self, user: &str, issued: u64) -> String {
        let timestamp = issued.to_be_bytes();
        let zeros = timestamp.iter().take_while(|byte| **byte == 0).count();
        let payload = URL_SAFE_NO_PAD.encode(user);
        let signed = format!("{payload}{SEPARATOR}{}", URL_SAFE_NO_PAD.encode(&timestamp[zeros..]));
        let signature = self.mac.clone().chain_update(&signed).finalize().into_bytes();
        format!("{signed}{SEPARATOR}{}", URL_SAFE_NO_PAD.encode(signature))
    }
}

/// The HMAC with the key derived from a secret.
fn mac_of(secret: &Secret) -> Result<Hmac<Sha1>, AuthSetupError> {
    let key = Sha1::new().chain_update(SALT).chain_update(b"signer").chain_update(secret.expose()).finalize();
    Hmac::new_from_slice(&key).map_err(|_| AuthSetupError::SelfTest)
}

fn parse_timestamp(timestamp: &str) -> Result<u64, AuthError> {
    let bytes = URL_SAFE_NO_PAD.decode(timestamp).map_err(|_| AuthError::Malformed)?;
    if bytes.len() > size_of::<u64>() {
        return Err(AuthError::Malformed);
    }
    Ok(bytes.iter().fold(0, |seconds, byte| seconds << 8 | u64::from(*byte)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::tests::settings;
    use proptest::prelude::*;
    use serde::Deserialize;

    #[derive(Deserialize)]
    struct Vectors {
        secret: String,
        cases: Vec<Case>,
    }

    #[derive(Deserialize)]
    struct Case {
        name: String,
        token: String,
        now: u64,
        max_age: u64,
        expect: String,
        user: Option<String>,
        issued: Option<u64>,
    }

    fn vectors() -> Vectors {
        serde_json::from_str(include_str!("../../tests/data/itsdangerous.json")).unwrap()
    }

    fn tokens(secret: &str, max_age: u64, leeway: u64) -> TimestampSigner {
        let mut settings = settings("signed", secret);
        settings.max_age = Duration::from_secs(max_age);
        settings.leeway = Duration::from_secs(leeway);
        TimestampSigner::new(&settings).unwrap()
    }

    fn at(seconds: u64) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(seconds)
    }

    #[test]
    fn agrees_with_itsdangerous() {
        let Vectors { secret, cases } = vectors();
        assert!(cases.len() > 40);
        for case in cases {
            let result = tokens(&secret, case.max_age, 0).verify(&case.token, at(case.now));
            let outcome = result.as_ref().map_or_else(|error| error.label(), |_| "ok");
            assert_eq!(outcome, case.expect, "{}", case.name);
            if let Ok(principal) = result {
                assert_eq!(Some(principal.user), case.user, "{}", case.name);
                assert_eq!(
                    principal.expires_at,
                    Some(at(case.issued.unwrap() + case.max_age)),
                    "{}",
                    case.name
                );
                assert_eq!(principal.issued_at, Some(at(case.issued.unwrap())), "{}", case.name);
                assert!(principal.channels.is_empty());
            }
        }
    }

    #[test]
    fn makes_the_tokens_that_itsdangerous_makes() {
        let Vectors { secret, cases } = vectors();
        let tokens = tokens(&secret, 60, 0);
        // No signer makes leading zeros in a timestamp.
        for case in cases.iter().filter(|case| case.expect == "ok" && !case.name.starts_with("zeros")) {
            assert_eq!(
                tokens.sign(case.user.as_ref().unwrap(), case.issued.unwrap()),
                case.token,
                "{}",
                case.name
            );
        }
    }

    #[test]
    fn leeway_widens_both_ends() {
        let tokens = tokens("secret", 100, 5);
        let token = tokens.sign("42", 1000);
        for (now, expected) in [
            (994, Err(AuthError::NotYetValid)),
            (995, Ok(())),
            (1105, Ok(())),
            (1106, Err(AuthError::Expired)),
        ] {
            assert_eq!(tokens.verify(&token, at(now)).map(|_| ()), expected, "{now}");
        }
        // The session lasts as long as the token would be accepted.
        assert_eq!(tokens.verify(&token, at(1101)).unwrap().expires_at, Some(at(1105)));
    }

    proptest! {
        #[test]
        fn any_change_of_a_character_is_refused(index in 0..40_usize, byte in 0x21..0x7f_u8) {
            let tokens = tokens("secret", 100, 0);
            let good = tokens.sign("42", 1_732_390_000);
            let mut bytes = good.clone().into_bytes();
            let index = index % bytes.len();
            bytes[index] = byte;
            let changed = String::from_utf8(bytes).unwrap();
            prop_assert_eq!(tokens.verify(&changed, at(1_732_390_000)).is_ok(), changed == good);
        }

        #[test]
        fn verifying_never_panics(token in "\\PC*", now in any::<u64>()) {
            let now = UNIX_EPOCH.checked_add(Duration::from_secs(now)).unwrap_or(UNIX_EPOCH);
            prop_assert!(tokens("secret", 100, 5).verify(&token, now).is_err());
        }
    }
}
