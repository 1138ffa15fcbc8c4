//! A server that introspects tokens (RFC 7662), with faults.

use std::collections::{HashMap, HashSet};
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;

use serde_json::{Value, json};

use super::process::SOON;

/// How the server answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Behaviour {
    /// It says whether the token is active.
    Answers,
    /// It answers with this status.
    Status(u16),
    /// It answers with a page.
    Page,
    /// It closes the connection.
    Closes,
    /// It holds each request until its behaviour changes.
    Holds,
}

struct ServerState {
    behaviour: Behaviour,
    tokens: HashMap<String, Value>,
    credentials: String,
    calls: usize,
}

/// The server. Its threads end with the test process.
pub(crate) struct IntrospectionServer {
    address: SocketAddr,
    state: Arc<(Mutex<ServerState>, Condvar)>,
}

impl IntrospectionServer {
    /// Starts a server that requires these credentials, such as `gateway:secret`.
    pub(crate) fn start(credentials: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let state = ServerState {
            behaviour: Behaviour::Answers,
            tokens: HashMap::new(),
            credentials: credentials.to_owned(),
            calls: 0,
        };
        let state = Arc::new((Mutex::new(state), Condvar::new()));
        let shared = Arc::clone(&state);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let shared = Arc::clone(&shared);
                thread::spawn(move || serve(stream, &shared));
            }
        });
        Self { address, state }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}/introspect", self.address)
    }

    /// Makes a token active, with these members of the answer.
    pub(crate) fn activate(&self, token: &str, answer: Value) {
        self.state.0.lock().unwrap().tokens.insert(token.to_owned(), answer);
    }

    pub(crate) fn behave(&self, behaviour: Behaviour) {
        self.state.0.lock().unwrap().behaviour = behaviour;
        self.state.1.notify_all();
    }

    pub(crate) fn set_credentials(&self, credentials: &str) {
        credentials.clone_into(&mut self.state.0.lock().unwrap().credentials);
    }

    /// The number of requests so far.
    pub(crate) fn calls(&self) -> usize {
        self.state.0.lock().unwrap().calls
    }
}

fn serve(mut stream: TcpStream, (state, changed): &(Mutex<ServerState>, Condvar)) {
    let Some((head, body)) = read_request(&mut stream) else { return };
    let mut state = state.lock().unwrap();
    state.calls += 1;
    let state = changed.wait_while(state, |state| state.behaviour == Behaviour::Holds).unwrap();
    let (status, body) = match state.behaviour {
        Behaviour::Closes => return,
        Behaviour::Status(status) => (status, String::new()),
        Behaviour::Page => (200, "<html>hello</html>".to_owned()),
        Behaviour::Answers | Behaviour::Holds => answer(&state, &head, &body),
    };
    let head = format!("HTTP/1.1 {status} X\r\ncontent-length: {}\r\n", body.len());
    let _ = write!(stream, "{head}content-type: application/json\r\nconnection: close\r\n\r\n{body}");
}

fn answer(state: &ServerState, head: &str, body: &str) -> (u16, String) {
    use base64::{Engine as _, engine::general_purpose::STANDARD};
    let expected = format!("authorization: basic {}", STANDARD.encode(&state.credentials));
    let is_known = head.lines().any(|line| {
        line.split_at_checked(21)
            .is_some_and(|(name, value)| format!("{}{value}", name.to_ascii_lowercase()) == expected)
    });
    if !is_known || !head.starts_with("POST /introspect HTTP/1.1") {
        return (401, String::new());
    }
    let fields: HashSet<_> = body.split('&').collect();
    let token = fields.iter().find_map(|field| field.strip_prefix("token="));
    let found = token.and_then(|token| state.tokens.get(token));
    let mut answer = found.cloned().unwrap_or_else(|| json!({}));
    answer["active"] = found.is_some().into();
    (200, answer.to_string())
}

fn read_request(stream: &mut TcpStream) -> Option<(String, String)> {
    stream.set_read_timeout(Some(SOON)).ok()?;
    let (mut bytes, mut part) = (Vec::new(), [0; 4096]);
    loop {
        let text = String::from_utf8_lossy(&bytes).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head.lines().find_map(|line| {
                line.to_ascii_lowercase().strip_prefix("content-length: ")?.parse::<usize>().ok()
            });
            if body.len() >= length.unwrap_or_default() {
                return Some((head.to_owned(), body.to_owned()));
            }
        }
        match stream.read(&mut part).ok()? {
            0 => return None,
            read => bytes.extend_from_slice(&part[..read]),
        }
    }
}
