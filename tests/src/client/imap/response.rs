//! IMAP responses: lines in which literals stand as counted bytes (RFC 3501 sections 4.3 and 7).

use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

use bytes::Bytes;

use crate::client::connection::{ClientError, Connection};

/// The largest literal that is read, in bytes; far above any relay's message limit.
const LITERAL_MAX: usize = 512 << 20;

/// A command's completion and the untagged responses before it.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The tagged response.
    pub completion: Completion,
    /// What came before it, without the leading `* `.
    pub untagged: Vec<Response>,
}

/// How a command ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// Done.
    Ok,
    /// Understood, but not done.
    No,
    /// Not understood.
    Bad,
}

/// A tagged response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Completion {
    /// How the command ended.
    pub status: Status,
    /// The first word of the response code: `AUTHENTICATIONFAILED`.
    pub code: Option<String>,
    /// Everything after the status, the code included.
    pub text: String,
}

impl fmt::Display for Completion {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{:?} {}", self.status, self.text)
    }
}

/// One response, its literals kept as they came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response {
    parts: Vec<Part>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Text(Bytes),
    Literal(Bytes),
}

impl Response {
    /// Reads one response to its end, literals included. `limit` is for each of its lines.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub(super) async fn read(
        connection: &mut Connection,
        limit: Duration,
        awaited: &str,
    ) -> Result<Self, ClientError> {
        let mut parts = Vec::new();
        loop {
            let line = connection.read_line_within(limit, awaited).await?;
            let literal = literal_length(&line);
            parts.push(Part::Text(line));
            match literal {
                None => return Ok(Self { parts }),
                Some(length) if length <= LITERAL_MAX => {
                    let bytes = connection
                        .read_exact(length, "the rest of a literal")
                        .await?;
                    parts.push(Part::Literal(bytes));
                }
                Some(length) => {
                    return Err(ClientError::Unexpected {
                        awaited: awaited.to_owned(),
                        received: format!("a literal of {length} bytes"),
                    });
                }
            }
        }
    }

    /// The text without its literals; each one's `{N}` stays.
    pub fn text(&self) -> Cow<'_, str> {
        let mut texts = self.parts.iter().filter_map(|part| match part {
            Part::Text(bytes) => Some(String::from_utf8_lossy(bytes)),
            Part::Literal(_) => None,
        });
        let first = texts.next().unwrap_or_default();
        texts.fold(first, |all, text| all + text)
    }

    /// The first literal.
    pub fn literal(&self) -> Option<&Bytes> {
        self.literals().next()
    }

    /// All literals, in order.
    pub fn literals(&self) -> impl Iterator<Item = &Bytes> {
        self.parts.iter().filter_map(|part| match part {
            Part::Literal(bytes) => Some(bytes),
            Part::Text(_) => None,
        })
    }

    /// The number in `N KEYWORD …`: `3 EXISTS`, `7 FETCH (…)`.
    pub fn number_of(&self, keyword: &str) -> Option<u32> {
        let text = self.text();
        let mut words = text.split(' ');
        let number = words.next()?.parse().ok()?;
        words
            .next()?
            .eq_ignore_ascii_case(keyword)
            .then_some(number)
    }

    /// The number in a response code: `OK [UIDNEXT 4] …`.
    pub fn code_number(&self, name: &str) -> Option<u32> {
        let text = self.text();
        let rest = text.split_once(&format!("[{name} "))?.1;
        rest.split_once(']')?.0.parse().ok()
    }

    /// The number after a name in a parenthesised list: `FETCH (UID 4 …)`.
    pub fn item_number(&self, name: &str) -> Option<u32> {
        let text = self.text();
        let mut words = text.split([' ', '(', ')']);
        words.find(|word| word.eq_ignore_ascii_case(name))?;
        words.next()?.parse().ok()
    }

    pub(super) fn is_continuation(&self) -> bool {
        matches!(self.parts.first(), Some(Part::Text(text)) if text.starts_with(b"+"))
    }

    /// The completion, when this is the response to the command with this tag.
    pub(super) fn completion(&self, tag: &str) -> Option<Completion> {
        let text = self.text();
        let rest = text.strip_prefix(tag)?.strip_prefix(' ')?;
        let (status, text) = rest.split_once(' ').unwrap_or((rest, ""));
        let status = match status {
            "OK" => Status::Ok,
            "NO" => Status::No,
            "BAD" => Status::Bad,
            _ => return None,
        };
        let code = text
            .strip_prefix('[')
            .and_then(|code| code.split([']', ' ']).next());
        Some(Completion {
            status,
            code: code.map(str::to_owned),
            text: text.to_owned(),
        })
    }

    pub(super) fn without_star(mut self) -> Self {
        if let Some(Part::Text(text)) = self.parts.first_mut()
            && text.starts_with(b"* ")
        {
            *text = text.slice(2..);
        }
        self
    }
}

/// A quoted string (RFC 3501 section 4.3), or nothing when the text cannot be quoted.
pub(super) fn quoted(text: &str) -> Option<String> {
    let fits = text.bytes().all(|byte| (b' '..=b'~').contains(&byte));
    fits.then(|| format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\"")))
}

/// The N of a line that ends in `{N}`.
fn literal_length(line: &[u8]) -> Option<usize> {
    let inner = line.strip_suffix(b"}")?;
    let start = inner.iter().rposition(|&byte| byte == b'{')? + 1;
    let digits = inner
        .get(start..)
        .filter(|digits| digits.iter().all(u8::is_ascii_digit))?;
    std::str::from_utf8(digits).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    fn text(line: &str) -> Response {
        Response {
            parts: vec![Part::Text(Bytes::copy_from_slice(line.as_bytes()))],
        }
    }

    #[rstest]
    #[case("* 1 FETCH (BODY[] {12}", Some(12))]
    #[case("{0}", Some(0))]
    #[case("{}", None)]
    #[case("{1a}", None)]
    #[case("{12} ", None)]
    #[case("12}", None)]
    #[case("{99999999999999999999999}", None)]
    fn literal_announcements(#[case] line: &str, #[case] length: Option<usize>) {
        assert_eq!(literal_length(line.as_bytes()), length);
    }

    #[rstest]
    #[case("pass word", Some("\"pass word\""))]
    #[case(r#"a"b\c"#, Some(r#""a\"b\\c""#))]
    #[case("umläut", None)]
    #[case("a\r\nb", None)]
    fn quoting(#[case] plain: &str, #[case] wire: Option<&str>) {
        assert_eq!(quoted(plain).as_deref(), wire);
    }

    #[test]
    fn completions_have_a_status_and_a_code() {
        let response = text("c7 NO [AUTHENTICATIONFAILED] Authentication failed.");
        let completion = response.completion("c7").unwrap();
        assert_eq!(completion.status, Status::No);
        assert_eq!(completion.code.as_deref(), Some("AUTHENTICATIONFAILED"));
        assert_eq!(response.completion("c"), None);
        assert_eq!(text("c1 OK done").completion("c1").unwrap().code, None);
        assert_eq!(text("* OK still here").completion("c1"), None);
    }

    #[test]
    fn numbers_are_found() {
        assert_eq!(
            text("* 3 EXISTS").without_star().number_of("EXISTS"),
            Some(3)
        );
        assert_eq!(text("3 RECENT").number_of("EXISTS"), None);
        assert_eq!(text("OK [UIDNEXT 9] next").code_number("UIDNEXT"), Some(9));
        assert_eq!(
            text("2 FETCH (UID 44 BODY[] {5}").item_number("UID"),
            Some(44)
        );
    }
}
