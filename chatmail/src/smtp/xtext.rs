//! Texts inside the parameters of DSN (RFC 3461).

use super::parameters::ParameterError;

/// The kind of an address: letters, digits and hyphens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AddressKind(Box<str>);

impl AddressKind {
    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<&str> for AddressKind {
    type Error = ParameterError;

    fn try_from(text: &str) -> Result<Self, ParameterError> {
        let legal = |c: char| c.is_ascii_alphanumeric() || c == '-';
        if !text.is_empty() && text.len() <= 40 && text.chars().all(legal) {
            Ok(Self(text.into()))
        } else {
            Err(ParameterError::Value)
        }
    }
}

/// Printable ASCII, at least one character, that is written as `xtext` (RFC 3461 section 4), decoded.
///
/// What the escapes could smuggle in, such as a line end, is refused: the text may go into a report.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Xtext(Box<str>);

impl Xtext {
    /// The text, decoded.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Takes the escapes out of what stands on the wire.
    pub(super) fn decode(text: &str) -> Result<Self, ParameterError> {
        let mut decoded = String::with_capacity(text.len());
        let mut rest = text;
        while let Some(c) = rest.chars().next() {
            let (c, behind) = match c {
                '+' => hex_octet(rest.get(1..3)).zip(rest.get(3..)),
                '=' => None,
                c => rest.get(c.len_utf8()..).map(|behind| (c, behind)),
            }
            .ok_or(ParameterError::Value)?;
            decoded.push(c);
            rest = behind;
        }
        Self::try_from(decoded.as_str())
    }

    pub(super) fn encode_to(&self, out: &mut Vec<u8>) {
        for octet in self.0.bytes() {
            match octet {
                b'+' | b'=' | b' ' => out.extend_from_slice(format!("+{octet:02X}").as_bytes()),
                plain => out.push(plain),
            }
        }
    }
}

impl TryFrom<&str> for Xtext {
    type Error = ParameterError;

    fn try_from(text: &str) -> Result<Self, ParameterError> {
        if !text.is_empty() && text.bytes().all(|octet| matches!(octet, b' '..=b'~')) {
            Ok(Self(text.into()))
        } else {
            Err(ParameterError::Value)
        }
    }
}

/// Two hexadecimal digits, upper case as the RFC has them.
fn hex_octet(digits: Option<&str>) -> Option<char> {
    let digits = digits.filter(|digits| !digits.contains(|c: char| c.is_ascii_lowercase()))?;
    u8::from_str_radix(digits, 16).ok().map(char::from)
}
