//! Delivery reports (DSNs): the one cleartext that everybody gets from other relays.
//!
//! A message that could not be delivered comes back as a `multipart/report` with the report type
//! `delivery-status` (RFC 6522, RFC 3464), made by a machine (`Auto-Submitted`, RFC 3834) and sent
//! from the null sender or from `mailer-daemon@`. Only the header section is looked at, and no more of
//! it is kept than what it says on this. That the author's domain signed the message is for the
//! caller to see to.

use crate::gate::{ContentType, Once};

/// The largest body of a delivery report, in octets.
pub const BODY_MAX: u64 = 1 << 20;

/// What a message is, as far as delivery reports go.
#[derive(Debug, Default)]
pub struct DeliveryReport {
    content_type: Once<Kind>,
    /// Whether a machine made it.
    auto_submitted: Once<bool>,
    body: u64,
}

/// Why a message is not a delivery report.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Flaw {
    /// It does not claim to be a report.
    #[error("not-a-report")]
    NoReport,
    /// It is a report without `report-type=delivery-status`.
    #[error("report-type")]
    ReportType,
    /// `Auto-Submitted` is missing, repeated or `no`.
    #[error("report-auto-submitted")]
    AutoSubmitted,
    /// It does not come from a mail system.
    #[error("report-sender")]
    Sender,
    /// Its body is larger than [`BODY_MAX`].
    #[error("report-too-large")]
    TooLarge,
}

/// What a `Content-Type` announces.
#[derive(Clone, Copy, Debug)]
enum Kind {
    DeliveryStatus,
    OtherReport,
    Else,
}

impl DeliveryReport {
    /// Takes a header field, its value with the white space that follows the colon.
    pub fn header(&mut self, name: &[u8], value: &[u8]) {
        if name.eq_ignore_ascii_case(b"Content-Type") {
            self.content_type.set(|| Ok(kind(value)));
        } else if name.eq_ignore_ascii_case(b"Auto-Submitted") {
            self.auto_submitted.set(|| Ok(is_automatic(value)));
        }
    }

    /// Takes a piece of the body.
    pub fn body(&mut self, chunk: &[u8]) {
        self.body = self.body.saturating_add(chunk.len() as u64);
    }

    /// Whether the message is a delivery report. `mail_system`: its envelope sender is null or
    /// `mailer-daemon@`.
    ///
    /// # Errors
    /// The first thing that is missing.
    pub fn check(&self, mail_system: bool) -> Result<(), Flaw> {
        match self.content_type.given() {
            Some(Kind::DeliveryStatus) => {}
            Some(Kind::OtherReport) => return Err(Flaw::ReportType),
            Some(Kind::Else) | None => return Err(Flaw::NoReport),
        }
        if self.auto_submitted.given() != Some(&true) {
            Err(Flaw::AutoSubmitted)
        } else if !mail_system {
            Err(Flaw::Sender)
        } else if self.body > BODY_MAX {
            Err(Flaw::TooLarge)
        } else {
            Ok(())
        }
    }
}

fn kind(value: &[u8]) -> Kind {
    match ContentType::parse(value) {
        Ok(report) if report.is("multipart/report") => match report.report_type.as_deref() {
            Some("delivery-status") => Kind::DeliveryStatus,
            _ => Kind::OtherReport,
        },
        _ => Kind::Else,
    }
}

/// RFC 3834 section 5: `no`, or what made the message, with parameters and comments behind it.
fn is_automatic(value: &[u8]) -> bool {
    let mut words =
        value.split(|octet| matches!(octet, b';' | b'(') || octet.is_ascii_whitespace());
    let keyword = words.find(|word| !word.is_empty()).unwrap_or_default();
    let is_keyword = |octet: &u8| octet.is_ascii_alphanumeric() || *octet == b'-';
    !keyword.is_empty() && keyword.iter().all(is_keyword) && !keyword.eq_ignore_ascii_case(b"no")
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    const TYPE: (&str, &str) = (
        "Content-Type",
        " multipart/report; report-type=delivery-status;\n\tboundary=\"x\"",
    );
    const AUTO: (&str, &str) = ("Auto-Submitted", " auto-replied");

    fn check(headers: &[(&str, &str)]) -> Result<(), Flaw> {
        report(headers).check(true)
    }

    fn report(headers: &[(&str, &str)]) -> DeliveryReport {
        let mut report = DeliveryReport::default();
        for (name, value) in headers {
            report.header(name.as_bytes(), value.as_bytes());
        }
        report
    }

    #[test]
    fn reports_of_mail_systems_are_reports() {
        assert_eq!(check(&[TYPE, AUTO]), Ok(()));
        let shouted = (
            "CONTENT-TYPE",
            " Multipart/Report; Report-Type=\"Delivery-Status\"; boundary=x",
        );
        assert_eq!(check(&[("auto-submitted", " x"), shouted]), Ok(()));
        assert_eq!(report(&[TYPE, AUTO]).check(false), Err(Flaw::Sender));
    }

    #[rstest]
    #[case(" text/plain", Flaw::NoReport)]
    #[case(" multipart/mixed; report-type=delivery-status", Flaw::NoReport)]
    #[case(" multipart/report(x); report-type=delivery-status", Flaw::NoReport)]
    #[case(" multipart/report; report-type*=delivery-status", Flaw::NoReport)]
    #[case(
        " multipart/report; report-type=delivery-status; report-type=x",
        Flaw::NoReport
    )]
    #[case(" multipart/report", Flaw::ReportType)]
    #[case(
        " multipart/report; report-type=disposition-notification",
        Flaw::ReportType
    )]
    fn other_types_are_none(#[case] value: &str, #[case] flaw: Flaw) {
        assert_eq!(check(&[("Content-Type", value), AUTO]), Err(flaw));
    }

    #[rstest]
    #[case(" auto-generated", true)]
    #[case("\tauto-replied; owner-email=\"a@x.org\"", true)]
    #[case(" auto-replied (bounce)", true)]
    #[case("\n auto-generated", true)]
    #[case(" no", false)]
    #[case(" NO (really)", false)]
    #[case("no;", false)]
    #[case("", false)]
    #[case(" ", false)]
    #[case(" (no)", false)]
    #[case(" =?utf-8?q?no?=", false)]
    fn machines_say_so(#[case] value: &str, #[case] automatic: bool) {
        let expected = automatic.then_some(()).ok_or(Flaw::AutoSubmitted);
        assert_eq!(check(&[TYPE, ("Auto-Submitted", value)]), expected);
    }

    #[test]
    fn repeated_fields_say_nothing() {
        assert_eq!(check(&[TYPE, TYPE, AUTO]), Err(Flaw::NoReport));
        assert_eq!(check(&[TYPE, AUTO, AUTO]), Err(Flaw::AutoSubmitted));
        assert_eq!(check(&[TYPE]), Err(Flaw::AutoSubmitted));
        assert_eq!(check(&[AUTO]), Err(Flaw::NoReport));
    }

    #[test]
    fn reports_are_small() {
        let mut report = report(&[TYPE, AUTO]);
        for _ in 0..BODY_MAX / 1024 {
            report.body(&[b'x'; 1024]);
        }
        assert_eq!(report.check(true), Ok(()));
        report.body(b"x");
        assert_eq!(report.check(true), Err(Flaw::TooLarge));
    }
}
