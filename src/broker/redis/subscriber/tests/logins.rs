//! Logging in at a scripted server.

use redis::{ErrorKind, IntoConnectionInfo as _, RedisResult};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, duplex};

use super::super::buffer::ReadBuffer;
use super::super::handshake::log_in;
use super::super::transport::ServerStream;

/// Logs in with the login of `url` at a server that has sent `answers`. Returns the words that it received.
async fn logged_in(url: &str, answers: &str) -> (RedisResult<()>, Vec<String>) {
    let (client, mut server) = duplex(4096);
    let login = url.into_connection_info().unwrap().redis_settings().clone().set_lib_name("lib", "1.2");
    server.write_all(answers.as_bytes()).await.unwrap();
    let (mut received, mut sending) = tokio::io::split(server);
    sending.shutdown().await.unwrap();
    let mut transport: ServerStream = Box::new(client);
    let outcome = log_in(&mut transport, &mut ReadBuffer::new(), &login).await;
    drop((transport, sending));
    let mut text = String::new();
    received.read_to_string(&mut text).await.unwrap();
    let words = text.lines().filter(|line| !line.starts_with(['*', '$'])).map(str::to_owned);
    (outcome, words.collect())
}

#[tokio::test]
async fn a_login_sends_what_redis_rs_sends() {
    let (outcome, words) = logged_in("redis://me:secret@h/3", "+OK\r\n+OK\r\n+OK\r\n-ERR unknown\r\n").await;
    assert_eq!(outcome, Ok(()));
    let client = ["CLIENT", "SETINFO", "LIB-NAME", "lib", "CLIENT", "SETINFO", "LIB-VER", "1.2"];
    let expected = [&["AUTH", "me", "secret", "SELECT", "3"][..], &client].concat();
    assert_eq!(words, expected);
    let (outcome, words) = logged_in("redis://h", "+OK\r\n+OK\r\n").await;
    assert_eq!((outcome, words), (Ok(()), client.map(str::to_owned).to_vec()));
}

#[tokio::test]
async fn a_server_without_users_gets_the_password_alone() {
    let answers = "-ERR wrong number of arguments for 'auth' command\r\n+OK\r\n+OK\r\n".to_owned();
    let (outcome, words) = logged_in("redis://me:secret@h", &(answers + "+OK\r\n+OK\r\n+OK\r\n")).await;
    assert_eq!(outcome, Ok(()));
    assert!(words.windows(3).any(|words| words == ["AUTH", "secret", "CLIENT"]), "{words:?}");
}

#[tokio::test]
async fn a_refused_login_is_told_from_other_errors() {
    let wrong = "-WRONGPASS invalid username-password pair or user is disabled.\r\n+OK\r\n+OK\r\n";
    let error = logged_in("redis://:secret@h", wrong).await.0.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::AuthenticationFailed);
    let no_db = "-ERR DB index is out of range\r\n+OK\r\n+OK\r\n";
    let error = logged_in("redis://h/99", no_db).await.0.unwrap_err();
    assert_eq!((error.code(), error.detail()), (Some("ERR"), Some("DB index is out of range")));
    let error = logged_in("redis://h", "HTTP/1.1 400 Bad Request\r\n").await.0.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Parse);
    assert!(logged_in("redis://h", "+OK\r\n").await.0.unwrap_err().is_io_error(), "it closed");
}
