//! A second reader of OpenPGP packets: of whole messages in memory, and as plain as it can be.

/// A packet as it stands in a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Packet {
    /// The packet type.
    pub tag: u8,
    /// The content, with the parts of partial lengths joined.
    pub body: Vec<u8>,
}

/// Cuts a message into packets (RFC 9580 section 4.2). `None` when it does not end with the last
/// packet's last octet, or when a length is indeterminate.
#[must_use]
pub fn split(mut data: &[u8]) -> Option<Vec<Packet>> {
    let mut packets = Vec::new();
    while let Some(&first) = data.first() {
        data = &data[1..];
        let mut body = Vec::new();
        let tag = if first & 0xC0 == 0xC0 {
            while let Some(size) = current_length(&mut data)? {
                body.extend_from_slice(take(&mut data, size)?);
            }
            let size = last_length(&mut data)?;
            body.extend_from_slice(take(&mut data, size)?);
            first & 0x3F
        } else if first & 0x80 != 0 && first & 3 != 3 {
            let octets = take(&mut data, 1 << (first & 3))?;
            let size = octets.iter().fold(0, |sum, &o| sum << 8 | usize::from(o));
            body.extend_from_slice(take(&mut data, size)?);
            first >> 2 & 0xF
        } else {
            return None;
        };
        packets.push(Packet { tag, body });
    }
    Some(packets)
}

/// Whether these are the packets of an encrypted message: a marker perhaps, session keys, and one
/// SEIPD at the end.
#[must_use]
pub fn are_encrypted_message(packets: &[Packet]) -> bool {
    let packets = match packets {
        [marker, rest @ ..] if marker.tag == 10 && marker.body == b"PGP" => rest,
        all => all,
    };
    match packets {
        [keys @ .., data] => {
            data.tag == 18 && !keys.is_empty() && keys.iter().all(|key| matches!(key.tag, 1 | 3))
        }
        [] => false,
    }
}

/// Takes a partial length, if that is what stands there.
fn current_length(data: &mut &[u8]) -> Option<Option<usize>> {
    let first = *data.first()?;
    if !(224..255).contains(&first) {
        return Some(None);
    }
    *data = &data[1..];
    Some(Some(1 << (first & 0x1F)))
}

/// Takes a length that is not partial.
fn last_length(data: &mut &[u8]) -> Option<usize> {
    let first = usize::from(take(data, 1)?[0]);
    Some(match first {
        0..192 => first,
        192..224 => (first - 192 << 8) + usize::from(take(data, 1)?[0]) + 192,
        _ => take(data, 4)?
            .iter()
            .fold(0, |sum, &o| sum << 8 | usize::from(o)),
    })
}

fn take<'a>(data: &mut &'a [u8], count: usize) -> Option<&'a [u8]> {
    let (taken, rest) = data.split_at_checked(count)?;
    *data = rest;
    Some(taken)
}
