//! `testbed up --detach` and `down`: a relay that outlives its starter and then leaves nothing.

use std::path::Path;
use std::process::{Command, Output, Stdio};

use anyhow::ensure;
use testbed::{Target, binaries};

use crate::fixture::{Correspondents, random_name};

fn testbed(arguments: &[&str]) -> anyhow::Result<Output> {
    let mut command = Command::new(binaries::release("testbed")?);
    Ok(command.args(arguments).stdin(Stdio::null()).output()?)
}

/// Calls `down` at the end, also of a test that failed.
struct Down(String);

impl Down {
    fn now(&self) -> anyhow::Result<Output> {
        testbed(&["down", "--name", &self.0])
    }
}

impl Drop for Down {
    fn drop(&mut self) {
        if let Err(error) = self.now() {
            eprintln!("warning: testbed {}: {error}", self.0);
        }
    }
}

/// A process and all that descend from it.
fn family(pid: i32) -> anyhow::Result<Vec<i32>> {
    let mut family = vec![pid];
    let mut at = 0;
    while let Some(pid) = family.get(at) {
        // A process that ends meanwhile has no children any more.
        let path = format!("/proc/{pid}/task/{pid}/children");
        let children = std::fs::read_to_string(path).unwrap_or_default();
        family.extend(children.split_whitespace().flat_map(str::parse::<i32>));
        at += 1;
    }
    Ok(family)
}

fn alive(pid: i32) -> bool {
    Path::new(&format!("/proc/{pid}")).exists()
}

#[tokio::test]
async fn what_up_detaches_down_ends() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("target.json");
    let file_name = file.display().to_string();
    let name = format!("d-{}", random_name(6));
    let down = Down(name.clone());
    let output = testbed(&[
        "up",
        "--no-build",
        "--detach",
        "--yes",
        "--name",
        &name,
        "--domains",
        "2",
        "--config",
        "max_user_send_burst_size=3",
        "--target",
        &file_name,
    ])?;
    let out = String::from_utf8_lossy(&output.stdout);
    ensure!(
        output.status.success(),
        "{out}{}",
        String::from_utf8_lossy(&output.stderr)
    );
    assert!(out.contains("dclogin:"), "nothing to log in with: {out}");

    let targets = [
        Target::read(&file)?,
        Target::read(&folder.path().join("target.json.2"))?,
    ];
    let mut processes = Vec::new();
    for target in &targets {
        assert_eq!(target.limits.burst, 3);
        for (name, process) in &target.procs {
            let pid = process.pid()?;
            ensure!(alive(pid), "{name} does not run");
            processes.extend(family(pid)?);
        }
        Correspondents::new(target).await?.send_good(0).await?;
        // Processes that came with the mail.
        for process in target.procs.values() {
            processes.extend(family(process.pid()?)?);
        }
    }

    let output = down.now()?;
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let left: Vec<_> = processes.into_iter().filter(|pid| alive(*pid)).collect();
    assert_eq!(left, [0; 0], "processes outlived `down`");
    for target in &targets {
        assert!(!target.state_dir.exists(), "{}", target.state_dir.display());
    }
    Ok(())
}

#[test]
fn a_setting_that_is_not_allowed_is_told_and_nothing_starts() -> anyhow::Result<()> {
    let name = format!("d-{}", random_name(6));
    let _down = Down(name.clone());
    for setting in ["max_message_size=much", "no_such_key=1"] {
        let output = testbed(&[
            "up",
            "--no-build",
            "--detach",
            "--yes",
            "--name",
            &name,
            "--config",
            setting,
        ])?;
        assert!(!output.status.success(), "{setting} is taken");
        let (key, _) = setting.split_once('=').unwrap_or_default();
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(error.contains(key), "{setting}: {error}");
    }
    let output = Down(name.clone()).now()?;
    let out = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        out.starts_with(&format!("No testbed named `{name}` runs")),
        "{out}"
    );
    Ok(())
}
