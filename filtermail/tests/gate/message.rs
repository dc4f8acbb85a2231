//! Messages through a gate, in the two ways that there are.

use filtermail::gate::{Direction, Gate, MessageReader, Verdict};

/// The verdict on a message.
pub(crate) fn judge(direction: Direction, message: &[u8]) -> Verdict {
    judge_in_chunks(direction, message, message.len().max(1))
}

/// The verdict on a message that comes in chunks.
pub(crate) fn judge_in_chunks(direction: Direction, message: &[u8], size: usize) -> Verdict {
    let mut reader = MessageReader::new(direction);
    for chunk in message.chunks(size) {
        reader.push(chunk);
    }
    reader.finish()
}

/// The verdict on a message that comes as a milter gets it: field by field, with LF where a value is
/// folded, then the body in chunks. `None` when a line of its header section is no field: an MTA
/// begins the body there, and no milter sees what this would be.
pub(crate) fn judge_as_milter(
    direction: Direction,
    message: &[u8],
    size: usize,
) -> Option<Verdict> {
    let mut gate = Gate::new(direction);
    let (head, body) = match message.strip_prefix(b"\r\n") {
        Some(body) => (b"".as_slice(), body),
        None => split_once(message, b"\r\n\r\n").unwrap_or((message, b"")),
    };
    for field in fields(head) {
        let colon = field.iter().position(|&octet| octet == b':')?;
        gate.header(&field[..colon], &field[colon + 1..]);
    }
    gate.end_of_headers();
    for chunk in body.chunks(size) {
        gate.body(chunk);
    }
    Some(gate.finish())
}

/// Header fields with their continuation lines; a continuation of nothing is a field.
fn fields(head: &[u8]) -> Vec<Vec<u8>> {
    let mut fields: Vec<Vec<u8>> = Vec::new();
    let mut rest = head;
    while !rest.is_empty() {
        let (line, behind) = split_once(rest, b"\r\n").unwrap_or((rest, b""));
        match fields.last_mut() {
            Some(field) if line.starts_with(b" ") || line.starts_with(b"\t") => {
                field.push(b'\n');
                field.extend_from_slice(line);
            }
            _ => fields.push(line.to_vec()),
        }
        rest = behind;
    }
    fields
}

fn split_once<'a>(octets: &'a [u8], at: &[u8]) -> Option<(&'a [u8], &'a [u8])> {
    let place = octets.windows(at.len()).position(|window| window == at)?;
    Some((&octets[..place], &octets[place + at.len()..]))
}
