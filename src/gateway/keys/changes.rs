//! Decides from what files look like whether they changed. Does no IO.

/// What a file looks like.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct FileState {
    pub(super) device: u64,
    pub(super) inode: u64,
    pub(super) modified: (i64, i64),
    /// Also of its permissions, and if the time of the modification was set.
    pub(super) changed: (i64, i64),
    pub(super) length: u64,
}

/// The states of all files; `None` for a file that does not exist.
type FileStates = Vec<Option<FileState>>;

/// Compares what the files look like with what they looked like when they were loaded.
#[derive(Debug)]
pub(super) struct ChangeDetector {
    loaded: FileStates,
    seen: FileStates,
}

impl ChangeDetector {
    /// The files were loaded in this state.
    pub(super) fn new(loaded: FileStates) -> Self {
        Self { seen: loaded.clone(), loaded }
    }

    /// The files are loaded in this state.
    pub(super) fn loaded(&mut self, states: FileStates) {
        (self.seen, self.loaded) = (states.clone(), states);
    }

    /// Whether the files changed since they were loaded, and have looked the same twice: a file that is being written is
    /// not read yet.
    pub(super) fn observe(&mut self, states: FileStates) -> bool {
        let is_settled = states == self.seen;
        let has_changed = states != self.loaded;
        self.seen = states;
        has_changed && is_settled
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state(inode: u64, length: u64) -> FileStates {
        vec![Some(FileState { device: 1, inode, modified: (0, 0), changed: (0, 0), length })]
    }

    #[test]
    fn changed_files_are_loaded_once_when_they_settle() {
        let mut files = ChangeDetector::new(state(1, 10));
        assert!(!files.observe(state(1, 10)));
        assert!(!files.observe(state(1, 0)), "it is being written");
        assert!(!files.observe(state(1, 5)), "it is being written");
        assert!(files.observe(state(1, 5)));
        files.loaded(state(1, 5));
        assert!(!files.observe(state(1, 5)));
    }

    #[test]
    fn a_replaced_and_a_missing_file_are_changes() {
        for changed in [state(2, 10), vec![None]] {
            let mut files = ChangeDetector::new(state(1, 10));
            files.observe(changed.clone());
            assert!(files.observe(changed));
        }
    }
}
