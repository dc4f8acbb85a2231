//! The packets of a message, in good armor. How the armor is written does not matter; and where they
//! pass, another reader finds session keys and encrypted data and nothing else.

#![no_main]

use chatmail_fuzz::message::{ArmorStyle, armored, around, judge_both_ways};
use chatmail_fuzz::packets::{are_encrypted_message, split};
use filtermail::gate::Class;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let usual = around(&armored(data, ArmorStyle::USUAL));
    let verdicts = judge_both_ways(&usual);
    let odd = around(&armored(data, ArmorStyle::ODD));
    assert_eq!(judge_both_ways(&odd), verdicts, "armor changes the verdict");
    let [outgoing, incoming] = verdicts.map(|verdict| verdict.class);
    if incoming == Class::Encrypted {
        let packets = split(data).expect("whole packets");
        assert!(are_encrypted_message(&packets));
        let marker = packets.first().is_some_and(|first| first.tag == 10);
        assert_eq!(
            outgoing == Class::Encrypted,
            !marker,
            "markers come in only"
        );
    }
});
