//! The logger and the formats of its lines. Each event is one line on standard error.
//!
//! - `queue`: the queue and the thread that writes the lines.

use std::io::{self, Write as _};
use std::panic::PanicHookInfo;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use env_logger::Target;
use env_logger::fmt::Formatter;
use log::kv::{self, Key, Source, VisitSource, VisitValue};
use log::{Log, Metadata, Record};
use serde_json::{Map, Value};

use self::queue::LogQueue;
use crate::metrics::Metrics;
use crate::settings::{LogFormat, Settings};

mod queue;

/// Installs the logger and the panic hook. The environment variable `RUST_LOG` overrides `log.level`. Dropped lines are
/// counted in `metrics`.
///
/// # Errors
/// The writer thread did not start.
pub(super) fn start(settings: &Settings, metrics: &Metrics) -> io::Result<()> {
    let queue = LogQueue::start(io::stderr(), metrics)?;
    let environment = env_logger::Env::default().default_filter_or(settings.log.level.as_str());
    let mut logger = env_logger::Builder::new();
    // actix_http::h1 logs an error for each malformed request, so any peer could fill the log. Malformed requests are
    // counted instead. A filter in RUST_LOG that names the module overrides this.
    logger.filter_module("actix_http::h1", log::LevelFilter::Off);
    // At trace these modules log whole requests and commands, with tokens and payloads. A filter in RUST_LOG must name
    // the module to enable that.
    for module in ["actix_http", "redis", "rustls"] {
        logger.filter_module(module, log::LevelFilter::Debug);
    }
    logger.parse_env(environment).target(Target::Pipe(Box::new(queue.clone())));
    match settings.log.format {
        LogFormat::Text => logger.format(write_text),
        LogFormat::Json => logger.format(write_json),
    };
    let logger = logger.build();
    let level = logger.filter();
    // Fails only on a second call in the same process, in tests.
    if log::set_boxed_logger(Box::new(QueuedLogger { logger, queue })).is_ok() {
        log::set_max_level(level);
    }
    std::panic::set_hook(Box::new(log_panic));
    Ok(())
}

/// The logger of the process. `flush` waits for the queue; it is called before the process ends.
struct QueuedLogger {
    logger: env_logger::Logger,
    queue: LogQueue,
}

impl Log for QueuedLogger {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        self.logger.enabled(metadata)
    }

    fn log(&self, record: &Record<'_>) {
        self.logger.log(record);
    }

    fn flush(&self) {
        self.queue.wait_until_written();
    }
}

/// Logs a panic in the format of all lines. The message is logged only if it is a constant: a formatted message may
/// quote data, such as a payload.
fn log_panic(panic: &PanicHookInfo<'_>) {
    let message = panic.payload().downcast_ref::<&'static str>().unwrap_or(&"(its message may hold data)");
    match panic.location() {
        Some(location) => log::error!("panicked at {}:{}: {message}", location.file(), location.line()),
        None => log::error!("panicked: {message}"),
    }
}

/// Writes `[time level target] message name=value …` on one line.
fn write_text(line: &mut Formatter, record: &Record<'_>) -> io::Result<()> {
    writeln!(line, "{}", text(&time(SystemTime::now()), record))
}

fn text(time: &str, record: &Record<'_>) -> String {
    let message = escaped(&record.args().to_string());
    let mut text = format!("[{time} {:5} {}] {message}", record.level(), record.target());
    for (name, value) in LogFields::read(record.key_values()).0 {
        match value {
            Value::String(value) => text.push_str(&format!(" {name}={}", escaped(&value))),
            other => text.push_str(&format!(" {name}={other}")),
        }
    }
    text
}

/// Escapes line ends and other control characters, because the text may contain data from peers and servers.
fn escaped(text: &str) -> String {
    let mut line = String::with_capacity(text.len());
    for character in text.chars() {
        if character.is_control() || matches!(character, '\u{2028}' | '\u{2029}') {
            line.extend(character.escape_default());
        } else {
            line.push(character);
        }
    }
    line
}

