//! `mxdeliv-bridge pages`: the relay's web pages.

use std::path::PathBuf;

use chatmail::Config;
use clap::Args;

use super::{CONFIGURATION, CommandError, Done, FAILURE};
use crate::pages::{self, PagesError};

/// Where pages go, and what they are made of.
#[derive(Debug, Args)]
pub struct PagesArgs {
    /// The folder that nginx serves; it is made if need be
    #[arg(value_name = "DIR")]
    folder: PathBuf,
    /// A folder of templates of your own, instead of `www_folder` in chatmail.ini
    #[arg(long, value_name = "DIR")]
    templates: Option<PathBuf>,
}

pub(super) const AFTER_HELP: &str = "\
Examples:
    mxdeliv-bridge pages /var/www/html
    mxdeliv-bridge pages /var/www/html --templates /etc/chatmail/www

index.html, info.html, privacy.html, 404.html, style.css, icon.svg, and below .well-known mta-sts.txt and
autoconfig/mail/config-v1.1.xml say what chatmail.ini says: run it again after a change. Other files are left
alone. A template of yours replaces the built-in one of the same name: those above, and layout.html, which
the pages have in common. The language is Jinja's.
Exit status: 0 done, 64 wrong usage, 70 a page cannot be written, 78 chatmail.ini or a template is wrong.";

impl PagesArgs {
    /// Renders them, and prints what was written.
    pub(super) fn render(&self, config: &Config) -> Result<Done, CommandError> {
        let rendered = pages::render(config, &self.folder, self.templates.as_deref())?;
        for warning in &rendered.warnings {
            eprintln!("warning: {warning}");
        }
        for path in &rendered.written {
            println!("{}", path.display());
        }
        Ok(Done::All)
    }
}

impl From<PagesError> for CommandError {
    fn from(error: PagesError) -> Self {
        let status = match error {
            PagesError::Write { .. } => FAILURE,
            _ => CONFIGURATION,
        };
        Self {
            text: error.to_string(),
            status,
        }
    }
}
