//! What the command lines of all binaries have in common: `--config` and `check-config`.

use std::path::PathBuf;

use crate::config::{Config, DEFAULT_PATH, KEYS};
use crate::lifecycle::Exit;

/// Where the configuration is; flattened into each binary's arguments.
#[derive(Clone, Debug, clap::Args)]
pub struct ConfigArgs {
    /// The configuration file
    #[arg(long, global = true, value_name = "PATH", default_value = DEFAULT_PATH)]
    pub config: PathBuf,
}

impl ConfigArgs {
    /// Begins logging as this daemon, reads the configuration, logs its warnings, and goes on with
    /// it. A configuration that cannot be used is logged and ends the program.
    pub fn run(&self, daemon: &str, go_on: impl FnOnce(&Config) -> Exit) -> Exit {
        crate::telemetry::init(daemon);
        match Config::load(&self.config) {
            Ok((config, warnings)) => {
                for warning in warnings {
                    tracing::warn!("{warning}");
                }
                go_on(&config)
            }
            Err(error) => {
                tracing::error!("{error}");
                Exit::Configuration
            }
        }
    }
}

/// Arguments of `check-config`.
#[derive(Clone, Debug, clap::Args)]
pub struct CheckConfigArgs {
    /// Print every key with its meaning, default and allowed values, and read no file
    #[arg(long)]
    pub describe: bool,
}

impl CheckConfigArgs {
    /// Checks the file, or prints the keys. Problems go to stderr, one line each.
    pub fn run(&self, config: &ConfigArgs) -> Exit {
        if self.describe {
            print!("{}", describe());
            return Exit::Stopped;
        }
        match Config::load(&config.config) {
            Ok((_, warnings)) => {
                for warning in &warnings {
                    eprintln!("warning: {warning}");
                }
                println!(
                    "{}: ok, {} warning(s)",
                    config.config.display(),
                    warnings.len()
                );
                Exit::Stopped
            }
            Err(error) => {
                eprintln!("error: {error}");
                Exit::Configuration
            }
        }
    }
}

/// A `chatmail.ini` with every key, its documentation and its default.
fn describe() -> String {
    let mut text = String::from("[params]\n");
    for key in KEYS {
        text.push('\n');
        for line in key.documentation {
            text.push_str(&format!("#{line}\n"));
        }
        text.push_str(&format!("# Allowed: {}.\n", key.allowed));
        match key.default {
            Some("") => text.push_str(&format!("#{} =\n", key.name)),
            Some(default) => text.push_str(&format!("#{} = {default}\n", key.name)),
            None => text.push_str(&format!("{} = chat.example\n", key.name)),
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    #[test]
    fn the_description_is_a_configuration() {
        let (_, warnings) = Config::parse(&describe(), Path::new("described")).unwrap();
        assert_eq!(warnings, []);
        let all_set = describe()
            .replace("\n#", "\n")
            .replace("{mail_domain}", "chat.example");
        let keys: Vec<_> = all_set.lines().filter(|line| line.contains(" =")).collect();
        assert_eq!(keys.len(), KEYS.len());
    }
}
