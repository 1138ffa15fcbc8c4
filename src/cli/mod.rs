//! The command line of the gateway: one file for each command.
//!
//! - `run`, `check`, `token`, `publish`, `control`, `tail`, `health`, `bench`: the commands.
//! - `client`: the HTTP and WebSocket client of the commands that connect to a running gateway. `log`: the log.

mod bench;
mod check;
mod client;
mod control;
mod health;
mod log;
mod publish;
mod run;
mod tail;
mod token;

use std::io::{self, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};

use crate::gateway::StartError;
use crate::metrics::Metrics;
use crate::settings::{Settings, SettingsErrors, Sources, plain_io};

/// EX_CONFIG in sysexits.h: the settings are invalid, so a restart does not help.
const EXIT_CONFIG: u8 = 78;
/// The heading of settings in the help text. Without it, clap lists them among the command's own options.
const SETTINGS: &str = "Settings";

/// E-Magine's real-time gateway: delivers messages from Redis to WebSocket clients.
#[derive(Debug, Parser)]
#[command(name = "emagine-gateway", version)]
pub struct Cli {
    #[command(flatten)]
    settings: SettingsArgs,
    #[command(subcommand)]
    command: Option<CliCommand>,
}

/// The arguments that choose the settings, for every command.
#[derive(Debug, Args)]
struct SettingsArgs {
    /// Profile: development or production [default: $GATEWAY_PROFILE, else development]
    #[arg(long, global = true, help_heading = SETTINGS, value_name = "NAME")]
    profile: Option<String>,
    /// Read settings from this TOML file, or from local.toml in this folder
    #[arg(long, global = true, help_heading = SETTINGS, value_name = "PATH")]
    config: Option<PathBuf>,
    #[command(flatten)]
    overrides: SettingOverrides,
    /// Listen for clients on this address (server.public_addr)
    #[arg(long, global = true, help_heading = SETTINGS, value_name = "IP:PORT")]
    public_addr: Option<String>,
    /// Listen for operators and backends on this address (server.admin_addr)
    #[arg(long, global = true, help_heading = SETTINGS, value_name = "IP:PORT")]
    admin_addr: Option<String>,
    /// Use this broker: memory:, redis://… or rediss://… (broker.url)
    #[arg(long, global = true, help_heading = SETTINGS, value_name = "URL")]
    broker_url: Option<String>,
}

/// Not a global argument: clap drops the values of a global argument before the command's name when there are more
/// after it.
#[derive(Debug, Default, Args)]
struct SettingOverrides {
    /// Override one setting, such as session.heartbeat_interval=30s; may be repeated
    #[arg(long, help_heading = SETTINGS, value_name = "KEY=VALUE", value_parser = key_value)]
    set: Vec<(String, String)>,
}

/// A command's arguments, and the settings given among them.
#[derive(Debug, Default, Args)]
struct CommandArgs<A: Args> {
    #[command(flatten)]
    overrides: SettingOverrides,
    #[command(flatten)]
    args: A,
}

/// For commands without arguments.
#[derive(Debug, Default, Args)]
struct NoArgs {}

#[derive(Debug, Subcommand)]
enum CliCommand {
    /// Start the gateway (the default command)
    Run(CommandArgs<NoArgs>),
    /// Check the settings and print them with secrets masked
    Check(CommandArgs<NoArgs>),
    /// Mint a token for testing, or check one
    Token(CommandArgs<token::TokenArgs>),
    /// Publish a message through the admin port of a running gateway
    Publish(CommandArgs<publish::PublishArgs>),
    /// Send a command to every replica: end, change, revoke or list sessions
    Control(CommandArgs<control::ControlArgs>),
    /// Connect as a client and print received messages
    Tail(CommandArgs<tail::TailArgs>),
    /// Check the health of a running gateway; for container health checks
    Health(CommandArgs<health::HealthArgs>),
    /// Measure a gateway under load; starts its own gateway unless --running is given
    Bench(CommandArgs<bench::BenchArgs>),
}

impl CliCommand {
    /// Takes the settings given after the command's name.
    fn take_overrides(&mut self) -> Vec<(String, String)> {
        let (Self::Run(CommandArgs { overrides, .. })
        | Self::Check(CommandArgs { overrides, .. })
        | Self::Token(CommandArgs { overrides, .. })
        | Self::Publish(CommandArgs { overrides, .. })
        | Self::Control(CommandArgs { overrides, .. })
        | Self::Tail(CommandArgs { overrides, .. })
        | Self::Health(CommandArgs { overrides, .. })
        | Self::Bench(CommandArgs { overrides, .. })) = self;
        let mut taken = std::mem::take(&mut overrides.set);
        if let Self::Control(CommandArgs { args, .. }) = self {
            taken.extend(args.action.take_overrides());
        }
        taken
    }
}