/// Writes one JSON object: `time` (RFC 3339, UTC), `level`, `target`, `message`, and the fields of the event.
fn write_json(line: &mut Formatter, record: &Record<'_>) -> io::Result<()> {
    writeln!(line, "{}", json(&time(SystemTime::now()), record))
}

/// RFC 3339 in UTC with milliseconds: `2026-11-24T00:00:00.000Z`.
fn time(now: SystemTime) -> String {
    let since = now.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    let (seconds, of_day) = (since.as_secs(), since.as_secs() % 86_400);
    // Years begin with March, so a leap day is the last day; there are 719 468 days from 0000-03-01 to 1970.
    let days = seconds / 86_400 + 719_468;
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = era * 400 + year_of_era + u64::from(month <= 2);
    let (hour, minute, second) = (of_day / 3_600, of_day / 60 % 60, of_day % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{:03}Z", since.subsec_millis())
}

fn json(time: &str, record: &Record<'_>) -> String {
    let level = record.level().as_str().to_lowercase();
    let message = record.args().to_string();
    let own = [("time", time), ("level", &level), ("target", record.target()), ("message", &message)];
    let mut fields = LogFields::read(record.key_values()).0;
    own.iter().for_each(|(name, _)| drop(fields.remove(*name)));
    let own = own.map(|(name, text)| (name.to_owned(), Value::from(text)));
    let all: Vec<_> =
        own.into_iter().chain(fields).map(|(name, value)| format!("\"{name}\":{value}")).collect();
    format!("{{{}}}", all.join(","))
}

/// The fields of an event, without those that are null.
#[derive(Default)]
struct LogFields(Map<String, Value>);

impl LogFields {
    fn read(source: &dyn Source) -> Self {
        let mut fields = Self::default();
        // `visit_pair` below never fails.
        let _ = source.visit(&mut fields);
        fields
    }
}

impl<'kvs> VisitSource<'kvs> for LogFields {
    fn visit_pair(&mut self, key: Key<'kvs>, value: kv::Value<'kvs>) -> Result<(), kv::Error> {
        let mut json = JsonValue(Value::Null);
        value.visit(&mut json)?;
        if !json.0.is_null() {
            self.0.insert(key.to_string(), json.0);
        }
        Ok(())
    }
}

/// Converts a value of a record to JSON.
struct JsonValue(Value);

impl<'v> VisitValue<'v> for JsonValue {
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
    fn times_are_rfc_3339() {
        for (seconds, expected) in [
            (0, "1970-01-01T00:00:00.007Z"),
            (951_782_399, "2000-02-28T23:59:59.007Z"),
            (951_868_799, "2000-02-29T23:59:59.007Z"),
            (951_868_800, "2000-03-01T00:00:00.007Z"),
            (1_767_225_599, "2025-12-31T23:59:59.007Z"),
            (4_102_444_800, "2100-01-01T00:00:00.007Z"),
            (4_107_542_400, "2100-03-01T00:00:00.007Z"),
        ] {
            assert_eq!(time(UNIX_EPOCH + Duration::from_millis(seconds * 1_000 + 7)), expected);
        }
    }

    #[test]
    fn text_format_writes_one_line_for_any_text() {
        let fields: [(&str, kv::Value<'_>); 2] =
            [("user", kv::Value::from("a\nb")), ("code", kv::Value::from(4001_u16))];
        let line = text(
            "T",
            &Record::builder()
                .level(log::Level::Warn)
                .target("x::y")
                .args(format_args!("two\nlines, \u{1b}[31mred\u{85}\u{2028}end"))
                .key_values(&fields)
                .build(),
        );
        assert_eq!(
            line,
            "[T WARN  x::y] two\\nlines, \\u{1b}[31mred\\u{85}\\u{2028}end code=4001 user=a\\nb"
        );
    }

    #[test]
    fn json_format_writes_one_object_for_any_text() {
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
