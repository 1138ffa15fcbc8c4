//! Logs in and names the client, with the commands that redis-rs sends on its own connections.

use std::io;

use redis::{ErrorKind, RedisConnectionInfo, RedisError, RedisResult};
use tokio::io::AsyncWriteExt as _;

use super::buffer::ReadBuffer;
use super::command::encode;
use super::frame::RespFrame;
use super::refusal::server_error;
use super::transport::ServerStream;

/// Logs in, selects the database, and names the client, in one round trip.
pub(super) async fn log_in(
    transport: &mut ServerStream,
    buffer: &mut ReadBuffer,
    login: &RedisConnectionInfo,
) -> RedisResult<()> {
    match attempt(transport, buffer, login, login.username()).await? {
        Some(error) if login.username().is_some() && is_without_users(&error) => {
            attempt(transport, buffer, login, None).await?.map_or(Ok(()), |error| Err(auth_error(&error)))
        }
        Some(error) => Err(auth_error(&error)),
        None => Ok(()),
    }
}

/// Sends the commands and reads their answers. Returns the error that answered `AUTH`.
async fn attempt(
    transport: &mut ServerStream,
    buffer: &mut ReadBuffer,
    login: &RedisConnectionInfo,
    username: Option<&str>,
) -> RedisResult<Option<RedisError>> {
    let (mut commands, db) = (Vec::new(), login.db().to_string());
    if let Some(password) = login.password() {
        match username {
            Some(username) => encode(&mut commands, "AUTH", &[username, password]),
            None => encode(&mut commands, "AUTH", &[password]),
        }
    }
    if login.db() != 0 {
        encode(&mut commands, "SELECT", &[&db]);
    }
    let client = login.lib_name().zip(login.lib_ver());
    if let Some((name, version)) = client {
        encode(&mut commands, "CLIENT", &["SETINFO", "LIB-NAME", name]);
        encode(&mut commands, "CLIENT", &["SETINFO", "LIB-VER", version]);
    }
    transport.write_all(&commands).await?;
    transport.flush().await?;
    let refused = match login.password() {
        Some(_) => answer(transport, buffer).await?.err(),
        None => None,
    };
    let selected = if login.db() != 0 { answer(transport, buffer).await? } else { Ok(()) };
    if client.is_some() {
        // A server that does not know these commands, or does not allow them, serves as well.
        let _ = answer(transport, buffer).await?;
        let _ = answer(transport, buffer).await?;
    }
    if refused.is_none() {
        selected?;
    }
    Ok(refused)
}

/// Reads the next answer. The outer error is that of the connection.
async fn answer(transport: &mut ServerStream, buffer: &mut ReadBuffer) -> RedisResult<RedisResult<()>> {
    loop {
        match buffer.next_frame() {
            Ok(Some(RespFrame::Status)) => return Ok(Ok(())),
            Ok(Some(RespFrame::Error(error))) => {
                return Ok(Err(server_error(&String::from_utf8_lossy(buffer.bytes(error)))));
            }
            Ok(Some(RespFrame::Message { .. } | RespFrame::Changed { .. })) | Err(_) => {
                return Err(RedisError::from((ErrorKind::Parse, "not an answer of Redis")));
            }
            Ok(None) if buffer.read(transport).await? == 0 => {
                return Err(io::Error::from(io::ErrorKind::BrokenPipe).into());
            }
            Ok(None) => {}
        }
    }
}

/// Before version 6, Redis has no users.
fn is_without_users(error: &RedisError) -> bool {
    error.detail().is_some_and(|text| text.contains("wrong number of arguments for 'auth' command"))
}

/// redis-rs reports every refused login as this kind, and both connections of a link report the same.
fn auth_error(error: &RedisError) -> RedisError {
    log::debug!("redis: the login of the subscriber was refused: {}", error.code().unwrap_or_default());
    RedisError::from((ErrorKind::AuthenticationFailed, "Password authentication failed"))
}
