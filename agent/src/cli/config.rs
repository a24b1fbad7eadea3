//! `inferscope config`: checks, prints and describes the configuration.

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::Subcommand;

use crate::config::{Config, default_file, process, schema};

/// What to do with the configuration.
#[derive(Subcommand, Debug)]
pub(super) enum Command {
    /// Says whether a file can be used, together with the environment as it is here, and where what is shipped goes.
    Check {
        /// Configuration file (TOML).
        file: PathBuf,
    },
    /// Prints every setting with its meaning and default: a file to begin with.
    Print {
        /// Prints the values in force instead, and where each of them comes from; secrets are hidden.
        #[arg(long)]
        effective: bool,
        /// Configuration file (TOML) whose values are in force.
        #[arg(long, value_name = "FILE", requires = "effective")]
        config: Option<PathBuf>,
    },
    /// Prints the JSON Schema of the file, for editors and tests.
    Schema,
}

pub(super) fn run(command: Command) -> Result<ExitCode> {
    let text = text(command, &process)?;
    match io::stdout().lock().write_all(text.as_bytes()) {
        // Whoever read the pipe has seen enough.
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error).context("cannot print"),
        _ => Ok(ExitCode::SUCCESS),
    }
}

/// What a command prints.
fn text(command: Command, env: &dyn Fn(&str) -> Option<String>) -> Result<String> {
    Ok(match command {
        Command::Check { file } => {
            let config = Config::load(Some(&file), env)?;
            format!("{}: ok\n{}", file.display(), config.destinations())
        }
        Command::Print { effective: true, config } => Config::load(config.as_deref(), env)?.effective(),
        Command::Print { effective: false, .. } => default_file(),
        Command::Schema => format!("{:#}\n", schema()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::ConfigError;
    use clap::Parser;
    use std::path::Path;

    #[derive(Parser, Debug)]
    struct Cli {
        #[command(subcommand)]
        command: Command,
    }

    fn ask(line: &[&str]) -> Result<String> {
        let env = |name: &str| (name == "OTEL_LOGS_EXPORTER").then(|| "none".to_owned());
        text(Cli::try_parse_from([&["config"], line].concat())?.command, &env)
    }

    fn file(text: &str) -> tempfile::NamedTempFile {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(text.as_bytes()).unwrap();
        file
    }

    fn name(file: &Path) -> &str {
        file.to_str().unwrap()
    }

    #[test]
    fn check_says_where_things_go() {
        let file = file("[otlp]\nendpoint = 'http://c:4318'\n[metrics]\nexport = false");
        let said = ask(&["check", name(file.path())]).unwrap();
        insta::assert_snapshot!(said.replace(name(file.path()), "FILE"), @"
        FILE: ok
        Metrics: not shipped, because metrics.export is false
        Spans: to http://c:4318/v1/traces (HTTP, gzip)
        The agent's log: not shipped, because log.export is false
        ");
    }

    #[test]
    fn a_bad_file_is_an_error_of_the_configuration() {
        let file = file("[otlp]\nprotocol = 'http/json'");
        let error = ask(&["check", name(file.path())]).unwrap_err();
        assert!(error.is::<ConfigError>(), "so that the exit status is EX_USAGE");
        insta::assert_snapshot!(format!("{error:#}").replace(name(file.path()), "FILE"), @r#"FILE:2:12: otlp.protocol: found "http/json"; accepted: "grpc" or "http/protobuf""#);
    }

    #[test]
    fn print_prints_defaults_or_what_is_in_force() {
        assert_eq!(ask(&["print"]).unwrap(), default_file());
        let file = file("[watch]\ntrial = '1m'");
        let said = ask(&["print", "--effective", "--config", name(file.path())]).unwrap();
        assert!(said.contains("\ntrial = \"1m\""), "{said}");
        assert!(said.contains("\nexport = false                                   # OTEL_LOGS_EXPORTER\n"), "{said}");
        assert!(ask(&["print", "--config", "x"]).is_err(), "the defaults are the same for every file");
    }

    #[test]
    fn schema_is_json() {
        let schema: serde_json::Value = serde_json::from_str(&ask(&["schema"]).unwrap()).unwrap();
        assert_eq!(schema["properties"]["otlp"]["type"], "object");
    }
}
