//! What leaves in the header section: no subject, no traces of the sender's machine.
//!
//! `Subject` becomes `[...]`, and of several only one stays; a message without a subject stays
//! without. `Received`, `X-Originating-IP`, `X-Mailer` and `User-Agent` go, all of them. Strict mode
//! turns the list around: only what a chat client needs stays, and display names in `From`, `To`
//! and `Cc` go.
//!
//! Postfix's own `Received`, which holds the client's IP address, is not ours to remove: Postfix
//! neither shows it to milters nor counts it, wherever something is inserted (tried with 3.7).
//! `header_checks` with `/^Received:/ IGNORE` for the submission ports' cleanup(8) removes it, and
//! hides no other field from us.

use chatmail::Address;

use crate::session::Edit;

/// What `Subject` becomes.
pub const SUBJECT: &str = "[...]";

/// The most fields that are removed or rewritten in one message. Each costs Postfix a search
/// through its queue file; real messages have a handful.
pub const EDITS_MAX: usize = 256;

/// The most octets of address lists that strict mode rewrites in one message.
pub const ADDRESS_LISTS_MAX: usize = 64 << 10;

/// Longest field name, since a line has at most 998 octets (RFC 5322 section 2.1.1).
const NAME_MAX: usize = 998;

/// Removed in any mode.
const REMOVED: [&str; 4] = ["Received", "X-Originating-IP", "X-Mailer", "User-Agent"];

/// Kept by strict mode.
const KEPT: [&str; 10] = [
    "From",
    "To",
    "Cc",
    "Date",
    "Message-ID",
    "In-Reply-To",
    "References",
    "MIME-Version",
    "Auto-Submitted",
    "Secure-Join",
];

/// Kept by strict mode with whatever follows.
const KEPT_PREFIXES: [&str; 4] = ["Content-", "Chat-", "Autocrypt", "Secure-Join-"];

/// An address list that names nobody, as Delta Chat writes it (RFC 5322 section 3.4).
const HIDDEN: &str = "hidden-recipients: ;";

/// How much of a header section stays.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// What tells of the sender's machine goes, the rest stays.
    Ordinary,
    /// What a chat client needs stays, the rest goes.
    Strict,
}

/// A header section with so much to remove that it is no chat client's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("too many header fields to remove")]
pub struct Excess;

/// Takes notes of a header section and says what is to be changed in it.
#[derive(Debug)]
pub struct Hygiene {
    mode: Mode,
    subjects: u32,
    /// The first subject is the one that it would get.
    subject_is_masked: bool,
    froms: u32,
    /// Lower-case names of what goes, with how often they were seen.
    removals: Vec<(String, u32)>,
    lists: Vec<AddressList>,
    edits: usize,
    lists_size: usize,
}

/// A `To` or `Cc` field that strict mode rewrites.
#[derive(Debug)]
struct AddressList {
    name: &'static str,
    occurrence: u32,
    value: String,
}

impl Hygiene {
    /// Begins a message.
    pub fn new(mode: Mode) -> Self {
        Self {
            mode,
            subjects: 0,
            subject_is_masked: false,
            froms: 0,
            removals: Vec::new(),
            lists: Vec::new(),
            edits: 0,
            lists_size: 0,
        }
    }

    /// Notes one field.
    pub fn header(&mut self, name: &[u8], value: &[u8]) {
        let is = |known: &&str| name.eq_ignore_ascii_case(known.as_bytes());
        if is(&"Subject") {
            if self.subjects == 0 {
                let text = value.strip_prefix(b" ").unwrap_or(value);
                self.subject_is_masked = text == SUBJECT.as_bytes();
            }
            self.subjects = self.subjects.saturating_add(1);
            self.edits += 1;
        } else if REMOVED.iter().any(is) {
            self.remove(name);
        } else if self.mode == Mode::Strict {
            self.strict_header(name, value);
        }
    }

