//! Who may make an account, and how mxdeliv-bridge asks doveauth whether one could be made now.

use serde::{Deserialize, Serialize};

use crate::config::Value;
use crate::invites::{NoGood, Token};
use crate::policy::{PolicyClient, PolicyError};

/// Where doveauth's policy dict tells whether an account could be made now: the token of an
/// invite follows, or `-`. The answer is an [`Answer`] in JSON.
pub const KEY_PREFIX: &str = "shared/registration/";

/// Stands in a key for an invite that there is not.
const NO_INVITE: &str = "-";

/// Who may make an account (`registration` in `chatmail.ini`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Registration {
    /// Everybody.
    #[default]
    Open,
    /// Nobody, also not with an invite.
    Closed,
    /// Whoever has an [invite](crate::invites).
    Invite,
}

impl Value for Registration {
    const ALLOWED: &'static str = "open, closed or invite";

    fn read(text: &str) -> Option<Self> {
        match text {
            "open" => Some(Self::Open),
            "closed" => Some(Self::Closed),
            "invite" => Some(Self::Invite),
            _ => None,
        }
    }
}

/// Whether an account could be made now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    /// Yes, with any password.
    Open,
    /// Yes, with a password that carries the invite.
    Invited,
    /// No: registration is closed.
    Closed,
    /// No: it takes an invite.
    InviteNeeded,
    /// No: there is no such invite.
    InviteUnknown,
    /// No: the invite's time is over.
    InviteExpired,
    /// No: the invite's uses are taken.
    InviteUsedUp,
    /// Not now: the machine has no room for another account.
    Busy,
}

impl From<NoGood> for Answer {
    fn from(no_good: NoGood) -> Self {
        match no_good {
            NoGood::Unknown => Self::InviteUnknown,
            NoGood::Expired => Self::InviteExpired,
            NoGood::UsedUp => Self::InviteUsedUp,
        }
    }
}

/// The question, as it stands in a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Question {
    /// The invite that somebody has.
    pub invite: Option<Token>,
}

impl Question {
    /// Reads what follows [`KEY_PREFIX`]; `None` when it is not a question.
    pub fn parse(key: &[u8]) -> Option<Self> {
        let invite = match std::str::from_utf8(key).ok()? {
            NO_INVITE => None,
            token => Some(token.parse().ok()?),
        };
        Some(Self { invite })
    }

    fn key(&self) -> String {
        let invite = self.invite.as_ref().map_or(NO_INVITE, Token::as_str);
        format!("{KEY_PREFIX}{invite}")
    }
}

/// An answer on the wire.
#[derive(Debug, Serialize, Deserialize)]
pub struct Answered {
    /// The answer.
    pub answer: Answer,
}

impl PolicyClient {
    /// Whether an account could be made now.
    ///
    /// # Errors
    /// See [`PolicyError`].
    pub async fn registration(&self, question: &Question) -> Result<Answer, PolicyError> {
        let answered = self.ask(&question.key()).await?;
        let answered: Answered = serde_json::from_slice(&answered.ok_or(PolicyError::Unknown)?)?;
        Ok(answered.answer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[test]
    fn questions_read_back() {
        for invite in [None, Some(Token::random().unwrap())] {
            let question = Question { invite };
            let key = question.key();
            let rest = key.strip_prefix(KEY_PREFIX).unwrap();
            assert_eq!(Question::parse(rest.as_bytes()), Some(question));
        }
    }

    #[rstest]
    #[case(b"")]
    #[case(b"--")]
    #[case(b"short")]
    #[case(b"0123456789abcdefghj/")]
    #[case(b"\xff")]
    fn no_questions(#[case] key: &[u8]) {
        assert_eq!(Question::parse(key), None);
    }

    #[test]
    fn answers_are_words() {
        let answered = Answered {
            answer: Answer::InviteUsedUp,
        };
        let json = serde_json::to_string(&answered).unwrap();
        assert_eq!(json, r#"{"answer":"invite_used_up"}"#);
    }
}
