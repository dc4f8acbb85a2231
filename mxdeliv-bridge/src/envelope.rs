//! Who sent a message and who gets it, as LMTP and SMTP say it.

use chatmail::smtp::{MailParameters, Path, RecipientParameters};

/// The envelope of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Envelope {
    /// The envelope sender.
    pub sender: Path,
    /// What came with it.
    pub parameters: MailParameters,
    /// The recipients, at least one.
    pub recipients: Vec<Recipient>,
}

/// One recipient.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recipient {
    /// The address.
    pub path: Path,
    /// What came with it.
    pub parameters: RecipientParameters,
}