    /// What to change, in this order; `from` is the author's address.
    ///
    /// # Errors
    /// There is more to change than [`EDITS_MAX`] or [`ADDRESS_LISTS_MAX`].
    pub fn edits(self, from: &Address) -> Result<Vec<Edit>, Excess> {
        if self.edits > EDITS_MAX || self.lists_size > ADDRESS_LISTS_MAX {
            return Err(Excess);
        }
        let mut edits = Vec::new();
        // Chat clients mask it themselves; each change has Postfix rewrite its queue file.
        if self.subjects > 0 && !self.subject_is_masked {
            let (name, value) = ("Subject".to_owned(), SUBJECT.to_owned());
            edits.push(Edit::Replace {
                name,
                occurrence: 1,
                value,
            });
        }
        let more_subjects = ("subject".to_owned(), 2..=self.subjects);
        let removals = self
            .removals
            .into_iter()
            .map(|(name, count)| (name, 1..=count));
        for (name, occurrences) in removals.chain([more_subjects]) {
            // The last one first: a removal renumbers those that follow.
            let occurrences = occurrences.rev();
            edits.extend(occurrences.map(|occurrence| Edit::Delete {
                name: name.clone(),
                occurrence,
            }));
        }
        edits.extend((1..=self.froms).map(|occurrence| Edit::Replace {
            name: "From".to_owned(),
            occurrence,
            value: from.to_string(),
        }));
        edits.extend(self.lists.into_iter().map(|list| Edit::Replace {
            name: list.name.to_owned(),
            occurrence: list.occurrence,
            value: list.value,
        }));
        Ok(edits)
    }

    fn remove(&mut self, name: &[u8]) {
        self.edits += 1;
        if self.edits > EDITS_MAX || name.len() > NAME_MAX {
            // Refused at the end; nothing more to remember.
            self.edits = self.edits.max(EDITS_MAX + 1);
            return;
        }
        let known = |(known, _): &&mut (String, u32)| known.as_bytes().eq_ignore_ascii_case(name);
        match self.removals.iter_mut().find(known) {
            Some((_, count)) => *count += 1,
            None => {
                let name = String::from_utf8_lossy(name).to_ascii_lowercase();
                self.removals.push((name, 1));
            }
        }
    }

    fn strict_header(&mut self, name: &[u8], value: &[u8]) {
        let is = |known: &&str| name.eq_ignore_ascii_case(known.as_bytes());
        let begins = |prefix: &&str| {
            name.get(..prefix.len())
                .is_some_and(|start| start.eq_ignore_ascii_case(prefix.as_bytes()))
        };
        if is(&"From") {
            self.froms = self.froms.saturating_add(1);
            self.edits += 1;
        } else if let Some(list) = ["To", "Cc"].into_iter().find(|list| is(list)) {
            self.address_list(list, value);
        } else if !KEPT.iter().any(is) && !KEPT_PREFIXES.iter().any(begins) {
            self.remove(name);
        }
    }

    fn address_list(&mut self, name: &'static str, value: &[u8]) {
        self.edits += 1;
        self.lists_size += value.len();
        if self.edits > EDITS_MAX || self.lists_size > ADDRESS_LISTS_MAX {
            return;
        }
        let earlier = self.lists.iter().filter(|list| list.name == name).count();
        let occurrence = u32::try_from(earlier).unwrap_or(u32::MAX).saturating_add(1);
        self.lists.push(AddressList {
            name,
            occurrence,
            value: bare_addresses(value),
        });
    }
}

