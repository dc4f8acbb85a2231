//! The templates: ours, and the operator's in their place.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use minijinja::syntax::SyntaxConfig;
use minijinja::{AutoEscape, Environment, Error, UndefinedBehavior, Value};

use super::{PagesError, words};

/// A file that is rendered.
#[derive(Debug)]
pub(super) struct File {
    /// The name of its template.
    pub(super) template: &'static str,
    /// Where it goes, below the folder of all pages.
    pub(super) target: &'static str,
}

const WELL_KNOWN: &str = ".well-known/";

/// All of them.
pub(super) const FILES: &[File] = &[
    file("style.css", "style.css"),
    file("icon.svg", "icon.svg"),
    file("index.html", "index.html"),
    file("info.html", "info.html"),
    file("privacy.html", "privacy.html"),
    file("404.html", "404.html"),
    file(
        "config-v1.1.xml",
        ".well-known/autoconfig/mail/config-v1.1.xml",
    ),
    file("mta-sts.txt", ".well-known/mta-sts.txt"),
];

const fn file(template: &'static str, target: &'static str) -> File {
    File { template, target }
}

impl File {
    /// Whether it is for mail programs and servers, not for people.
    pub(super) fn is_for_programs(&self) -> bool {
        self.target.starts_with(WELL_KNOWN)
    }
}

macro_rules! built_in {
    ($($name:literal),+ $(,)?) => {
        /// The templates that the program brings along, by name.
        const BUILT_IN: &[(&str, &str)] = &[$(($name, include_str!(concat!("templates/", $name)))),+];
    };
}

built_in!(
    "layout.html",
    "style.css",
    "icon.svg",
    "index.html",
    "info.html",
    "privacy.html",
    "404.html",
    "config-v1.1.xml",
    "mta-sts.txt",
);

/// The names that an operator's file can have.
pub(super) fn names() -> impl Iterator<Item = &'static str> {
    BUILT_IN.iter().map(|(name, _)| *name)
}

/// Templates that have been read and understood.
#[derive(Debug)]
pub(super) struct Templates {
    environment: Environment<'static>,
    /// The operator's, by name.
    overridden: BTreeMap<&'static str, PathBuf>,
}

impl Templates {
    /// Ours, but for those that the folder has.
    ///
    /// # Errors
    /// The folder or a file in it cannot be read, or a template has an error in its syntax.
    pub(super) fn load(folder: Option<&Path>) -> Result<Self, PagesError> {
        let syntax = SyntaxConfig::builder()
            .keep_trailing_newline(true)
            .trim_blocks(true)
            .lstrip_blocks(true)
            .build()
            .map_err(|error| template_error("a template".into(), &error))?;
        let mut environment = Environment::new();
        environment.set_undefined_behavior(UndefinedBehavior::Strict);
        environment.set_auto_escape_callback(escaping);
        environment.set_syntax(syntax);
        environment.add_filter("days", words::days);
        environment.add_filter("size", words::size);
        let mut templates = Self {
            environment,
            overridden: BTreeMap::new(),
        };
        if let Some(folder) = folder {
            // That it is there at all.
            std::fs::read_dir(folder).map_err(|source| read_error(folder, source))?;
        }
        for (name, built_in) in BUILT_IN {
            let source = match folder.map(|folder| folder.join(name)) {
                Some(path) => match std::fs::read_to_string(&path) {
                    Ok(text) => {
                        templates.overridden.insert(name, path);
                        text
                    }
                    Err(error) if error.kind() == ErrorKind::NotFound => (*built_in).to_owned(),
                    Err(error) => return Err(read_error(&path, error)),
                },
                None => (*built_in).to_owned(),
            };
            templates
                .environment
                .add_template_owned(*name, source)
                .map_err(|error| templates.error(&error))?;
        }
        Ok(templates)
    }

    /// Whether one of them is the operator's.
    pub(super) fn are_overridden(&self) -> bool {
        !self.overridden.is_empty()
    }

    /// The text of a file.
    ///
    /// # Errors
    /// The template asks for something that is not there.
    pub(super) fn render(&self, file: &File, values: &Value) -> Result<String, PagesError> {
        let template = self.environment.get_template(file.template);
        template
            .and_then(|template| template.render(values.clone()))
            .map_err(|error| self.error(&error))
    }

    fn error(&self, error: &Error) -> PagesError {
        let name = error.name().unwrap_or("a template");
        let file = match self.overridden.get(name) {
            Some(path) => path.display().to_string(),
            None => name.to_owned(),
        };
        template_error(file, error)
    }
}

fn template_error(file: String, error: &Error) -> PagesError {
    let place = match error.line() {
        Some(line) => format!("{file}, line {line}"),
        None => file,
    };
    let what = match error.detail() {
        Some(detail) => format!("{}: {detail}", error.kind()),
        None => error.kind().to_string(),
    };
    PagesError::Template { place, what }
}

fn read_error(path: &Path, source: std::io::Error) -> PagesError {
    PagesError::Read {
        path: path.to_owned(),
        source,
    }
}

fn escaping(name: &str) -> AutoEscape {
    match name.rsplit_once('.') {
        Some((_, "html" | "xml" | "svg")) => AutoEscape::Html,
        _ => AutoEscape::None,
    }
}
