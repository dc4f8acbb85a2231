//! The header fields that decide, at the top of a message and of its parts.
//!
//! Parsers differ on repeated fields, on comments and on RFC 2231 parameters: what one program
//! judges and another program shows must be the same, so only the one form is accepted that all
//! of them read in the same way.

use super::Rule;
use super::content_type::ContentType;
use super::from::parse_from;
use super::lines::{LINE_MAX, may_end_line};
use chatmail::Address;

/// Longest value in octets of a field that decides.
pub(super) const VALUE_MAX: usize = 2048;
/// Octets in the header section of a part. Real ones take about 200: names and descriptions, not
/// letters.
const PART_HEADERS_MAX: usize = 512;

/// What the header section of the message says.
#[derive(Debug, Default)]
pub(super) struct MessageHeaders {
    from: Once<Address>,
    content_type: Once<ContentType>,
    secure_join: Once<SecureJoin>,
    transfer_encoding: Once<TransferEncoding>,
    mime_version: Once<()>,
}

impl MessageHeaders {
    /// Takes a field. The error is one of its syntax; what it says is judged at the end.
    pub(super) fn field(&mut self, name: &[u8], value: &[u8]) -> Result<(), Rule> {
        let of = |wanted: &str| name.eq_ignore_ascii_case(wanted.as_bytes());
        let syntax = check_field_syntax(name, value);
        let decisive = || syntax.and_then(|()| check_line_lengths(name, value));
        if of("From") {
            // A From field that is broken is there all the same.
            let syntax = decisive();
            self.from.set(|| syntax.and_then(|()| parse_from(value)));
            return syntax;
        }
        if of("Content-Type") {
            decisive()?;
            self.content_type.set(|| ContentType::parse(value));
        } else if of("Secure-Join") {
            decisive()?;
            self.secure_join.set(|| SecureJoin::parse(value));
        } else if of("Content-Transfer-Encoding") {
            decisive()?;
            self.transfer_encoding
                .set(|| TransferEncoding::parse(value));
        } else if of("MIME-Version") {
            decisive()?;
            self.mime_version.set(|| Ok(()));
        }
        syntax
    }

    /// The one mailbox of the one From field.
    pub(super) fn from(&self) -> Result<Address, Rule> {
        self.from
            .get(Rule::FromRepeated)?
            .cloned()
            .unwrap_or(Err(Rule::FromMissing))
    }

    /// What the body has to be.
    pub(super) fn shape(&self) -> Result<Shape, Rule> {
        if self.from.get(Rule::FromRepeated)?.is_none() {
            return Err(Rule::FromMissing);
        }
        self.mime_version.get(Rule::MimeVersionRepeated)?;
        let encoding = self.transfer_encoding.get(Rule::TransferEncodingRepeated)?;
        if let Some(encoding) = encoding.transpose()? {
            encoding.require_plain()?;
        }
        let content_type = self.content_type.get(Rule::ContentTypeRepeated)?;
        let content_type = content_type.ok_or(Rule::ContentTypeMissing)?.as_ref();
        let content_type = content_type.map_err(|&rule| rule)?;
        if content_type.is("multipart/encrypted") {
            if content_type
                .protocol
                .as_deref()
                .is_some_and(|p| p != "application/pgp-encrypted")
            {
                return Err(Rule::Protocol);
            }
            content_type.require_ascii()?;
            return Ok(Shape {
                kind: Kind::Encrypted,
                boundary: content_type.boundary()?,
            });
        }
        let step = self
            .secure_join
            .get(Rule::SecureJoinRepeated)?
            .ok_or(Rule::NotEncrypted)?;
        let step = *step.as_ref().map_err(|&rule| rule)?;
        if !content_type.is("multipart/mixed") {
            return Err(Rule::SecureJoinType);
        }
        content_type.require_ascii()?;
        Ok(Shape {
            kind: Kind::Securejoin(step),
            boundary: content_type.boundary()?,
        })
    }
}

/// What the body has to be, by the header section.
#[derive(Debug)]
pub(super) struct Shape {
    pub(super) kind: Kind,
    pub(super) boundary: Vec<u8>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Encrypted,
    Securejoin(SecureJoin),
}

/// The securejoin steps that are sent in clear text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SecureJoin {
    ContactRequest,
    GroupRequest,
}

impl SecureJoin {
    /// The text of the message.
    pub(super) fn text(self) -> &'static str {
        match self {
            Self::ContactRequest => "secure-join: vc-request",
            Self::GroupRequest => "secure-join: vg-request",
        }
    }

    fn parse(value: &[u8]) -> Result<Self, Rule> {
        match value.trim_ascii() {
            b"vc-request" => Ok(Self::ContactRequest),
            b"vg-request" => Ok(Self::GroupRequest),
            _ => Err(Rule::SecureJoinStep),
        }
    }
}

/// What the header section of a part says: MIME fields only, each once (RFC 2045 section 3).
#[derive(Debug, Default)]
pub(super) struct PartHeaders {
    octets: usize,
    content_type: Once<ContentType>,
    transfer_encoding: Once<TransferEncoding>,
    id: Once<()>,
    description: Once<()>,
    disposition: Once<()>,
}

impl PartHeaders {
    /// Takes a field.
    pub(super) fn field(&mut self, name: &[u8], value: &[u8]) -> Result<(), Rule> {
        check_field_syntax(name, value)?;
        self.octets += name.len() + value.len();
        if self.octets > PART_HEADERS_MAX {
            return Err(Rule::HeaderTooLong);
        }
        let first = match name.to_ascii_lowercase().as_slice() {
            b"content-type" => self.content_type.set(|| ContentType::parse(value)),
            b"content-transfer-encoding" => self
                .transfer_encoding
                .set(|| TransferEncoding::parse(value)),
            b"content-id" => self.id.set(|| Ok(())),
            b"content-description" => self.description.set(|| Ok(())),
            b"content-disposition" => self.disposition.set(|| Ok(())),
            _ => return Err(Rule::PartHeader),
        };
        if first {
            Ok(())
        } else {
            Err(Rule::PartHeaderRepeated)
        }
    }

