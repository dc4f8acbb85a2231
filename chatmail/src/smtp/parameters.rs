//! What stands behind the path of `MAIL` and `RCPT`.

use super::path::Path;
use super::xtext::{AddressKind, Xtext};

/// Longest `ENVID` and `ORCPT` in encoded octets (RFC 3461 sections 4.2 and 4.4).
const ENVELOPE_ID_MAX: usize = 100;
const ORIGINAL_RECIPIENT_MAX: usize = 500;

/// Parameters of `MAIL`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MailParameters {
    /// `SIZE`: octets of the message, as far as the client knows (RFC 1870).
    pub size: Option<u64>,
    /// `BODY` (RFC 6152).
    pub body: Option<BodyType>,
    /// `SMTPUTF8`: header or envelope may hold UTF-8 (RFC 6531).
    pub smtputf8: bool,
    /// `RET`: what a failure report returns (RFC 3461 section 4.3).
    pub returned: Option<Returned>,
    /// `ENVID`: the sender's name for this envelope (RFC 3461 section 4.4).
    pub envelope_id: Option<Xtext>,
}

/// Parameters of `RCPT`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RecipientParameters {
    /// `NOTIFY`: when the sender wants a report (RFC 3461 section 4.1).
    pub notify: Option<Notify>,
    /// `ORCPT`: the recipient as the sender gave it (RFC 3461 section 4.2).
    pub original: Option<OriginalRecipient>,
}

/// Which octets the message holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyType {
    /// `7BIT`
    SevenBit,
    /// `8BITMIME`
    EightBitMime,
}

/// What a failure report returns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Returned {
    /// `FULL`: the message.
    Full,
    /// `HDRS`: its header section.
    Headers,
}

/// When a report is wanted. None of these: `NEVER`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Notify {
    /// After delivery.
    pub success: bool,
    /// After a permanent failure.
    pub failure: bool,
    /// After a long delay.
    pub delay: bool,
}

/// `ORCPT=type;address`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OriginalRecipient {
    /// The kind of address, for example `rfc822`.
    pub kind: AddressKind,
    /// The address.
    pub address: Xtext,
}

/// What is wrong with a parameter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParameterError {
    /// No extension of ours has it.
    #[error("unknown parameter")]
    Unknown,
    /// Its value is missing, malformed or too long.
    #[error("malformed parameter value")]
    Value,
    /// It was given before.
    #[error("parameter given twice")]
    Repeated,
}

impl MailParameters {
    pub(super) fn parse(text: &str) -> Result<Self, ParameterError> {
        let mut parsed = Self::default();
        for (name, value) in parameters(text) {
            match name.to_ascii_uppercase().as_str() {
                "SIZE" => set(&mut parsed.size, parse_size(value))?,
                "BODY" => set(&mut parsed.body, BodyType::parse(value))?,
                "SMTPUTF8" if value.is_some() => return Err(ParameterError::Value),
                "SMTPUTF8" if parsed.smtputf8 => return Err(ParameterError::Repeated),
                "SMTPUTF8" => parsed.smtputf8 = true,
                "RET" => set(&mut parsed.returned, Returned::parse(value))?,
                "ENVID" => set(
                    &mut parsed.envelope_id,
                    limited(value, ENVELOPE_ID_MAX).and_then(Xtext::decode),
                )?,
                _ => return Err(ParameterError::Unknown),
            }
        }
        Ok(parsed)
    }

    pub(super) fn write_to(&self, out: &mut Vec<u8>) {
        if let Some(size) = self.size {
            out.extend_from_slice(format!(" SIZE={size}").as_bytes());
        }
        match self.body {
            Some(BodyType::SevenBit) => out.extend_from_slice(b" BODY=7BIT"),
            Some(BodyType::EightBitMime) => out.extend_from_slice(b" BODY=8BITMIME"),
            None => {}
        }
        if self.smtputf8 {
            out.extend_from_slice(b" SMTPUTF8");
        }
        match self.returned {
            Some(Returned::Full) => out.extend_from_slice(b" RET=FULL"),
            Some(Returned::Headers) => out.extend_from_slice(b" RET=HDRS"),
            None => {}
        }
        if let Some(envelope_id) = &self.envelope_id {
            out.extend_from_slice(b" ENVID=");
            envelope_id.encode_to(out);
        }
    }

