//! What publish, health and tail make of a server that is no gateway, or answers in an unusual way.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::thread::JoinHandle;

use actix_http::ws::hash_key;
use serde_json::json;

use crate::support::process::{SOON, run};

const LIVE: &str = "{\"live\":true}";

/// A server for one connection.
struct Peer {
    address: SocketAddr,
    served: JoinHandle<String>,
}

impl Peer {
    /// It answers one request with these bytes, and then closes or keeps silent until the client has closed.
    fn answering(answer: impl Into<Vec<u8>>, closes: bool) -> Self {
        let answer = answer.into();
        Self::serving(move |_| answer, closes)
    }

    /// It opens a WebSocket, after an interim response, and sends these frames.
    fn websocket(frames: Vec<u8>) -> Self {
        let answer = |request: &str| {
            let key = request.lines().find_map(|line| line.strip_prefix("sec-websocket-key: ")).unwrap();
            let accept = String::from_utf8(hash_key(key.as_bytes()).to_vec()).unwrap();
            let head = format!(
                "HTTP/1.1 103 Early Hints\r\nlink: </x>\r\n\r\nHTTP/1.1 101 Switching Protocols\r\n\
                 upgrade: websocket\r\nconnection: upgrade\r\nsec-websocket-accept: {accept}\r\n\r\n"
            );
            [head.into_bytes(), frames].concat()
        };
        Self::serving(answer, false)
    }

    fn serving(answer: impl FnOnce(&str) -> Vec<u8> + Send + 'static, closes: bool) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let served = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            stream.set_read_timeout(Some(SOON)).unwrap();
            let request = read_request(&mut stream);
            // The client may have closed before the end of a long answer.
            let _ = stream.write_all(&answer(&request));
            if !closes {
                let _ = stream.read_to_end(&mut Vec::new());
            }
            request
        });
        Self { address, served }
    }

    fn http(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The request that it got.
    fn request(self) -> String {
        self.served.join().unwrap()
    }
}

/// A head, and as many bytes as its content-length says.
fn read_request(stream: &mut TcpStream) -> String {
    let (mut request, mut byte) = (String::new(), [0]);
    let is_complete = |request: &str| {
        let Some((head, body)) = request.split_once("\r\n\r\n") else { return false };
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
        length.map_or(0, |length| length.parse().unwrap()) == body.len()
    };
    while !is_complete(&request) {
        stream.read_exact(&mut byte).unwrap();
        request.push(char::from(byte[0]));
    }
    request
}

