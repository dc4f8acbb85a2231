//! A unit's sandbox is one: what it forbids fails, and works without it.

use testbed::machine::{Lan, Machine};

/// Tries what a daemon has no business with, and says what it could do.
const PROBE: &str = r#"
import os, socket

def tried(name, action):
    try:
        action()
        print(name, "done")
    except OSError as error:
        print(name, error.strerror)

def write(path):
    with open(path, "w") as file:
        file.write("64")

tried("write /etc", lambda: write("/etc/probe"))
tried("write /usr", lambda: write("/usr/probe"))
tried("write /var/lib/probe", lambda: write("/var/lib/probe/file"))
tried("write /tmp", lambda: write("/tmp/probe"))
tried("read /home", lambda: os.listdir("/home/somebody"))
tried("set the host's name", lambda: socket.sethostname("probe"))
tried("change the network", lambda: write("/proc/sys/net/ipv4/ip_default_ttl"))
tried("inet", lambda: socket.socket(socket.AF_INET).close())
tried("unix", lambda: socket.socket(socket.AF_UNIX).close())
tried("change the owner", lambda: os.chown("/var/lib/probe/file", 1, 1))
"#;

/// Sandboxes as our units have them.
const SANDBOX: &str = "ProtectSystem=strict
ProtectHome=yes
PrivateTmp=yes
PrivateDevices=yes
ProtectKernelTunables=yes
ProtectControlGroups=yes
ProtectProc=invisible
NoNewPrivileges=yes
CapabilityBoundingSet=
RestrictNamespaces=yes
RestrictAddressFamilies=AF_UNIX
MemoryDenyWriteExecute=yes
SystemCallArchitectures=native
SystemCallFilter=@system-service
SystemCallErrorNumber=EPERM
";

/// What the probe says when it runs as a unit with these settings.
fn probed(machine: &Machine, name: &str, settings: &str) -> anyhow::Result<Vec<String>> {
    let unit = format!(
        "[Service]\nType=oneshot\nExecStart=python3 /usr/local/lib/probe.py\n\
         StandardOutput=file:/srv/{name}\nStateDirectory=probe\n{settings}"
    );
    let path = format!("/etc/systemd/system/{name}.service");
    machine.write_file(&path, unit.as_bytes(), 0o644)?;
    machine.run_ok(&["systemctl", "daemon-reload"])?;
    if let Err(error) = machine.run_ok(&["systemctl", "start", name]) {
        return Err(error.context(machine.journal()?));
    }
    let said = machine.read_file(&format!("/srv/{name}"))?;
    let said = String::from_utf8_lossy(&said);
    Ok(said.lines().map(str::to_owned).collect())
}

#[test]
fn a_sandboxed_unit_is_sandboxed() -> anyhow::Result<()> {
    let lan = Lan::start()?;
    let one = lan.machine("one", lan.ip(11))?;
    one.write_file("/usr/local/lib/probe.py", PROBE.as_bytes(), 0o644)?;
    one.write_file("/home/somebody/file", b"", 0o644)?;

    let sandboxed = probed(&one, "sandboxed", SANDBOX)?;
    assert_eq!(
        sandboxed,
        [
            "write /etc Read-only file system",
            "write /usr Read-only file system",
            "write /var/lib/probe done",
            "write /tmp done",
            "read /home Permission denied",
            "set the host's name Operation not permitted",
            "change the network Read-only file system",
            "inet Address family not supported by protocol",
            "unix done",
            "change the owner Operation not permitted",
        ]
    );
    for path in ["/etc/probe", "/usr/probe", "/tmp/probe"] {
        assert!(!one.run(&["test", "-e", path])?.status.success(), "{path}");
    }
    one.read_file("/var/lib/probe/file")?;

    // It is the sandbox that forbids it, and not the machine.
    let open = probed(&one, "open", "")?;
    assert!(open.iter().all(|line| line.ends_with(" done")), "{open:?}");
    one.read_file("/etc/probe")?;
    Ok(())
}
