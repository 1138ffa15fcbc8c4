//! An authenticator whose keys can be replaced.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use parking_lot::{Mutex, RwLock};

use super::keys::KeySet;
use super::keys::fetch::JwksSource;
use super::keys::jwks::ParsedKeys;
use super::keys::remote::{FetchWait, RemoteKeys};
use super::{AuthError, AuthSetupError, Authenticator, Principal, TokenAnswer, TokenError, Verification};
use crate::http_client::TlsTrust;
use crate::settings::AuthSettings;

/// The current authenticator. Clones share it, so a replacement applies to all of them.
#[derive(Clone)]
pub struct ReloadableAuthenticator(Arc<SharedAuthenticator>);

struct SharedAuthenticator {
    loaded: RwLock<Arc<LoadedAuthenticator>>,
    /// The keys of `auth.jwks_url`, which outlast a replacement.
    remote: Option<RemoteKeys>,
    /// Why the files of the keys were not loaded when they last changed.
    file_failure: Mutex<Option<String>>,
}

struct LoadedAuthenticator {
    authenticator: Authenticator,
    settings: AuthSettings,
    source: Option<JwksSource>,
}

/// The result of a fetch of `auth.jwks_url`, for the log and the metrics.
#[derive(Debug)]
pub struct FetchedKeys {
    /// The number of keys that are now in force, or why the old ones stay in force.
    pub result: Result<usize, String>,
    /// Sentences about keys that should not be in the document. Each follows the name of the document.
    pub warnings: Vec<String>,
}

impl LoadedAuthenticator {
    fn new(settings: &AuthSettings, remote: Option<RemoteKeys>) -> Result<Arc<Self>, AuthSetupError> {
        Ok(Arc::new(Self {
            authenticator: Authenticator::with_remote_keys(settings, remote)?,
            settings: settings.clone(),
            source: JwksSource::new(settings)?,
        }))
    }
}

impl ReloadableAuthenticator {
    /// Loads the keys. Those of `auth.jwks_url` come later, with [`ReloadableAuthenticator::fetch_keys`].
    ///
    /// # Errors
    /// As [`Authenticator::new`].
    pub fn new(settings: &AuthSettings) -> Result<Self, AuthSetupError> {
        let remote = settings.jwks_url.is_some().then(|| RemoteKeys::new(settings.jwks_refresh_interval));
        let loaded = RwLock::new(LoadedAuthenticator::new(settings, remote.clone())?);
        Ok(Self(Arc::new(SharedAuthenticator { loaded, remote, file_failure: Mutex::default() })))
    }

    /// Loads new keys and uses them from now on.
    ///
    /// # Errors
    /// As [`Authenticator::new`]. The old keys then remain in use.
    pub fn replace(&self, settings: &AuthSettings) -> Result<(), AuthSetupError> {
        let new = LoadedAuthenticator::new(settings, self.0.remote.clone())?;
        *self.0.loaded.write() = new;
        Ok(())
    }

    /// As [`Authenticator::verify`], with the current keys.
    ///
    /// # Errors
    /// Why the token is refused.
    pub fn verify(&self, token: &str, now: SystemTime) -> Result<Principal, AuthError> {
        // The lock is released before the signature is verified, so that a replacement and later readers do not wait.
        self.current().authenticator.verify(token, now)
    }

    /// Verifies a token with the current keys. A token whose key may be in a newer key set waits for one fetch.
    /// `on_late_refusal` is called if the token is refused after nobody waits for the answer any more.
    pub fn start_verification(
        &self,
        token: &str,
        now: SystemTime,
        on_late_refusal: impl FnOnce() + Send + 'static,
    ) -> Verification {
        let refusal = match self.verify(token, now) {
            Ok(principal) => return Verification::Known(Ok(principal)),
            Err(refusal) => refusal,
        };
        let waits = (refusal == AuthError::UnknownKey).then_some(self.0.remote.as_ref()).flatten();
        match waits.map(|remote| remote.wait_for_fetch(token, Box::new(on_late_refusal))) {
            Some(FetchWait::Pending(pending)) => Verification::Pending(pending),
            // Anyone can fill the queue. It must log no user out whose key is about to be fetched.
            Some(FetchWait::Full) => Verification::Known(Err(TokenError::Unavailable)),
            Some(FetchWait::NotDue) | None => Verification::Known(Err(self.error_of(refusal))),
        }
    }