#[test]
fn publish_sends_one_complete_request() {
    let peer = Peer::answering("HTTP/1.1 200 OK\r\ncontent-length: 14\r\n\r\n{\"replicas\":1}", false);
    let ended =
        run(&["publish", "all", "1", "--set", "admin.api_key=a-key-of-the-admin-api", "--url", &peer.http()]);
    assert_eq!((ended.code, ended.out.as_str()), (Some(0), "{\"replicas\":1}\n"), "{}", ended.err);
    let (host, request) = (format!("host: {}", peer.address), peer.request());
    let (head, body) = request.split_once("\r\n\r\n").unwrap();
    let mut lines = head.lines();
    assert_eq!(lines.next(), Some("POST /v1/publish HTTP/1.1"));
    let lines: Vec<_> = lines.collect();
    let authorization = "authorization: Bearer a-key-of-the-admin-api";
    for expected in [&host, authorization, "content-type: application/json", "connection: close"] {
        assert!(lines.contains(&expected), "{expected}: {request}");
    }
    assert_eq!(body, r#"{"channel":"all","durable":false,"idempotency_key":null,"message":1}"#);
}

#[test]
fn publish_follows_no_redirect() {
    let elsewhere = TcpListener::bind("127.0.0.1:0").unwrap();
    elsewhere.set_nonblocking(true).unwrap();
    let location = elsewhere.local_addr().unwrap();
    let answer = format!(
        "HTTP/1.1 307 Temporary Redirect\r\nlocation: http://{location}/v1/publish\r\ncontent-length: 0\r\n\r\n"
    );
    let peer = Peer::answering(answer, false);
    let ended =
        run(&["publish", "all", "1", "--set", "admin.api_key=a-key-of-the-admin-api", "--url", &peer.http()]);
    assert_eq!(ended.code, Some(1));
    assert!(ended.err.contains("/v1/publish answered 307 Temporary Redirect"), "{}", ended.err);
    assert_eq!(
        elsewhere.accept().unwrap_err().kind(),
        ErrorKind::WouldBlock,
        "the key stays with its server"
    );
}

#[test]
fn health_reads_a_body_however_it_is_framed() {
    for (answer, closes) in [
        (format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{LIVE}", LIVE.len()), false),
        (
            format!(
                "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\n{{\r\nc\r\n{}\r\n0\r\n\r\n",
                &LIVE[1..]
            ),
            false,
        ),
        (format!("HTTP/1.0 200 OK\r\n\r\n{LIVE}"), true),
        (format!("HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n{LIVE}"), true),
        // Interim responses come before the final one.
        (
            format!(
                "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 102 Processing\r\n\r\n\
                 HTTP/1.1 103 Early Hints\r\nlink: </x>\r\n\r\n\
                 HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{LIVE}",
                LIVE.len()
            ),
            false,
        ),
    ] {
        let peer = Peer::answering(answer.clone(), closes);
        let ended = run(&["health", "--url", &peer.http()]);
        assert_eq!((ended.code, ended.out), (Some(0), format!("{LIVE}\n")), "{answer}: {}", ended.err);
    }
}

#[test]
fn health_gives_up_on_answers_that_never_end() {
    let silent = [
        ("", "timed out waiting for a response"),
        ("HTTP/1.1 200 OK\r\n", "timed out waiting for a response"),
        ("HTTP/1.1 200 OK\r\ncontent-length: 13\r\n\r\n{", "timed out before the end of the response"),
    ];
    let peers = silent.map(|(answer, _)| Peer::answering(answer, false));
    for (peer, (answer, expected)) in peers.iter().zip(silent) {
        let ended = run(&["health", "--url", &peer.http()]);
        assert_eq!(ended.code, Some(1), "{answer}");
        assert!(ended.err.contains(&format!("/livez: {expected}")), "{answer}: {}", ended.err);
    }
}

#[test]
fn health_says_what_is_wrong_with_an_answer() {
    let long = format!("HTTP/1.1 200 OK\r\ncontent-length: 3000000\r\n\r\n{}", "x".repeat(3_000_000));
    for (answer, expected) in [
        ("", "/livez: the connection was closed without a response"),
        ("HTTP/1.1 200", "/livez: the connection was closed before the end of the response"),
        (
            "HTTP/1.1 200 OK\r\ncontent-length: 99\r\n\r\n{\"live\":true}",
            "/livez: the connection was closed before the end of the response",
        ),
        ("SSH-2.0-x\r\n\r\n", "/livez: the server does not speak HTTP"),
        ("HTTP/1.1 200 OK\r\ncontent-length: x\r\n\r\n", "/livez: the response has an invalid header"),
        ("HTTP/1.1 099 X\r\n\r\n", "/livez: the response has an invalid status"),
        (
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nxyz\r\n",
            "/livez: the response has an invalid body",
        ),
        (&long, "/livez: the response has too large a body"),
        (
            "HTTP/1.1 200 OK\r\ncontent-length: 11\r\n\r\n{\"hello\":1}",
            "/livez answered 200 OK: that is not a gateway's admin port",
        ),
        ("HTTP/1.1 299\r\ncontent-length: 0\r\n\r\n", "/livez answered 299: that is not"),
    ] {
        let peer = Peer::answering(answer, true);
        let ended = run(&["health", "--url", &peer.http()]);
        assert_eq!(ended.code, Some(1), "{expected}");
        assert!(ended.err.contains(expected), "{expected}: {}", ended.err);
    }
    // A label is at most 63 bytes, so that no server has to be asked.
    let ended = run(&["health", "--url", &format!("http://{}", "x".repeat(64))]);
    assert!(ended.err.contains("cannot resolve the host name: "), "{}", ended.err);
}

#[test]
fn tail_takes_only_an_answer_to_its_own_handshake() {
    let accepts = "sec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n";
    for (headers, expected) in [
        (format!("connection: upgrade\r\n{accepts}"), "the response has no valid Upgrade header"),
        (format!("upgrade: websocket\r\n{accepts}"), "the response has no Connection header"),
        (
            format!("upgrade: websocket\r\nconnection: upgrade, close\r\n{accepts}"),
            "the response has an invalid Connection header",
        ),
        (
            "upgrade: websocket\r\nconnection: Upgrade\r\n".to_owned(),
            "the response has no Sec-WebSocket-Accept header",
        ),
        (
            format!("upgrade: WebSocket\r\nconnection: Upgrade\r\n{accepts}"),
            "the response has a wrong Sec-WebSocket-Accept header",
        ),
    ] {
        let peer = Peer::answering(format!("HTTP/1.1 101 Switching Protocols\r\n{headers}\r\n"), false);
        let ended = run(&["tail", "--user", "42", "--url", &format!("ws://{}/gateway", peer.address)]);
        assert_eq!(ended.code, Some(1), "{headers}");
        let says = format!("/gateway?v=2: {expected}");
        assert!(ended.err.contains(&says), "{expected}: {}", ended.err);
    }
}

#[test]
fn publish_fails_without_a_whole_answer_of_a_gateway() {
    let foreign = ": that is not a gateway's admin port";
    let cut = "the connection was closed before the end of the response";
    for (answer, expected) in [
        ("HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\n<html>", foreign),
        ("HTTP/1.1 200 OK\r\ncontent-length: 11\r\n\r\n{\"hello\":1}", foreign),
        ("HTTP/1.1 200 OK\r\ncontent-length: 18\r\n\r\n{\"position\":\"1-0\"}", foreign),
        ("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n", foreign),
        ("HTTP/1.1 204 No Content\r\n\r\n", foreign),
        ("HTTP/1.1 200 OK\r\ncontent-length: 15\r\n\r\n{\"replicas\":1}", cut),
        ("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n10\r\n{\"replicas\":1}", cut),
        ("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\ne\r\n{\"replicas\":1}\r\n", cut),
    ] {
        let peer = Peer::answering(answer, true);
        let ended = run(&["publish", "all", "1", "--url", &peer.http()]);
        assert_eq!((ended.code, ended.out.as_str()), (Some(1), ""), "{answer}");
        assert!(ended.err.contains(expected), "{answer}: {}", ended.err);
    }
    let plain = "HTTP/1.1 200 OK\r\ncontent-length: 14\r\n\r\n{\"replicas\":1}";
    let ended = run(&["publish", "all", "1", "--durable", "--url", &Peer::answering(plain, true).http()]);
    assert!(ended.code == Some(1) && ended.err.contains(foreign), "durable needs a position: {}", ended.err);
}

#[test]
fn publish_prints_the_detail_of_a_server_on_one_line() {
    for (detail, expected) in
        [(r"a\u001b[31m\nb", r"emagine-gateway: a\u{1b}[31m\nb"), ("", " answered 403 Forbidden")]
    {
        let body = format!(r#"{{"error":{{"code":"x","detail":"{detail}"}}}}"#);
        let answer = format!("HTTP/1.1 403 Forbidden\r\ncontent-length: {}\r\n\r\n{body}", body.len());
        let ended = run(&["publish", "all", "1", "--url", &Peer::answering(answer, true).http()]);
        assert!(ended.err.trim_end().ends_with(expected), "{}", ended.err);
    }
}

#[test]
fn tail_prints_null_and_fragmented_messages() {
    let frame = |first: u8, text: &str| {
        let length = u8::try_from(text.len()).unwrap();
        [&[first, length], text.as_bytes()].concat()
    };
    let frames = [
        frame(0x01, r#"{"op":3,"mess"#),
        frame(0x89, "ping"),
        frame(0x00, r#"age":"in "#),
        frame(0x80, r#"three"}"#),
        frame(0x81, r#"{"op":3,"message":null}"#),
    ];
    let peer = Peer::websocket(frames.concat());
    let url = format!("ws://{}/gateway", peer.address);
    let ended = run(&["tail", "--user", "42", "--count", "2", "--url", &url]);
    assert_eq!((ended.code, ended.out.as_str()), (Some(0), "\"in three\"\nnull\n"), "{}", ended.err);
}

#[test]
fn tail_prints_each_channel_of_a_batch() {
    let [one, other] = ["a:1", "a:2"].map(|name| json!({"channel": name, "state": "refused", "reason": "r"}));
    let texts = [json!({"op": 6, "channels": [one, other]}), json!({"op": 3, "message": 1})];
    let frames = texts.map(|text| {
        let text = text.to_string();
        [&[0x81, u8::try_from(text.len()).unwrap()], text.as_bytes()].concat()
    });
    let peer = Peer::websocket(frames.concat());
    let ended =
        run(&["tail", "--user", "42", "--count", "1", "--url", &format!("ws://{}/gateway", peer.address)]);
    let lines: Vec<_> = ended.err.lines().collect();
    assert_eq!(lines, ["emagine-gateway: a:1 refused: r", "emagine-gateway: a:2 refused: r"]);
}

#[test]
fn tail_names_what_is_wrong_with_a_frame() {
    for (frame, expected) in [
        (&[0x81, 0x80, 0, 0, 0, 0][..], "the server sent a masked frame"),
        (&[0x88, 2, 0, 1], "the server sent a Close with an invalid code or reason"),
        (&[0x80, 0], "the server sent fragments in an invalid order"),
        (&[0x83, 0], "the server sent a frame with the unknown opcode 3"),
        (&[0xC1, 0], "the server sent a frame with reserved bits"),
    ] {
        let peer = Peer::websocket(frame.to_vec());
        let ended = run(&["tail", "--user", "42", "--url", &format!("ws://{}/gateway", peer.address)]);
        assert_eq!(ended.code, Some(1), "{expected}");
        assert!(ended.err.contains(expected), "{expected}: {}", ended.err);
    }
}
