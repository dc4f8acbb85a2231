//! Whatever the gate passes as encrypted, rPGP reads as session keys and one SEIPD and nothing else.
//!
//! The input is a recipe for packets when its first octet is zero, a sequence of packets when that
//! has the top bit that begins each packet, and else a whole message.

#![no_main]

use chatmail_fuzz::message::{ArmorStyle, armored, around, judge_both_ways};
use chatmail_fuzz::recipe::cook;
use chatmail_fuzz::rpgp::{assert_encrypted, assert_encrypted_armor};
use filtermail::gate::Class;
use libfuzzer_sys::fuzz_target;
use mailparse::parse_mail;

fuzz_target!(|input: &[u8]| {
    match input {
        [0, ..] => check_packets(&cook(input)),
        [first, ..] if first & 0x80 != 0 => check_packets(input),
        message => check_message(message),
    }
});

fn check_message(message: &[u8]) {
    let [_, incoming] = judge_both_ways(message);
    if incoming.class != Class::Encrypted {
        return;
    }
    let mail = parse_mail(message).expect("mailparse reads it");
    let part = mail.subparts.get(1).expect("a second part");
    assert_encrypted_armor(&part.get_body_raw().expect("plain"));
}

fn check_packets(data: &[u8]) {
    let block = armored(data, ArmorStyle::USUAL);
    let [_, incoming] = judge_both_ways(&around(&block));
    if incoming.class == Class::Encrypted {
        assert_encrypted(data);
        assert_encrypted_armor(&block);
    }
}
