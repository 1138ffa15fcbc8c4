//! An authenticator whose keys can be replaced.

use std::sync::Arc;
use std::time::SystemTime;

use parking_lot::RwLock;

use super::{AuthError, AuthSetupError, Authenticator, Principal};
use crate::settings::AuthSettings;

/// The current authenticator. Clones share it, so a replacement applies to all of them.
#[derive(Debug, Clone)]
pub struct ReloadableAuthenticator(Arc<RwLock<Arc<LoadedAuthenticator>>>);

#[derive(Debug)]
struct LoadedAuthenticator {
    authenticator: Authenticator,
    settings: AuthSettings,
}

impl LoadedAuthenticator {
    fn new(settings: &AuthSettings) -> Result<Arc<Self>, AuthSetupError> {
        Ok(Arc::new(Self { authenticator: Authenticator::new(settings)?, settings: settings.clone() }))
    }
}

impl ReloadableAuthenticator {
    /// Loads the keys.
    ///
    /// # Errors
    /// As [`Authenticator::new`].
    pub fn new(settings: &AuthSettings) -> Result<Self, AuthSetupError> {
        Ok(Self(Arc::new(RwLock::new(LoadedAuthenticator::new(settings)?))))
    }

    /// Loads new keys and uses them from now on.
    ///
    /// # Errors
    /// As [`Authenticator::new`]. The old keys then remain in use.
    pub fn replace(&self, settings: &AuthSettings) -> Result<(), AuthSetupError> {
        let new = LoadedAuthenticator::new(settings)?;
        *self.0.write() = new;
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

    /// The settings with the current secrets, for minting.
    pub fn settings(&self) -> AuthSettings {
        self.current().settings.clone()
    }

    fn current(&self) -> Arc<LoadedAuthenticator> {
        Arc::clone(&self.0.read())
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
