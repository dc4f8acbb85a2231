//! The name before the address of a From header.
//!
//! Sloppy programs search the whole field for an address, or decode encoded words (RFC 2047) before
//! they parse; others show nothing but the name. So none may be found in it but the mailbox's own,
//! which some programs write there.

use super::Rule;
use super::content_type::reads_as_ascii;
use chatmail::Address;

/// Fails with [`Rule::FromSyntax`] when the name, decoded, holds angle brackets, characters that
/// turn the direction of writing around, or what could be an address and is not the mailbox's own;
/// or when an encoded word holds control characters or cannot be decoded.
pub(super) fn check_display_name(phrase: &str, address: &Address) -> Result<(), Rule> {
    let octets = decode(phrase).ok_or(Rule::FromSyntax)?;
    let shown = String::from_utf8_lossy(&octets);
    let misleading = |c: char| {
        matches!(
            c,
            '<' | '>' | '\u{202D}' | '\u{202E}' | '\u{2066}'..='\u{2069}'
        )
    };
    if shown.contains(misleading) {
        return Err(Rule::FromSyntax);
    }
    let address = address.to_string();
    let own = |word: &str| word.eq_ignore_ascii_case(&address);
    let could_be_address = |word: &&str| match word.split_once('@') {
        Some((local_part, domain)) => !local_part.is_empty() && !domain.is_empty(),
        None => false,
    };
    // `Alice @ Work` and `@alice` are nobody's address.
    let between = |c: char| c.is_whitespace() || "\"'(),:;[]".contains(c);
    let mut addresses = shown.split(between).filter(could_be_address);
    if addresses.all(own) {
        Ok(())
    } else {
        Err(Rule::FromSyntax)
    }
}

/// The name with its encoded words decoded, inside quoted strings too, as many programs do. `None`
/// when a word cannot be decoded.
fn decode(phrase: &str) -> Option<Vec<u8>> {
    let mut decoded = Vec::with_capacity(phrase.len());
    let mut rest = phrase;
    let mut behind_word = false;
    while let Some(at) = rest.find("=?") {
        let (before, word) = rest.split_at(at);
        let Some((parts, after)) = split_word(word) else {
            let (mark, behind) = word.split_at(2);
            decoded.extend_from_slice(before.as_bytes());
            decoded.extend_from_slice(mark.as_bytes());
            (rest, behind_word) = (behind, false);
            continue;
        };
        // White space between two words is no part of what they encode (RFC 2047 section 6.2).
        if !behind_word || !before.trim_ascii().is_empty() {
            decoded.extend_from_slice(before.as_bytes());
        }
        decoded.extend_from_slice(&decode_word(parts)?);
        (rest, behind_word) = (after, true);
    }
    decoded.extend_from_slice(rest.as_bytes());
    Some(decoded)
}

/// Charset, encoding and text of the encoded word at the start of `text`, and what follows it.
fn split_word(text: &str) -> Option<([&str; 3], &str)> {
    let (charset, rest) = text.strip_prefix("=?")?.split_once('?')?;
    let (encoding, rest) = rest.split_once('?')?;
    let (encoded, rest) = rest.split_once("?=")?;
    Some(([charset, encoding, encoded], rest))
}

fn decode_word([charset, encoding, encoded]: [&str; 3]) -> Option<Vec<u8>> {
    let octets = match encoding {
        "b" | "B" => base64_simd::forgiving_decode_to_vec(encoded.as_bytes()).ok()?,
        "q" | "Q" => decode_q(encoded)?,
        _ => return None,
    };
    // RFC 2231 section 5: a language may follow the charset.
    let charset = charset.split('*').next()?.to_ascii_lowercase();
    let octets = match charset.as_str() {
        "iso-2022-jp" => without_kanji(&octets),
        charset if reads_as_ascii(charset) => octets,
        _ => return None,
    };
    let control = |octet: &u8| octet.is_ascii_control();
    Some(octets).filter(|octets| !octets.iter().any(control))
}

/// The `Q` encoding (RFC 2047 section 4.2).
fn decode_q(encoded: &str) -> Option<Vec<u8>> {
    let mut decoded = Vec::with_capacity(encoded.len());
    let mut octets = encoded.bytes();
    while let Some(octet) = octets.next() {
        decoded.push(match octet {
            b'_' => b' ',
            b'=' => {
                let mut digit = || char::from(octets.next()?).to_digit(16);
                u8::try_from(digit()? << 4 | digit()?).ok()?
            }
            _ => octet,
        });
    }
    Some(decoded)
}

/// What ISO-2022-JP (RFC 1468) has in one octet a character: its Kanji are made of the same octets as
/// `@` and `<`, between an escape sequence with `$` and one with `(`.
fn without_kanji(octets: &[u8]) -> Vec<u8> {
    let mut kept = Vec::new();
    let mut kanji = false;
    let mut rest = octets;
    while let Some((&octet, behind)) = rest.split_first() {
        rest = match rest {
            [0x1B, b'$', _, behind @ ..] => {
                kanji = true;
                behind
            }
            [0x1B, b'(', _, behind @ ..] => {
                kanji = false;
                behind
            }
            _ => {
                if !kanji {
                    kept.push(octet);
                }
                behind
            }
        };
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case("=?utf-8?q?A=20b_c?=", "A b c")]
    #[case("x =?utf-8?b?QQ==?= \t=?utf-8?Q?B?= y", "x AB y")]
    #[case("\"=?us-ascii*en?q?A?=\"", "\"A\"")]
    #[case("what=?", "what=?")]
    #[case("=?iso-2022-jp?b?QRskQkA8GyhCQg==?=", "AB")]
    fn decodes(#[case] phrase: &str, #[case] expected: &str) {
        assert_eq!(decode(phrase).unwrap(), expected.as_bytes());
    }

    #[rstest]
    #[case::broken_base64("=?utf-8?b?Q*==?=")]
    #[case::broken_escape("=?utf-8?q?a=4?=")]
    #[case::unknown_encoding("=?utf-8?x?a?=")]
    #[case::line_end("=?utf-8?q?a=0Ab?=")]
    #[case::nul("=?utf-8?b?AA==?=")]
    #[case::utf_7("=?utf-7?q?a?=")]
    #[case::utf_16("=?utf-16le?b?QQA=?=")]
    #[case::unknown_charset("=?x-none?q?a?=")]
    fn undecodable(#[case] phrase: &str) {
        assert_eq!(decode(phrase), None);
    }

    #[rstest]
    #[case("Alice", true)]
    #[case("\"Alice@Example.org\" ", true)]
    #[case("'alice@example.org'", true)]
    #[case("\"Alice (alice@example.org)\"", true)]
    #[case("bob@example.org via a list", false)]
    #[case("=?iso-2022-jp?q?bob=40bank.example?=", false)]
    #[case("\u{202E}ecilA", false)]
    #[case("\"<Alice>\"", false)]
    fn names(#[case] phrase: &str, #[case] good: bool) {
        let address = "alice@example.org".parse().unwrap();
        assert_eq!(check_display_name(phrase, &address).is_ok(), good);
    }
}
