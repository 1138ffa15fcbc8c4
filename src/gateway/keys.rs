//! Keeps the keys of tokens current, on a thread of its own: reads their files again when they change, and fetches the
//! key set of `auth.jwks_url`.
//!
//! - `changes`: decides from what the files look like whether they changed.

mod changes;

use std::fmt;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use actix_rt::time::interval;
use log::Level;
use parking_lot::Mutex;
use tokio::sync::oneshot;
use tokio::time::MissedTickBehavior;

use self::changes::{ChangeDetector, FileState};
use crate::auth::{FetchedKeys, ReloadableAuthenticator};
use crate::metrics::{KeyLoadResult, Metrics};
use crate::settings::{AuthKind, Settings};

/// How often the files are looked at.
const CHECK_INTERVAL: Duration = Duration::from_secs(1);

/// Loads the keys again. Clones share its state.
#[derive(Clone)]
pub(super) struct KeyLoader(Arc<Inner>);

struct Inner {
    settings: Settings,
    tokens: ReloadableAuthenticator,
    metrics: Metrics,
    changes: Mutex<ChangeDetector>,
    /// Held while the files are read and their keys put into force.
    loading: Mutex<()>,
}

impl fmt::Debug for KeyLoader {
    /// Only the tokens, because the rest has keys.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("KeyLoader").field(&self.0.tokens).finish()
    }
}

/// Ends the thread when dropped.
#[derive(Debug)]
pub(super) struct KeyThread {
    _stop: oneshot::Sender<()>,
}

impl KeyLoader {
    /// The keys of `tokens` have just been loaded with `settings`.
    pub(super) fn new(settings: &Settings, tokens: &ReloadableAuthenticator, metrics: &Metrics) -> Self {
        Self(Arc::new(Inner {
            settings: settings.clone(),
            tokens: tokens.clone(),
            metrics: metrics.clone(),
            changes: Mutex::new(ChangeDetector::new(file_states(settings))),
            loading: Mutex::default(),
        }))
    }

    /// Reads the files of `[auth]` again. A mistake leaves the old keys in force.
    pub(super) fn load(&self) {
        let Inner { settings, tokens, metrics, changes, loading } = &*self.0;
        if settings.auth.kind == AuthKind::Insecure {
            return;
        }
        // SIGHUP and the thread may load at the same time. The one that reads first must not replace the keys last.
        let _loading = loading.lock();
        // Before the files are read: a later change is seen as one.
        changes.lock().loaded(file_states(settings));
        let loaded = settings.reload_auth_files().map_err(|errors| errors.to_string());
        let loaded = loaded.and_then(|new| tokens.replace(&new.auth).map_err(|error| error.to_string()));
        match &loaded {
            Ok(()) => log::info!("reload: auth keys reloaded"),
            Err(error) => log::error!("reload failed: {error}; the old keys stay in force"),
        }
        let result = if loaded.is_ok() { KeyLoadResult::Read } else { KeyLoadResult::ReadFailed };
        tokens.note_files(loaded.err());
        self.export(result, metrics);
    }

    fn export(&self, result: KeyLoadResult, metrics: &Metrics) {
        Metrics::count(&metrics.auth_key_loads, result);
        metrics.auth_keys_stale.set((!self.0.tokens.notes().is_empty()).into());
    }

    /// Starts the thread, if there are files or a URL to follow.
    pub(super) fn start(self) -> io::Result<Option<KeyThread>> {
        let has_files = self.0.settings.auth.files().next().is_some();
        if !has_files && !self.0.tokens.has_remote_keys() {
            return Ok(None);
        }
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (stop, stopped) = oneshot::channel::<()>();
        thread::Builder::new().name("auth-keys".to_owned()).spawn(move || {
            let ended = catch_unwind(AssertUnwindSafe(|| {
                let tasks = tokio::task::LocalSet::new();
                tasks.block_on(&runtime, async {
                    tokio::select! {
                        _ = stopped => {}
                        () = self.follow_files(), if has_files => {}
                        () = self.follow_url() => {}
                    }
                });
            }));
            if ended.is_err() {
                log::error!(
                    "the thread of the auth keys panicked; keys change only at SIGHUP until a restart"
                );
                self.0.metrics.auth_keys_stale.set(1);
            }
            runtime.shutdown_background();
        })?;
        Ok(Some(KeyThread { _stop: stop }))
    }

    async fn follow_files(&self) {
        let mut ticks = interval(CHECK_INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            let seen = file_states(&self.0.settings);
            if self.0.changes.lock().observe(seen) {
                self.load();
            }
        }
    }

    async fn follow_url(&self) {
        let mut logged = Vec::new();
        loop {
            let FetchedKeys { result, warnings } = self.0.tokens.fetch_keys().await;
            let mut lines = warnings
                .iter()
                .map(|warning| (Level::Warn, format!("auth.jwks_url {warning}")))
                .collect::<Vec<_>>();
            let (counted, line) = match result {
                Ok(count) => {
                    let line = format!("auth.jwks_url: keys in force: {count}");
                    (KeyLoadResult::Fetched, (Level::Info, line))
                }
                Err(reason) => {
                    let line =
                        format!("auth.jwks_url cannot be fetched: {reason}; the old keys stay in force");
                    (KeyLoadResult::FetchFailed, (Level::Warn, line))
                }
            };
            lines.push(line);
            self.export(counted, &self.0.metrics);
            // A line is repeated only for debugging.
            for line in &lines {
                let level = if logged.contains(line) { Level::Debug } else { line.0 };
                log::log!(level, "{}", line.1);
            }
            logged = lines;
        }
    }
}

/// What the files of `[auth]` look like. Symbolic links are followed, so a changed link is a change.
fn file_states(settings: &Settings) -> Vec<Option<FileState>> {
    let state = |path| {
        let metadata = fs::metadata(path).ok()?;
        Some(FileState {
            device: metadata.dev(),
            inode: metadata.ino(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
            length: metadata.len(),
        })
    };
    settings.auth.files().map(state).collect()
}
