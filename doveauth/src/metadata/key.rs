//! The keys under which Dovecot asks for IMAP METADATA (RFC 5464).
//!
//! `priv/GUID/NAME` is what the user keeps privately at a mailbox, `shared/GUID/NAME` what all see; GUID is
//! the mailbox's. What belongs to the whole server lies below a name that Dovecot has made for it.

/// Where the entries of the server begin, behind the mailbox.
const SERVER: &str = "vendor/vendor.dovecot/pvt/server/";

/// A key that this dict has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MetadataKey {
    /// `/private/devicetoken` of a mailbox: where to say that the account has a message.
    DeviceToken,
    /// `/private/messagenew` of a mailbox: the word of a classic relay's push script that a message has come.
    MessageNew,
    /// `/shared/vendor/deltachat/irohrelay`: the iroh relay for realtime data.
    IrohRelay,
    /// `/shared/vendor/deltachat/turn`: the TURN server for calls, with credentials.
    Turn,
    /// `/shared/vendor/deltachat/maxsmtprecipients`: the most recipients of a message.
    MaxSmtpRecipients,
    /// `/shared/vendor/deltachat/appversions`: the newest versions of the apps.
    AppVersions,
}

impl MetadataKey {
    /// Reads a key; `None` for one that this dict does not have.
    pub fn parse(key: &[u8]) -> Option<Self> {
        let mut parts = std::str::from_utf8(key).ok()?.splitn(3, '/');
        let (space, mailbox, name) = (parts.next()?, parts.next()?, parts.next()?);
        if mailbox.is_empty() {
            return None;
        }
        match space {
            "priv" => match name {
                "devicetoken" => Some(Self::DeviceToken),
                "messagenew" => Some(Self::MessageNew),
                _ => None,
            },
            "shared" => match name
                .strip_prefix(SERVER)?
                .strip_prefix("vendor/deltachat/")?
            {
                "irohrelay" => Some(Self::IrohRelay),
                "turn" => Some(Self::Turn),
                "maxsmtprecipients" => Some(Self::MaxSmtpRecipients),
                "appversions" => Some(Self::AppVersions),
                _ => None,
            },
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    const GUID: &str = "43f5f508a7ea0366dff30200c15250e3";

    #[rstest]
    #[case("priv/GUID/devicetoken", MetadataKey::DeviceToken)]
    #[case("priv/GUID/messagenew", MetadataKey::MessageNew)]
    #[case(
        "shared/GUID/vendor/vendor.dovecot/pvt/server/vendor/deltachat/irohrelay",
        MetadataKey::IrohRelay
    )]
    #[case(
        "shared/GUID/vendor/vendor.dovecot/pvt/server/vendor/deltachat/turn",
        MetadataKey::Turn
    )]
    #[case(
        "shared/GUID/vendor/vendor.dovecot/pvt/server/vendor/deltachat/maxsmtprecipients",
        MetadataKey::MaxSmtpRecipients
    )]
    #[case(
        "shared/GUID/vendor/vendor.dovecot/pvt/server/vendor/deltachat/appversions",
        MetadataKey::AppVersions
    )]
    fn known_keys(#[case] key: &str, #[case] expected: MetadataKey) {
        let key = key.replace("GUID", GUID);
        assert_eq!(MetadataKey::parse(key.as_bytes()), Some(expected));
    }

    #[rstest]
    #[case("")]
    #[case("priv")]
    #[case("priv//devicetoken")]
    #[case("priv/devicetoken")]
    #[case("priv/GUID/devicetoken/")]
    #[case("priv/GUID/comment")]
    #[case("shared/GUID/devicetoken")]
    #[case("shared/GUID/messagenew")]
    #[case("shared/GUID/vendor/deltachat/turn")]
    #[case("priv/GUID/vendor/vendor.dovecot/pvt/server/vendor/deltachat/turn")]
    #[case("shared/GUID/vendor/vendor.dovecot/pvt/server/vendor/deltachat/turn/")]
    #[case("shared/GUID/vendor/vendor.dovecot/pvt/server/vendor/deltachat/")]
    #[case("shared/GUID/vendor/vendor.dovecot/pvt/server/comment")]
    fn other_keys(#[case] key: &str) {
        let key = key.replace("GUID", GUID);
        assert_eq!(MetadataKey::parse(key.as_bytes()), None);
    }
}
