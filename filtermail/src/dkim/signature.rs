//! One `DKIM-Signature` field: whose it is, and whether it can be valid at all.

use aws_lc_rs::digest::Digest;
use chatmail::Domain;
use viadkim::signature::{DkimSignature, DkimSignatureErrorKind, DomainName};
use viadkim::tag_list::TagList;

use super::DkimFailure;
use super::headers::{Field, Selection, hash_field};

/// The name of the field.
pub(super) const FIELD_NAME: &str = "DKIM-Signature";

/// Seconds that a signer's clock may be ahead of ours; OpenDKIM's default.
const CLOCK_SKEW: u64 = 300;

/// The most octets of a `d=`, `s=` or `i=` tag. Domain names have 253; those that are not ASCII are
/// converted, at a cost that grows with the square of the length.
const NAME_MAX: usize = 512;

/// Reads a field's tags when the field is a signature of this domain.
///
/// `None`: it is another field, or another domain's, or its tags cannot be told apart.
pub(super) fn of_domain(
    field: &Field<'_>,
    author: &Domain,
) -> Option<Result<DkimSignature, DkimFailure>> {
    if !field.is(FIELD_NAME) {
        return None;
    }
    let text = std::str::from_utf8(&field.value).ok()?;
    // Some signers end the list with a semicolon and white space, which the grammar does not know.
    let tags = TagList::from_str(text.trim_ascii_end()).ok()?;
    let tag = |name: &str| tags.as_ref().iter().find(|tag| tag.name == name);
    if !names(tag("d")?.value, author) {
        return None;
    }
    let too_long = |name| tag(name).is_some_and(|tag| tag.value.len() > NAME_MAX);
    if ["s", "i"].into_iter().any(too_long) {
        return Some(Err(DkimFailure::Syntax));
    }
    Some(DkimSignature::from_tag_list(&tags).map_err(|error| failure(error.kind)))
}

/// Whether a `d=` tag is this domain.
fn names(tag: &str, author: &Domain) -> bool {
    if tag.len() > NAME_MAX {
        return false;
    }
    let domain: Option<Domain> = if tag.is_ascii() {
        tag.parse().ok()
    } else {
        let name: Option<DomainName> = tag.parse().ok();
        name.and_then(|name| name.to_ascii().parse().ok())
    };
    domain.is_some_and(|domain| domain == *author)
}

fn failure(kind: DkimSignatureErrorKind) -> DkimFailure {
    match kind {
        DkimSignatureErrorKind::HistoricAlgorithm
        | DkimSignatureErrorKind::UnsupportedAlgorithm
        | DkimSignatureErrorKind::UnsupportedCanonicalization
        | DkimSignatureErrorKind::NoSupportedQueryMethods
        | DkimSignatureErrorKind::IncompatibleVersion => DkimFailure::Unsupported,
        DkimSignatureErrorKind::FromHeaderNotSigned => DkimFailure::FromNotCovered,
        _ => DkimFailure::Syntax,
    }
}

/// What can be said without the body and the key; `now` is in seconds since 1970, `froms` the
/// number of `From` fields.
///
/// # Errors
/// The signature is not valid now, or does not cover each `From` (RFC 6376 section 8.15: a second
/// one may have been put before the first).
pub(super) fn check(signature: &DkimSignature, froms: usize, now: u64) -> Result<(), DkimFailure> {
    if signature.expiration.is_some_and(|end| end <= now) {
        return Err(DkimFailure::Expired);
    }
    if signature
        .timestamp
        .is_some_and(|begin| begin > now.saturating_add(CLOCK_SKEW))
    {
        return Err(DkimFailure::FromTheFuture);
    }
    let covers = signature.signed_headers.iter();
    let covered = covers.filter(|name| **name == "From").count();
    if froms == 0 || covered < froms {
        return Err(DkimFailure::FromNotCovered);
    }
    Ok(())
}

/// The hash that is signed (RFC 6376 section 3.7): the fields that `h=` names, then `field`, the
/// signature itself, without the value of its `b=`.
pub(super) fn data_hash(
    signature: &DkimSignature,
    field: &Field<'_>,
    selection: &Selection<'_>,
) -> Digest {
    let algorithm = signature.canonicalization.header;
    let names = signature.signed_headers.iter().map(AsRef::as_ref);
    let mut context = selection.hash(names, algorithm);
    let value = without_signature(&field.value);
    hash_field(&mut context, algorithm, &field.name, &value);
    context.finish()
}

