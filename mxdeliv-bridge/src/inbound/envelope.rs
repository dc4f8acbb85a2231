//! The envelope of a posted message: `X-Mail-From` and `X-Mail-To`.

use axum::http::HeaderMap;
use chatmail::smtp::Path;

use super::answer::Failure;

const SENDER: &str = "x-mail-from";
const RECIPIENT: &str = "x-mail-to";

/// The most recipients of one message.
pub(super) const RECIPIENTS_MAX: usize = 1000;

/// Who sent a message and who is to get it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Posted {
    pub(super) sender: Path,
    /// 1 to [`RECIPIENTS_MAX`], each once, in an order of our own.
    pub(super) recipients: Vec<Path>,
}

impl Posted {
    /// Reads the header fields of a request.
    pub(super) fn read(headers: &HeaderMap) -> Result<Self, Failure> {
        let mut senders = headers.get_all(SENDER).iter();
        let sender = senders.next().map_or(Ok(Path::null()), |value| {
            path(value.as_bytes()).ok_or(Failure::bad_request("X-Mail-From is no address"))
        })?;
        for value in senders {
            if path(value.as_bytes()).as_ref() != Some(&sender) {
                return Err(Failure::bad_request("More than one X-Mail-From"));
            }
        }
        let recipients = recipients(headers)?;
        Ok(Self { sender, recipients })
    }
}

fn recipients(headers: &HeaderMap) -> Result<Vec<Path>, Failure> {
    let values = headers.get_all(RECIPIENT).iter();
    let texts = values.flat_map(|value| value.as_bytes().split(|&octet| octet == b','));
    let texts = texts.filter(|text| !text.trim_ascii().is_empty());
    let mut recipients = Vec::new();
    for text in texts {
        match path(text) {
            Some(path) if !path.is_null() => recipients.push(path),
            _ => return Err(Failure::bad_request("X-Mail-To is no address")),
        }
    }
    recipients.sort_unstable_by(|one, other| one.as_bytes().cmp(other.as_bytes()));
    recipients.dedup();
    match recipients.len() {
        0 => Err(Failure::bad_request("X-Mail-To is missing")),
        1..=RECIPIENTS_MAX => Ok(recipients),
        _ => Err(Failure::bad_request("Too many recipients")),
    }
}

/// With or without angle brackets; in lower case and with literals in one form, if it is an address as
/// accounts have them.
fn path(text: &[u8]) -> Option<Path> {
    let text = text.trim_ascii();
    let bare = text
        .strip_prefix(b"<")
        .and_then(|rest| rest.strip_suffix(b">"));
    let path = Path::try_from(bare.unwrap_or(text)).ok()?;
    Some(path.address().as_ref().map(Path::from).unwrap_or(path))
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::response::IntoResponse as _;
    use rstest::rstest;

    fn read(fields: &[(&'static str, &str)]) -> Result<(String, Vec<String>), u16> {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(*name, value.parse().unwrap());
        }
        let text = |path: &Path| String::from_utf8(path.as_bytes().to_vec()).unwrap();
        match Posted::read(&headers) {
            Ok(posted) => Ok((
                text(&posted.sender),
                posted.recipients.iter().map(text).collect(),
            )),
            Err(failure) => Err(failure.into_response().status().as_u16()),
        }
    }

    #[rstest]
    #[case("a@x.org", "a@x.org")]
    #[case(" <A@X.org> ", "a@x.org")]
    #[case("", "")]
    #[case("<>", "")]
    #[case("a@[IPV6:2001:DB8:0::1]", "a@[IPv6:2001:db8::1]")]
    #[case("\"a b\"@x.org", "\"a b\"@x.org")]
    fn senders(#[case] value: &str, #[case] expected: &str) {
        let (sender, _) = read(&[(SENDER, value), (RECIPIENT, "b@x.org")]).unwrap();
        assert_eq!(sender, expected);
    }

    #[test]
    fn a_sender_may_be_missing_or_repeated_but_not_two() {
        let to = (RECIPIENT, "b@x.org");
        assert_eq!(read(&[to]).unwrap().0, "");
        let (one, same) = ((SENDER, "a@x.org"), (SENDER, "<A@x.org>"));
        assert_eq!(read(&[one, same, to]).unwrap().0, "a@x.org");
        assert_eq!(read(&[one, (SENDER, "c@x.org"), to]), Err(400));
        assert_eq!(read(&[one, (SENDER, ""), to]), Err(400));
        assert_eq!(read(&[(SENDER, "a@x.org> b"), to]), Err(400));
    }

    #[rstest]
    #[case(&["b@x.org"], &["b@x.org"])]
    #[case(&["c@x.org, <B@x.org>,,b@X.ORG", "b@[192.0.2.1]"], &["b@[192.0.2.1]", "b@x.org", "c@x.org"])]
    fn recipients_in_all_forms(#[case] values: &[&str], #[case] expected: &[&str]) {
        let fields: Vec<_> = values.iter().map(|value| (RECIPIENT, *value)).collect();
        assert_eq!(read(&fields).unwrap().1, expected);
    }

    #[test]
    fn recipients_that_cannot_be() {
        assert_eq!(read(&[]), Err(400));
        for none in ["", " , ", "<>", "a b@x.org", "b@x.org c@x.org"] {
            assert_eq!(read(&[(RECIPIENT, none)]), Err(400), "{none:?}");
        }
    }

    #[test]
    fn a_thousand_recipients_are_the_most() {
        let list = |count: usize| (0..count).map(|at| format!("{at}@x.org"));
        let join = |count| list(count).collect::<Vec<_>>().join(",");
        assert_eq!(read(&[(RECIPIENT, &join(1000))]).unwrap().1.len(), 1000);
        assert_eq!(read(&[(RECIPIENT, &join(1001))]), Err(400));
    }
}
