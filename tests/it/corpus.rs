//! The fuzz corpus as ordinary tests: each file of `fuzz/corpus` goes through its target.

#[allow(unreachable_pub, reason = "the fuzzer's package also uses it")]
#[path = "../../fuzz/src/lib.rs"]
mod targets;

use std::fs;
use std::ops::RangeInclusive;
use std::panic::catch_unwind;
use std::path::Path;
use std::process::Command;

/// The number of files of a target. With fewer files, the corpus folder is wrong; with more, `scripts/fuzz --minimise` was
/// not run (docs/fuzzing.md).
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
fn client_bytes_parse_the_same_however_they_are_split() {
    replay("frame_reader");
}

#[test]
fn inflated_messages_stay_within_their_bound() {
    replay("deflate");
}

#[test]
fn every_decoded_command_round_trips() {
    replay("command");
}

#[test]
fn publications_arrive_verbatim_or_are_refused_with_a_reason() {
    replay("publication");
}

#[test]
fn forged_tokens_are_never_accepted() {
    replay("token");
}

#[test]
fn settings_are_complete_or_refused_in_one_sentence() {
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

#[test]
fn the_fuzz_script_refuses_unknown_targets_and_options_at_once() {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/fuzz");
    for arguments in [
        &["--bogus"][..],
        &["frame"],
        &["--short", "--bogus"],
        &["token", "tokens"],
        &["token settings"],
        &[""],
    ] {
        let ended = Command::new(&script).args(arguments).output().unwrap();
        let error = String::from_utf8(ended.stderr).unwrap();
        assert_eq!(ended.status.code(), Some(2), "{arguments:?}: {error}");
        assert!(error.starts_with("fuzz: unknown target or option "), "{error}");
    }
}