/// The tag list with nothing between `b=` and the next `;`.
fn without_signature(tags: &[u8]) -> Vec<u8> {
    let mut kept = Vec::with_capacity(tags.len());
    for tag in tags.split_inclusive(|octet| *octet == b';') {
        let name = tag.split(|octet| *octet == b'=').next();
        let name = name.unwrap_or_default();
        if name.trim_ascii() == b"b" {
            kept.extend_from_slice(name);
            kept.push(b'=');
            kept.extend(tag.last().filter(|last| **last == b';'));
        } else {
            kept.extend_from_slice(tag);
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;
    use std::borrow::Cow;

    const TAGS: &str =
        "v=1; a=rsa-sha256; d=x.org; s=k; t=1000; x=2000; h=From:To; bh=YQ==; b=YQ==";

    fn read(tags: &str) -> Option<Result<DkimSignature, DkimFailure>> {
        let field = Field {
            name: Cow::Borrowed(b"dkim-signature"),
            value: Cow::Borrowed(tags.as_bytes()),
        };
        of_domain(&field, &"x.org".parse().unwrap())
    }

    #[rstest]
    #[case("d=x.org", true)]
    #[case("d=X.ORG", true)]
    #[case("d=sub.x.org", false)]
    #[case("d=org", false)]
    #[case("d=x.org.", false)]
    #[case("d=xx.org", false)]
    #[case("d=", false)]
    #[case("e=x.org", false)]
    fn whose_it_is(#[case] tag: &str, #[case] ours: bool) {
        assert_eq!(read(&TAGS.replace("d=x.org", tag)).is_some(), ours);
    }

    #[test]
    fn a_domain_of_another_alphabet() {
        let field = Field {
            name: Cow::Borrowed(b"DKIM-Signature"),
            value: Cow::Owned(TAGS.replace("x.org", "b\u{fc}cher.example").into_bytes()),
        };
        let author = "xn--bcher-kva.example".parse().unwrap();
        assert!(of_domain(&field, &author).unwrap().is_ok());
    }

    #[rstest]
    #[case("v=1", "v=2", DkimFailure::Unsupported)]
    #[case("v=1; ", "", DkimFailure::Syntax)]
    #[case("a=rsa-sha256", "a=rsa-sha1", DkimFailure::Unsupported)]
    #[case("a=rsa-sha256", "a=none", DkimFailure::Unsupported)]
    #[case("s=k; ", "", DkimFailure::Syntax)]
    #[case("s=k", "s=k/../y", DkimFailure::Syntax)]
    #[case("h=From:To", "h=To:Subject", DkimFailure::FromNotCovered)]
    #[case("h=From:To", "h=From:To; q=dns/other", DkimFailure::Unsupported)]
    #[case("h=From:To", "h=From:To; i=@y.org", DkimFailure::Syntax)]
    #[case("h=From:To", "h=From:To; i=@yx.org", DkimFailure::Syntax)]
    #[case("h=From:To", "h=From:To; l=x", DkimFailure::Syntax)]
    #[case("h=From:To", "h=From:To; c=other", DkimFailure::Unsupported)]
    #[case("b=YQ==", "b=", DkimFailure::Syntax)]
    #[case("b=YQ==", "b=%", DkimFailure::Syntax)]
    #[case("x=2000", "x=1000", DkimFailure::Syntax)]
    fn cannot_be_valid(#[case] tag: &str, #[case] broken: &str, #[case] why: DkimFailure) {
        assert_eq!(read(&TAGS.replace(tag, broken)).unwrap().unwrap_err(), why);
    }

    #[rstest]
    #[case("h=From:To; i=@x.org")]
    #[case("h=From:To; i=anybody@sub.x.org")]
    #[case("h=from; q=dns/other:dns/txt")]
    #[case("h= From \r\n : To ;l=0; c=relaxed; z=From:x; r=y")]
    fn may_be_valid(#[case] tags: &str) {
        assert!(read(&TAGS.replace("h=From:To", tags)).unwrap().is_ok());
    }

    #[test]
    fn a_list_may_end_in_a_semicolon_and_blanks() {
        assert!(read(&format!("{TAGS};")).unwrap().is_ok());
        assert!(read(&format!("{TAGS}; \r\n ")).unwrap().is_ok());
    }

    #[test]
    fn names_have_a_limit() {
        let long = format!("s={}", "\u{fc}".repeat(100_000));
        assert_eq!(
            read(&TAGS.replace("s=k", &long)).unwrap().unwrap_err(),
            DkimFailure::Syntax
        );
        let long = format!("d={}", "\u{fc}".repeat(100_000));
        assert!(read(&TAGS.replace("d=x.org", &long)).is_none());
    }

    #[test]
    fn a_signature_has_its_time() {
        let signature = read(TAGS).unwrap().unwrap();
        assert_eq!(check(&signature, 1, 1000), Ok(()));
        assert_eq!(check(&signature, 1, 1999), Ok(()));
        assert_eq!(check(&signature, 1, 2000), Err(DkimFailure::Expired));
        assert_eq!(check(&signature, 1, 1000 - CLOCK_SKEW), Ok(()));
        let early = check(&signature, 1, 999 - CLOCK_SKEW);
        assert_eq!(early, Err(DkimFailure::FromTheFuture));
    }

    #[test]
    fn each_from_is_covered() {
        let covers = |h: &str, froms| {
            let signature = read(&TAGS.replace("h=From:To", h)).unwrap().unwrap();
            check(&signature, froms, 1500).is_ok()
        };
        assert!(!covers("h=From", 0));
        assert!(covers("h=From", 1));
        assert!(!covers("h=From", 2));
        assert!(covers("h=From:FROM", 2));
        assert!(covers("h=From:FROM", 1));
    }

    #[rstest]
    #[case("a=1; b=x y; c=2", "a=1; b=; c=2")]
    #[case("b =\r\n x", "b =")]
    #[case("bh=x; b=y=;", "bh=x; b=;")]
    #[case("a=b=c; \r\n\tb= \r\n x \r\n", "a=b=c; \r\n\tb=")]
    fn the_signature_is_not_signed(#[case] tags: &str, #[case] expected: &str) {
        let kept = without_signature(tags.as_bytes());
        assert_eq!(String::from_utf8(kept).unwrap(), expected);
    }
}
