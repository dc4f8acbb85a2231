//! The Content-Type header field.

use super::Rule;
use super::header::VALUE_MAX;

/// A Content-Type value (RFC 2045 section 5.1), in the form that all parsers read alike.
#[derive(Debug)]
pub(crate) struct ContentType {
    /// `type/subtype`, lower case.
    pub(super) media: String,
    /// Lower case.
    pub(super) protocol: Option<String>,
    /// Of a `multipart/report` (RFC 6522 section 3), lower case.
    pub(crate) report_type: Option<String>,
    boundary: Option<String>,
    /// Lower case.
    charset: Option<String>,
}

impl ContentType {
    pub(crate) fn parse(value: &[u8]) -> Result<Self, Rule> {
        if value.len() > VALUE_MAX {
            return Err(Rule::HeaderTooLong);
        }
        let printable = |c: char| matches!(c, ' '..='~' | '\t' | '\r' | '\n');
        let text = str::from_utf8(value).map_err(|_| Rule::ContentTypeSyntax)?;
        if !text.chars().all(printable) || text.contains('\\') {
            return Err(Rule::ContentTypeSyntax);
        }
        let mut rest = text;
        let media = take_value_until(&mut rest, ';');
        if media.contains('(') {
            return Err(Rule::ContentTypeComment);
        }
        let (kind, subtype) = media
            .trim()
            .split_once('/')
            .ok_or(Rule::ContentTypeSyntax)?;
        if !is_token(kind) || !is_token(subtype) {
            return Err(Rule::ContentTypeSyntax);
        }
        let mut parsed = Self {
            media: format!("{kind}/{subtype}").to_ascii_lowercase(),
            protocol: None,
            report_type: None,
            boundary: None,
            charset: None,
        };
        let mut names: Vec<String> = Vec::new();
        while !rest.trim().is_empty() {
            let (name, value) = parse_parameter(&mut rest)?;
            let name = name.to_ascii_lowercase();
            if names.contains(&name) {
                return Err(Rule::ContentTypeParameterRepeated);
            }
            match name.as_str() {
                "boundary" => parsed.boundary = Some(value.to_owned()),
                "protocol" => parsed.protocol = Some(value.to_ascii_lowercase()),
                "report-type" => parsed.report_type = Some(value.to_ascii_lowercase()),
                "charset" => parsed.charset = Some(value.to_ascii_lowercase()),
                _ => {}
            }
            names.push(name);
        }
        if boundaries(text) > 1 {
            return Err(Rule::ContentTypeParameterRepeated);
        }
        Ok(parsed)
    }

    pub(crate) fn is(&self, media: &str) -> bool {
        self.media == media
    }

    /// Fails when the charset is one in which the ASCII text that the gate sees reads otherwise.
    pub(super) fn require_ascii(&self) -> Result<(), Rule> {
        match self.charset.as_deref() {
            Some(charset) if !reads_as_ascii(charset) => Err(Rule::Charset),
            _ => Ok(()),
        }
    }

    /// The boundary, if it is one (RFC 2046 section 5.1.1).
    pub(super) fn boundary(&self) -> Result<Vec<u8>, Rule> {
        let boundary = self.boundary.as_deref().ok_or(Rule::BoundaryMissing)?;
        let legal = |c: char| c.is_ascii_alphanumeric() || "'()+_,-./:=? ".contains(c);
        // Some parsers decode encoded words (RFC 2047) even here.
        let good = (1..=70).contains(&boundary.len())
            && boundary.chars().all(legal)
            && !boundary.ends_with(' ')
            && !boundary.contains("=?");
        if good {
            Ok(boundary.into())
        } else {
            Err(Rule::BoundarySyntax)
        }
    }
}

