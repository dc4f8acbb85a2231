//! A connection to a dict server. Lines do not depend on the pieces that they come in; a command
//! that was read can be written and reads the same; commits keep within their limits; and whatever
//! is answered is one line.

#![no_main]

use chatmail::dict::codec::{Command, Iterate, Reply, escape_into, unescape};
use chatmail::dict::fuzz::lines;
use chatmail::dict::session::{
    CHANGED_BYTES_MAX, CHANGES_MAX, Change, ChangeSet, Request, Session,
};
use chatmail_fuzz::pieces::pieces;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|stream: &[u8]| {
    assert_field_survives(stream);
    let cut = lines(&pieces(stream));
    assert_eq!(cut, lines(&[stream]));
    let mut session = Session::default();
    for line in cut.unwrap_or_default() {
        if let Ok(command) = Command::parse(&line) {
            let written = write(&command);
            assert_eq!(
                Command::parse(&written),
                Ok(command),
                "{}",
                written.escape_ascii()
            );
        }
        match session.line(&line) {
            Ok(None) => {}
            Ok(Some(request)) => answer(request),
            // The server closes the connection.
            Err(_) => return,
        }
    }
});

fn assert_field_survives(field: &[u8]) {
    let escaped = escaped(field);
    assert!(!escaped.iter().any(|octet| b"\t\r\n\0".contains(octet)));
    assert_eq!(unescape(&escaped), field);
    assert!(unescape(field).len() <= field.len());
}

/// Answers as a server does, with what was asked for.
fn answer(request: Request<'_>) {
    match request {
        Request::Lookup { key, user } => {
            assert_one_line(&Reply::Found(&key), b'O', &[&key]);
            assert_one_line(
                &Reply::Row {
                    key: &key,
                    value: &user,
                },
                b'O',
                &[&key, &user],
            );
        }
        Request::Iterate(Iterate { path, .. }) => {
            let why = String::from_utf8_lossy(&path);
            assert_one_line(&Reply::Failed(&why), b'F', &[why.as_bytes()]);
        }
        Request::Commit(id, ChangeSet { user, changes }) => {
            let octets: usize = changes.iter().map(size).sum();
            assert!(changes.len() <= CHANGES_MAX && user.len() + octets <= CHANGED_BYTES_MAX);
            assert_one_line(&Reply::Committed(id), b'O', &[id.to_string().as_bytes()]);
        }
        Request::RefuseCommit(id, why) => {
            let (id_text, why) = (id.to_string(), why.to_string());
            let fields = [id_text.as_bytes(), why.as_bytes()];
            assert_one_line(&Reply::CommitFailed(id, &why), b'F', &fields);
        }
    }
}

fn size(change: &Change) -> usize {
    match change {
        Change::Set { key, value } => key.len() + value.len(),
        Change::Unset { key } | Change::Increment { key, .. } => key.len(),
    }
}

/// The reply is a line with this letter and these fields.
fn assert_one_line(reply: &Reply<'_>, letter: u8, fields: &[&[u8]]) {
    let mut out = Vec::new();
    reply.write_to(&mut out);
    let (newline, line) = out.split_last().expect("a line");
    assert!(*newline == b'\n' && !line.contains(&b'\n'));
    let (first, rest) = line.split_first().expect("a letter");
    assert_eq!(*first, letter);
    let read: Vec<_> = rest.split(|&octet| octet == b'\t').map(unescape).collect();
    assert_eq!(read, fields);
}

/// The line of a command.
fn write(command: &Command<'_>) -> Vec<u8> {
    let number = |number: &dyn ToString| number.to_string().into_bytes();
    let (letter, fields) = match command {
        Command::Hello(version) => (b'H', vec![number(version)]),
        Command::Lookup { key, user } => (b'L', vec![escaped(key), escaped(user)]),
        Command::Iterate(Iterate {
            flags,
            max_rows,
            path,
            user,
        }) => {
            let fields = vec![
                number(flags),
                number(max_rows),
                escaped(path),
                escaped(user),
            ];
            (b'I', fields)
        }
        Command::Begin { id, user } => (b'B', vec![number(id), escaped(user)]),
        Command::Set { id, key, value } => (b'S', vec![number(id), escaped(key), escaped(value)]),
        Command::Unset { id, key } => (b'U', vec![number(id), escaped(key)]),
        Command::Increment { id, key, by } => (b'A', vec![number(id), escaped(key), number(by)]),
        Command::Timestamp(id) => (b'T', vec![number(id)]),
        Command::HideValues(id) => (b'V', vec![number(id)]),
        Command::Commit(id) => (b'C', vec![number(id)]),
        Command::Rollback(id) => (b'R', vec![number(id)]),
    };
    [vec![letter], fields.join(&b'\t')].concat()
}

fn escaped(field: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    escape_into(field, &mut out);
    out
}
