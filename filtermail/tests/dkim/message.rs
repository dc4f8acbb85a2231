//! Messages and keys to sign them with.

use std::path::Path;

use chatmail::Config;
use filtermail::dkim::{KeyCache, PrivateKey, PrivateKeyError, Signer, Verification};
use filtermail::session::Edit;

/// A header section and a body, as a milter hands them over: line ends in fields are LF.
#[derive(Clone, Debug)]
pub struct Message {
    pub headers: Vec<(String, Vec<u8>)>,
    pub body: Vec<u8>,
}

impl Message {
    /// A message of these fields.
    pub fn new(headers: &[(&str, &str)], body: &str) -> Self {
        let field = |(name, value): &(&str, &str)| ((*name).to_owned(), value.as_bytes().to_vec());
        Self {
            headers: headers.iter().map(field).collect(),
            body: body.as_bytes().to_vec(),
        }
    }

    /// What a chat client sends, with about this many octets of body.
    pub fn sample(size: usize) -> Self {
        let headers = [
            ("From", " <alice@chat.example>"),
            ("To", " \"hidden-recipients\": ;"),
            ("Subject", " [...]"),
            ("Date", " Sat, 01 Jan 2000 00:00:00 +0000"),
            ("Message-ID", " <1@localhost>"),
            ("Chat-Version", " 1.0"),
            (
                "Autocrypt",
                " addr=alice@chat.example; prefer-encrypt=mutual;\n keydata=xjMEZg\n c2Zn",
            ),
            ("MIME-Version", " 1.0"),
            (
                "Content-Type",
                " multipart/encrypted; protocol=\"application/pgp-encrypted\";\n\tboundary=\"x\"",
            ),
        ];
        let line = format!("{}\r\n", "wy4ECQMI".repeat(8));
        Self::new(&headers, &line.repeat(size.div_ceil(line.len())))
    }

    /// With one more field before all others.
    pub fn with(mut self, name: &str, value: &str) -> Self {
        let field = (name.to_owned(), value.as_bytes().to_vec());
        self.headers.insert(0, field);
        self
    }

    /// The signatures that this relay makes, as edits.
    pub fn signatures(&self, signer: &Signer) -> Vec<Edit> {
        self.signatures_after(signer, &[])
    }

    /// The signatures over the message as it will be after these edits.
    pub fn signatures_after(&self, signer: &Signer, edits: &[Edit]) -> Vec<Edit> {
        let mut signing = signer.begin();
        for (name, value) in &self.headers {
            signing.header(name.as_bytes(), value);
        }
        for chunk in self.body.chunks(1000) {
            signing.body(chunk);
        }
        signing.finish(edits).unwrap()
    }

    /// With the signatures that this relay makes.
    pub fn signed(&self, signer: &Signer) -> Self {
        self.edited(&self.signatures(signer))
    }

    /// With signatures inserted, as a milter's library does.
    pub fn edited(&self, edits: &[Edit]) -> Self {
        let mut message = self.clone();
        for edit in edits {
            let Edit::Insert { name, value } = edit else {
                panic!("{edit:?} inserts nothing");
            };
            message = message.with(name, &format!(" {value}"));
        }
        message
    }

    /// Hands the message over.
    pub fn to_verification(&self, verification: &mut Verification, keys: &KeyCache) {
        for (name, value) in &self.headers {
            verification.header(name.as_bytes(), value);
        }
        let author = "chat.example".parse().unwrap();
        verification.end_of_headers(Some(&author), keys);
        for chunk in self.body.chunks(1000) {
            verification.body(chunk);
        }
    }

    /// A field's value with line ends as on the wire.
    pub fn wire_value(value: &[u8]) -> Vec<u8> {
        let mut wire = Vec::new();
        for octet in value {
            if *octet == b'\n' {
                wire.push(b'\r');
            }
            wire.push(*octet);
        }
        wire
    }

    /// The message as on the wire.
    pub fn wire(&self) -> Vec<u8> {
        let mut wire = Vec::new();
        for (name, value) in &self.headers {
            wire.extend(name.as_bytes());
            wire.push(b':');
            wire.extend(Self::wire_value(value));
            wire.extend(b"\r\n");
        }
        wire.extend(b"\r\n");
        wire.extend(&self.body);
        wire
    }
}

/// A folder of private keys.
pub struct Keys {
    dir: tempfile::TempDir,
    lines: String,
}

impl Keys {
    /// An empty folder; `lines` go into chatmail.ini.
    pub fn new(lines: &str) -> Self {
        Self {
            dir: tempfile::tempdir().unwrap(),
            lines: lines.to_owned(),
        }
    }

    /// The folder.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// Writes a key file.
    pub fn write(&self, selector: &str, content: &[u8]) {
        let path = self.dir().join(format!("{selector}.private"));
        std::fs::write(path, content).unwrap();
    }

    /// Writes the file of a key that was made.
    pub fn generate(
        &self,
        selector: &str,
        made: Result<PrivateKey, PrivateKeyError>,
    ) -> PrivateKey {
        let key = made.unwrap();
        self.write(selector, key.to_pem().unwrap().as_bytes());
        key
    }

    /// The text of a chatmail.ini with these selectors.
    pub fn ini(&self, selectors: &str) -> String {
        let (dir, lines) = (self.dir().display(), &self.lines);
        format!(
            "[params]\nmail_domain = chat.example\ndkim_keys_dir = {dir}\n\
             dkim_selectors = {selectors}\n{lines}\n"
        )
    }

    /// The configuration with these selectors.
    pub fn config(&self, selectors: &str) -> Config {
        let (config, warnings) =
            Config::parse(&self.ini(selectors), Path::new("chatmail.ini")).unwrap();
        assert_eq!(warnings, []);
        config
    }
}
