//! JSON Web Tokens. The settings fix the algorithms and the key; a token only confirms them.
//!
//! `sub` is the user, text or a whole number. `exp` is required. `nbf` counts if it is there, `iat` never does. `aud`
//! and `iss` are looked at only if the settings name one; then the token must carry it. `channels` may list channels. A
//! claim of the wrong type is refused, never skipped: a `"nbf":"9999999999"` that is passed over because it is text would
//! be as good as none.

use std::{
    path::Path,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use jsonwebtoken::{
    Algorithm, AlgorithmFamily, DecodingKey, EncodingKey, Header, Validation, decode, encode,
    errors::ErrorKind,
};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{
    AuthError, AuthSetupError, Principal,
    principal::{MAX_CHANNELS, is_channel_pattern, is_of_another_user, parse_user_id},
};
use crate::settings::{AuthSettings, read_text};

/// The last second of the year 9999. A time beyond it is a mistake: most often it is in milliseconds.
pub(super) const LATEST_SECONDS: u64 = 253_402_300_799;

/// A key file longer than this (in bytes) is surely the wrong file.
const MAX_KEY_FILE_BYTES: u64 = 64 * 1024;

/// The shortest DER form, in bytes, of an RSA public key of 2048 bits.
const MIN_RSA_DER_BYTES: usize = 256;

/// Checks JSON Web Tokens.
#[derive(Clone)]
pub struct JwtVerifier {
    key: DecodingKey,
    validation: Validation,
    audience: Option<String>,
    issuer: Option<String>,
    leeway: Duration,
    allow_foreign_users: bool,
}

/// The claims that count. What is absent is null; what comes twice is an error of serde's.
#[derive(Deserialize)]
#[serde(default)]
struct Claims {
    sub: Value,
    exp: Value,
    nbf: Value,
    aud: Value,
    iss: Value,
    channels: Value,
}

impl Default for Claims {
    fn default() -> Self {
        let [sub, exp, nbf, aud, iss, channels] = [const { Value::Null }; 6];
        Self { sub, exp, nbf, aud, iss, channels }
    }
}

/// What a minted token says.
#[derive(Serialize)]
pub(super) struct MintedClaims<'a> {
    pub(super) sub: &'a str,
    pub(super) exp: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) aud: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) iss: Option<&'a str>,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    pub(super) channels: &'a [String],
}

impl JwtVerifier {
    pub(super) fn new(settings: &AuthSettings) -> Result<Self, AuthSetupError> {
        let algorithms = algorithms_of(settings)?;
        let first = *algorithms.first().ok_or(AuthSetupError::Algorithms)?;
        let key = match first.family() {
            AlgorithmFamily::Hmac => {
                let secret = settings.secret.as_ref().ok_or(AuthSetupError::NoSecret)?;
                DecodingKey::from_secret(secret.expose().as_bytes())
            }
            _ => {
                let path = settings.public_key_file.as_deref().ok_or(AuthSetupError::NoPublicKey)?;
                public_key(path, first)?
            }
        };
        let mut validation = Validation::new(first);
        validation.algorithms = algorithms;
        // The signature only. The library takes the time from the system's clock, and its releases have differed in what
        // a claim of the wrong type does; so the claims are checked below.
        validation.required_spec_claims.clear();
        validation.validate_exp = false;
        validation.validate_nbf = false;
        validation.validate_aud = false;
        let tokens = Self {
            key,
            validation,
            audience: settings.audience.clone(),
            issuer: settings.issuer.clone(),
            leeway: settings.leeway,
            allow_foreign_users: settings.allow_foreign_user_channels,
        };
        tokens.self_test(settings)?;
        Ok(tokens)
    }

