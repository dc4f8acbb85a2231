//! The rules of the gate, one name each.

use std::fmt;

/// Writes the enum, its kebab-case names and its explanations from one table.
macro_rules! rules {
    ($($variant:ident $name:literal $explanation:literal)*) => {
        /// The rule that a message failed, fine enough for a sender to find the spot.
        ///
        /// `Display` is the kebab-case name that replies, logs and metrics carry.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[non_exhaustive]
        pub enum Rule {
            $(#[doc = $explanation] $variant,)*
        }

        impl Rule {
            /// Every rule, in the order of the layers: lines, headers, MIME, armor, packets.
            pub const ALL: &[Self] = &[$(Self::$variant),*];

            /// The kebab-case name, for example `armor-checksum`.
            pub fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }

            /// One sentence for the person who wonders why the message was refused.
            pub fn explanation(self) -> &'static str {
                match self { $(Self::$variant => $explanation,)* }
            }
        }
    };
}

rules! {
    Nul "nul" "The message holds a NUL octet."
    BareLineEnding "bare-line-ending" "A CR or LF stands alone; lines end in CRLF."
    LineTooLong "line-too-long" "A line is longer than 998 octets."
    HeaderSyntax "header-syntax" "A header line is not `Name: value` or a continuation of one."
    HeaderControl "header-control"
        "A header holds a control character, a Unicode line break, or octets that are not UTF-8."
    HeaderTooLong "header-too-long"
        "A header that decides is over 2048 octets, or the headers of a part are over 512."

    FromMissing "from-missing" "There is no From header."
    FromRepeated "from-repeated" "There is more than one From header."
    FromSyntax "from-syntax" "The From header is not one mailbox in the form of RFC 5322, or its name could pass for another."
    FromComment "from-comment" "The From header holds a comment in parentheses."
    FromGroup "from-group" "The From header holds a group or a source route."
    FromSeveral "from-several" "The From header names several mailboxes."
    FromAddress "from-address" "The address in the From header is not local@domain."

    ContentTypeMissing "content-type-missing" "There is no Content-Type header."
    ContentTypeRepeated "content-type-repeated" "There is more than one Content-Type header."
    ContentTypeSyntax "content-type-syntax" "A Content-Type header is malformed."
    ContentTypeComment "content-type-comment" "A Content-Type header holds a comment."
    ContentTypeExtended "content-type-extended"
        "A Content-Type header uses the extended parameters of RFC 2231."
    ContentTypeParameterRepeated "content-type-parameter-repeated"
        "A Content-Type header gives one parameter twice."
    MimeVersionRepeated "mime-version-repeated" "There is more than one MIME-Version header."
    TransferEncodingRepeated "transfer-encoding-repeated"
        "There is more than one Content-Transfer-Encoding header."
    TransferEncoding "transfer-encoding"
        "A Content-Transfer-Encoding other than 7bit or 8bit hides what is encoded."
    NotEncrypted "not-encrypted" "The Content-Type is not multipart/encrypted."
    Protocol "protocol" "The protocol parameter is not application/pgp-encrypted."
    Charset "charset" "A Content-Type names a charset in which ASCII text reads otherwise."
    BoundaryMissing "boundary-missing" "The multipart Content-Type has no boundary parameter."
    BoundarySyntax "boundary-syntax" "The boundary is not 1 to 70 characters legal in one."

    SecureJoinRepeated "secure-join-repeated" "There is more than one Secure-Join header."
    SecureJoinStep "secure-join-step"
        "Of all securejoin steps only vc-request and vg-request may be cleartext."
    SecureJoinType "secure-join-type" "A securejoin request is not multipart/mixed."
    SecureJoinText "secure-join-text"
        "The text of a securejoin request does not repeat its Secure-Join header."
    CleartextTooLarge "cleartext-too-large" "A securejoin request is over 1 MiB."

    PreambleText "preamble-text" "There is text before the first part."
    EpilogueText "epilogue-text" "There is text after the last part."
    PartMissing "part-missing" "The message has fewer parts than its type asks for."
    PartExtra "part-extra" "The message has more parts than its type asks for."
    PartNested "part-nested" "A part is itself a multipart or a message."
    PartHeader "part-header" "A part has a header that is not a MIME header."
    PartHeaderRepeated "part-header-repeated" "A part has the same header twice."
    PartType "part-type" "A part has the wrong Content-Type for its place."
    DelimiterAmbiguous "delimiter-ambiguous"
        "A line begins like a part delimiter but goes on differently."
    ClosingDelimiterMissing "closing-delimiter-missing" "The closing delimiter is missing."
    VersionText "version-text" "The first part is not the line `Version: 1`."

    ArmorBegin "armor-begin"
        "The second part does not begin with the line -----BEGIN PGP MESSAGE-----."
    ArmorHeader "armor-header" "The armor has a header that is not allowed."
    ArmorBase64 "armor-base64" "The armor holds something that is not base64."
    ArmorPadding "armor-padding" "The base64 data of the armor is incomplete or wrongly padded."
    ArmorChecksumSyntax "armor-checksum-syntax" "The checksum line of the armor is malformed."
    ArmorChecksum "armor-checksum" "The checksum of the armor does not match its data."
    ArmorEnd "armor-end" "The line -----END PGP MESSAGE----- is missing from its place."
    ArmorTrailing "armor-trailing" "There is text after the armored block."

    PacketHeader "packet-header" "The armored data is not a sequence of OpenPGP packets."
    PacketIndeterminate "packet-indeterminate" "A packet has an indeterminate length."
    PacketPartial "packet-partial"
        "A partial length stands outside the encrypted data or begins with under 512 octets."
    PacketTag "packet-tag" "A packet is there that an encrypted message does not have."
    PacketTruncated "packet-truncated" "The data ends inside a packet."
    PacketTrailing "packet-trailing" "There is data after the encrypted data packet."
    MarkerContent "marker-content" "A marker packet does not hold the three letters PGP."
    SessionKeyMissing "session-key-missing" "No session key precedes the encrypted data."
    SessionKeyCount "session-key-count" "There are more than 2000 session-key packets."
    SessionKeySize "session-key-size" "A session-key packet is larger than any real one."
    SessionKeyVersion "session-key-version" "A session-key packet has an unknown version."
    SessionKeyAlgorithm "session-key-algorithm" "A session-key packet has an unknown algorithm."
    SessionKeyRecipient "session-key-recipient"
        "The recipient's fingerprint in a session-key packet has a wrong version or length."
    SessionKeyLength "session-key-length"
        "The fields of a session-key packet do not fill it exactly."
    SessionKeyNumber "session-key-number"
        "A number in a session-key packet has a wrong bit count or an impossible size."
    SessionKeyPoint "session-key-point" "A curve point in a session-key packet is malformed."
    SessionKeyS2k "session-key-s2k" "A password-protected session key uses an unknown S2K."
    SessionKeyPlain "session-key-plain" "A session-key packet holds what cannot be cipher text."
    DataVersion "data-version" "The encrypted data packet has an unknown version."
    DataAlgorithm "data-algorithm"
        "The encrypted data packet names an unknown cipher, AEAD mode or chunk size."
    DataShort "data-short" "The encrypted data packet is too short for any message."
    DataPlain "data-plain" "The encrypted data packet holds what cannot be cipher text."
}

impl fmt::Display for Rule {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.name())
    }
}

impl std::error::Error for Rule {}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn names_are_the_variants_in_kebab_case() {
        for rule in Rule::ALL {
            let mut expected = String::new();
            for (at, c) in format!("{rule:?}").char_indices() {
                if at > 0 && c.is_ascii_uppercase() {
                    expected.push('-');
                }
                expected.push(c.to_ascii_lowercase());
            }
            assert_eq!(rule.to_string(), expected);
        }
    }

    #[test]
    fn explanations_differ() {
        let distinct: BTreeSet<_> = Rule::ALL.iter().map(|rule| rule.explanation()).collect();
        assert_eq!(distinct.len(), Rule::ALL.len());
    }
}
