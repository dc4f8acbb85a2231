//! What kind of relay to start.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use crate::authority::Certificate;

/// The password of every account of a relay without our daemons.
pub const PLAIN_PASSWORD: &str = "plain-relay-password";

/// Who answers Postfix's and Dovecot's questions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Variant {
    /// Our daemons: accounts come into being by logging in, mail passes the gate.
    #[default]
    Full,
    /// Nobody: every address under the domain exists, with [`PLAIN_PASSWORD`], and mail passes
    /// unseen. It is what our daemons are measured against.
    Plain,
    /// Like [`Variant::Plain`], with a classic relay's settings: messages are stored compressed (gz), and Dovecot
    /// runs its push script for each. To measure against.
    ClassicSettings,
    /// Like [`Variant::Plain`], but mail passes a milter that judges nothing: what of filtermail's
    /// cost is Postfix's own work for any milter.
    NullMilter,
    /// Like [`Variant::Plain`], but mail passes OpenDKIM, which signs it as on classic relays. To
    /// measure against; Debian's package must be there.
    OpenDkim,
}

/// What a relay's addresses end in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DomainKind {
    /// `chat.test`, `chat2.test` and so on, which the authority of the testbed vouches for.
    #[default]
    Name,
    /// `_chat.test`, `_chat2.test` and so on, whose certificates are their own.
    Underscore,
    /// The relay's loopback address, as in `name@[127.0.0.2]`.
    IpLiteral,
}

/// How a relay is known to its peers: `name`, `underscore` or `ip-literal` on the command line; with
/// another certificate than peers expect `name+self-signed`, `name+wrong-name`, `name+expired`; with SMTP
/// only `name+smtp`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RelayKind {
    /// What its addresses end in.
    pub domain: DomainKind,
    /// What it shows to its peers.
    pub certificate: Certificate,
    /// Whether it has SMTP only for mail from and to peers: no bridge, nobody at the HTTPS port.
    pub smtp_only: bool,
}

impl From<DomainKind> for RelayKind {
    fn from(domain: DomainKind) -> Self {
        Self {
            domain,
            ..Self::default()
        }
    }
}

const DOMAIN_KINDS: [(&str, DomainKind); 3] = [
    ("name", DomainKind::Name),
    ("underscore", DomainKind::Underscore),
    ("ip-literal", DomainKind::IpLiteral),
];

const CERTIFICATES: [(&str, Certificate); 3] = [
    ("self-signed", Certificate::SelfSigned),
    ("wrong-name", Certificate::WrongName),
    ("expired", Certificate::Expired),
];

const SMTP_ONLY: &str = "smtp";

const EXPECTED: &str = "expected name, underscore or ip-literal, then perhaps +self-signed, +wrong-name or +expired, +smtp";

impl FromStr for RelayKind {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut words = text.split('+').peekable();
        let domain = words.next();
        let domain = DOMAIN_KINDS
            .iter()
            .find(|(known, _)| Some(*known) == domain);
        let mut kind = Self::from(domain.ok_or(EXPECTED)?.1);
        let certificate = words.peek().and_then(|word| {
            let known = CERTIFICATES.iter().find(|(known, _)| known == word);
            known.map(|&(_, certificate)| certificate)
        });
        if let Some(certificate) = certificate {
            kind.certificate = certificate;
            words.next();
        }
        kind.smtp_only = words.next_if_eq(&SMTP_ONLY).is_some();
        match words.next() {
            None => Ok(kind),
            Some(_) => Err(EXPECTED),
        }
    }
}

impl fmt::Display for RelayKind {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let domain = DOMAIN_KINDS.iter().find(|(_, kind)| *kind == self.domain);
        let certificate = CERTIFICATES
            .iter()
            .find(|(_, certificate)| *certificate == self.certificate);
        if let Some((text, _)) = domain {
            out.write_str(text)?;
        }
        if let Some((text, _)) = certificate {
            write!(out, "+{text}")?;
        }
        if self.smtp_only {
            write!(out, "+{SMTP_ONLY}")?;
        }
        Ok(())
    }
}

