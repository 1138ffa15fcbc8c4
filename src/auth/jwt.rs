//! Verifies JSON Web Tokens. The settings define algorithms and keys; a token selects one of them by its
//! `kid`, and no other.

use std::{iter, path::Path, time::SystemTime};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use jsonwebtoken::{
    Algorithm, AlgorithmFamily, DecodingKey, EncodingKey, Header, crypto, decode_header, encode,
    errors::ErrorKind,
};
use serde::Serialize;

use super::{
    AuthError, AuthSetupError, Principal,
    claims::{ClaimRules, Claims},
    keys::{KeySet, VerificationKey, candidates, is_hmac, jwks, remote::RemoteKeys},
};
use crate::settings::{AuthSettings, check_is_file, one_line, read_text};

/// The maximum length of a key file, in bytes. A longer file is the wrong file.
const MAX_KEY_FILE_BYTES: u64 = 64 * 1024;

/// The shortest DER form of an RSA public key of 2048 bits, in bytes.
const MIN_RSA_DER_BYTES: usize = 256;

/// Verifies JSON Web Tokens.
#[derive(Clone)]
pub struct JwtVerifier {
    /// The keys in the settings and in files.
    own: KeySet,
    /// The keys of `auth.jwks_url`.
    remote: Option<RemoteKeys>,
    algorithms: Vec<Algorithm>,
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
    pub(super) fn new(settings: &AuthSettings, remote: Option<RemoteKeys>) -> Result<Self, AuthSetupError> {
        let algorithms = algorithms_of(settings)?;
        let own = own_keys(settings, &algorithms)?;
        if !own.iter().all(VerificationKey::is_usable) {
            return Err(AuthSetupError::SelfTest);
        }
        Ok(Self { own, remote, algorithms, claims: ClaimRules::new(settings) })
    }

    /// Whether there are keys in the settings or in files.
    pub(super) const fn has_own_keys(&self) -> bool {
        !self.own.is_empty()
    }

    pub(super) fn verify(&self, token: &str, now: SystemTime) -> Result<Principal, AuthError> {
        let header = decode_header(token).map_err(|error| error_of(&error))?;
        if !self.algorithms.contains(&header.alg) {
            return Err(AuthError::WrongAlgorithm);
        }
        let remote = self.remote.as_ref().map(RemoteKeys::keys);
        let sets: Vec<&KeySet> =
            iter::once(&self.own).chain(remote.iter().flatten().map(AsRef::as_ref)).collect();
        let id = header.kid.as_deref();
        let (message, signature) = token.rsplit_once('.').ok_or(AuthError::Malformed)?;
        let mut failure = AuthError::UnknownKey;
        for key in candidates(&sets, id, header.alg) {
            match crypto::verify(signature, message.as_bytes(), &key.key, header.alg) {
                // "crit" lists extensions that a verifier must support. The gateway supports none.
                Ok(true) if header.crit.is_some() => return Err(AuthError::Malformed),
                Ok(true) => return self.claims.check(claims_of(message)?, now),
                Ok(false) => failure = AuthError::BadSignature,
                Err(error) => return Err(error_of(&error)),
            }
        }
        // The key may be in a newer key set.
        let is_known = sets.iter().any(|set| set.iter().any(|key| key.id.as_deref() == id && id.is_some()));
        let may_be_fetched = remote.is_some_and(|keys| !is_known && (keys.is_none() || id.is_some()));
        Err(if may_be_fetched { AuthError::UnknownKey } else { failure })
    }
}

fn error_of(error: &jsonwebtoken::errors::Error) -> AuthError {
    match error.kind() {
        ErrorKind::InvalidSignature => AuthError::BadSignature,
        ErrorKind::InvalidAlgorithm => AuthError::WrongAlgorithm,
        _ => AuthError::Malformed,
    }
}

/// The claims of a token, from `<header>.<payload>`. Call after the signature is verified.
///
/// `decode` of the library would parse the header twice more and the claims twice. It reads the system clock, and its
/// releases differ in the handling of claims of the wrong type, so [`ClaimRules`] checks the claims.
fn claims_of(message: &str) -> Result<Claims, AuthError> {
    let (_, payload) = message.rsplit_once('.').ok_or(AuthError::Malformed)?;
    let json = URL_SAFE_NO_PAD.decode(payload).map_err(|_| AuthError::Malformed)?;
    // Serde would also read the claims from an array, by their order.
    if json.trim_ascii_start().first() != Some(&b'{') {
        return Err(AuthError::Malformed);
    }
    serde_json::from_slice(&json).map_err(|_| AuthError::Malformed)
}

/// The keys in the settings and in files: the secret and the one before it, or the public key, and the key set.
fn own_keys(settings: &AuthSettings, algorithms: &[Algorithm]) -> Result<KeySet, AuthSetupError> {
    let has_key_set = settings.keys_file.is_some() || settings.jwks_url.is_some();
    let (hmac, public): (Vec<_>, Vec<_>) = algorithms.iter().partition(|algorithm| is_hmac(**algorithm));
    let mut keys = KeySet::default();
    if !hmac.is_empty() {
        if settings.secret.is_none() && !has_key_set {
            return Err(AuthSetupError::NoSecret);
        }
        let secrets = settings.secret.iter().chain(&settings.previous_secret);
        keys.extend(secrets.map(|secret| VerificationKey {
            id: None,
            algorithms: hmac.clone(),
            key: DecodingKey::from_secret(secret.expose().as_bytes()),
        }));
    }
    if let Some(path) = &settings.keys_file {
        keys.extend(read_key_set(path, algorithms)?);
    } else if let Some(first) = public.first().filter(|_| !has_key_set) {
        let path = settings.public_key_file.as_deref().ok_or(AuthSetupError::NoPublicKey)?;
        keys.extend([VerificationKey { id: None, key: public_key(path, *first)?, algorithms: public }]);
    }
    Ok(keys)
}

/// Reads `auth.keys_file`. One weak or broken key refuses the file, because its owner is the owner of the settings.
fn read_key_set(path: &Path, algorithms: &[Algorithm]) -> Result<Vec<VerificationKey>, AuthSetupError> {
    let wrong = |reason: String| AuthSetupError::KeySet { path: path.to_owned(), reason };
    let text = check_is_file(path).and_then(|()| read_text(path, jwks::MAX_BYTES as u64));
    let text = text.map_err(|reason| wrong(format!("cannot be read: {reason}")))?;
    let parsed = jwks::parse(&text, algorithms).map_err(|error| wrong(error.to_string()))?;
    if let Some(fault) = parsed.faults.into_iter().next() {
        return Err(wrong(fault));
    }
    for warning in parsed.warnings {
        log::warn!("auth.keys_file {} {warning}", one_line(path.display()));
    }
    Ok(parsed.keys)
}

/// Parses `auth.algorithms`. The list has one algorithm at least. Without a key set, one key serves all.
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
    let has_key_set = settings.keys_file.is_some() || settings.jwks_url.is_some();
    if algorithms.is_empty() || !(has_key_set || algorithms.windows(2).all(one_key)) {
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
    let pem = check_is_file(path)
        .and_then(|()| read_text(path, MAX_KEY_FILE_BYTES))
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
