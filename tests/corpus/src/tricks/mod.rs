//! All tricks, by where they hide: from the octets of a line to the octets of a packet.

mod armor;
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
        envelopes::tricks(),
        multipart::tricks(),
        part_headers::tricks(),
        armor::tricks(),
        packets::tricks(),
        session_keys::tricks(),
        encrypted_data::tricks(),
        securejoin::tricks(),
        delivery_reports::tricks(),
    ]
    .concat()
}
