//! Names and passwords for those who do not want to think of any.

use super::NewAccountRules;
use crate::invites::Token;
use crate::{Address, random};

/// Characters of a name, if the rules allow as many: 45 bits.
const NAME_LENGTH: usize = 9;

/// Characters of a password, unless the rules want more: 120 bits.
const PASSWORD_LENGTH: usize = 24;

/// An address that has most likely no account yet, and a password for it.
#[derive(Clone, PartialEq, Eq)]
pub struct Suggestion {
    /// The address.
    pub address: Address,
    /// The password.
    pub password: String,
}

impl Suggestion {
    /// A random one within the rules; its password carries the invite.
    ///
    /// # Errors
    /// The system has no random numbers.
    pub fn new(rules: &NewAccountRules, invite: Option<&Token>) -> Result<Self, getrandom::Error> {
        let address = loop {
            let name = random::text(name_length(rules))?;
            if rules.reserved.contains(&name) {
                continue;
            }
            // Names of letters and digits of an allowed length are parts of addresses.
            if let Ok(address) = format!("{name}@{}", rules.domain).parse() {
                break address;
            }
        };
        let secret = password(rules)?;
        let password = match invite {
            Some(token) => token.password(&secret),
            None => secret,
        };
        Ok(Self { address, password })
    }
}

impl std::fmt::Debug for Suggestion {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("Suggestion(…)")
    }
}

/// A random password that the rules allow.
pub(super) fn password(rules: &NewAccountRules) -> Result<String, getrandom::Error> {
    random::text(rules.password_min.max(PASSWORD_LENGTH))
}

fn name_length(rules: &NewAccountRules) -> usize {
    NAME_LENGTH.min(rules.username_max).max(rules.username_min)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registration::Registration;
    use rstest::rstest;

    #[rstest]
    #[case(9, 9, 9, 9, 24)]
    #[case(1, 64, 9, 9, 24)]
    #[case(3, 5, 0, 5, 24)]
    #[case(12, 20, 40, 12, 40)]
    fn suggestions_keep_to_the_rules(
        #[case] min: usize,
        #[case] max: usize,
        #[case] password_min: usize,
        #[case] name: usize,
        #[case] password: usize,
    ) {
        let rules = NewAccountRules {
            domain: "[192.0.2.1]".parse().unwrap(),
            username_min: min,
            username_max: max,
            password_min,
            reserved: vec!["admin".into()],
            registration: Registration::Invite,
            nocreate_file: "/nonexistent".into(),
        };
        let token = Token::random().unwrap();
        for invite in [None, Some(&token)] {
            let made = Suggestion::new(&rules, invite).unwrap();
            assert_eq!(made.address.local_part().as_str().len(), name);
            assert_eq!(rules.check(&made.address, made.password.as_bytes()), Ok(()));
            let carried = Token::of_password(made.password.as_bytes());
            match (invite, carried) {
                (None, None) => assert_eq!(made.password.len(), password),
                (Some(token), Some((carried, secret))) => {
                    assert_eq!((&carried, secret.len()), (token, password));
                }
                other => panic!("{other:?}"),
            }
            assert!(!format!("{made:?}").contains(&made.password));
        }
    }
}
