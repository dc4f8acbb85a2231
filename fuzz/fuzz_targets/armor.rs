//! The content of the armored part. Where it passes, another reader of armor gets octets out of it
//! that pass in fresh armor too, and the lines around them are the ones that armor may have.

#![no_main]

use std::io::Read as _;

use chatmail_fuzz::message::{ArmorStyle, armored, around, judge, judge_both_ways};
use chatmail_fuzz::packets::{are_encrypted_message, split};
use filtermail::gate::{Class, Direction};
use libfuzzer_sys::fuzz_target;
use pgp::armor::{Dearmor, DearmorOptions};

fuzz_target!(|content: &[u8]| {
    let [_, incoming] = judge_both_ways(&around(content));
    if incoming.class != Class::Encrypted {
        return;
    }
    assert_known_lines(content);
    let options = DearmorOptions::new().enable_crc24_check();
    let mut data = Vec::new();
    Dearmor::with_options(content, options)
        .read_to_end(&mut data)
        .expect("rPGP reads the armor");
    let packets = split(&data).expect("whole packets");
    assert!(are_encrypted_message(&packets));
    let again = around(&armored(&data, ArmorStyle::ODD));
    assert_eq!(
        judge(Direction::Incoming, &again),
        incoming,
        "in fresh armor"
    );
});

/// Every line is one that armor has (RFC 9580 section 6.2): none of them can be read as text.
fn assert_known_lines(content: &[u8]) {
    let base64 = |c: &u8| c.is_ascii_alphanumeric() || b"+/=".contains(c);
    let mut before_data = true;
    for line in content.split(|&octet| octet == b'\n') {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let header = before_data && line.windows(2).any(|pair| pair == b": ");
        let blank = line.trim_ascii().is_empty();
        let edge = line.starts_with(b"-----") && line.ends_with(b" PGP MESSAGE-----");
        let data = line.iter().all(base64);
        assert!(header || blank || edge || data, "{}", line.escape_ascii());
        before_data &= edge || header;
    }
}