    /// Uses every algorithm once, because the library finds out only at the first token that its cryptography was not
    /// built in. With a secret a whole token is made and read, else a signature of zeros must be found wrong.
    fn self_test(&self, settings: &AuthSettings) -> Result<(), AuthSetupError> {
        for algorithm in &self.validation.algorithms {
            if algorithm.family() == AlgorithmFamily::Hmac {
                let secret = settings.secret.as_ref().ok_or(AuthSetupError::NoSecret)?;
                let claims = MintedClaims {
                    sub: "self-test",
                    exp: 1,
                    aud: self.audience.as_deref(),
                    iss: self.issuer.as_deref(),
                    channels: &[],
                };
                let token =
                    sign(&claims, *algorithm, secret.expose()).map_err(|_| AuthSetupError::SelfTest)?;
                self.verify(&token, UNIX_EPOCH).map_err(|_| AuthSetupError::SelfTest)?;
            } else {
                let found =
                    jsonwebtoken::crypto::verify(&"A".repeat(86), b"self-test", &self.key, *algorithm);
                if !matches!(found, Ok(false)) {
                    return Err(AuthSetupError::SelfTest);
                }
            }
        }
        Ok(())
    }

    pub(super) fn verify(&self, token: &str, now: SystemTime) -> Result<Principal, AuthError> {
        let data =
            decode::<Claims>(token, &self.key, &self.validation).map_err(|error| match error.kind() {
                ErrorKind::InvalidSignature => AuthError::BadSignature,
                ErrorKind::InvalidAlgorithm => AuthError::WrongAlgorithm,
                _ => AuthError::Malformed,
            })?;
        // "crit" lists what a reader must understand to read the token rightly; there is nothing of that we do.
        if data.header.crit.is_some() {
            return Err(AuthError::Malformed);
        }
        let claims = data.claims;
        let expires = parse_numeric_date(&claims.exp)?.ok_or(AuthError::NoExpiry)?;
        let not_before = parse_numeric_date(&claims.nbf)?;
        let now = now.duration_since(UNIX_EPOCH).unwrap_or_default();
        if now >= expires.saturating_add(self.leeway) {
            return Err(AuthError::Expired);
        }
        if not_before.is_some_and(|not_before| not_before > now.saturating_add(self.leeway)) {
            return Err(AuthError::NotYetValid);
        }
        if self.audience.as_deref().is_some_and(|expected| !names_audience(&claims.aud, expected)) {
            return Err(AuthError::WrongAudience);
        }
        if self.issuer.as_deref().is_some_and(|expected| claims.iss.as_str() != Some(expected)) {
            return Err(AuthError::WrongIssuer);
        }
        let (user, channels) = (parse_subject(&claims.sub)?, parse_channels(claims.channels)?);
        if !self.allow_foreign_users && channels.iter().any(|pattern| is_of_another_user(pattern, &user)) {
            return Err(AuthError::ForeignUser);
        }
        Ok(Principal {
            user,
            // A token within its leeway is valid, so its session does not end earlier.
            expires_at: UNIX_EPOCH.checked_add(expires.saturating_add(self.leeway)),
            channels,
        })
    }
}

/// The algorithms that the settings name.
pub(super) fn algorithms_of(settings: &AuthSettings) -> Result<Vec<Algorithm>, AuthSetupError> {
    let algorithms: Vec<Algorithm> = settings
        .algorithms
        .iter()
        .map(|name| name.parse().map_err(|_| AuthSetupError::Algorithms))
        .collect::<Result<_, _>>()?;
    let one_key = |pair: &[Algorithm]| {
        pair[0].family() == pair[1].family()
            && (pair[0].family() != AlgorithmFamily::Ec || pair[0] == pair[1])
    };
    if algorithms.is_empty() || !algorithms.windows(2).all(one_key) {
        return Err(AuthSetupError::Algorithms);
    }
    Ok(algorithms)
}

/// A token with an HS algorithm.
pub(super) fn sign(
    claims: &MintedClaims<'_>,
    algorithm: Algorithm,
    secret: &str,
) -> Result<String, jsonwebtoken::errors::Error> {
    encode(&Header::new(algorithm), claims, &EncodingKey::from_secret(secret.as_bytes()))
}

