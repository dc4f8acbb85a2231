//! Which names and passwords a new account may have.

use std::path::PathBuf;

use super::hash::PASSWORD_MAX;
use crate::invites::{NoGood, Token};
use crate::registration::Registration;
use crate::{Address, Config, Domain};

/// Why a login was refused without its password being looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Refusal {
    /// What was given is not an address.
    #[error("not an address")]
    NotAnAddress,
    /// The address is of another domain.
    #[error("foreign domain")]
    ForeignDomain,
    /// The account is there but its password file holds no usable hash.
    #[error("no usable password hash")]
    Locked,
    /// The operator has blocked the account.
    #[error("blocked account")]
    Blocked,
    /// The name has characters other than `a-z0-9._-`, or dots at an end or in a row.
    #[error("name not allowed")]
    Name,
    /// The name is too short or too long.
    #[error("name length")]
    NameLength,
    /// The operator keeps the name.
    #[error("reserved name")]
    Reserved,
    /// An account with the name was deleted not long ago.
    #[error("name of a deleted account")]
    Deleted,
    /// The password is too short.
    #[error("password too short")]
    PasswordTooShort,
    /// The password has over 511 bytes or a NUL, which crypt(3) cannot do.
    #[error("password cannot be hashed")]
    PasswordUnusable,
    /// The operator has stopped the creation of accounts.
    #[error("creation is switched off")]
    SwitchedOff,
    /// Registration is closed.
    #[error("registration is closed")]
    Closed,
    /// It takes an invite, and the password carries none.
    #[error("no invite")]
    NoInvite,
    /// The invite that the password carries is no good.
    #[error("{0}")]
    Invite(NoGood),
    /// The load is too high.
    #[error("load")]
    Load,
    /// There is too little memory.
    #[error("memory")]
    Memory,
    /// There is too little disk space.
    #[error("disk space")]
    Disk,
    /// Too many accounts were created in the last minute.
    #[error("rate")]
    Rate,
    /// Too many accounts were created from the client's network in the last hour.
    #[error("network rate")]
    NetworkRate,
}

/// The rules that an address and a password can break by themselves.
#[derive(Clone, Debug)]
pub struct NewAccountRules {
    /// The relay's domain.
    pub domain: Domain,
    /// Shortest name in characters.
    pub username_min: usize,
    /// Longest name in characters.
    pub username_max: usize,
    /// Shortest password in characters.
    pub password_min: usize,
    /// Names that nobody can have, lower case.
    pub reserved: Vec<String>,
    /// Who may have an account.
    pub registration: Registration,
    /// While this file exists nobody gets an account.
    pub nocreate_file: PathBuf,
}

impl NewAccountRules {
    /// The rules of a configuration.
    pub fn from_config(config: &Config) -> Self {
        let size = |number: u32| usize::try_from(number).unwrap_or(usize::MAX);
        Self {
            domain: config.mail_domain.clone(),
            username_min: size(config.username_min_length.get()),
            username_max: size(config.username_max_length.get()),
            password_min: size(config.password_min_length),
            reserved: config
                .reserved_usernames
                .0
                .iter()
                .map(|name| name.to_lowercase())
                .collect(),
            registration: config.registration,
            nocreate_file: config.nocreate_file.clone(),
        }
    }

    /// Whether a new account may have this name and password; the first rule broken if not.
    pub(super) fn check(&self, address: &Address, password: &[u8]) -> Result<(), Refusal> {
        let name = address.local_part().as_str();
        if *address.domain() != self.domain {
            return Err(Refusal::ForeignDomain);
        }
        if !is_allowed_name(name) {
            return Err(Refusal::Name);
        }
        if !(self.username_min..=self.username_max).contains(&name.len()) {
            return Err(Refusal::NameLength);
        }
        if self.reserved.iter().any(|reserved| reserved == name) {
            return Err(Refusal::Reserved);
        }
        self.check_password(password)
    }

    /// The invite that a new account with this password takes; `None` where none is needed.
    pub(super) fn invite(&self, password: &[u8]) -> Result<Option<Token>, Refusal> {
        match self.registration {
            Registration::Open => Ok(None),
            Registration::Closed => Err(Refusal::Closed),
            Registration::Invite => match Token::of_password(password) {
                Some((token, _)) => Ok(Some(token)),
                None => Err(Refusal::NoInvite),
            },
        }
    }

    /// Whether an operator may make an account of this name: shorter, longer and reserved ones too.
    pub(super) fn check_as_operator(&self, address: &Address) -> Result<(), Refusal> {
        if *address.domain() != self.domain {
            return Err(Refusal::ForeignDomain);
        }
        match is_allowed_name(address.local_part().as_str()) {
            true => Ok(()),
            false => Err(Refusal::Name),
        }
    }

