//! What a server offers in its reply to `EHLO` or `LHLO` (RFC 5321 section 4.1.1.1).

use super::parameters::{MailParameters, RecipientParameters};
use super::reply_reader::ServerReply;

/// The extensions that we know how to use. The default is none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Extensions {
    /// PIPELINING (RFC 2920): commands may be sent before the replies to earlier ones have come.
    pub pipelining: bool,
    /// SIZE (RFC 1870): the largest message in octets, 0 when no limit is told.
    pub size: Option<u64>,
    /// 8BITMIME (RFC 6152).
    pub eight_bit_mime: bool,
    /// SMTPUTF8 (RFC 6531).
    pub smtputf8: bool,
    /// DSN (RFC 3461).
    pub dsn: bool,
    /// ENHANCEDSTATUSCODES (RFC 2034).
    pub enhanced_status_codes: bool,
    /// STARTTLS (RFC 3207). Read only: a server of ours does not offer it.
    pub starttls: bool,
}

impl Extensions {
    /// Reads them from the lines of a reply; the first line is the server's name.
    pub fn from_reply(reply: &ServerReply) -> Self {
        let mut offered = Self::default();
        for line in reply.lines.iter().skip(1) {
            let (keyword, parameter) = line.split_once(' ').unwrap_or((line, ""));
            match keyword.to_ascii_uppercase().as_str() {
                "PIPELINING" => offered.pipelining = true,
                // A size that is no number is no limit that could be kept.
                "SIZE" => offered.size = Some(parameter.trim().parse().unwrap_or(0)),
                "8BITMIME" => offered.eight_bit_mime = true,
                "SMTPUTF8" => offered.smtputf8 = true,
                "DSN" => offered.dsn = true,
                "ENHANCEDSTATUSCODES" => offered.enhanced_status_codes = true,
                "STARTTLS" => offered.starttls = true,
                _ => {}
            }
        }
        offered
    }

    /// The lines of the reply, behind the server's name.
    pub fn to_lines(&self) -> Vec<String> {
        let size = match self.size {
            Some(0) => "SIZE".to_owned(),
            size => format!("SIZE {}", size.unwrap_or_default()),
        };
        let lines = [
            (self.pipelining, "PIPELINING"),
            (self.size.is_some(), size.as_str()),
            (self.eight_bit_mime, "8BITMIME"),
            (self.smtputf8, "SMTPUTF8"),
            (self.dsn, "DSN"),
            (self.enhanced_status_codes, "ENHANCEDSTATUSCODES"),
            (self.starttls, "STARTTLS"),
        ];
        let offered = lines.into_iter().filter(|(offered, _)| *offered);
        offered.map(|(_, line)| line.to_owned()).collect()
    }

    /// The parameters of `MAIL` that such a server understands, of these.
    ///
    /// Without SMTPUTF8 and 8BITMIME a message that needs them cannot be sent as it is; that is for
    /// the caller to see.
    pub fn filter_mail(&self, parameters: MailParameters) -> MailParameters {
        MailParameters {
            size: parameters.size.filter(|_| self.size.is_some()),
            body: parameters.body.filter(|_| self.eight_bit_mime),
            smtputf8: parameters.smtputf8 && self.smtputf8,
            returned: parameters.returned.filter(|_| self.dsn),
            envelope_id: parameters.envelope_id.filter(|_| self.dsn),
        }
    }

    /// The same for `RCPT`.
    pub fn filter_recipient(&self, parameters: RecipientParameters) -> RecipientParameters {
        if self.dsn {
            parameters
        } else {
            RecipientParameters::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Command, Protocol, ReplyReader, write_lines};
    use super::*;
    use proptest::prelude::*;

    fn offered(lines: &[&str]) -> Extensions {
        let mut wire = Vec::new();
        write_lines(250, lines.iter().copied(), &mut wire);
        let reply = ReplyReader::new().take(&mut wire.as_slice());
        Extensions::from_reply(&reply.unwrap().unwrap())
    }

    #[test]
    fn known_keywords_count_in_any_case() {
        let lines = [
            "SIZE",
            "pipelining",
            "Size 1000",
            "AUTH PLAIN",
            "8bitMIME x",
        ];
        let expected = Extensions {
            pipelining: true,
            size: Some(1000),
            eight_bit_mime: true,
            ..Extensions::default()
        };
        assert_eq!(offered(&lines), expected);
        assert_eq!(offered(&["mx"]), Extensions::default());
        assert_eq!(offered(&["mx", "SIZE all"]).size, Some(0));
    }

    #[test]
    fn parameters_go_only_where_they_are_understood() {
        let mail = b"MAIL FROM:<a@x> SIZE=1 BODY=8BITMIME SMTPUTF8 RET=HDRS ENVID=x";
        let recipient = b"RCPT TO:<a@x> NOTIFY=NEVER ORCPT=rfc822;a@x";
        let parse = |line| Command::parse(Protocol::Smtp, line).unwrap();
        let (Command::Mail(_, mail), Command::Recipient(_, recipient)) =
            (parse(mail), parse(recipient))
        else {
            panic!("other commands");
        };
        let none = Extensions::default();
        assert_eq!(none.filter_mail(mail.clone()), MailParameters::default());
        let nothing = RecipientParameters::default();
        assert_eq!(none.filter_recipient(recipient.clone()), nothing);
        let all = offered(&["mx", "SIZE", "8BITMIME", "SMTPUTF8", "DSN"]);
        assert_eq!(all.filter_mail(mail.clone()), mail);
        assert_eq!(all.filter_recipient(recipient.clone()), recipient);
    }

    proptest! {
        #[test]
        fn what_is_offered_reads_back(flags: [bool; 6], size: Option<u64>) {
            let [pipelining, eight_bit_mime, smtputf8, dsn, enhanced_status_codes, starttls] = flags;
            let extensions = Extensions {
                pipelining,
                size,
                eight_bit_mime,
                smtputf8,
                dsn,
                enhanced_status_codes,
                starttls,
            };
            let lines = extensions.to_lines();
            let all: Vec<_> = ["mx.example"].into_iter().chain(lines.iter().map(String::as_str)).collect();
            prop_assert_eq!(offered(&all), extensions);
        }
    }
}
