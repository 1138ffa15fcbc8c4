//! Mistakes of the caller.

use super::*;

#[test]
fn too_low_a_file_limit_is_reported_before_the_start() {
    let arguments = ["bench", "fanout", "--sockets", "200"];
    let ended = Process::start_with_files(150, &arguments, &[]).wait();
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(ended.err.contains("the limit of open files (150) has room for "), "{}", ended.err);
    assert_eq!(ended.err.lines().count(), 1, "{}", ended.err);
}

#[test]
fn invalid_arguments_end_the_command_with_one_sentence() {
    let missing = Path::new("/nowhere/plot.svg").display().to_string();
    for (arguments, sentence) in [
        (&["fanout", "--sockets", "0"][..], "--sockets must be 1 to 1000000"),
        (&["fanout", "--seconds", "0"], "--seconds must be 0.1 to 86400"),
        (&["fanout", "--seconds", "NaN"], "--seconds must be 0.1 to 86400"),
        (&["fanout", "--rate", "0"], "--rate must be 0.1 to 10000000"),
        (&["fanout", "--in-flight", "0"], "--in-flight must be 1 to 1000000"),
        (&["fanout", "--message-bytes", "7"], "--message-bytes must be 48 to 1048576"),
        (&["fanout", "--threads", "0"], "--threads must be 1 to 64"),
        (&["burst", "--burst-every", "0"], "--burst-every must be 0.1 to 3600"),
        (&["burst", "--in-flight", "2"], "--in-flight cannot be used with burst"),
        (&["fanout", "--profile", "centrifugo"], "--profile centrifugo and --profile anycable need idle"),
        (&["jitter", "--offline", "2", "--offline-every", "2"], "and less than --offline-every"),
        (&["jitter", "--baseline"], "--baseline cannot be used with jitter"),
        (&["slow", "--stalled", "101"], "--stalled must be 0 to 100"),
        (&["idle", "--capacity-share", "0.5"], "--capacity-share must be 0.01 to 1"),
        (&["fanout", "--capacity-share", "2"], "--capacity-share must be 0.01 to 1"),
        (&["burst", "--replicas", "2"], "--replicas must be 1 to 1000"),
        (&["scale", "--replicas", "2"], "--replicas must be 1 to 1000 (scale: 3 to 1000)"),
        (&["scale", "--sockets", "2"], "scale needs at least 3 --sockets"),
        (&["storm", "--rate", "5"], "--rate cannot be used with idle, storm, waves and scale"),
        (&["scale", "--sweep", "sockets=5"], "scale cannot be used with"),
        (&["scale", "--baseline"], "scale cannot be used with"),
        (
            &["mixed", "--redis", "--server", "anycable=/nowhere"],
            "--server needs idle, connect, fanout or unicast",
        ),
        (&["idle", "--redis", "--server", "centrifugo=/nowhere"], "/nowhere: No such file"),
        (&["unicast", "--channels", "2"], "--channels must be 1 to 90 times --sockets"),
        (&["fanout", "--sockets", "1", "--channels", "91"], "--channels must be 1 to 90 times --sockets"),
        (&["fanout", "--sweep", "sockets=1,0"], "--sockets must be 1 to 1000000"),
        (&["fanout", "--redis", "--broker-url", "redis://127.0.0.1:1"], "use only one of the two"),
        (&["fanout", "--running", "--pid", "4294967295"], "process 4294967295 does not exist"),
        (&["fanout", "--running", "--admin-addr", "127.0.0.1:1"], "is not ready"),
        (&["fanout", "--set", "server.public_addr=x"], "server.public_addr"),
        (&["fanout", "--sockets", "2", "--seconds", "0.1", "--plot", &missing], "the plot /nowhere/plot.svg"),
    ] {
        let arguments: Vec<_> = ["bench"].iter().chain(arguments).map(|text| (*text).to_owned()).collect();
        let ended = run(&arguments);
        assert!(!matches!(ended.code, Some(0) | None), "{arguments:?}: {ended:?}");
        assert!(ended.err.contains(sentence), "{arguments:?}: {}", ended.err);
        assert_eq!(ended.err.lines().count(), 1, "{arguments:?}: {}", ended.err);
    }
    for arguments in [
        &["fanout", "--rate", "1", "--in-flight", "1"][..],
        &["fanout", "--pid", "1"],
        &["fanout", "--sweep", "x=1"],
        &["idle", "--redis", "--server", "nginx=/nowhere"],
        &["idle", "--server", "centrifugo=/nowhere"],
        &["nothing"],
    ] {
        let arguments: Vec<_> = ["bench"].iter().chain(arguments).map(|text| (*text).to_owned()).collect();
        assert_eq!(run(&arguments).code, Some(2), "{arguments:?}");
    }
}
