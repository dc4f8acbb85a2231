//! Password hashes as crypt(3) and Dovecot know them.

use std::fmt;

use sha_crypt::{PasswordHasher as _, ShaCrypt};

/// Longest password in bytes that can be hashed: libxcrypt, with which Dovecot verifies, takes no
/// longer one; and the work grows with the square of the length.
pub(super) const PASSWORD_MAX: usize = 511;

/// Bytes of salt: they make the 16 characters that crypt(3) uses. Dovecot refuses a longer salt.
const SALT_LENGTH: usize = 12;

/// The default number of rounds goes without saying in crypt(3)'s format.
const IMPLIED_ROUNDS: &str = "$6$rounds=5000$";

/// A password hash with its scheme: `{SHA512-CRYPT}$6$…`. Its `Debug` does not show it.
#[derive(Clone, PartialEq, Eq)]
pub struct PasswordHash(String);

impl PasswordHash {
    /// The text as it stands in the file.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Reads what a password file holds. `None` unless it names a scheme: Dovecot would take the
    /// text for a password in clear.
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(bytes).ok()?.trim_end();
        let (scheme, hash) = text.strip_prefix('{')?.split_once('}')?;
        let printable = text.bytes().all(|byte| byte.is_ascii_graphic());
        (printable && !scheme.is_empty() && !hash.is_empty()).then(|| Self(text.to_owned()))
    }
}

impl fmt::Debug for PasswordHash {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("PasswordHash(…)")
    }
}

/// Why a password was not hashed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HashError {
    /// The system has no random numbers.
    #[error("no random numbers: {0}")]
    Random(#[from] getrandom::Error),
    /// The library refused.
    #[error("the password cannot be hashed")]
    Hash,
}

/// Hashes a password with a fresh salt. Takes about a millisecond of processor time.
pub(super) fn hash(password: &[u8]) -> Result<PasswordHash, HashError> {
    let mut salt = [0; SALT_LENGTH];
    getrandom::fill(&mut salt)?;
    let hash = ShaCrypt::SHA512
        .hash_password_with_salt(password, &salt)
        .map_err(|_| HashError::Hash)?
        .to_string();
    let hash = match hash.strip_prefix(IMPLIED_ROUNDS) {
        Some(rest) => format!("$6${rest}"),
        None => hash,
    };
    Ok(PasswordHash(format!("{{SHA512-CRYPT}}{hash}")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;
    use sha_crypt::PasswordVerifier as _;

    #[test]
    fn hashes_have_the_form_that_dovecot_takes() {
        let hash = hash(b"correct horse").unwrap();
        let crypt = hash.as_str().strip_prefix("{SHA512-CRYPT}").unwrap();
        let fields: Vec<_> = crypt.split('$').collect();
        assert_eq!((fields[0], fields[1]), ("", "6"));
        assert_eq!(
            (fields[2].len(), fields[3].len(), fields.len()),
            (16, 86, 4)
        );
        assert!(
            ShaCrypt::SHA512
                .verify_password(b"correct horse", crypt)
                .is_ok()
        );
        assert!(
            ShaCrypt::SHA512
                .verify_password(b"correct horsf", crypt)
                .is_err()
        );
        assert_ne!(super::hash(b"correct horse").unwrap(), hash);
    }

    #[rstest]
    #[case("{SHA512-CRYPT}$6$salt$hash", true)]
    #[case("{SHA512-CRYPT}$6$salt$hash\r\n", true)]
    #[case("", false)]
    #[case("\n", false)]
    #[case("blocked", false)]
    #[case("{}x", false)]
    #[case("{PLAIN}", false)]
    #[case("{SHA512-CRYPT}$6$salt$hash\n{PLAIN}x", false)]
    fn only_text_with_a_scheme_is_a_hash(#[case] text: &str, #[case] usable: bool) {
        assert_eq!(PasswordHash::parse(text.as_bytes()).is_some(), usable);
    }

    #[test]
    fn a_hash_does_not_show_in_logs() {
        assert!(!format!("{:?}", PasswordHash("{PLAIN}secret".into())).contains("secret"));
    }
}
