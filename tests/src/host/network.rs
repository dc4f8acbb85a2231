//! Networks of this machine: the one that everybody knows, and those in namespaces (`network_namespaces(7)`).

use std::ffi::OsString;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;

use anyhow::Context as _;
use nix::sched::{CloneFlags, setns};
use serde::{Deserialize, Serialize};

/// A network that sockets can be on.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Network {
    /// The network of the process.
    #[default]
    Own,
    /// Another one, by the file of its namespace.
    Namespace(PathBuf),
}

impl Network {
    /// A program on this network.
    pub fn command(&self, program: &Path) -> Command {
        let Self::Namespace(file) = self else {
            return Command::new(program);
        };
        let mut network = OsString::from("--net=");
        network.push(file);
        let mut command = Command::new("nsenter");
        command.arg(network).arg("--").arg(program);
        command
    }

    /// Runs something on this network. Sockets that it makes stay there, wherever they are used afterwards, and so
    /// do processes that it starts.
    ///
    /// A namespace belongs to a thread, so for one this is another thread than the caller's: what it does must not
    /// hand work to threads that were there before, as a runtime of the caller's would.
    ///
    /// # Errors
    /// The namespace does not exist any more, or we are not root.
    pub fn enter<T: Send>(&self, run: impl FnOnce() -> T + Send) -> anyhow::Result<T> {
        let Self::Namespace(file) = self else {
            return Ok(run());
        };
        let context = || format!("entering the network {}", file.display());
        let namespace = File::open(file).with_context(context)?;
        let inside = || {
            setns(&namespace, CloneFlags::CLONE_NEWNET).with_context(context)?;
            Ok(run())
        };
        thread::scope(|scope| {
            let joined = scope.spawn(inside).join();
            joined.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }
}
