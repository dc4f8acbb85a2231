//! The value of a From field. What passes is one address, and another parser reads the same one or
//! fails; it never reads another, nor several.

#![no_main]

use chatmail::Address;
use filtermail::gate::{Direction, Gate, parse_from};
use libfuzzer_sys::fuzz_target;
use mailparse::{MailAddr, addrparse_header, parse_header};

fuzz_target!(|value: &[u8]| {
    let Ok(address) = parse_from(value) else {
        return;
    };
    let text = address.to_string();
    assert_eq!(text.parse::<Address>(), Ok(address.clone()));
    assert_eq!(text.matches('@').count(), 1);
    let lower = value.to_ascii_lowercase();
    assert!(
        literal(&address)
            || lower
                .windows(text.len())
                .any(|part| part == text.as_bytes()),
        "{text} is not in it"
    );
    let Some(field) = unfolded(value) else {
        return;
    };
    assert_gate_agrees(value, &address);
    let (header, _) = parse_header(&field).expect("mailparse reads the field");
    let Ok(list) = addrparse_header(&header) else {
        return;
    };
    let [MailAddr::Single(single)] = list.as_slice() else {
        panic!("not one mailbox to mailparse: {list:?}");
    };
    assert_eq!(
        single.addr.parse(),
        Ok(address),
        "another address to mailparse"
    );
});

/// IPv6 literals have several spellings.
fn literal(address: &Address) -> bool {
    address.domain().ip().is_some()
}

/// The gate's From is this one, unless it refuses the field for what holds for all fields.
fn assert_gate_agrees(value: &[u8], address: &Address) {
    let mut gate = Gate::new(Direction::Incoming);
    gate.header(b"From", value);
    gate.end_of_headers();
    if let Ok(from) = gate.finish().from {
        assert_eq!(from, *address);
    }
}

/// The field as it stands in a message; `None` when its line ends are not those of a field: Postfix
/// hands no such value, and the gate refuses the message for it.
fn unfolded(value: &[u8]) -> Option<Vec<u8>> {
    let text = String::from_utf8_lossy(value).replace("\r\n", "\n");
    let folded = |line: &str| line.starts_with([' ', '\t']) && !line.trim().is_empty();
    let good = !text.contains('\r') && text.split('\n').skip(1).all(folded);
    good.then(|| format!("From:{}\r\n", text.replace('\n', "\r\n")).into_bytes())
}
