//! Verifies JSON Web Tokens. The settings define algorithms and key; a token cannot select others.
//!
//! `sub` is the user id, a string or an integer. `exp` is required, `nbf` is optional. `iat` and `jti` are optional, for
//! revocations. `aud` and `iss` are required if the settings have a value for them, and ignored otherwise. `channels`
//! may list channels. A claim of the wrong type is refused: an ignored `"nbf":"9999999999"` would make the token valid
//! too early.

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

/// The last second of the year 9999. A later time is a mistake, most often in milliseconds.
pub(super) const LATEST_SECONDS: u64 = 253_402_300_799;

/// The maximum length of a key file, in bytes. A longer file is the wrong file.
const MAX_KEY_FILE_BYTES: u64 = 64 * 1024;

/// The shortest DER form of an RSA public key of 2048 bits, in bytes.
const MIN_RSA_DER_BYTES: usize = 256;

/// Verifies JSON Web Tokens with one key.
#[derive(Clone)]
pub struct JwtVerifier {
    key: DecodingKey,
    validation: Validation,
    audience: Option<String>,
    issuer: Option<String>,
    leeway: Duration,
    allow_foreign_users: bool,
}

/// The claims that are checked. An absent claim is null; serde refuses a duplicate.
#[derive(Deserialize)]
#[serde(default)]
struct Claims {
    sub: Value,
    exp: Value,
    nbf: Value,
    iat: Value,
    jti: Value,
    aud: Value,
    iss: Value,
    channels: Value,
}

impl Default for Claims {
    fn default() -> Self {
        let [sub, exp, nbf, iat, jti, aud, iss, channels] = [const { Value::Null }; 8];
        Self { sub, exp, nbf, iat, jti, aud, iss, channels }
    }
}

/// The claims of a minted token.
#[derive(Serialize)]
pub(super) struct MintedClaims<'a> {
    pub(super) sub: &'a str,
    pub(super) exp: u64,
    pub(super) iat: u64,
    pub(super) jti: &'a str,
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
        // The library checks only the signature. It reads the system clock, and its releases differ in the handling of
        // claims of the wrong type, so `verify` checks the claims.
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

    /// Uses every algorithm once, because the library reports a missing algorithm only at the first token. With a
    /// secret, a token is signed and verified. With a public key, a signature of zeros must be refused.
    fn self_test(&self, settings: &AuthSettings) -> Result<(), AuthSetupError> {
        for algorithm in &self.validation.algorithms {
            if algorithm.family() == AlgorithmFamily::Hmac {
                let secret = settings.secret.as_ref().ok_or(AuthSetupError::NoSecret)?;
                let claims = MintedClaims {
                    sub: "self-test",
                    exp: 1,
                    iat: 0,
                    jti: "self-test",
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
        // "crit" lists extensions that a verifier must support. The gateway supports none.
        if data.header.crit.is_some() {
            return Err(AuthError::Malformed);
        }
        let claims = data.claims;
        let expires = parse_numeric_date(&claims.exp)?.ok_or(AuthError::NoExpiry)?;
        let not_before = parse_numeric_date(&claims.nbf)?;
        let (issued, token_id) = (parse_numeric_date(&claims.iat)?, parse_token_id(claims.jti)?);
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
        // A time in the future is ignored, because the token would outlast a revocation of all tokens issued before now.
        let issued = issued.filter(|issued| *issued <= now.saturating_add(self.leeway));
        let (user, channels) = (parse_subject(&claims.sub)?, parse_channels(claims.channels)?);
        if !self.allow_foreign_users && channels.iter().any(|pattern| is_of_another_user(pattern, &user)) {
            return Err(AuthError::ForeignUser);
        }
        Ok(Principal {
            user,
            // A token is valid within its leeway, so its session lasts as long.
            expires_at: UNIX_EPOCH.checked_add(expires.saturating_add(self.leeway)),
            channels,
            token_id,
            issued_at: issued.and_then(|issued| UNIX_EPOCH.checked_add(issued)),
        })
    }
}

/// Parses `auth.algorithms`. The list has one algorithm at least, and one key serves all.
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

/// Signs a token with an HS algorithm.
pub(super) fn sign(
    claims: &MintedClaims<'_>,
    algorithm: Algorithm,
    secret: &str,
) -> Result<String, jsonwebtoken::errors::Error> {
    encode(&Header::new(algorithm), claims, &EncodingKey::from_secret(secret.as_bytes()))
}

/// Reads the PEM file and checks the kind of its key: the library would accept a wrong key and refuse every token.
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
    // A point of a curve is the byte 04 and two coordinates.
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

/// A NumericDate: seconds since 1970, with an optional fraction. `None` if the claim is absent.
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

/// The id of a token: a string, or a number as some issuers use.
fn parse_token_id(claim: Value) -> Result<Option<String>, AuthError> {
    match claim {
        Value::Null => Ok(None),
        Value::String(text) => Ok(Some(text)),
        Value::Number(number) => Ok(Some(number.to_string())),
        _ => Err(AuthError::Malformed),
    }
}

/// Whether `aud`, a string or a list of strings, contains `expected`.
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
        // Many issuers use the number of a database row.
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
