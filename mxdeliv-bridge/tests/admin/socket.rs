//! What comes over the admin socket that is no request, and clients that do not behave.

use std::io::{Read as _, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixStream;

use rstest::rstest;
use serde_json::Value;

use crate::bridge::{Bridge, PATIENCE};

fn connect(bridge: &Bridge) -> UnixStream {
    let stream = UnixStream::connect(bridge.path("admin.sock")).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

/// The only line of the answer.
fn ask(bridge: &Bridge, request: &[u8]) -> Value {
    let mut stream = connect(bridge);
    // It may be hung up on before it is through.
    let _ = stream.write_all(request);
    let _ = stream.shutdown(std::net::Shutdown::Write);
    let mut answer = String::new();
    let _ = stream.read_to_string(&mut answer);
    assert_eq!(answer.lines().count(), 1, "{answer}");
    serde_json::from_str(&answer).unwrap()
}

#[test]
fn only_root_and_its_own_user_may_ask() {
    let bridge = Bridge::start("");
    let mode = bridge.path("admin.sock").metadata().unwrap().permissions();
    assert_eq!(mode.mode() & 0o777, 0o600);
}

#[rstest]
#[case(b"", "the request is not complete")]
#[case(
    b"{\"version\":1,\"command\":\"queue\"}",
    "the request is not complete"
)]
#[case(b"\n", "this is not a request")]
#[case(b"\xff\xfe\0\n", "this is not a request")]
#[case(b"GET / HTTP/1.1\r\n\r\n", "this is not a request")]
#[case(b"{\"version\":1,\"command\":\"stop\"}\n", "this is not a request")]
#[case(
    b"{\"version\":9,\"command\":\"queue\"}\n",
    "the daemon speaks version 1"
)]
fn garbage_is_told_so(#[case] request: &[u8], #[case] text: &str) {
    let bridge = Bridge::start("");
    let answer = ask(&bridge, request);
    assert_eq!(
        (&answer["end"], &answer["kind"]),
        (&"failed".into(), &"usage".into())
    );
    assert!(
        answer["text"].as_str().unwrap().starts_with(text),
        "{answer}"
    );
    bridge.run(0, &["endpoint", "list"]);
}

#[test]
fn requests_have_an_end() {
    let bridge = Bridge::start("");
    let mut stream = connect(&bridge);
    let megabyte = vec![b'x'; 1 << 20];
    // The daemon answers and closes; what is still to be sent finds nobody.
    while stream.write_all(&megabyte).is_ok() {}
    bridge.run(0, &["endpoint", "list"]);
}

/// More than sockets hold: a reader that does not read makes the daemon wait.
fn fill_queue(bridge: &Bridge) {
    bridge.set_queue(
        "seq 1 9000 | sed 's/.*/{\"arrival_time\":1,\"message_size\":1,\"recipients\":[{\"address\":\"a@\
         a-long-name-of-a-peer-that-does-not-answer-&.example\"}]}/'",
    );
}

#[test]
fn a_slow_reader_holds_up_nobody_and_gets_all_of_it() {
    let bridge = Bridge::start("");
    fill_queue(&bridge);
    let mut slow: Vec<_> = (0..8).map(|_| connect(&bridge)).collect();
    for stream in &mut slow {
        stream
            .write_all(b"{\"version\":1,\"command\":\"queue\"}\n")
            .unwrap();
    }
    let mut silent: Vec<_> = (0..4).map(|_| connect(&bridge)).collect();
    assert_eq!(bridge.json(&["queue"]).len(), 9000);
    bridge.run(0, &["endpoint", "list"]);
    // Gone in the middle of it.
    slow.truncate(1);
    silent.clear();
    let mut answer = String::new();
    slow.pop().unwrap().read_to_string(&mut answer).unwrap();
    let last: Value = serde_json::from_str(answer.lines().last().unwrap()).unwrap();
    // Within ten seconds, or it was hung up on; this one reads at once.
    assert_eq!(last["end"], Value::from("done"));
    assert_eq!(answer.lines().count(), 9001);
}

#[test]
fn a_daemon_that_stops_waits_for_no_reader() {
    let mut bridge = Bridge::start("");
    fill_queue(&bridge);
    let mut slow = connect(&bridge);
    slow.write_all(b"{\"version\":1,\"command\":\"queue\"}\n")
        .unwrap();
    let mut octet = [0];
    slow.read_exact(&mut octet).unwrap();
    bridge.stop();
}

#[test]
fn output_that_nobody_reads_is_no_failure() {
    let bridge = Bridge::start("");
    fill_queue(&bridge);
    let mut command = bridge.command(&["queue", "--json"]);
    let mut child = command
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    assert!(child.wait().unwrap().success());
}