    /// Whether an account may have this password.
    pub(super) fn check_password(&self, password: &[u8]) -> Result<(), Refusal> {
        if password.len() > PASSWORD_MAX || password.contains(&0) {
            return Err(Refusal::PasswordUnusable);
        }
        // What follows an invite is all that others do not know.
        let secret = match (self.registration, Token::of_password(password)) {
            (Registration::Invite, Some((_, secret))) => secret,
            _ => password,
        };
        if String::from_utf8_lossy(secret).chars().count() < self.password_min {
            return Err(Refusal::PasswordTooShort);
        }
        Ok(())
    }
}

/// `[a-z0-9._-]+` and a dot-atom (RFC 5322 section 3.2.3): no dot at an end, none after another.
fn is_allowed_name(name: &str) -> bool {
    let allowed = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_' | b'-');
    name.split('.')
        .all(|atom| !atom.is_empty() && atom.bytes().all(allowed))
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    fn rules(domain: &str) -> NewAccountRules {
        NewAccountRules {
            domain: domain.parse().unwrap(),
            username_min: 3,
            username_max: 9,
            password_min: 9,
            reserved: vec!["admin".into()],
            registration: Registration::Open,
            nocreate_file: "/nonexistent".into(),
        }
    }

    #[rstest]
    #[case("abc@x.org", Ok(()))]
    #[case("ABC@X.ORG", Ok(()))]
    #[case("a.b-c_d09@x.org", Ok(()))]
    #[case("abc@y.org", Err(Refusal::ForeignDomain))]
    #[case("abc@sub.x.org", Err(Refusal::ForeignDomain))]
    #[case("abc@[192.0.2.1]", Err(Refusal::ForeignDomain))]
    #[case("a+b@x.org", Err(Refusal::Name))]
    #[case("a/b@x.org", Err(Refusal::Name))]
    #[case("../a@x.org", Err(Refusal::Name))]
    #[case("..@x.org", Err(Refusal::Name))]
    #[case("...@x.org", Err(Refusal::Name))]
    #[case(".abc@x.org", Err(Refusal::Name))]
    #[case("abc.@x.org", Err(Refusal::Name))]
    #[case("a..b@x.org", Err(Refusal::Name))]
    #[case("o'brien@x.org", Err(Refusal::Name))]
    #[case("ab@x.org", Err(Refusal::NameLength))]
    #[case("abcdefghij@x.org", Err(Refusal::NameLength))]
    #[case("admin@x.org", Err(Refusal::Reserved))]
    #[case("Admin@x.org", Err(Refusal::Reserved))]
    fn addresses(#[case] address: &str, #[case] expected: Result<(), Refusal>) {
        let address = address.parse().unwrap();
        assert_eq!(rules("x.org").check(&address, b"long enough"), expected);
    }

    #[rstest]
    #[case("[192.0.2.1]", "abc@[192.0.2.1]", Ok(()))]
    #[case("[192.0.2.1]", "abc@[192.0.2.2]", Err(Refusal::ForeignDomain))]
    #[case("[192.0.2.1]", "abc@x.org", Err(Refusal::ForeignDomain))]
    fn address_literals(
        #[case] domain: &str,
        #[case] address: &str,
        #[case] expected: Result<(), Refusal>,
    ) {
        let address = address.parse().unwrap();
        assert_eq!(rules(domain).check(&address, b"long enough"), expected);
    }

    #[rstest]
    #[case(b"123456789", Ok(()))]
    #[case(b"12345678", Err(Refusal::PasswordTooShort))]
    #[case(b"", Err(Refusal::PasswordTooShort))]
    #[case("äöüäöüäöü".as_bytes(), Ok(()))]
    #[case("äöüäöüäö".as_bytes(), Err(Refusal::PasswordTooShort))]
    #[case(b"\xff\xfe\xfd\xff\xfe\xfd\xff\xfe\xfd", Ok(()))]
    #[case(b"with/\t\"'\\ all", Ok(()))]
    #[case(b"with a \0 NUL", Err(Refusal::PasswordUnusable))]
    #[case(&[b'x'; 511], Ok(()))]
    #[case(&[b'x'; 512], Err(Refusal::PasswordUnusable))]
    fn passwords(#[case] password: &[u8], #[case] expected: Result<(), Refusal>) {
        let address = "abc@x.org".parse().unwrap();
        assert_eq!(rules("x.org").check(&address, password), expected);
    }
}