/// Reads the PEM file and looks whether its key fits: the library would take a wrong one and then refuse every token.
fn public_key(path: &Path, algorithm: Algorithm) -> Result<DecodingKey, AuthSetupError> {
    let wrong = |reason| AuthSetupError::WrongKey { path: path.to_owned(), reason };
    let pem = read_text(path, MAX_KEY_FILE_BYTES)
        .map_err(|reason| AuthSetupError::Unreadable { path: path.to_owned(), reason })?;
    if pem.contains("PRIVATE KEY") {
        return Err(wrong("contains a private key, but must contain only the public key"));
    }
    let key = match algorithm.family() {
        AlgorithmFamily::Rsa => DecodingKey::from_rsa_pem(pem.as_bytes()),
        AlgorithmFamily::Ec => DecodingKey::from_ec_pem(pem.as_bytes()),
        AlgorithmFamily::Ed => DecodingKey::from_ed_pem(pem.as_bytes()),
        AlgorithmFamily::Hmac => return Err(AuthSetupError::Algorithms),
    };
    let key = key.map_err(|_| wrong("does not contain a PEM public key for auth.algorithms"))?;
    let length = key.try_get_as_bytes().map_or(0, <[u8]>::len);
    // A point of a curve is 04 and two coordinates.
    match algorithm {
        Algorithm::ES256 if length != 65 => {
            Err(wrong("does not contain a key of the curve P-256, which ES256 needs"))
        }
        Algorithm::ES384 if length != 97 => {
            Err(wrong("does not contain a key of the curve P-384, which ES384 needs"))
        }
        Algorithm::EdDSA if length != 32 => Err(wrong("does not contain an Ed25519 key, which EdDSA needs")),
        _ if algorithm.family() == AlgorithmFamily::Rsa && length < MIN_RSA_DER_BYTES => {
            Err(wrong("contains an RSA key of fewer than 2048 bits"))
        }
        _ => Ok(key),
    }
}

/// A NumericDate: seconds since 1970, a fraction allowed.
fn parse_numeric_date(claim: &Value) -> Result<Option<Duration>, AuthError> {
    let seconds = match claim {
        Value::Null => return Ok(None),
        Value::Number(number) => number.as_f64().ok_or(AuthError::Malformed)?,
        _ => return Err(AuthError::Malformed),
    };
    match Duration::try_from_secs_f64(seconds) {
        Ok(time) if time.as_secs() <= LATEST_SECONDS => Ok(Some(time)),
        _ => Err(AuthError::Malformed),
    }
}

/// `aud` is a text or a list of texts.
fn names_audience(claim: &Value, expected: &str) -> bool {
    match claim {
        Value::String(one) => one == expected,
        Value::Array(several) => {
            several.iter().all(Value::is_string) && several.iter().any(|one| one.as_str() == Some(expected))
        }
        _ => false,
    }
}

fn parse_subject(claim: &Value) -> Result<String, AuthError> {
    match claim {
        Value::Null => Err(AuthError::NoUser),
        Value::String(text) => parse_user_id(text.as_bytes()),
        // Many issuers have their database's number here.
        Value::Number(number) => number.as_u64().map(|id| id.to_string()).ok_or(AuthError::UserNotAllowed),
        _ => Err(AuthError::Malformed),
    }
}

fn parse_channels(claim: Value) -> Result<Vec<String>, AuthError> {
    match claim {
        Value::Null => Ok(Vec::new()),
        Value::Array(patterns) if patterns.len() <= MAX_CHANNELS => patterns
            .into_iter()
            .map(|pattern| match pattern {
                Value::String(text) if is_channel_pattern(&text) => Ok(text),
                _ => Err(AuthError::BadChannels),
            })
            .collect(),
        _ => Err(AuthError::BadChannels),
    }
}
