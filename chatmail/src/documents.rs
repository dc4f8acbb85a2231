//! Manual pages and shell completions of a program, written by the program itself when it is packaged, so
//! that they say what it understands.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use clap::{Command, CommandFactory};
use clap_complete::Shell;
use clap_mangen::Man;
use clap_mangen::roff::{Roff, bold, roman};

use crate::config::KEYS;
use crate::lifecycle::Exit;

/// Programs of administrators (man-pages(7)).
const PROGRAMS: &str = "8";

const SHELLS: [(Shell, &str); 3] = [
    (Shell::Bash, "bash"),
    (Shell::Fish, "fish"),
    (Shell::Zsh, "zsh"),
];

/// Arguments of the command that writes them, which a package needs and an operator does not.
#[derive(Clone, Debug, clap::Args)]
pub struct DocumentsArgs {
    /// Where to: folders `man`, `bash`, `fish` and `zsh` are made in it
    folder: PathBuf,
}

impl DocumentsArgs {
    /// Writes what there is to say of the program with these arguments.
    pub fn run<Arguments: CommandFactory>(&self) -> Exit {
        match write(Arguments::command(), &self.folder) {
            Ok(()) => Exit::Stopped,
            Err(error) => {
                eprintln!("error: {}: {error}", self.folder.display());
                Exit::System
            }
        }
    }
}

fn write(command: Command, folder: &Path) -> io::Result<()> {
    let manual = folder.join("man");
    fs::create_dir_all(&manual)?;
    // `help` has nothing to add to a manual.
    let mut described = command.clone().disable_help_subcommand(true);
    described.build();
    write_pages(&described, &manual)?;
    fs::write(manual.join("chatmail.ini.5"), configuration_page())?;
    for (shell, name) in SHELLS {
        let folder = folder.join(name);
        fs::create_dir_all(&folder)?;
        let mut command = command.clone();
        let program = command.get_name().to_owned();
        clap_complete::generate_to(shell, &mut command, program, folder)?;
    }
    Ok(())
}

/// A page for the command and one for each below it.
fn write_pages(command: &Command, folder: &Path) -> io::Result<()> {
    let below = command.get_subcommands();
    for command in below.filter(|command| !command.is_hide_set()) {
        write_pages(command, folder)?;
    }
    let page = Man::new(command.clone())
        .section(PROGRAMS)
        .manual("chatmail-suite");
    page.render(&mut File::create(folder.join(page.get_filename()))?)
}

/// The manual page of the configuration file, from the table of its keys.
fn configuration_page() -> String {
    let mut page = Roff::new();
    page.control("TH", ["chatmail.ini", "5", "", "", "chatmail-suite"]);
    page.control("SH", ["NAME"]);
    page.text([roman("chatmail.ini - settings of a chatmail relay")]);
    page.control("SH", ["DESCRIPTION"]);
    page.text([roman(
        "A section [params] with a setting on each line, KEY = VALUE. A line that is indented goes on with the \
         one before; # and ; begin a comment at the start of a line. A key that is not known is a warning, \
         a value that is not allowed an error. {mail_domain} in a default stands for the value of that key.",
    )]);
    page.control("SH", ["KEYS"]);
    for key in KEYS {
        page.control("TP", []);
        page.text([bold(key.name)]);
        let meaning: Vec<_> = key.documentation.iter().map(|line| line.trim()).collect();
        let default = match key.default {
            Some("") => "Empty by default.".to_owned(),
            Some(default) => format!("Default: {default}."),
            None => "It must be set.".to_owned(),
        };
        let text = format!("{} Allowed: {}. {default}", meaning.join(" "), key.allowed);
        page.text([roman(text)]);
    }
    page.control("SH", ["SEE ALSO"]);
    page.text([roman(
        "filtermail(8), doveauth(8), mxdeliv-bridge(8), expiry-cron(8)",
    )]);
    page.render()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(clap::Parser)]
    #[command(name = "program")]
    struct Arguments {
        #[command(subcommand)]
        _command: Subcommand,
    }

    #[derive(clap::Subcommand)]
    enum Subcommand {
        /// Does something
        Visible,
        #[command(hide = true)]
        Hidden,
    }

    #[test]
    fn each_command_that_is_shown_has_a_page_and_each_shell_its_completions() {
        let folder = tempfile::tempdir().unwrap();
        let documents = DocumentsArgs {
            folder: folder.path().into(),
        };
        assert_eq!(documents.run::<Arguments>(), Exit::Stopped);
        let mut pages: Vec<_> = fs::read_dir(folder.path().join("man"))
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        pages.sort();
        assert_eq!(pages, ["chatmail.ini.5", "program-visible.8", "program.8"]);
        for path in ["bash/program.bash", "fish/program.fish", "zsh/_program"] {
            let text = fs::read_to_string(folder.path().join(path)).unwrap();
            assert!(text.contains("visible"), "{path}");
        }
    }

    #[test]
    fn every_key_is_in_the_manual() {
        let page = configuration_page();
        for key in KEYS {
            let name = key.name.replace('-', r"\-");
            assert!(page.contains(&format!(r"\fB{name}\fR")), "{name}");
        }
    }
}
