//! `filtermail check`: verdicts and exit statuses for stored messages.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    unreachable_pub,
    reason = "a test program: a failure is a panic, and its modules are its own"
)]

mod common;

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use common::{ALICE, encrypted_body, encrypted_headers};

fn check(arguments: &[&str], input: &[u8]) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_filtermail"))
        .arg("check")
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    // The program may have said what it has to say before it read everything.
    let _ = child.stdin.take().unwrap().write_all(input);
    child.wait_with_output().unwrap()
}

fn stored(from: &str, line_end: &str) -> Vec<u8> {
    let mut text = String::new();
    for (name, value) in encrypted_headers(from) {
        text.push_str(&format!("{name}: {value}\n"));
    }
    text.push('\n');
    text.push_str(
        &String::from_utf8(encrypted_body(200_000))
            .unwrap()
            .replace("\r\n", "\n"),
    );
    text.replace('\n', line_end).into_bytes()
}

fn write(dir: &Path, name: &str, content: &[u8]) -> String {
    let path = dir.join(name);
    std::fs::write(&path, content).unwrap();
    path.to_str().unwrap().to_owned()
}

#[test]
fn one_line_per_file_and_the_worst_as_exit_status() {
    let dir = tempfile::tempdir().unwrap();
    let unix = write(dir.path(), "unix", &stored(ALICE, "\n"));
    let smtp = write(dir.path(), "smtp", &stored(ALICE, "\r\n"));
    let clear = write(
        dir.path(),
        "clear",
        b"From: a@x.org\nContent-Type: text/plain\n\nHello\n",
    );
    let missing = dir.path().join("missing").to_str().unwrap().to_owned();

    let output = check(&[&unix, &smtp], b"");
    let expected = format!("{unix}: encrypted\n{smtp}: encrypted\n");
    assert_eq!(String::from_utf8(output.stdout).unwrap(), expected);
    assert_eq!(output.status.code(), Some(0));

    let output = check(&[&clear, &unix], b"");
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.starts_with(&format!("{clear}: refused (")), "{text}");
    assert_eq!(output.status.code(), Some(1));

    let output = check(&[&missing, &clear, &unix], b"");
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(
        text.starts_with(&format!("{missing}: could not be judged: ")),
        "{text}"
    );
    assert_eq!(text.lines().count(), 3);
    assert_eq!(output.status.code(), Some(2));
}

#[test]
fn standard_input_and_the_login() {
    let message = stored(ALICE, "\n");
    let output = check(&["--login", "Alice@chat.example", "-"], &message);
    assert_eq!(output.stdout, b"-: encrypted\n");
    let output = check(&["--login", "bob@chat.example", "-"], &message);
    assert!(
        output
            .stdout
            .starts_with(b"-: refused (from-is-not-login): ")
    );
    assert_eq!(output.status.code(), Some(1));
    let output = check(&["--incoming", "-"], &message);
    assert_eq!(output.stdout, b"-: encrypted\n");
}

#[test]
fn json_for_programs() {
    let output = check(
        &["--json", "-"],
        b"From: a@x.org\nContent-Type: text/plain\n\nHello\n",
    );
    let object: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(object["file"], "-");
    assert_eq!(object["verdict"], "refused");
    assert!(object["rule"].is_string() && object["explanation"].is_string());
}
