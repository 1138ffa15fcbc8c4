//! The notes about commands that Redis does not run.

use parking_lot::Mutex;

/// The notes about missing commands of one link.
#[derive(Debug, Default)]
pub(super) struct MissingCommands(Mutex<Vec<String>>);

impl MissingCommands {
    pub(super) fn notes(&self) -> Vec<String> {
        self.0.lock().clone()
    }

    /// Replaces the notes, and logs each change.
    pub(super) fn set(&self, notes: Vec<String>) {
        let mut known = self.0.lock();
        if *known == notes {
            return;
        }
        match &notes[..] {
            [] => log::info!("redis: no command is missing any more"),
            notes => notes.iter().for_each(|note| log::warn!("redis: {note}")),
        }
        *known = notes;
    }
}
