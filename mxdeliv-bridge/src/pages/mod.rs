//! The relay's web pages, rendered from `chatmail.ini` into a folder that nginx serves.
//!
//! - `index.html`: get a profile; `info.html`: the limits; `privacy.html`: the privacy policy; `404.html`
//! - `style.css`, `icon.svg`: theirs, and all that they load
//! - `.well-known/autoconfig/mail/config-v1.1.xml`: where mail programs find the servers
//! - `.well-known/mta-sts.txt`: that mail for the relay takes verified TLS (RFC 8461)
//!
//! Each of them, and `layout.html`, which the pages have in common, is a template in Jinja's language that an
//! operator can replace by a file of the same name. What a template may say is listed in `values`. In
//! `.html`, `.xml` and `.svg` files values are escaped; a name that nobody knows is an error.

mod qr_code;
mod templates;
mod values;
mod words;
mod write;

use std::io;
use std::path::{Path, PathBuf};

use chatmail::Config;

use templates::Templates;

/// The value of `www_folder` that means "no pages".
const DISABLED: &str = "disabled";

/// Why there are no pages. The text names the file, and the line where there is one.
#[derive(Debug, thiserror::Error)]
pub enum PagesError {
    /// The operator's templates cannot be read.
    #[error("cannot read {path}: {source}", path = path.display())]
    Read {
        /// Which file or folder.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// A template is not right.
    #[error("{place}: {what}")]
    Template {
        /// The file and the line.
        place: String,
        /// What is wrong with it.
        what: String,
    },
    /// The relay's name does not fit into a QR code.
    #[error("no QR code holds the link to this relay: {0}")]
    QrCode(#[from] qr_code::QrError),
    /// A page cannot be written.
    #[error("cannot write {path}: {source}", path = path.display())]
    Write {
        /// Which file or folder.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
}

/// What came of it.
#[derive(Debug, Default)]
pub struct Rendered {
    /// The files that are new or have changed, in the order of their writing.
    pub written: Vec<PathBuf>,
    /// How many were already as they should be, and were left alone.
    pub unchanged: usize,
    /// What the operator had better know.
    pub warnings: Vec<String>,
}

/// Renders all pages of a relay into `folder`, which is made if need be. Nothing is written unless all of them
/// can be rendered; a reader sees each file as it was before or as it is after.
///
/// The operator's templates are in `overrides`, or else in the folder that `www_folder` names.
///
/// # Errors
/// See [`PagesError`].
pub fn render(
    config: &Config,
    folder: &Path,
    overrides: Option<&Path>,
) -> Result<Rendered, PagesError> {
    let disabled = overrides.is_none() && config.www_folder == DISABLED;
    let configured = Some(Path::new(&config.www_folder))
        .filter(|path| !disabled && !path.as_os_str().is_empty());
    let overrides = overrides.or(configured);
    let templates = Templates::load(overrides)?;
    let values = values::of(config)?;
    let pages = templates::FILES
        .iter()
        .filter(|file| !disabled || file.is_for_programs())
        .map(|file| Ok((folder.join(file.target), templates.render(file, &values)?)))
        .collect::<Result<Vec<_>, PagesError>>()?;

    let mut rendered = Rendered {
        warnings: warnings(config, &templates, overrides),
        ..Rendered::default()
    };
    for (path, text) in pages {
        if write::replace(&path, text.as_bytes())? {
            rendered.written.push(path);
        } else {
            rendered.unchanged += 1;
        }
    }
    Ok(rendered)
}

fn warnings(config: &Config, templates: &Templates, overrides: Option<&Path>) -> Vec<String> {
    let mut warnings = Vec::new();
    let missing = values::missing(config);
    if !missing.is_empty() {
        warnings.push(format!(
            "the privacy policy does not say who is responsible: {} in chatmail.ini is empty",
            missing.join(" and ")
        ));
    }
    if let Some(folder) = overrides.filter(|_| !templates.are_overridden()) {
        warnings.push(format!(
            "{} holds no template: none of {}",
            folder.display(),
            templates::names().collect::<Vec<_>>().join(", ")
        ));
    }
    warnings
}

#[cfg(test)]
mod tests;
