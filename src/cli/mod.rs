//! The command line: what the binary can do besides serving.

mod bench;
mod check;
mod client;
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

/// EX_CONFIG in sysexits.h: the settings are wrong, and trying again will not help.
const EXIT_CONFIG: u8 = 78;
/// Their own heading in help, which otherwise mixes the settings with a command's options.
const SETTINGS: &str = "Settings";

/// E-Magine's real-time gateway: WebSocket sessions, message events over Redis.
#[derive(Debug, Parser)]
#[command(name = "emagine-gateway", version, about)]
pub struct Cli {
    #[command(flatten)]
    settings: SettingsArgs,
    #[command(subcommand)]
    command: Option<CliCommand>,
}

/// Where settings come from, for every command.
#[derive(Debug, Args)]
struct SettingsArgs {
    /// development or production [default: $GATEWAY_PROFILE, else development]
    #[arg(long, global = true, help_heading = SETTINGS, value_name = "NAME")]
    profile: Option<String>,
    /// A TOML file with settings, or a folder with a local.toml
    #[arg(long, global = true, help_heading = SETTINGS, value_name = "PATH")]
    config: Option<PathBuf>,
    #[command(flatten)]
    overrides: SettingOverrides,
    /// Where clients connect (server.public_addr)
    #[arg(long, global = true, help_heading = SETTINGS, value_name = "IP:PORT")]
    public_addr: Option<String>,
    /// Where operators and backends connect (server.admin_addr)
    #[arg(long, global = true, help_heading = SETTINGS, value_name = "IP:PORT")]
    admin_addr: Option<String>,
    /// memory:, redis://… or rediss://… (broker.url)
    #[arg(long, global = true, help_heading = SETTINGS, value_name = "URL")]
    broker_url: Option<String>,
}

/// Not a global argument: of those, clap drops what stands before the command's name when more of them stand
/// behind it.
#[derive(Debug, Default, Args)]
struct SettingOverrides {
    /// One setting, such as session.heartbeat_interval=30s; may be repeated
    #[arg(long, help_heading = SETTINGS, value_name = "KEY=VALUE", value_parser = key_value)]
    set: Vec<(String, String)>,
}

/// A command's arguments, and the settings that stand among them.
#[derive(Debug, Default, Args)]
struct CommandArgs<A: Args> {
    #[command(flatten)]
    overrides: SettingOverrides,
    #[command(flatten)]
    args: A,
}

/// The arguments of a command that has none.
#[derive(Debug, Default, Args)]
struct NoArgs {}

#[derive(Debug, Subcommand)]
enum CliCommand {
    /// Serve (the default)
    Run(CommandArgs<NoArgs>),
    /// Check the settings and print them, secrets masked
    Check(CommandArgs<NoArgs>),
    /// Mint a token for a user, for trying things out
    Token(CommandArgs<token::TokenArgs>),
    /// Publish a message through a running gateway
    Publish(CommandArgs<publish::PublishArgs>),
    /// Connect as a client and print the messages that come
    Tail(CommandArgs<tail::TailArgs>),
    /// Ask a running gateway whether it is well; for container health checks
    Health(CommandArgs<health::HealthArgs>),
    /// Put a gateway under load and measure what it costs; starts one of its own unless told otherwise
    Bench(CommandArgs<bench::BenchArgs>),
}

impl CliCommand {
    /// The settings that stand behind its name, taken out.
    fn take_overrides(&mut self) -> Vec<(String, String)> {
        let (Self::Run(CommandArgs { overrides, .. })
        | Self::Check(CommandArgs { overrides, .. })
        | Self::Token(CommandArgs { overrides, .. })
        | Self::Publish(CommandArgs { overrides, .. })
        | Self::Tail(CommandArgs { overrides, .. })
        | Self::Health(CommandArgs { overrides, .. })
        | Self::Bench(CommandArgs { overrides, .. })) = self;
        std::mem::take(&mut overrides.set)
    }
}

/// Why a command failed.
#[derive(Debug)]
enum Failure {
    /// The settings are wrong: a sentence for each mistake.
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
    let (key, value) = text.split_once('=').ok_or("write it as KEY=VALUE")?;
    Ok((key.to_owned(), value.to_owned()))
}

impl SettingsArgs {
    /// The same as arguments, for a gateway that is started with them.
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

    /// `later` are the settings behind the command's name: they beat those before it.
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
    /// Carries out the command; returns the process' exit code.
    pub fn execute(self) -> ExitCode {
        let _flushed = FlushedLog;
        let mut command = self.command.unwrap_or_else(|| CliCommand::Run(CommandArgs::default()));
        let later = command.take_overrides();
        let forwarded = self.settings.to_cli_arguments(&later);
        let settings = self.settings.load(later);
        let outcome = settings.map_err(Failure::from).and_then(|settings| {
            let metrics = Metrics::default();
            log::start(&settings, &metrics)?;
            match command {
                CliCommand::Run(_) => run::run(settings, metrics),
                CliCommand::Check(_) => check::check(&settings),
                CliCommand::Token(CommandArgs { args, .. }) => token::token(&settings, &args),
                CliCommand::Publish(CommandArgs { args, .. }) => publish::publish(&settings, args),
                CliCommand::Tail(CommandArgs { args, .. }) => tail::tail(&settings, args),
                CliCommand::Health(CommandArgs { args, .. }) => health::health(&settings, args),
                CliCommand::Bench(CommandArgs { args, .. }) => bench::bench(settings, forwarded, &args),
            }
        });
        // Flush the log before the sentence below and before the end of the process.
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

/// Flushes the log when dropped, also by a panic.
struct FlushedLog;

impl Drop for FlushedLog {
    fn drop(&mut self) {
        ::log::logger().flush();
    }
}

/// One line for the user, on stderr.
fn print_error(text: &str) {
    // Nothing to do if standard error is closed.
    let _ = writeln!(io::stderr(), "emagine-gateway: {text}");
}

/// One line of output. An error means that nobody reads it any more.
fn print(text: &str) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    writeln!(stdout, "{text}")?;
    stdout.flush()
}
