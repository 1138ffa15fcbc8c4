//! Publishes from Rust: `cargo run --example publish -- redis://127.0.0.1:6379`. docs/publishing.md contains this code.

#![allow(
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "a small program of its own may block and print"
)]

use redis::{Client, RedisResult, cmd};

pub(crate) fn publish(url: &str) -> RedisResult<()> {
    let mut redis = Client::open(url)?.get_connection()?;

    let listening: u32 = cmd("PUBLISH").arg("gateway:user:42").arg(r#"{"way":"plain"}"#).query(&mut redis)?;
    println!("plain: {listening} replicas listen");

    let mut durable = cmd("FCALL");
    durable.arg("gateway_publish").arg(1).arg("gateway:user:42");
    let position: String = durable.clone().arg(r#"{"way":"durable"}"#).query(&mut redis)?;
    println!("durable: {position}");

    let again = durable.arg(r#"{"way":"once"}"#).arg("order-7-paid-rust");
    for _ in 0..2 {
        let position: String = again.query(&mut redis)?;
        println!("once: {position}");
    }
    Ok(())
}

fn main() -> RedisResult<()> {
    publish(&std::env::args().nth(1).unwrap_or_else(|| "redis://127.0.0.1:6379".to_owned()))
}