/// Whether ASCII octets mean ASCII characters in a charset (its name in lower case). UTF-7, UTF-16,
/// EBCDIC and charsets with escape sequences are not among these, nor is one that nobody knows.
pub(super) fn reads_as_ascii(charset: &str) -> bool {
    const KNOWN: [&str; 14] = [
        "us-ascii",
        "ascii",
        "utf-8",
        "utf8",
        "koi8-r",
        "koi8-u",
        "gb2312",
        "gbk",
        "gb18030",
        "big5",
        "euc-jp",
        "euc-kr",
        "shift_jis",
        "tis-620",
    ];
    const FAMILIES: [&str; 2] = ["iso-8859-", "windows-125"];
    let numbered = |family: &str| {
        let number = charset.strip_prefix(family);
        number.is_some_and(|n| (1..=2).contains(&n.len()) && n.bytes().all(|b| b.is_ascii_digit()))
    };
    KNOWN.contains(&charset) || FAMILIES.iter().any(|family| numbered(family))
}

/// How often a program that searches for `boundary=` without regard to quotes finds it.
fn boundaries(text: &str) -> usize {
    let lower = text.to_ascii_lowercase();
    let behind = lower.split("boundary").skip(1);
    behind
        .filter(|behind| behind.trim_start().starts_with(['=', '*']))
        .count()
}

/// Takes one `name=value` and the `;` behind it.
fn parse_parameter<'a>(rest: &mut &'a str) -> Result<(&'a str, &'a str), Rule> {
    let parameter = rest.trim_start();
    let (name, behind) = parameter.split_once('=').ok_or(Rule::ContentTypeSyntax)?;
    if name.contains('(') {
        return Err(Rule::ContentTypeComment);
    }
    if name.contains('*') {
        return Err(Rule::ContentTypeExtended);
    }
    if !is_token(name) {
        return Err(Rule::ContentTypeSyntax);
    }
    let Some(quoted) = behind.strip_prefix('"') else {
        *rest = behind;
        let value = take_value_until(rest, ';').trim_end();
        return match value {
            _ if value.contains('(') => Err(Rule::ContentTypeComment),
            _ if is_token(value) => Ok((name, value)),
            _ => Err(Rule::ContentTypeSyntax),
        };
    };
    let (value, behind) = quoted.split_once('"').ok_or(Rule::ContentTypeSyntax)?;
    *rest = behind;
    // Parsers differ on what folding inside quotes leaves behind.
    if value.contains(['\r', '\n', '\t']) {
        return Err(Rule::ContentTypeSyntax);
    }
    match take_value_until(rest, ';').trim() {
        "" => Ok((name, value)),
        text if text.starts_with('(') => Err(Rule::ContentTypeComment),
        _ => Err(Rule::ContentTypeSyntax),
    }
}

/// Takes what stands before `end`, and `end` itself if it is there.
fn take_value_until<'a>(rest: &mut &'a str, end: char) -> &'a str {
    let (value, behind) = rest.split_once(end).unwrap_or((rest, ""));
    *rest = behind;
    value
}

/// RFC 2045 section 5.1 `token`.
fn is_token(text: &str) -> bool {
    let special = |c: char| !c.is_ascii_graphic() || "()<>@,;:\\\"/[]?=".contains(c);
    !text.is_empty() && !text.contains(special)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case("utf-8", true)]
    #[case("iso-8859-15", true)]
    #[case("windows-1252", true)]
    #[case("iso-8859-", false)]
    #[case("iso-8859-155", false)]
    #[case("iso-2022-jp", false)]
    #[case("utf-7", false)]
    #[case("utf-16le", false)]
    #[case("", false)]
    fn charsets(#[case] charset: &str, #[case] ascii: bool) {
        assert_eq!(reads_as_ascii(charset), ascii);
    }

    #[rstest]
    #[case("multipart/mixed", 0)]
    #[case("multipart/mixed; boundary=my-boundary-1", 1)]
    #[case("multipart/mixed; x=\"Boundary =a\"; boundary=b", 2)]
    #[case("multipart/mixed; boundary*0=a; boundary*1=b", 2)]
    fn boundaries_to_a_search(#[case] text: &str, #[case] count: usize) {
        assert_eq!(boundaries(text), count);
    }
}
