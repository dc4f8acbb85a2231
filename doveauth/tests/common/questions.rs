//! What Dovecot and the other daemons ask of accounts, as they send it.

/// The password of somebody who logs in.
pub(crate) fn login(name: &str) -> String {
    format!("Lshared/passdb/a password\"{name}@x.org\t{name}@x.org\n")
}

/// Where a mailbox is.
pub(crate) fn userdb(name: &str) -> String {
    format!("Lshared/userdb/{name}@x.org\t{name}@x.org\n")
}

/// How mail is to be treated.
pub(crate) fn policy(name: &str) -> String {
    format!("Lshared/policy/{name}@x.org\t{name}@x.org\n")
}
