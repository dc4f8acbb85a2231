//! The header section of one message: kept within bounds, and in the form that is signed.

use std::borrow::Cow;
use std::collections::HashMap;

use aws_lc_rs::digest::{Context, SHA256};
use viadkim::signature::CanonicalizationAlgorithm;

use crate::session::Edit;

/// The most octets of a header section that are kept. Postfix's own `header_size_limit` is 100 KiB
/// by default.
const HEADERS_MAX: usize = 256 << 10;

/// What a field counts beyond its octets, so that many tiny ones cost no more than a few large ones.
const FIELD_OVERHEAD: usize = 32;

/// The header fields in their order, line ends as on the wire.
#[derive(Debug, Default)]
pub(super) struct Headers {
    fields: Vec<Field<'static>>,
    size: usize,
    too_large: bool,
}

/// One header field without its final line end; the value with the white space after the colon.
#[derive(Clone, Debug)]
pub(super) struct Field<'a> {
    pub(super) name: Cow<'a, [u8]>,
    pub(super) value: Cow<'a, [u8]>,
}

impl Headers {
    /// Keeps one field; line ends in the value may be LF.
    pub(super) fn push(&mut self, name: &[u8], value: &[u8]) {
        self.size = self
            .size
            .saturating_add(name.len() + value.len() + FIELD_OVERHEAD);
        if self.size > HEADERS_MAX {
            self.too_large = true;
            self.fields = Vec::new();
            return;
        }
        self.fields.push(Field {
            name: Cow::Owned(name.to_vec()),
            value: Cow::Owned(with_crlf(value)),
        });
    }

    /// Whether there was more than is kept; then nothing is.
    pub(super) fn too_large(&self) -> bool {
        self.too_large
    }

    pub(super) fn fields(&self) -> &[Field<'static>] {
        &self.fields
    }

    /// The fields as they will be after these edits, made in their order.
    pub(super) fn edited<'a>(&'a self, edits: &'a [Edit]) -> Vec<Field<'a>> {
        let mut fields: Vec<Field<'a>> = self.fields.iter().map(Field::borrowed).collect();
        for edit in edits {
            match edit {
                Edit::Replace {
                    name,
                    occurrence,
                    value,
                } => {
                    if let Some(at) = nth(&fields, name, *occurrence)
                        && let Some(field) = fields.get_mut(at)
                    {
                        field.value = Cow::Owned(with_crlf(format!(" {value}").as_bytes()));
                    }
                }
                Edit::Delete { name, occurrence } => {
                    if let Some(at) = nth(&fields, name, *occurrence) {
                        fields.remove(at);
                    }
                }
                Edit::Insert { name, value } => fields.insert(
                    0,
                    Field {
                        name: Cow::Borrowed(name.as_bytes()),
                        value: Cow::Owned(with_crlf(format!(" {value}").as_bytes())),
                    },
                ),
                Edit::Sender(_) => {}
            }
        }
        fields
    }
}

/// The position of the nth field of a name, counted from 1 from the top.
fn nth(fields: &[Field<'_>], name: &str, occurrence: u32) -> Option<usize> {
    let before = usize::try_from(occurrence.checked_sub(1)?).ok()?;
    let mut positions = (0..).zip(fields).filter(|(_, field)| field.is(name));
    positions.nth(before).map(|(at, _)| at)
}

impl Field<'_> {
    /// Whether the field has this name, in any case.
    pub(super) fn is(&self, name: &str) -> bool {
        self.name.eq_ignore_ascii_case(name.as_bytes())
    }

    fn borrowed(&self) -> Field<'_> {
        Field {
            name: Cow::Borrowed(&self.name),
            value: Cow::Borrowed(&self.value),
        }
    }
}

/// Picks fields by name from the bottom up (RFC 6376 section 5.4.2).
pub(super) struct Selection<'a> {
    fields: &'a [Field<'a>],
    /// The positions of the fields of a lower-case name, from the top.
    positions: HashMap<Vec<u8>, Vec<usize>>,
}

impl<'a> Selection<'a> {
    pub(super) fn new(fields: &'a [Field<'a>]) -> Self {
        let mut positions: HashMap<Vec<u8>, Vec<usize>> = HashMap::new();
        for (at, field) in fields.iter().enumerate() {
            let name = field.name.to_ascii_lowercase();
            positions.entry(name).or_default().push(at);
        }
        Self { fields, positions }
    }

    /// Begins the hash that is signed with the fields that these names stand for (RFC 6376 section
    /// 3.7).
    pub(super) fn hash<'n>(
        &self,
        names: impl Iterator<Item = &'n str>,
        algorithm: CanonicalizationAlgorithm,
    ) -> Context {
        let mut context = Context::new(&SHA256);
        for field in self.pick(names) {
            hash_field(&mut context, algorithm, &field.name, &field.value);
            context.update(b"\r\n");
        }
        context
    }

    /// The fields that these names stand for; a name given more often than there are fields stands
    /// for none.
    fn pick<'n>(
        &self,
        names: impl Iterator<Item = &'n str>,
    ) -> impl Iterator<Item = &'a Field<'a>> {
        let mut taken: HashMap<Vec<u8>, usize> = HashMap::new();
        names.filter_map(move |name| {
            let name = name.to_ascii_lowercase().into_bytes();
            let positions = self.positions.get(&name)?;
            let taken = taken.entry(name).or_default();
            *taken += 1;
            let at = positions.len().checked_sub(*taken)?;
            self.fields.get(*positions.get(at)?)
        })
    }
}

