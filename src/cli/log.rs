//! What is logged, and how a line looks. Lines go to standard error, one for each event.

use std::io::{self, Write as _};
use std::panic::PanicHookInfo;

use env_logger::fmt::Formatter;
use log::Record;
use log::kv::{self, Key, Source, VisitSource, VisitValue};
use serde_json::{Map, Value};

use crate::settings::{LogFormat, Settings};

/// Sets the log up by the settings; the environment variable `RUST_LOG` beats `log.level`.
pub(super) fn start(settings: &Settings) {
    let environment = env_logger::Env::default().default_filter_or(settings.log.level.as_str());
    let mut logger = env_logger::Builder::new();
    // It logs an error for each malformed request, so that any peer could fill the log, or make a thread wait for
    // whoever reads it. They are counted instead. A filter that names the module wins.
    logger.filter_module("actix_http::h1", log::LevelFilter::Off);
    // These repeat what they are handed, requests and commands with all that is in them, at trace. So it takes a filter
    // that names the module to see that.
    for module in ["actix_http", "awc", "redis", "rustls"] {
        logger.filter_module(module, log::LevelFilter::Debug);
    }
    logger.parse_env(environment).format_timestamp_millis();
    match settings.log.format {
        LogFormat::Text => logger.format_key_values(write_fields),
        LogFormat::Json => logger.format(write_json),
    };
    // A second call, in a test, is no failure.
    let _ = logger.try_init();
    std::panic::set_hook(Box::new(log_panic));
}

/// A panic is an event like any other, in the format of all. Its message is logged only when it is a constant: one
/// that was put together may quote what the code was at work on, such as a payload.
fn log_panic(panic: &PanicHookInfo<'_>) {
    let message = panic.payload().downcast_ref::<&'static str>().unwrap_or(&"(its message may hold data)");
    match panic.location() {
        Some(place) => log::error!("panicked at {}:{}: {message}", place.file(), place.line()),
        None => log::error!("panicked: {message}"),
    }
}

/// ` name=value` behind the message of a text line.
fn write_fields(line: &mut Formatter, source: &dyn Source) -> io::Result<()> {
    for (name, value) in Fields::of(source).0 {
        match value {
            Value::String(text) => write!(line, " {name}={text}")?,
            other => write!(line, " {name}={other}")?,
        }
    }
    Ok(())
}

/// One JSON object: `time` (RFC 3339, UTC), `level`, `target`, `message`, and what else is known of the event.
fn write_json(line: &mut Formatter, record: &Record<'_>) -> io::Result<()> {
    let time = line.timestamp_millis().to_string();
    writeln!(line, "{}", json(&time, record))
}

fn json(time: &str, record: &Record<'_>) -> String {
    let level = record.level().as_str().to_lowercase();
    let message = record.args().to_string();
    let own = [("time", time), ("level", &level), ("target", record.target()), ("message", &message)];
    let mut fields = Fields::of(record.key_values()).0;
    own.iter().for_each(|(name, _)| drop(fields.remove(*name)));
    let own = own.map(|(name, text)| (name.to_owned(), Value::from(text)));
    let all: Vec<_> =
        own.into_iter().chain(fields).map(|(name, value)| format!("\"{name}\":{value}")).collect();
    format!("{{{}}}", all.join(","))
}

/// What is known of an event besides its message. What is not known is left out.
#[derive(Default)]
struct Fields(Map<String, Value>);

impl Fields {
    fn of(source: &dyn Source) -> Self {
        let mut fields = Self::default();
        // The visitor below never fails.
        let _ = source.visit(&mut fields);
        fields
    }
}

impl<'kvs> VisitSource<'kvs> for Fields {
    fn visit_pair(&mut self, key: Key<'kvs>, value: kv::Value<'kvs>) -> Result<(), kv::Error> {
        let mut found = Found(Value::Null);
        value.visit(&mut found)?;
        if !found.0.is_null() {
            self.0.insert(key.to_string(), found.0);
        }
        Ok(())
    }
}

/// One value, as JSON.
struct Found(Value);

impl<'v> VisitValue<'v> for Found {
    fn visit_any(&mut self, value: kv::Value<'_>) -> Result<(), kv::Error> {
        self.0 = Value::String(value.to_string());
        Ok(())
    }

    fn visit_null(&mut self) -> Result<(), kv::Error> {
        Ok(())
    }

    fn visit_u64(&mut self, value: u64) -> Result<(), kv::Error> {
        self.0 = value.into();
        Ok(())
    }

    fn visit_i64(&mut self, value: i64) -> Result<(), kv::Error> {
        self.0 = value.into();
        Ok(())
    }

    fn visit_bool(&mut self, value: bool) -> Result<(), kv::Error> {
        self.0 = value.into();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_json_line_is_one_object_whatever_it_says() {
        let (unknown, code) = (None::<&str>, Some(4001_u16));
        let fields: [(&str, kv::Value<'_>); 4] = [
            ("session", kv::Value::from("a\"b")),
            ("user", kv::ToValue::to_value(&unknown)),
            ("code", kv::ToValue::to_value(&code)),
            ("level", kv::Value::from("never")),
        ];
        let line = json(
            "2026-11-24T00:00:00.000Z",
            &Record::builder()
                .level(log::Level::Warn)
                .target("x::y")
                .args(format_args!("two\nlines and \"quotes\""))
                .key_values(&fields)
                .build(),
        );
        assert!(!line.contains('\n'));
        let expected = serde_json::json!({
            "time": "2026-11-24T00:00:00.000Z",
            "level": "warn",
            "target": "x::y",
            "message": "two\nlines and \"quotes\"",
            "session": "a\"b",
            "code": 4001,
        });
        assert_eq!(serde_json::from_str::<Value>(&line).unwrap(), expected);
    }
}