/// The addresses of a list without names, one on a line; what is no plain address is left out.
fn bare_addresses(value: &[u8]) -> String {
    let text = String::from_utf8_lossy(value);
    let parsed = mailparse::addrparse(text.trim())
        .map(|list| list.into_inner())
        .unwrap_or_default();
    let addresses: Vec<String> = parsed
        .into_iter()
        .flat_map(|entry| match entry {
            mailparse::MailAddr::Single(single) => vec![single.addr],
            mailparse::MailAddr::Group(group) => {
                group.addrs.into_iter().map(|single| single.addr).collect()
            }
        })
        .filter_map(|text| text.parse::<Address>().ok())
        .map(|address| address.to_string())
        .collect();
    if addresses.is_empty() {
        HIDDEN.to_owned()
    } else {
        addresses.join(",\n\t")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    fn edits(mode: Mode, headers: &[(&str, &str)]) -> Result<Vec<String>, Excess> {
        let mut hygiene = Hygiene::new(mode);
        for (name, value) in headers {
            hygiene.header(name.as_bytes(), value.as_bytes());
        }
        let edits = hygiene.edits(&"a@x.org".parse().unwrap())?;
        Ok(edits.iter().map(shown).collect())
    }

    fn shown(edit: &Edit) -> String {
        match edit {
            Edit::Replace {
                name,
                occurrence,
                value,
            } => format!("= {name} {occurrence}: {value}"),
            Edit::Delete { name, occurrence } => format!("- {name} {occurrence}"),
            other => format!("{other:?}"),
        }
    }

    #[test]
    fn an_ordinary_message() {
        let headers = [
            ("From", " A <a@x.org>"),
            ("Subject", " secret"),
            ("To", " B <b@x.org>"),
        ];
        assert_eq!(
            edits(Mode::Ordinary, &headers).unwrap(),
            ["= Subject 1: [...]"]
        );
    }

    #[test]
    fn a_message_without_subject_stays_without() {
        assert_eq!(edits(Mode::Ordinary, &[("To", "")]).unwrap(), [""; 0]);
    }

    #[test]
    fn a_masked_subject_is_left_alone_and_hides_no_other() {
        let headers = [("Subject", " [...]"), ("Subject", " secret")];
        assert_eq!(edits(Mode::Ordinary, &headers[..1]).unwrap(), [""; 0]);
        assert_eq!(edits(Mode::Ordinary, &headers).unwrap(), ["- subject 2"]);
        let almost = [("Subject", " [...] secret")];
        assert_eq!(
            edits(Mode::Ordinary, &almost).unwrap(),
            ["= Subject 1: [...]"]
        );
    }

    #[test]
    fn all_of_several_go_the_last_first_in_any_case() {
        let headers = [
            ("RECEIVED", " 1"),
            ("subject", " 1"),
            ("Received", " 2"),
            ("SUBJECT", " 2"),
            ("user-agent", " x"),
            ("X-mailer", " x"),
            ("X-Originating-Ip", " [192.0.2.1]"),
        ];
        assert_eq!(
            edits(Mode::Ordinary, &headers).unwrap(),
            [
                "= Subject 1: [...]",
                "- received 2",
                "- received 1",
                "- user-agent 1",
                "- x-mailer 1",
                "- x-originating-ip 1",
                "- subject 2",
            ]
        );
    }

    #[test]
    fn strict_mode_keeps_what_a_chat_client_needs() {
        let kept = [
            ("Date", ""),
            ("Message-ID", ""),
            ("in-reply-to", ""),
            ("References", ""),
            ("MIME-Version", ""),
            ("Content-Type", ""),
            ("Chat-Version", ""),
            ("Autocrypt", ""),
            ("Secure-Join", ""),
            ("Secure-Join-Auth", ""),
            ("Auto-Submitted", ""),
        ];
        assert_eq!(edits(Mode::Strict, &kept).unwrap(), [""; 0]);
        let others = [
            ("X-Foo", ""),
            ("Reply-To", ""),
            ("x-foo", ""),
            ("Received", ""),
        ];
        assert_eq!(
            edits(Mode::Strict, &others).unwrap(),
            ["- x-foo 2", "- x-foo 1", "- reply-to 1", "- received 1",]
        );
    }

    #[rstest]
    #[case(" Bob <B@x.org>", "b@x.org")]
    #[case(" \"Smith, Bob\" <b@x.org>,\n c@y.org", "b@x.org,\n\tc@y.org")]
    #[case(" \"hidden-recipients\": ;", HIDDEN)]
    #[case(" friends: Bob <b@x.org>, c@x.org;", "b@x.org,\n\tc@x.org")]
    #[case(" nonsense", HIDDEN)]
    #[case("", HIDDEN)]
    #[case(" <b@x.org\r\nBcc: c@x.org>", HIDDEN)]
    fn strict_mode_drops_display_names(#[case] value: &str, #[case] expected: &str) {
        let headers = [("From", " Alice <a@x.org>"), ("To", value)];
        assert_eq!(
            edits(Mode::Strict, &headers).unwrap(),
            [
                "= From 1: a@x.org".to_owned(),
                format!("= To 1: {expected}")
            ]
        );
    }

    #[test]
    fn there_is_an_end_to_it() {
        let many = vec![("Received", " x"); EDITS_MAX];
        assert!(edits(Mode::Ordinary, &many).is_ok());
        let more = vec![("Received", " x"); EDITS_MAX + 1];
        assert_eq!(edits(Mode::Ordinary, &more), Err(Excess));
        let long = "x".repeat(ADDRESS_LISTS_MAX + 1);
        assert_eq!(edits(Mode::Strict, &[("To", &long)]), Err(Excess));
        assert!(edits(Mode::Ordinary, &[("To", &long)]).is_ok());
        let long = "X".repeat(NAME_MAX + 1);
        assert_eq!(edits(Mode::Strict, &[(&long, "")]), Err(Excess));
    }
}