    /// Whether the path may stand beside these parameters (RFC 6531 section 3.4).
    pub(super) fn allow(&self, path: &Path) -> bool {
        self.smtputf8 || path.is_ascii()
    }
}

impl RecipientParameters {
    pub(super) fn parse(text: &str) -> Result<Self, ParameterError> {
        let mut parsed = Self::default();
        for (name, value) in parameters(text) {
            match name.to_ascii_uppercase().as_str() {
                "NOTIFY" => set(&mut parsed.notify, Notify::parse(value))?,
                "ORCPT" => set(
                    &mut parsed.original,
                    limited(value, ORIGINAL_RECIPIENT_MAX).and_then(OriginalRecipient::parse),
                )?,
                _ => return Err(ParameterError::Unknown),
            }
        }
        Ok(parsed)
    }

    pub(super) fn write_to(&self, out: &mut Vec<u8>) {
        if let Some(notify) = self.notify {
            out.extend_from_slice(b" NOTIFY=");
            out.extend_from_slice(notify.to_text().as_bytes());
        }
        if let Some(OriginalRecipient { kind, address }) = &self.original {
            out.extend_from_slice(format!(" ORCPT={};", kind.as_str()).as_bytes());
            address.encode_to(out);
        }
    }
}

impl BodyType {
    fn parse(value: Option<&str>) -> Result<Self, ParameterError> {
        match value.map(str::to_ascii_uppercase).as_deref() {
            Some("7BIT") => Ok(Self::SevenBit),
            Some("8BITMIME") => Ok(Self::EightBitMime),
            _ => Err(ParameterError::Value),
        }
    }
}

impl Returned {
    fn parse(value: Option<&str>) -> Result<Self, ParameterError> {
        match value.map(str::to_ascii_uppercase).as_deref() {
            Some("FULL") => Ok(Self::Full),
            Some("HDRS") => Ok(Self::Headers),
            _ => Err(ParameterError::Value),
        }
    }
}

impl Notify {
    fn parse(value: Option<&str>) -> Result<Self, ParameterError> {
        let value = value.ok_or(ParameterError::Value)?.to_ascii_uppercase();
        let mut notify = Self::default();
        if value == "NEVER" {
            return Ok(notify);
        }
        for word in value.split(',') {
            let wanted = match word {
                "SUCCESS" => &mut notify.success,
                "FAILURE" => &mut notify.failure,
                "DELAY" => &mut notify.delay,
                _ => return Err(ParameterError::Value),
            };
            *wanted = true;
        }
        Ok(notify)
    }

    fn to_text(self) -> String {
        let words = [
            (self.success, "SUCCESS"),
            (self.failure, "FAILURE"),
            (self.delay, "DELAY"),
        ];
        let words: Vec<_> = words
            .into_iter()
            .filter_map(|(wanted, word)| wanted.then_some(word))
            .collect();
        if words.is_empty() {
            "NEVER".to_owned()
        } else {
            words.join(",")
        }
    }
}

impl OriginalRecipient {
    fn parse(value: &str) -> Result<Self, ParameterError> {
        let (kind, address) = value.split_once(';').ok_or(ParameterError::Value)?;
        Ok(Self {
            kind: kind.try_into()?,
            address: Xtext::decode(address)?,
        })
    }
}

/// Names and values (RFC 5321 section 4.1.2, `esmtp-param`).
fn parameters(text: &str) -> impl Iterator<Item = (&str, Option<&str>)> {
    text.split(' ')
        .filter(|word| !word.is_empty())
        .map(|word| match word.split_once('=') {
            Some((name, value)) => (name, Some(value)),
            None => (word, None),
        })
}

fn set<T>(place: &mut Option<T>, value: Result<T, ParameterError>) -> Result<(), ParameterError> {
    if place.is_some() {
        return Err(ParameterError::Repeated);
    }
    *place = Some(value?);
    Ok(())
}

fn limited(value: Option<&str>, limit: usize) -> Result<&str, ParameterError> {
    value
        .filter(|value| (1..=limit).contains(&value.len()))
        .ok_or(ParameterError::Value)
}

/// One to twenty digits (RFC 1870 section 4).
fn parse_size(value: Option<&str>) -> Result<u64, ParameterError> {
    value
        .filter(|digits| digits.bytes().all(|octet| octet.is_ascii_digit()))
        .and_then(|digits| digits.parse().ok())
        .ok_or(ParameterError::Value)
}
