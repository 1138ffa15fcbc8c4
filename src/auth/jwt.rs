//! Verifies JSON Web Tokens. The settings define algorithms and key; a token cannot select others.

use std::{
    path::Path,
    time::{SystemTime, UNIX_EPOCH},
};

use jsonwebtoken::{
    Algorithm, AlgorithmFamily, DecodingKey, EncodingKey, Header, Validation, decode, encode,
    errors::ErrorKind,
};
use serde::Serialize;

use super::{
    AuthError, AuthSetupError, Principal,
    claims::{ClaimRules, Claims},
};
use crate::settings::{AuthSettings, read_text};

/// The maximum length of a key file, in bytes. A longer file is the wrong file.
const MAX_KEY_FILE_BYTES: u64 = 64 * 1024;

/// The shortest DER form of an RSA public key of 2048 bits, in bytes.
const MIN_RSA_DER_BYTES: usize = 256;

/// Verifies JSON Web Tokens with one key.
#[derive(Clone)]
pub struct JwtVerifier {
    key: DecodingKey,
    validation: Validation,
    claims: ClaimRules,
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
        let tokens = Self { key, validation, claims: ClaimRules::new(settings) };
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
                    aud: self.claims.audience.as_deref(),
                    iss: self.claims.issuer.as_deref(),
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
        self.claims.check(data.claims, now)
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