    /// A token with an unknown key may be valid while the key set could not be fetched.
    fn error_of(&self, refusal: AuthError) -> TokenError {
        let is_stale = self
            .0
            .remote
            .as_ref()
            .is_some_and(|remote| remote.keys().is_none() || remote.failure().is_some());
        if refusal == AuthError::UnknownKey && is_stale {
            TokenError::Unavailable
        } else {
            TokenError::Refused(refusal)
        }
    }

    /// The settings with the current secrets, for minting.
    pub fn settings(&self) -> AuthSettings {
        self.current().settings.clone()
    }

    /// The settings with the current client secret, and the authorities that HTTPS trusts, if tokens are introspected.
    pub(super) fn introspection(&self) -> Option<(AuthSettings, Option<TlsTrust>)> {
        let current = self.current();
        match &current.authenticator {
            Authenticator::Introspection(trusted) => Some((current.settings.clone(), trusted.tls())),
            _ => None,
        }
    }

    /// Whether there is a key set to fetch.
    pub fn has_remote_keys(&self) -> bool {
        self.0.remote.is_some()
    }

    /// Waits until the key set must be fetched, and fetches it. New keys apply at once; a failure leaves the old ones in
    /// force. Never resolves if there is no key set to fetch.
    pub async fn fetch_keys(&self) -> FetchedKeys {
        let (Some(remote), Some(source)) = (&self.0.remote, self.current().source.clone()) else {
            return std::future::pending().await;
        };
        while remote.until_due() > Duration::ZERO {
            tokio::select! {
                () = tokio::time::sleep(remote.until_due()) => {}
                () = remote.woken() => {}
            }
        }
        remote.started();
        // The files may have been replaced meanwhile.
        let source = self.current().source.clone().unwrap_or(source);
        let (fetched, warnings) = match source.fetch().await {
            Ok(ParsedKeys { keys, faults, warnings }) => (Ok(KeySet::new(keys)), [faults, warnings].concat()),
            Err(error) => (Err(error.to_string()), Vec::new()),
        };
        let result = fetched.as_ref().map(KeySet::len).map_err(Clone::clone);
        for waiting in remote.ended(fetched) {
            waiting.answer.send(self.answer_waiting(&waiting.token));
        }
        FetchedKeys { result, warnings }
    }

    fn answer_waiting(&self, token: &str) -> TokenAnswer {
        self.verify(token, SystemTime::now()).map_err(|refusal| self.error_of(refusal))
    }

    /// Notes why the files of the keys were not loaded, or that they were.
    pub fn note_files(&self, failure: Option<String>) {
        *self.0.file_failure.lock() = failure;
    }

    /// Why no token can be verified.
    pub fn unready_reason(&self) -> Option<String> {
        let is_waiting = self.0.remote.as_ref().is_some_and(|remote| remote.keys().is_none());
        let has_own = self.current().authenticator.has_own_keys();
        (is_waiting && !has_own).then(|| "the keys of auth.jwks_url are not loaded yet".to_owned())
    }

    /// Warnings for operators: the latest keys could not be loaded.
    pub fn notes(&self) -> Vec<String> {
        let file = self.0.file_failure.lock().clone();
        let file = file.map(|failure| format!("changed keys are not in force: {failure}"));
        let fetch = self.0.remote.as_ref().and_then(RemoteKeys::failure);
        let fetch = fetch.map(|failure| format!("auth.jwks_url cannot be fetched: {failure}"));
        file.into_iter().chain(fetch).collect()
    }

    fn current(&self) -> Arc<LoadedAuthenticator> {
        Arc::clone(&self.0.loaded.read())
    }
}

impl std::fmt::Debug for ReloadableAuthenticator {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("ReloadableAuthenticator").field(&self.current().authenticator).finish()
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use super::*;
    use crate::auth::mint;
    use crate::auth::tests::settings;

    #[test]
    fn only_valid_keys_replace_the_old_ones() {
        let (old, new) = (settings("signed", "the-old-secret"), settings("signed", "the-new-secret"));
        let now = SystemTime::now();
        let token = |settings| mint(settings, "42", &[], Duration::from_secs(60), now).unwrap();
        let (of_old, of_new) = (token(&old), token(&new));
        let tokens = ReloadableAuthenticator::new(&old).unwrap();
        let shared = tokens.clone();
        assert!(shared.verify(&of_old, now).is_ok() && shared.verify(&of_new, now).is_err());
        tokens.replace(&new).unwrap();
        assert!(shared.verify(&of_old, now).is_err() && shared.verify(&of_new, now).is_ok());
        let broken = AuthSettings { secret: None, ..new };
        assert!(tokens.replace(&broken).is_err());
        assert!(shared.verify(&of_new, now).is_ok());
    }
}