/// Why a command failed.
#[derive(Debug)]
enum Failure {
    /// The settings are invalid: one sentence for each error.
    Settings(Vec<String>),
    /// Anything else, in one sentence.
    Other(String),
}

impl From<SettingsErrors> for Failure {
    fn from(errors: SettingsErrors) -> Self {
        Self::Settings(errors.iter().map(ToString::to_string).collect())
    }
}

impl From<Vec<StartError>> for Failure {
    fn from(errors: Vec<StartError>) -> Self {
        Self::Settings(errors.iter().map(ToString::to_string).collect())
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::Other(plain_io(error))
    }
}

fn key_value(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or("expected KEY=VALUE")?;
    Ok((key.to_owned(), value.to_owned()))
}

impl SettingsArgs {
    /// The settings as command-line arguments for another gateway process.
    fn to_cli_arguments(&self, later: &[(String, String)]) -> Vec<String> {
        let config = self.config.as_ref().map(|path| path.display().to_string());
        let named = [("--profile", &self.profile), ("--config", &config), ("--broker-url", &self.broker_url)];
        let named = named.into_iter().filter_map(|(name, value)| Some([name.to_owned(), value.clone()?]));
        let set = self
            .overrides
            .set
            .iter()
            .chain(later)
            .map(|(key, value)| ["--set".to_owned(), format!("{key}={value}")]);
        named.chain(set).flatten().collect()
    }

    /// Loads the settings. `later` are those given after the command's name; they override those before it.
    fn load(self, later: Vec<(String, String)>) -> Result<Settings, SettingsErrors> {
        let named = [
            ("server.public_addr", self.public_addr),
            ("server.admin_addr", self.admin_addr),
            ("broker.url", self.broker_url),
        ];
        let named = named.into_iter().filter_map(|(key, value)| Some((key.to_owned(), value?)));
        let overrides = self.overrides.set.into_iter().chain(later).chain(named).collect();
        Settings::load(&Sources::from_process(self.profile, self.config, overrides))
    }
}

impl Cli {
    /// Runs the command; returns the exit code of the process.
    pub fn execute(self) -> ExitCode {
        let _flushed = FlushedLog;
        let mut command = self.command.unwrap_or_else(|| CliCommand::Run(CommandArgs::default()));
        let later = command.take_overrides();
        let mut settings = self.settings;
        // With bench, --profile may name a published idle test instead of a profile of the settings.
        if let CliCommand::Bench(CommandArgs { args, .. }) = &mut command {
            settings.profile = settings.profile.filter(|name| !args.take_profile(name));
        }
        let forwarded = settings.to_cli_arguments(&later);
        let settings = settings.load(later);
        let outcome = settings.map_err(Failure::from).and_then(|settings| {
            let metrics = Metrics::default();
            log::start(&settings, &metrics)?;
            match command {
                CliCommand::Run(_) => run::run(settings, metrics),
                CliCommand::Check(_) => check::check(&settings),
                CliCommand::Token(CommandArgs { args, .. }) => token::token(&settings, &args),
                CliCommand::Publish(CommandArgs { args, .. }) => publish::publish(&settings, args),
                CliCommand::Control(CommandArgs { args, .. }) => control::control(&settings, args),
                CliCommand::Tail(CommandArgs { args, .. }) => tail::tail(&settings, args),
                CliCommand::Health(CommandArgs { args, .. }) => health::health(&settings, args),
                CliCommand::Bench(CommandArgs { args, .. }) => bench::bench(settings, forwarded, &args),
            }
        });
        // The log lines come before the error message on standard error.
        ::log::logger().flush();
        match outcome {
            Ok(code) => code,
            Err(Failure::Settings(sentences)) => {
                sentences.iter().for_each(|sentence| print_error(sentence));
                ExitCode::from(EXIT_CONFIG)
            }
            Err(Failure::Other(sentence)) => {
                print_error(&sentence);
                ExitCode::FAILURE
            }
        }
    }
}

/// Flushes the log when dropped, also while a panic unwinds.
struct FlushedLog;

impl Drop for FlushedLog {
    fn drop(&mut self) {
        ::log::logger().flush();
    }
}

/// Prints one line to standard error.
fn print_error(text: &str) {
    // Nothing to do if standard error is closed.
    let _ = writeln!(io::stderr(), "emagine-gateway: {text}");
}

/// Prints one line to standard output. An error means that the reader closed it.
fn print(text: &str) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    writeln!(stdout, "{text}")?;
    stdout.flush()
}