/// What relays to start.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RelayOptions {
    /// Which daemons, if any.
    pub variant: Variant,
    /// How the first relay is known.
    pub kind: RelayKind,
    /// Further relays, which the first one and each other find in the DNS.
    pub peers: Vec<RelayKind>,
    /// Keys of `chatmail.ini` that differ from the testbed's choice.
    pub config: Vec<Setting>,
    /// The folder that holds the state folder: on a tmpfs, say, to measure without a disk. By
    /// default `chatmail-testbed` in the system's folder for temporary files.
    pub state_root: Option<PathBuf>,
    /// For measuring how mail is accepted, and nothing else: what was accepted is thrown away, and
    /// the submission port and the one for other relays speak no TLS.
    pub acceptance_only: bool,
    /// After how many seconds Postfix gives up on a message and sends it back; days if none.
    pub queue_lifetime: Option<u32>,
    /// Whether Postfix and Dovecot are started again when they die, as our daemons are. Else their death
    /// is the relay's: nobody expects it.
    pub restart_servers: bool,
    /// Whether Dovecot tells nobody of new messages: no device is woken up.
    pub without_push: bool,
    /// Whether the relays have servers for calls (coturn) and realtime data of apps (iroh-relay). Only relays with
    /// our daemons and nginx have them.
    pub calls: bool,
    /// Whether Dovecot is the machine's own, although there is a patched one (see
    /// [`patched_dovecot`](crate::patched_dovecot)).
    pub stock_dovecot: bool,
    /// Settings of Postfix and Dovecot that differ from those that are shipped.
    pub server_settings: Vec<ServerSetting>,
}

impl RelayOptions {
    /// One relay without our daemons.
    pub fn plain() -> Self {
        Self {
            variant: Variant::Plain,
            ..Self::default()
        }
    }

    /// One relay without our daemons that has a classic relay's settings.
    pub fn classic_settings() -> Self {
        Self {
            variant: Variant::ClassicSettings,
            ..Self::default()
        }
    }

    /// One relay without our daemons, whose milter does nothing.
    pub fn null_milter() -> Self {
        Self {
            variant: Variant::NullMilter,
            ..Self::default()
        }
    }

    /// One relay without our daemons, where OpenDKIM signs.
    pub fn open_dkim() -> Self {
        Self {
            variant: Variant::OpenDkim,
            ..Self::default()
        }
    }

    /// The same with a key of `chatmail.ini` set.
    #[must_use]
    pub fn with(mut self, key: &str, value: impl fmt::Display) -> Self {
        self.config.push(Setting {
            key: key.into(),
            value: value.to_string(),
        });
        self
    }

    /// The same with another setting of Postfix or Dovecot.
    #[must_use]
    pub fn with_server_setting(mut self, setting: ServerSetting) -> Self {
        self.server_settings.push(setting);
        self
    }

    /// The same with one more relay.
    #[must_use]
    pub fn with_peer(mut self, kind: impl Into<RelayKind>) -> Self {
        self.peers.push(kind.into());
        self
    }

    /// The same with SMTP only between the relays that are there so far.
    #[must_use]
    pub fn by_smtp(mut self) -> Self {
        self.kind.smtp_only = true;
        for peer in &mut self.peers {
            peer.smtp_only = true;
        }
        self
    }

    /// The same with servers for calls and realtime data. coturn must be installed and iroh-relay built:
    /// [`crate::iroh_relay::program`].
    #[must_use]
    pub fn with_calls(mut self) -> Self {
        self.calls = true;
        self
    }

    /// How each relay is known, the first one first.
    pub fn kinds(&self) -> impl Iterator<Item = RelayKind> {
        std::iter::once(self.kind).chain(self.peers.iter().copied())
    }

