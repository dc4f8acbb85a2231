//! Random texts that people may have to read and type: names, passwords, invites.

/// Digits and small letters without `i`, `l`, `o` and `u` (Crockford's base 32): none looks like another.
/// As many as five bits can tell apart.
pub const ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";

/// So many characters of [`ALPHABET`] from the operating system's generator, five bits each.
///
/// # Errors
/// The system has no random numbers.
pub fn text(length: usize) -> Result<String, getrandom::Error> {
    let mut octets = vec![0; length];
    getrandom::fill(&mut octets)?;
    Ok(octets.into_iter().map(character).collect())
}

/// The character for the lower five bits. 256 is a multiple of 32, so each is as likely as any other.
pub(crate) fn character(octet: u8) -> char {
    char::from(ALPHABET[usize::from(octet & 31)])
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn texts_are_of_the_alphabet_and_differ() {
        let texts: HashSet<_> = (0..1000).map(|_| text(20).unwrap()).collect();
        assert_eq!(texts.len(), 1000);
        let seen: HashSet<u8> = texts.iter().flat_map(|text| text.bytes()).collect();
        assert_eq!(seen, ALPHABET.iter().copied().collect());
        assert!(texts.iter().all(|text| text.len() == 20));
    }
}
