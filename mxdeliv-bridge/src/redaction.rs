//! Takes mail addresses out of texts that other servers made, before anybody reads or keeps them.
//!
//! Servers quote addresses in their replies: `550 5.1.1 <bob@x.org>: no such user`, `mailbox "bob"
//! is full`. So what stands in angle brackets or quotes goes, and each word with an `@` in it. What
//! comes out holds no `@` at all.

/// Stands for what was taken out.
const REMOVED: &str = "…";

/// Longest text that comes out, in characters.
pub const TEXT_MAX: usize = 200;

/// The longest text that is looked at, in octets; the rest is cut off.
const INPUT_MAX: usize = 4096;

/// The text without addresses, on one line, at most [`TEXT_MAX`] characters long.
pub fn without_addresses(text: &str) -> String {
    redact(text, None)
}

/// As [`without_addresses`]; the local part of an address that the text may be about goes as well,
/// wherever it stands as a word.
pub fn without_recipient(text: &str, local_part: &str) -> String {
    redact(text, Some(local_part))
}

fn redact(text: &str, local_part: Option<&str>) -> String {
    let text = &text[..text.floor_char_boundary(INPUT_MAX)];
    let mut kept = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let length = enclosed(rest).unwrap_or_else(|| word(rest));
        let (piece, after) = rest.split_at(length);
        rest = after;
        if first.is_whitespace() || first.is_control() {
            kept.push(' ');
        } else if is_private(piece, first, local_part) {
            kept.push_str(REMOVED);
        } else {
            kept.push_str(piece);
        }
    }
    shorten(&kept)
}

/// The length of what is in brackets or quotes at the front, with these; `None` when nothing is.
fn enclosed(text: &str) -> Option<usize> {
    let end = match text.as_bytes().first()? {
        b'<' => '>',
        b'"' => '"',
        _ => return None,
    };
    let inner = text.get(1..)?;
    let close = 1 + inner.find(end)? + 1;
    // A quoted local part belongs to the address behind it.
    let behind = text.get(close..)?;
    Some(match behind.starts_with('@') {
        true => close + word(behind),
        false => close,
    })
}

/// The length of the word at the front: up to white space or what cannot stand in an address
/// without quotes; at least one character.
fn word(text: &str) -> usize {
    let ends = |c: char| c.is_whitespace() || c.is_control() || "<>\"(),;".contains(c);
    let first = text.chars().next().map_or(0, char::len_utf8);
    let rest = text.get(first..).unwrap_or_default();
    match text.chars().next() {
        Some(c) if ends(c) => first,
        _ => first + rest.find(ends).unwrap_or(rest.len()),
    }
}

fn is_private(piece: &str, first: char, local_part: Option<&str>) -> bool {
    let is_enclosed = piece.len() > 1 && matches!(first, '<' | '"');
    // RFC 3461 section 4 and URLs write the @ otherwise.
    let has_at = ["@", "%40", "+40"].iter().any(|at| piece.contains(at));
    is_enclosed || has_at || local_part.is_some_and(|name| mentions(piece, name))
}

/// Whether a word is this name, but for punctuation around it.
fn mentions(piece: &str, name: &str) -> bool {
    let around = |c: char| !c.is_alphanumeric();
    let trimmed = piece.trim_matches(around);
    !trimmed.is_empty() && trimmed.eq_ignore_ascii_case(name.trim_matches(around))
}

/// No double spaces, and not too long.
fn shorten(text: &str) -> String {
    let mut short = String::new();
    for word in text.split_whitespace() {
        if !short.is_empty() {
            short.push(' ');
        }
        short.push_str(word);
    }
    match short.char_indices().nth(TEXT_MAX - 1) {
        Some((at, last)) if at + last.len_utf8() < short.len() => {
            short.truncate(at);
            short.push_str(REMOVED);
            short
        }
        _ => short,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use rstest::rstest;

    #[rstest]
    #[case("Connection refused", "Connection refused")]
    #[case("550 5.1.1 <bob@x.org>: no such user", "550 5.1.1 …: no such user")]
    #[case("550 <bob>... unknown", "550 …... unknown")]
    #[case("mailbox \"bob\" is full", "mailbox … is full")]
    #[case("for \"a b\"@x.org (full)", "for … (full)")]
    #[case("to=bob@x.org, relay", "…, relay")]
    #[case("user bob%40x.org unknown", "user … unknown")]
    #[case("rfc822;bob+40x.org", "rfc822;…")]
    #[case("<bob@x.org is open", "<… is open")]
    #[case("two\r\n lines\0here", "two lines here")]
    #[case(
        "host mx.x.org[192.0.2.1] said: 450",
        "host mx.x.org[192.0.2.1] said: 450"
    )]
    fn addresses_go(#[case] text: &str, #[case] kept: &str) {
        assert_eq!(without_addresses(text), kept);
    }

    #[rstest]
    #[case("User bob unknown", "User … unknown")]
    #[case("no such user: BOB.", "no such user: …")]
    #[case("'bob' is away", "… is away")]
    #[case("bobsled", "bobsled")]
    fn a_known_name_goes_too(#[case] text: &str, #[case] kept: &str) {
        assert_eq!(without_recipient(text, "bob"), kept);
    }

    #[test]
    fn long_texts_are_cut() {
        let long = "ä".repeat(TEXT_MAX + 1);
        assert_eq!(without_addresses(&long).chars().count(), TEXT_MAX);
        let fits = "ä".repeat(TEXT_MAX);
        assert_eq!(without_addresses(&fits), fits);
        assert!(without_addresses(&"x ".repeat(100_000)).chars().count() <= TEXT_MAX);
    }

    proptest! {
        #[test]
        fn no_at_comes_through(text in "[a-z@<>\" .%\\PC\r\n]{0,300}", name in "[a-z.+]{0,8}") {
            for kept in [without_addresses(&text), without_recipient(&text, &name)] {
                prop_assert!(!kept.contains('@'));
                prop_assert!(!kept.contains(char::is_control));
                prop_assert!(kept.chars().count() <= TEXT_MAX);
            }
        }

        #[test]
        fn no_address_comes_through(
            name in "[a-z0-9.]{3,20}",
            before in "[a-z<\"' ]{0,10}",
            after in "[a-z>\"' ]{0,10}",
        ) {
            let text = format!("{before} {name}9@x.example {after}");
            let needle = format!("{name}9");
            prop_assert!(!without_addresses(&text).contains(&needle));
        }
    }
}
