//! The From header: exactly one mailbox (RFC 5322 section 3.4).

use super::Rule;
use super::display_name::check_display_name;
use super::header::VALUE_MAX;
use chatmail::Address;

/// Parses the value of a From header field: exactly one mailbox, `local@domain` or
/// `Display Name <local@domain>`.
///
/// The display name may be missing, or any sequence of atoms, dots, encoded words (RFC 2047),
/// UTF-8 (RFC 6532) and quoted strings, as long as no other address can be read out of it. Refused
/// are comments, groups, routes, several mailboxes, quoted local parts, encoded words inside the
/// address, and whatever else makes two parsers find two different addresses.
///
/// # Errors
/// One of the `From…` rules; [`Rule::HeaderTooLong`] above 2048 octets.
pub fn parse_from(value: &[u8]) -> Result<Address, Rule> {
    if value.len() > VALUE_MAX {
        return Err(Rule::HeaderTooLong);
    }
    let text = str::from_utf8(value).map_err(|_| Rule::FromSyntax)?;
    let folding = |c: char| matches!(c, '\t' | '\r' | '\n');
    if text.chars().any(|c| c.is_control() && !folding(c)) {
        return Err(Rule::FromSyntax);
    }
    let text = text.trim_matches([' ', '\t', '\r', '\n']);
    let Some(open) = end_of_phrase(text)? else {
        return parse_address(text);
    };
    let (phrase, angle) = text.split_at(open);
    let inner = angle.strip_prefix('<').unwrap_or(angle);
    let (address, behind) = inner.split_once('>').ok_or(Rule::FromSyntax)?;
    match behind.trim_start().chars().next() {
        None => {
            let address = parse_address(address)?;
            check_display_name(phrase, &address)?;
            Ok(address)
        }
        Some(',') => Err(Rule::FromSeveral),
        Some('(') => Err(Rule::FromComment),
        Some(';') => Err(Rule::FromGroup),
        Some(_) => Err(Rule::FromSyntax),
    }
}

/// Where the `<` is that ends the display name; `None` when the text is an address alone.
fn end_of_phrase(text: &str) -> Result<Option<usize>, Rule> {
    let mut quoted: Option<Quoted> = None;
    let mut at_sign = false;
    for (at, c) in text.char_indices() {
        if let Some(string) = &mut quoted {
            if string.take(c)? {
                quoted = None;
            }
            continue;
        }
        match c {
            '"' => quoted = Some(Quoted::beginning_at(at)),
            // `a@b <c@d>` is two addresses to some and one to others.
            '<' if at_sign => return Err(Rule::FromSyntax),
            '<' => return Ok(Some(at)),
            '(' | ')' => return Err(Rule::FromComment),
            ',' => return Err(Rule::FromSeveral),
            // The brackets and colons of `a@[IPv6:::1]` are for the address to judge.
            '@' => at_sign = true,
            '[' | ']' | ':' if at_sign => {}
            ':' | ';' => return Err(Rule::FromGroup),
            '>' | '[' | ']' | '\\' => return Err(Rule::FromSyntax),
            _ => {}
        }
    }
    if quoted.is_some() || !at_sign {
        Err(Rule::FromSyntax)
    } else {
        Ok(None)
    }
}

/// Inside a quoted string.
struct Quoted {
    /// The display name begins with it.
    first: bool,
    escape: bool,
    /// There was a backslash, which careless parsers overlook …
    escaped_any: bool,
    /// … and something that would then look like an address.
    special_any: bool,
}

impl Quoted {
    fn beginning_at(at: usize) -> Self {
        Self {
            first: at == 0,
            escape: false,
            escaped_any: false,
            special_any: false,
        }
    }