    /// Judges the part: it must be of the type `wanted`, and stand as it is.
    ///
    /// `quoted_printable`: the part's whole content is known and holds no `=`, so that this
    /// encoding does not change it.
    pub(super) fn require(&self, wanted: &str, quoted_printable: bool) -> Result<(), Rule> {
        let content_type = self.content_type.get(Rule::PartHeaderRepeated)?;
        let content_type = content_type
            .ok_or(Rule::PartType)?
            .as_ref()
            .map_err(|&rule| rule)?;
        if content_type.media.starts_with("multipart/")
            || content_type.media.starts_with("message/")
        {
            return Err(Rule::PartNested);
        }
        if !content_type.is(wanted) {
            return Err(Rule::PartType);
        }
        content_type.require_ascii()?;
        match self
            .transfer_encoding
            .get(Rule::PartHeaderRepeated)?
            .transpose()?
        {
            Some(TransferEncoding::QuotedPrintable) if quoted_printable => Ok(()),
            Some(encoding) => encoding.require_plain(),
            None => Ok(()),
        }
    }
}

/// A field that may stand once.
#[derive(Debug, Default)]
pub(crate) enum Once<T> {
    #[default]
    Missing,
    Given(Result<T, Rule>),
    Repeated,
}

impl<T> Once<T> {
    /// Takes the field; false when it is not the first.
    pub(crate) fn set(&mut self, parse: impl FnOnce() -> Result<T, Rule>) -> bool {
        let first = matches!(self, Self::Missing);
        *self = if first {
            Self::Given(parse())
        } else {
            Self::Repeated
        };
        first
    }

    /// What the field says, when it stands once and can be read.
    pub(crate) fn given(&self) -> Option<&T> {
        match self {
            Self::Given(value) => value.as_ref().ok(),
            Self::Missing | Self::Repeated => None,
        }
    }

    fn get(&self, repeated: Rule) -> Result<Option<&Result<T, Rule>>, Rule> {
        match self {
            Self::Missing => Ok(None),
            Self::Given(value) => Ok(Some(value)),
            Self::Repeated => Err(repeated),
        }
    }
}

/// `Option<&Result<…>>` as it comes out of [`Once::get`], the other way round.
trait Transpose<T> {
    fn transpose(self) -> Result<Option<T>, Rule>;
}

impl<T: Copy> Transpose<T> for Option<&Result<T, Rule>> {
    fn transpose(self) -> Result<Option<T>, Rule> {
        self.copied().map_or(Ok(None), |result| result.map(Some))
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum TransferEncoding {
    Plain,
    QuotedPrintable,
    Other,
}

impl TransferEncoding {
    fn parse(value: &[u8]) -> Result<Self, Rule> {
        Ok(match value.trim_ascii().to_ascii_lowercase().as_slice() {
            b"7bit" | b"8bit" => Self::Plain,
            b"quoted-printable" => Self::QuotedPrintable,
            _ => Self::Other,
        })
    }

    fn require_plain(self) -> Result<(), Rule> {
        if self == Self::Plain {
            Ok(())
        } else {
            Err(Rule::TransferEncoding)
        }
    }
}

/// What holds for each field: a printable name, and line ends only where the value is folded.
fn check_field_syntax(name: &[u8], value: &[u8]) -> Result<(), Rule> {
    if value.contains(&0) || name.contains(&0) {
        return Err(Rule::Nul);
    }
    if name.is_empty()
        || !name
            .iter()
            .all(|octet| octet.is_ascii_graphic() && *octet != b':')
    {
        return Err(Rule::HeaderSyntax);
    }
    check_line_ends(value)?;
    check_characters(value)
}

/// CR and LF stand only where the value is folded.
fn check_line_ends(value: &[u8]) -> Result<(), Rule> {
    let mut lines = value.split(|&octet| octet == b'\n');
    let mut line = lines.next().unwrap_or_default();
    for next in lines {
        line = line.strip_suffix(b"\r").unwrap_or(line);
        if line.contains(&b'\r') || !matches!(next.first(), Some(b' ' | b'\t')) {
            return Err(Rule::BareLineEnding);
        }
        if next.trim_ascii().is_empty() {
            return Err(Rule::HeaderSyntax);
        }
        line = next;
    }
    if line.contains(&b'\r') {
        Err(Rule::BareLineEnding)
    } else {
        Ok(())
    }
}

/// Nothing that some readers take for a line end, and UTF-8: what another 8-bit octet is depends on
/// the charset that the reader takes.
fn check_characters(value: &[u8]) -> Result<(), Rule> {
    let text = str::from_utf8(value).map_err(|_| Rule::HeaderControl)?;
    let breaks = |c| !matches!(c, '\t' | '\r' | '\n') && may_end_line(c);
    if text.chars().any(breaks) {
        Err(Rule::HeaderControl)
    } else {
        Ok(())
    }
}

/// A longer line is folded on its way, perhaps inside an address or a boundary: what arrives is then
/// not what was judged. Other fields may be as long as the mail system lets them.
fn check_line_lengths(name: &[u8], value: &[u8]) -> Result<(), Rule> {
    let mut before = name.len() + 1;
    for line in value.split(|&octet| octet == b'\n') {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if before + line.len() > LINE_MAX {
            return Err(Rule::LineTooLong);
        }
        before = 0;
    }
    Ok(())
}
