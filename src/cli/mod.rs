//! The command line: what the binary can do besides serving.

mod check;
mod client;
mod health;
mod publish;
mod run;
mod tail;
mod token;

use std::io::{self, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};

use crate::settings::{Settings, SettingsError, Sources};

/// EX_CONFIG in sysexits.h: the settings are wrong, and trying again will not help.
const EXIT_CONFIG: u8 = 78;

/// E-Magine's real-time gateway: WebSocket sessions, message events over Redis.
#[derive(Debug, Parser)]
#[command(name = "emagine-gateway", version, about)]
pub struct Cli {
    #[command(flatten)]
    settings: SettingsArgs,
    #[command(subcommand)]
    command: Option<Command>,
}

/// Where settings come from, for every command.
#[derive(Debug, Args)]
struct SettingsArgs {
    /// development or production [default: $GATEWAY_PROFILE, else development]
    #[arg(long, global = true, value_name = "NAME")]
    profile: Option<String>,
    /// A TOML file with settings, or a folder with a local.toml
    #[arg(long, global = true, value_name = "PATH")]
    config: Option<PathBuf>,
    /// One setting, such as session.heartbeat_interval=30s; may be repeated
    #[arg(long, global = true, value_name = "KEY=VALUE", value_parser = key_value)]
    set: Vec<(String, String)>,
    /// Where clients connect (server.public_addr)
    #[arg(long, global = true, value_name = "IP:PORT")]
    public_addr: Option<String>,
    /// Where operators and backends connect (server.admin_addr)
    #[arg(long, global = true, value_name = "IP:PORT")]
    admin_addr: Option<String>,
    /// memory:, redis://… or rediss://… (broker.url)
    #[arg(long, global = true, value_name = "URL")]
    broker_url: Option<String>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve (the default)
    Run,
    /// Check the settings and print them, secrets masked
    Check,
    /// Mint a token for a user, for trying things out
    Token(token::TokenArgs),
    /// Publish a message through a running gateway
    Publish(publish::PublishArgs),
    /// Connect as a client and print the messages that come
    Tail(tail::TailArgs),
    /// Ask a running gateway whether it is well; for container health checks
    Health(health::HealthArgs),
}

/// Why a command failed: one sentence for its user.
#[derive(Debug, thiserror::Error)]
enum Failure {
    /// The settings are wrong.
    #[error("{0}")]
    Settings(String),
    /// Anything else.
    #[error("{0}")]
    Other(String),
}

impl From<SettingsError> for Failure {
    fn from(error: SettingsError) -> Self {
        Self::Settings(error.to_string())
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::Other(error.to_string())
    }
}

fn key_value(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or("write it as KEY=VALUE")?;
    Ok((key.to_owned(), value.to_owned()))
}

impl SettingsArgs {
    fn load(self) -> Result<Settings, SettingsError> {
        let named = [
            ("server.public_addr", self.public_addr),
            ("server.admin_addr", self.admin_addr),
            ("broker.url", self.broker_url),
        ];
        let named = named.into_iter().filter_map(|(key, value)| Some((key.to_owned(), value?)));
        let overrides = self.set.into_iter().chain(named).collect();
        Settings::load(&Sources::from_process(self.profile, self.config, overrides))
    }
}

impl Cli {
    /// Carries out the command; returns the process' exit code.
    pub fn execute(self) -> ExitCode {
        let outcome = self.settings.load().map_err(Failure::from).and_then(|settings| {
            log_to_stderr(&settings);
            match self.command.unwrap_or(Command::Run) {
                Command::Run => run::run(settings),
                Command::Check => check::check(&settings),
                Command::Token(args) => token::token(&settings, &args),
                Command::Publish(args) => publish::publish(&settings, args),
                Command::Tail(args) => tail::tail(&settings, args),
                Command::Health(args) => health::health(&settings, args),
            }
        });
        match outcome {
            Ok(code) => code,
            Err(failure) => {
                complain(&failure.to_string());
                match failure {
                    Failure::Settings(_) => ExitCode::from(EXIT_CONFIG),
                    Failure::Other(_) => ExitCode::FAILURE,
                }
            }
        }
    }
}

/// Logs go to stderr; `RUST_LOG` beats the setting.
fn log_to_stderr(settings: &Settings) {
    let environment = env_logger::Env::default().default_filter_or(settings.log.level.as_str());
    // A second call, in a test, is no failure.
    let _ = env_logger::Builder::from_env(environment).format_timestamp_millis().try_init();
}

/// One line for the user, on stderr.
fn complain(text: &str) {
    // With nobody to read it there is nothing to be done.
    let _ = writeln!(io::stderr(), "emagine-gateway: {text}");
}

/// One line of output. An error means that nobody reads it any more.
fn print(text: &str) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    writeln!(stdout, "{text}")?;
    stdout.flush()
}