    /// The arguments of `cargo testbed up` that ask for the same.
    pub fn arguments(&self) -> Vec<String> {
        let mut arguments = vec!["--kind".to_owned(), self.kind.to_string()];
        let mut option = |name: &str, value: String| arguments.extend([name.to_owned(), value]);
        for peer in &self.peers {
            option("--peer", peer.to_string());
        }
        for setting in &self.config {
            option("--config", setting.to_string());
        }
        for setting in &self.server_settings {
            option("--server-setting", setting.to_string());
        }
        if let Some(root) = &self.state_root {
            option("--state-root", root.display().to_string());
        }
        if let Some(seconds) = self.queue_lifetime {
            option("--queue-lifetime", seconds.to_string());
        }
        let variant = match self.variant {
            Variant::Full => None,
            Variant::Plain => Some("--plain"),
            Variant::ClassicSettings => Some("--classic-settings"),
            Variant::NullMilter => Some("--null-milter"),
            Variant::OpenDkim => Some("--open-dkim"),
        };
        let acceptance_only = self.acceptance_only.then_some("--acceptance-only");
        let restart_servers = self.restart_servers.then_some("--restart-servers");
        let without_push = self.without_push.then_some("--without-push");
        let calls = self.calls.then_some("--with-calls");
        let stock_dovecot = self.stock_dovecot.then_some("--stock-dovecot");
        let flags = [
            variant,
            acceptance_only,
            restart_servers,
            without_push,
            calls,
            stock_dovecot,
        ];
        arguments.extend(flags.into_iter().flatten().map(Into::into));
        arguments
    }
}

/// A line of `chatmail.ini`, written `KEY=VALUE` on the command line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Setting {
    /// The key.
    pub key: String,
    /// Its value, as it would stand in the file.
    pub value: String,
}

impl FromStr for Setting {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (key, value) = text.split_once('=').ok_or("expected KEY=VALUE")?;
        if value.contains('\n') {
            return Err("a value is a single line");
        }
        Ok(Self {
            key: key.trim().into(),
            value: value.trim().into(),
        })
    }
}

impl fmt::Display for Setting {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}={}", self.key, self.value)
    }
}

/// A setting of Postfix (`NAME = VALUE`) or Dovecot (any lines of its configuration) that takes the place of the one
/// that is shipped: to measure what that does. On the command line `postfix:…` or `dovecot:…`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ServerSetting {
    /// Of `main.cf`.
    Postfix(String),
    /// Of `dovecot.conf`.
    Dovecot(String),
}

impl ServerSetting {
    /// Of `main.cf`.
    pub fn postfix(line: &str) -> Self {
        Self::Postfix(line.to_owned())
    }

    /// Of `dovecot.conf`.
    pub fn dovecot(lines: &str) -> Self {
        Self::Dovecot(lines.to_owned())
    }
}

impl FromStr for ServerSetting {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.split_once(':') {
            Some(("postfix", line)) if line.contains('=') => Ok(Self::postfix(line)),
            Some(("dovecot", lines)) => Ok(Self::dovecot(lines)),
            _ => Err("expected postfix:NAME = VALUE or dovecot:LINES"),
        }
    }
}

impl fmt::Display for ServerSetting {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Postfix(line) => write!(out, "postfix:{line}"),
            Self::Dovecot(lines) => write!(out, "dovecot:{lines}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_are_written_as_they_are_read() {
        for text in [
            "name",
            "underscore",
            "ip-literal+expired",
            "name+wrong-name",
            "underscore+smtp",
            "name+expired+smtp",
        ] {
            assert_eq!(text.parse::<RelayKind>().unwrap().to_string(), text);
        }
        for text in [
            "",
            "names",
            "name+",
            "+expired",
            "name+expired+expired",
            "name+smtp+smtp",
            "name+smtp+expired",
        ] {
            assert!(text.parse::<RelayKind>().is_err(), "{text}");
        }
    }
}