/// Hashes one field in its canonical form, without the line end (RFC 6376 sections 3.4.1, 3.4.2).
pub(super) fn hash_field(
    context: &mut Context,
    algorithm: CanonicalizationAlgorithm,
    name: &[u8],
    value: &[u8],
) {
    match algorithm {
        CanonicalizationAlgorithm::Simple => {
            context.update(name);
            context.update(b":");
            context.update(value);
        }
        CanonicalizationAlgorithm::Relaxed => {
            context.update(&name.trim_ascii_end().to_ascii_lowercase());
            context.update(b":");
            context.update(&relaxed_value(value));
        }
    }
}

fn relaxed_value(value: &[u8]) -> Vec<u8> {
    let is_space = |octet: &u8| matches!(octet, b' ' | b'\t' | b'\r' | b'\n');
    let mut relaxed = Vec::with_capacity(value.len());
    let words = value.split(is_space).filter(|word| !word.is_empty());
    for word in words {
        if !relaxed.is_empty() {
            relaxed.push(b' ');
        }
        relaxed.extend_from_slice(word);
    }
    relaxed
}

/// LF becomes CRLF, CRLF stays.
fn with_crlf(value: &[u8]) -> Vec<u8> {
    let mut text = Vec::with_capacity(value.len() + 8);
    for line in value.split_inclusive(|octet| *octet == b'\n') {
        match line.strip_suffix(b"\n") {
            Some(line) => {
                text.extend_from_slice(line.strip_suffix(b"\r").unwrap_or(line));
                text.extend_from_slice(b"\r\n");
            }
            None => text.extend_from_slice(line),
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use aws_lc_rs::digest::digest;
    use rstest::rstest;

    fn headers(fields: &[(&str, &str)]) -> Headers {
        let mut headers = Headers::default();
        for (name, value) in fields {
            headers.push(name.as_bytes(), value.as_bytes());
        }
        headers
    }

    fn shown(fields: &[Field<'_>]) -> Vec<String> {
        let text = |octets: &[u8]| String::from_utf8(octets.to_vec()).unwrap();
        let line = |field: &Field<'_>| format!("{}:{}", text(&field.name), text(&field.value));
        fields.iter().map(line).collect()
    }

    #[test]
    fn lines_are_as_on_the_wire() {
        let kept = headers(&[("To", " a,\n\tb,\r\n c")]);
        assert_eq!(shown(kept.fields()), ["To: a,\r\n\tb,\r\n c"]);
    }

    #[test]
    fn repeated_names_are_taken_from_the_bottom() {
        let kept = headers(&[("X", " 1"), ("Y", " 2"), ("x", " 3")]);
        let selection = Selection::new(kept.fields());
        let picked = selection.pick(["x", "Z", "X", "y", "x"].into_iter());
        let picked: Vec<_> = picked.cloned().collect();
        assert_eq!(shown(&picked), ["x: 3", "X: 1", "Y: 2"]);
    }

    #[test]
    fn edits_are_made_in_their_order() {
        let kept = headers(&[("A", " 1"), ("b", " 2"), ("a", " 3"), ("A", " 4")]);
        let delete = |occurrence| Edit::Delete {
            name: "a".to_owned(),
            occurrence,
        };
        let replace = |name: &str, occurrence, value: &str| Edit::Replace {
            name: name.to_owned(),
            occurrence,
            value: value.to_owned(),
        };
        let edits = [
            replace("B", 1, "x,\n\ty"),
            replace("B", 2, "not there"),
            delete(1),
            delete(2),
            delete(0),
        ];
        assert_eq!(shown(&kept.edited(&edits)), ["b: x,\r\n\ty", "a: 3"]);
    }

    #[rstest]
    #[case("SUBJECT ", "  a \r\n\tb\t ", "subject:a b", "SUBJECT :  a \r\n\tb\t ")]
    #[case("A", "", "a:", "A:")]
    #[case("A", " \r\n ", "a:", "A: \r\n ")]
    fn canonical_fields(
        #[case] name: &str,
        #[case] value: &str,
        #[case] relaxed: &str,
        #[case] simple: &str,
    ) {
        let hash = |algorithm| {
            let mut context = Context::new(&SHA256);
            hash_field(&mut context, algorithm, name.as_bytes(), value.as_bytes());
            context.finish().as_ref().to_vec()
        };
        let of = |text: &str| digest(&SHA256, text.as_bytes()).as_ref().to_vec();
        assert_eq!(hash(CanonicalizationAlgorithm::Relaxed), of(relaxed));
        assert_eq!(hash(CanonicalizationAlgorithm::Simple), of(simple));
    }

    #[test]
    fn there_is_an_end_to_it() {
        let mut kept = headers(&[("A", &"x".repeat(HEADERS_MAX - 1 - FIELD_OVERHEAD))]);
        assert!(!kept.too_large());
        kept.push(b"", b"");
        assert!(kept.too_large());
        assert!(kept.fields().is_empty());
        let mut tiny = Headers::default();
        for _ in 0..=HEADERS_MAX / (FIELD_OVERHEAD + 1) {
            tiny.push(b"a", b"");
        }
        assert!(tiny.too_large());
    }
}
