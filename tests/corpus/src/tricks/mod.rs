//! All tricks, by where they hide: from the octets of a line to the octets of a packet.

mod armor;
mod around_parts;
mod base64;
mod boundaries;
mod content_type;
mod delivery_reports;
mod encrypted_data;
mod envelopes;
mod from;
mod header_fields;
mod lines;
mod multipart;
mod packets;
mod part_headers;
mod passwords;
mod securejoin;
mod session_keys;

use crate::trick::Trick;

/// Messages that must not pass, at least 300 of them.
pub fn tricks() -> Vec<Trick> {
    [
        lines::tricks(),
        header_fields::tricks(),
        from::tricks(),
        content_type::tricks(),
        boundaries::tricks(),
        envelopes::tricks(),
        multipart::tricks(),
        around_parts::tricks(),
        part_headers::tricks(),
        armor::tricks(),
        base64::tricks(),
        packets::tricks(),
        session_keys::tricks(),
        passwords::tricks(),
        encrypted_data::tricks(),
        securejoin::tricks(),
        delivery_reports::tricks(),
    ]
    .concat()
}
