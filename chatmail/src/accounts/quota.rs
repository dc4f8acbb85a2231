//! Dovecot's quota file, `maildirsize` of Maildir++: the first line says what the quota was when
//! it was written, each further line how many bytes and messages came or, negative, went.

/// Files as large as this say nothing: Dovecot rewrites one that has grown to 5120 bytes.
pub(super) const FILE_MAX: usize = 8 * 1024;

/// The bytes in the mailbox by this file, `None` when the file is not of the format.
pub(super) fn bytes_used(file: &str) -> Option<u64> {
    let mut lines = file.lines();
    lines.next()?;
    let mut sum: i64 = 0;
    for line in lines {
        let bytes: i64 = line.split_ascii_whitespace().next()?.parse().ok()?;
        sum = sum.checked_add(bytes)?;
    }
    // Deliveries and deletions that overlap can leave a small negative sum.
    Some(u64::try_from(sum).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case("524288000S\n1000 2\n", Some(1000))]
    #[case("524288000S\n1000 2\n500 1\n-200 -1\n", Some(1300))]
    #[case("524288000S\n         0            0\n", Some(0))]
    #[case("524288000S", Some(0))]
    #[case("S\n100 1\n-300 -1\n", Some(0))]
    #[case("", None)]
    #[case("S\nmany 1\n", None)]
    #[case("S\n\n", None)]
    #[case("S\n9223372036854775807 1\n1 1\n", None)]
    fn sums(#[case] file: &str, #[case] bytes: Option<u64>) {
        assert_eq!(bytes_used(file), bytes);
    }
}
