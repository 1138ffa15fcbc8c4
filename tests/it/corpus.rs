//! The fuzz corpus as ordinary tests: each file of `fuzz/corpus` goes through its target.

#[allow(unreachable_pub, reason = "the fuzzer's package is its other user")]
#[path = "../../fuzz/src/lib.rs"]
mod targets;

use std::fs;
use std::ops::RangeInclusive;
use std::panic::catch_unwind;
use std::path::Path;

/// How many files a target has. Fewer: the test looks in the wrong folder. More: `scripts/fuzz --minimise` was not run
/// (docs/fuzzing.md).
const FILES: RangeInclusive<usize> = 10..=40;

fn replay(name: &str) {
    let (_, check) = targets::TARGETS.iter().find(|(target, _)| *target == name).unwrap();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(name);
    let mut files: Vec<_> = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    assert!(FILES.contains(&files.len()), "{} files in {}", files.len(), folder.display());
    for file in files {
        let bytes = fs::read(&file).unwrap();
        if let Err(panic) = catch_unwind(|| check(&bytes)) {
            let what = panic.downcast_ref::<String>().map_or("no text", String::as_str);
            panic!("{}: {what}", file.display());
        }
    }
}

#[test]
fn whatever_a_client_sends_is_read_the_same_however_it_is_cut() {
    replay("frame_reader");
}

#[test]
fn whatever_is_inflated_stays_within_its_bound() {
    replay("deflate");
}

#[test]
fn whatever_is_a_command_is_understood_again() {
    replay("command");
}

#[test]
fn whatever_is_published_arrives_verbatim_or_is_refused_for_a_reason() {
    replay("publication");
}

#[test]
fn no_token_is_believed_that_nobody_has_issued() {
    replay("token");
}

#[test]
fn whatever_is_set_is_complete_or_refused_in_one_sentence() {
    replay("settings");
}

#[test]
fn every_target_has_a_test_and_a_corpus() {
    let folders = fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus")).unwrap();
    let mut folders: Vec<_> =
        folders.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    folders.sort();
    let mut names = targets::TARGETS.map(|(name, _)| name);
    names.sort_unstable();
    assert_eq!(folders, names);
}