    /// Takes a character; returns whether the string ended.
    fn take(&mut self, c: char) -> Result<bool, Rule> {
        // Behind a word, quotes are ordinary characters to mailparse, and so to Delta Chat:
        // `x "<b@y>, z" <a@y>` is two mailboxes there, and b is the first.
        let special = matches!(c, '\\' | '@' | '<' | '>' | ',' | ';' | ':' | '(' | ')');
        if special && !self.first {
            return Err(Rule::FromSyntax);
        }
        if std::mem::take(&mut self.escape) {
            return Ok(false);
        }
        match c {
            '\\' => {
                self.escape = true;
                self.escaped_any = true;
            }
            '"' if self.escaped_any && self.special_any => return Err(Rule::FromSyntax),
            '"' => return Ok(true),
            '@' | '<' | '>' | ',' | ';' | ':' => self.special_any = true,
            _ => {}
        }
        Ok(false)
    }
}

fn parse_address(text: &str) -> Result<Address, Rule> {
    if text.starts_with('@') {
        return Err(Rule::FromGroup);
    }
    if text.contains('(') {
        return Err(Rule::FromComment);
    }
    // `=?…?=` is made of legal characters, but some programs would decode it.
    if text.contains("=?") {
        return Err(Rule::FromAddress);
    }
    text.parse().map_err(|_| Rule::FromAddress)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use rstest::rstest;

    #[rstest]
    #[case(b" <alice@example.org>")]
    #[case(b"alice@example.org")]
    #[case(b" Alice <Alice@Example.Org> ")]
    #[case(b"\"Alice\" <alice@example.org>")]
    #[case(b"\"Smith, Alice (home)\" <alice@example.org>")]
    #[case(b"\"alice@example.org\" <alice@example.org>")]
    #[case(b"\"'Alice@Example.org'\" <alice@example.org>")]
    #[case(b"=?utf-8?q?alice=40example=2Eorg?= <alice@example.org>")]
    #[case(b"\"Alice @ Home\" <alice@example.org>")]
    #[case(b"\"@alice\" <alice@example.org>")]
    #[case(b"\"Alice (alice@example.org)\" <alice@example.org>")]
    #[case(b"=?iso-2022-jp?b?GyRCQDxAPBsoQg==?= <alice@example.org>")]
    #[case(b"=?ISO-8859-1*fr?Q?Alice_=C9?= <alice@example.org>")]
    #[case(b"\"Alice\"<alice@example.org>")]
    #[case(b"The \"real\" \"Alice\" <alice@example.org>")]
    #[case(b"\"Alice \\\"the\\\" Smith\" <alice@example.org>")]
    #[case(b"Alice B. Smith\r\n <alice@example.org>")]
    #[case(b"=?utf-8?q?Al=C3=ADce?= =?utf-8?b?w6k=?=\n\t<alice@example.org>")]
    #[case("Алиса <alice@example.org>".as_bytes())]
    #[case("\"Алиса\" <alice@example.org>".as_bytes())]
    fn one_mailbox(#[case] value: &[u8]) {
        assert_eq!(parse_from(value).unwrap().to_string(), "alice@example.org");
    }

    #[rstest]
    #[case(b"A <a@[192.0.2.1]>", "a@[192.0.2.1]")]
    #[case(b"a@[IPv6:2001:db8::1]", "a@[IPv6:2001:db8::1]")]
    fn address_literals(#[case] value: &[u8], #[case] address: &str) {
        assert_eq!(parse_from(value).unwrap().to_string(), address);
    }

    #[rstest]
    #[case(b"", Rule::FromSyntax)]
    #[case(b"Alice", Rule::FromSyntax)]
    #[case(b"Alice <a@x.org", Rule::FromSyntax)]
    #[case(b"a@x.org> <b@x.org>", Rule::FromSyntax)]
    #[case(b"a@x.org <b@x.org>", Rule::FromSyntax)]
    #[case(b"<a@x.org> b", Rule::FromSyntax)]
    #[case(b"<a@x.org> <b@x.org>", Rule::FromSyntax)]
    #[case(b"\"Alice <a@x.org>", Rule::FromSyntax)]
    #[case(b"\"Smith (home) <x@y>\" <a@x.org>", Rule::FromSyntax)]
    #[case(b"\"b@x.org\" <a@x.org>", Rule::FromSyntax)]
    #[case(b"=?utf-8?q?b=40x=2Eorg?= <a@x.org>", Rule::FromSyntax)]
    #[case(b"\"b@x.org via a list\" <a@x.org>", Rule::FromSyntax)]
    #[case(b"\"a@x.org b@x.org\" <a@x.org>", Rule::FromSyntax)]
    #[case(b"=?utf-16?b?AGEAbA==?= <a@x.org>", Rule::FromSyntax)]
    #[case(b"\"a\\\" <b@x.org>, \" <a@x.org>", Rule::FromSyntax)]
    #[case::mailbox_in_later_quotes(b"x \"<b@x.org>, y\" <a@x.org>", Rule::FromSyntax)]
    #[case::mailbox_in_quotes_in_a_word(b"x\"<b@x.org>,y\" <a@x.org>", Rule::FromSyntax)]
    #[case::escape_in_later_quotes(b"x \"\\<b@x.org>, y\" <a@x.org>", Rule::FromSyntax)]
    #[case::semicolon_in_later_quotes(b"x\";\" <a@x.org>", Rule::FromSyntax)]
    #[case::comment_in_later_quotes(b"x \"(\" <a@x.org>", Rule::FromSyntax)]
    #[case(b"Ali\\ce <a@x.org>", Rule::FromSyntax)]
    #[case(b"[Alice] <a@x.org>", Rule::FromSyntax)]
    #[case(b"Al\xFFce <a@x.org>", Rule::FromSyntax)]
    #[case(b"Al\x01ce <a@x.org>", Rule::FromSyntax)]
    #[case(b"Alice (home) <a@x.org>", Rule::FromComment)]
    #[case(b"a@x.org (Alice)", Rule::FromComment)]
    #[case(b"<a(b)@x.org>", Rule::FromComment)]
    #[case(b"<a@x.org> (b)", Rule::FromComment)]
    #[case(b"Friends: a@x.org;", Rule::FromGroup)]
    #[case(b"Friends: a@x.org, b@x.org;", Rule::FromGroup)]
    #[case(b"<@relay:a@x.org>", Rule::FromGroup)]
    #[case(b"a@x.org;", Rule::FromGroup)]
    #[case(b"<a@x.org>;", Rule::FromGroup)]
    #[case(b"a@x.org, b@x.org", Rule::FromSeveral)]
    #[case(b"<a@x.org>, <b@x.org>", Rule::FromSeveral)]
    #[case(b"A, B <a@x.org>", Rule::FromSeveral)]
    #[case(b"<>", Rule::FromAddress)]
    #[case(b"<alice>", Rule::FromAddress)]
    #[case(b"<a@b@x.org>", Rule::FromAddress)]
    #[case(b"< a@x.org>", Rule::FromAddress)]
    #[case(b"<\"a b\"@x.org>", Rule::FromAddress)]
    #[case(b"\"a\"@x.org", Rule::FromAddress)]
    #[case(b"=?utf-8?q?a?=@x.org", Rule::FromAddress)]
    #[case(b"<=?utf-8?q?a?=@x.org>", Rule::FromAddress)]
    #[case("<älice@x.org>".as_bytes(), Rule::FromAddress)]
    #[case(b"a@x.org\r\n b@x.org", Rule::FromAddress)]
    fn refused(#[case] value: &[u8], #[case] rule: Rule) {
        assert_eq!(parse_from(value), Err(rule));
    }

    #[test]
    fn length_has_a_limit() {
        let long = format!("{} <a@x.org>", "x".repeat(2048));
        assert_eq!(parse_from(long.as_bytes()), Err(Rule::HeaderTooLong));
    }

    proptest! {
        #[test]
        fn never_panics(value in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = parse_from(&value);
        }

        /// The address is the last thing in the value, and the only one outside quotes.
        #[test]
        fn the_address_ends_the_value(value in "[a-z@<>,;:()\"\\\\ .\\[\\]=?]{0,40}") {
            if let Ok(address) = parse_from(value.as_bytes()) {
                let end = value.trim().trim_end_matches('>');
                prop_assert!(end.ends_with(&address.to_string()), "{} in {}", address, value);
            }
        }
    }
}
