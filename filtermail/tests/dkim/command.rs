//! `filtermail dkim`, as an operator runs it.

use std::os::unix::fs::PermissionsExt as _;
use std::process::{Command, Output};

use filtermail::dkim::{PrivateKey, Signer};

use crate::dns::{Dns, Say};
use crate::fixture::RSA;
use crate::message::Keys;

const NAME: &str = "2027a._domainkey.chat.example";

/// A folder of keys, its chatmail.ini, and the program.
struct Operator {
    keys: Keys,
    ini: tempfile::TempPath,
}

impl Operator {
    fn new(selectors: &str, lines: &str) -> Self {
        let keys = Keys::new(lines);
        let ini = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(ini.path(), keys.ini(selectors)).unwrap();
        let ini = ini.into_temp_path();
        Self { keys, ini }
    }

    async fn run(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_filtermail"));
        command
            .arg("--config")
            .arg(&self.ini)
            .arg("dkim")
            .args(arguments);
        // The DNS server is in this process and goes on meanwhile.
        tokio::task::spawn_blocking(move || command.output().unwrap())
            .await
            .unwrap()
    }
}

fn text(octets: &[u8]) -> String {
    String::from_utf8(octets.to_vec()).unwrap()
}

/// The TXT record in a line of a zone file.
fn record(line: &str, name: &str) -> String {
    let begin = format!("{name}. 3600 IN TXT ");
    let strings = line.trim_end().strip_prefix(&begin).expect(line);
    for string in strings.split(' ').filter(|piece| piece.starts_with('"')) {
        assert!(string.len() <= 257);
    }
    strings.replace("\" \"", "").trim_matches('"').to_owned()
}

#[tokio::test]
async fn from_nothing_to_a_published_key() {
    let dns = Dns::start().await;
    let operator = Operator::new("2027a", &dns.config_line());
    let output = operator.run(&["check"]).await;
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("filtermail dkim generate"));

    let output = operator.run(&["generate"]).await;
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let path = operator.keys.dir().join("2027a.private");
    let mode = std::fs::metadata(&path).unwrap().permissions().mode();
    assert_eq!(mode & 0o7777, 0o600);
    let printed = record(&text(&output.stdout), NAME);
    let key = PrivateKey::load(&path).unwrap();
    assert_eq!(printed, key.record().unwrap());
    assert!(
        Signer::load(&operator.keys.config("2027a"))
            .unwrap()
            .is_some()
    );

    let output = operator.run(&["show-record"]).await;
    assert_eq!(record(&text(&output.stdout), NAME), printed);

    let output = operator.run(&["check"]).await;
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stdout).starts_with(&format!("{NAME}: there is no key in DNS")));

    dns.set(NAME, Say::txt(&printed));
    let output = operator.run(&["check"]).await;
    assert_eq!(text(&output.stdout), format!("{NAME}: published\n"));
    assert_eq!(output.status.code(), Some(0));
}

#[tokio::test]
async fn keys_are_never_overwritten() {
    let operator = Operator::new("rsa", "");
    operator.keys.write("rsa", b"precious");
    for arguments in [&["generate"][..], &["generate", "--selector", "rsa"]] {
        let output = operator.run(arguments).await;
        assert_eq!(output.status.code(), Some(1));
        assert!(output.stdout.is_empty());
    }
    let path = operator.keys.dir().join("rsa.private");
    assert_eq!(std::fs::read(path).unwrap(), b"precious");
}

#[tokio::test]
async fn an_ed25519_key_beside() {
    let operator = Operator::new("rsa", "");
    operator.keys.write("rsa", RSA.as_bytes());
    let output = operator
        .run(&["generate", "--selector", "ed", "--ed25519"])
        .await;
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    assert!(text(&output.stderr).contains("add ed to dkim_selectors"));
    let printed = record(&text(&output.stdout), "ed._domainkey.chat.example");
    assert!(printed.starts_with("v=DKIM1; k=ed25519; p="));
    let output = operator.run(&["show-record", "--selector", "ed"]).await;
    let shown = record(&text(&output.stdout), "ed._domainkey.chat.example");
    assert_eq!(shown, printed);
}

#[tokio::test]
async fn all_that_dns_can_say() {
    let dns = Dns::start().await;
    let operator = Operator::new("2027a", &dns.config_line());
    operator.keys.write("2027a", RSA.as_bytes());
    let other = PrivateKey::generate_rsa().unwrap().record().unwrap();
    let own = PrivateKey::parse(RSA.as_bytes()).unwrap().record().unwrap();
    let octets = |record: &str| record.as_bytes().to_vec();
    for (say, result, status) in [
        (Say::Code(3), "key-missing", 1),
        (Say::txt("v=DKIM1; p="), "key-revoked", 1),
        (Say::txt("v=spf1 -all"), "key-unusable", 1),
        (Say::txt(&other), "key-different", 1),
        (Say::Code(2), "dns-failure", 2),
        (
            Say::Txt(60, vec![octets(&other), octets(&own)]),
            "published",
            0,
        ),
    ] {
        dns.set(NAME, say);
        let output = operator.run(&["check", "--json"]).await;
        assert_eq!(output.status.code(), Some(status), "{result}");
        let object: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(object["record"], NAME);
        assert_eq!(object["result"], result);
        assert_eq!(object["published"], result == "published");
    }
}

#[tokio::test]
async fn a_folder_that_is_not_there() {
    let operator = Operator::new("rsa", "");
    std::fs::remove_dir(operator.keys.dir()).unwrap();
    let output = operator.run(&["generate"]).await;
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("must own the folder"));
    std::fs::create_dir(operator.keys.dir()).unwrap();
}

#[tokio::test]
async fn a_selector_is_no_path() {
    let operator = Operator::new("rsa", "");
    let output = operator.run(&["generate", "--selector", "../rsa"]).await;
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(std::fs::read_dir(operator.keys.dir()).unwrap().count(), 0);
}
