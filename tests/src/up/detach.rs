//! A testbed in the background.

use std::fs;
use std::io::Read as _;
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};

use super::{UpArgs, own_target};
use crate::host::state;

/// How long to wait for a relay that says nothing.
const START_PATIENCE: Duration = Duration::from_secs(60);

/// Starts the same testbed again in the background and waits until it is ready.
pub(super) fn detach(args: &UpArgs) -> anyhow::Result<()> {
    let root = args.name.root();
    let output = tempfile::NamedTempFile::new().context("a file for the supervisor's output")?;
    let mut child = background(args, output.reopen()?)?;
    let target = own_target(&root.join(&args.name.name));
    let deadline = Instant::now() + START_PATIENCE;
    let supervisor = i32::try_from(child.id())?;
    loop {
        let ours = state::supervisor(&root, &args.name.name)? == Some(supervisor);
        if ours && target.exists() {
            break;
        }
        if let Some(status) = child.try_wait()? {
            let mut text = String::new();
            output.reopen()?.read_to_string(&mut text)?;
            bail!("the testbed did not come up ({status}):\n{text}");
        }
        ensure!(
            Instant::now() < deadline,
            "the testbed (process {supervisor}) is not ready"
        );
        std::thread::sleep(Duration::from_millis(20));
    }
    let name = &args.name.name;
    print!("{}", fs::read_to_string(output.path())?);
    println!("The testbed runs in the background; `cargo testbed down --name {name}` stops it.");
    Ok(())
}

fn background(args: &UpArgs, output: fs::File) -> anyhow::Result<Child> {
    let mut command = Command::new(std::env::current_exe()?);
    command.args(["up", "--no-build", "--name", &args.name.name]);
    command.args(args.relay_options().arguments());
    if let Some(path) = &args.target {
        command.arg("--target").arg(path);
    }
    if args.keep {
        command.arg("--keep");
    }
    command
        .stdin(Stdio::null())
        .stdout(output.try_clone()?)
        .stderr(output)
        // Out of reach of the terminal's Ctrl-C.
        .process_group(0)
        .spawn()
        .context("starting the supervisor")
}
