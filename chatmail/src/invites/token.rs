//! What people have of an invite, and what the relay has.

use std::fmt;
use std::str::FromStr;

use sha2::{Digest as _, Sha256};

use crate::random;

/// Characters of a token, five bits each.
const TOKEN_LENGTH: usize = 20;

/// Characters of an id.
const ID_LENGTH: usize = 8;

/// Stands between the token and the secret of a password.
const SEPARATOR: u8 = b'-';

/// What makes an invite: 100 random bits in 20 characters of [`random::ALPHABET`]. Its `Debug` does not show
/// it.
#[derive(Clone, PartialEq, Eq)]
pub struct Token(String);

/// How an invite is named where its token must not be seen: the beginning of what the table holds of it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct InviteId(String);

/// A text is no token, or no id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// No token.
    #[error("not an invite: those have {TOKEN_LENGTH} letters and digits")]
    Token,
    /// No id.
    #[error("not the id of an invite: those have {ID_LENGTH} letters and digits")]
    Id,
}

impl Token {
    /// A new one.
    ///
    /// # Errors
    /// The system has no random numbers.
    pub fn random() -> Result<Self, getrandom::Error> {
        random::text(TOKEN_LENGTH).map(Self)
    }

    /// The text, to be given to people.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The token at the beginning of a password and the secret that follows; `None` when it carries none.
    pub fn of_password(password: &[u8]) -> Option<(Self, &[u8])> {
        let (token, rest) = password.split_at_checked(TOKEN_LENGTH)?;
        let secret = rest.strip_prefix(&[SEPARATOR])?;
        Some((std::str::from_utf8(token).ok()?.parse().ok()?, secret))
    }

    /// The password that redeems it and ends in this secret.
    pub fn password(&self, secret: &str) -> String {
        format!("{}{}{secret}", self.0, char::from(SEPARATOR))
    }

    /// What the table holds: who reads it cannot make an account with it. A plain hash is enough for
    /// something that cannot be guessed.
    pub(crate) fn hash(&self) -> String {
        let hash = Sha256::digest(self.0.as_bytes());
        hash.iter().copied().map(random::character).collect()
    }

    /// Its id.
    pub fn id(&self) -> InviteId {
        InviteId::of_hash(&self.hash())
    }
}

impl InviteId {
    /// The id of the invite with this hash.
    pub(crate) fn of_hash(hash: &str) -> Self {
        Self(hash.chars().take(ID_LENGTH).collect())
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Token {
    type Err = TokenError;

    fn from_str(text: &str) -> Result<Self, TokenError> {
        let token = canonical(text).filter(|token| token.len() == TOKEN_LENGTH);
        token.map(Self).ok_or(TokenError::Token)
    }
}

impl FromStr for InviteId {
    type Err = TokenError;

    fn from_str(text: &str) -> Result<Self, TokenError> {
        let id = canonical(text).filter(|id| id.len() == ID_LENGTH);
        id.map(Self).ok_or(TokenError::Id)
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("Token(…)")
    }
}

impl fmt::Display for InviteId {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

/// A text of the alphabet as it is meant by whoever has typed it; `None` when it is of another.
fn canonical(text: &str) -> Option<String> {
    let meant = |character: char| match character.to_ascii_lowercase() {
        'o' => Some('0'),
        'i' | 'l' => Some('1'),
        other => {
            let known = u8::try_from(other).is_ok_and(|octet| random::ALPHABET.contains(&octet));
            known.then_some(other)
        }
    };
    text.chars().map(meant).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    const TOKEN: &str = "0123456789abcdefghjk";

    #[test]
    fn a_token_reads_back_also_as_it_is_mistyped() {
        let token = Token::random().unwrap();
        assert_eq!(token.as_str().parse(), Ok(token.clone()));
        assert_ne!(Token::random().unwrap(), token);
        assert_eq!("oI23456789ABCDEFGHJK".parse::<Token>().unwrap().0, TOKEN);
        assert!(!format!("{token:?}").contains(token.as_str()));
    }

    #[rstest]
    #[case("")]
    #[case("0123456789abcdefghj")]
    #[case("0123456789abcdefghjkm")]
    #[case("0123456789abcdefghju")]
    #[case("0123456789abcdefghj-")]
    #[case(" 123456789abcdefghjk")]
    #[case("é123456789abcdefghj")]
    fn other_texts_are_none(#[case] text: &str) {
        assert_eq!(text.parse::<Token>(), Err(TokenError::Token));
    }

    #[rstest]
    #[case(b"0123456789abcdefghjk-secret", Some(&b"secret"[..]))]
    #[case(b"O123456789ABCDEFGHJK-\xff-\0", Some(&b"\xff-\0"[..]))]
    #[case(b"0123456789abcdefghjk-", Some(&b""[..]))]
    #[case(b"0123456789abcdefghjk", None)]
    #[case(b"0123456789abcdefghjk secret", None)]
    #[case(b"0123456789abcdefghj-secret-", None)]
    #[case(b"x0123456789abcdefghjk-secret", None)]
    #[case(b"\xff123456789abcdefghjk-secret", None)]
    #[case("é123456789abcdefghj-secret".as_bytes(), None)]
    #[case(b"", None)]
    fn passwords_that_carry_one(#[case] password: &[u8], #[case] secret: Option<&[u8]>) {
        let carried = Token::of_password(password);
        assert_eq!(carried.is_some(), secret.is_some());
        if let (Some((token, found)), Some(secret)) = (carried, secret) {
            assert_eq!((token.as_str(), found), (TOKEN, secret));
        }
    }

    #[test]
    fn ids_do_not_tell_the_token() {
        let token: Token = TOKEN.parse().unwrap();
        assert_eq!(
            Token::of_password(token.password("x").as_bytes())
                .unwrap()
                .1,
            b"x"
        );
        let id = token.id();
        assert_eq!(id.as_str().parse(), Ok(id.clone()));
        assert!(!TOKEN.contains(id.as_str()) && token.hash().starts_with(id.as_str()));
        assert_eq!("short".parse::<InviteId>(), Err(TokenError::Id));
    }
}
