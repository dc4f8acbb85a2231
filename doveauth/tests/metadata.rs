//! IMAP METADATA as Dovecot's imap processes ask for it.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[allow(dead_code, reason = "each program uses a part of it")]
mod common;

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::time::{SystemTime, UNIX_EPOCH};

use common::Relay;
use rstest::rstest;
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt as _;
use tokio::net::UnixListener;

const TOKEN_KEY: &str = "priv/43f5f508a7ea0366dff30200c15250e3/devicetoken";
const SERVER: &str =
    "shared/43f5f508a7ea0366dff30200c15250e3/vendor/vendor.dovecot/pvt/server/vendor/deltachat";

/// A relay with a mailbox.
fn start(settings: &str) -> Relay {
    let relay = Relay::start(settings);
    fs::create_dir(relay.path("mail/bob@x.org")).unwrap();
    relay
}

async fn ask(relay: &Relay, request: &str) -> String {
    relay
        .ask("metadata", format!("{request}\n").as_bytes())
        .await
}

async fn tokens(relay: &Relay) -> String {
    ask(relay, &format!("L{TOKEN_KEY}\tbob@x.org")).await
}

async fn set(relay: &Relay, token: &str) -> String {
    let request = format!("H3\t2\t0\t\tmetadata\nB1\tbob@x.org\nS1\t{TOKEN_KEY}\t{token}\nC1");
    ask(relay, &request).await
}

/// What a client is told of the whole relay under a name.
async fn told(relay: &Relay, name: &str) -> String {
    ask(relay, &format!("L{SERVER}/{name}\tbob@x.org")).await
}

fn file(relay: &Relay) -> Value {
    let content = fs::read_to_string(relay.path("mail/bob@x.org/metadata.json")).unwrap();
    serde_json::from_str(&content).unwrap()
}

fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.unwrap().as_secs()
}

#[tokio::test]
async fn tokens_are_set_and_come_back_separated_by_a_blank() {
    let relay = start("");
    assert_eq!(tokens(&relay).await, "N\n");
    assert_eq!(set(&relay, "fcm-chat.delta:one").await, "O1\n");
    assert_eq!(tokens(&relay).await, "Ofcm-chat.delta:one\n");
    assert_eq!(set(&relay, "openpgp:two").await, "O1\n");
    // As Dovecot 2.4 does after a lost connection.
    assert_eq!(set(&relay, "openpgp:two").await, "O1\n");
    assert_eq!(tokens(&relay).await, "Ofcm-chat.delta:one openpgp:two\n");
    assert_eq!(
        ask(&relay, &format!("L{TOKEN_KEY}\tBOB@X.org")).await,
        tokens(&relay).await
    );
    let kept = file(&relay);
    let set = kept["devicetoken"]["openpgp:two"].as_u64().unwrap();
    assert!(set <= now() && set + 24 * 60 * 60 > now(), "{kept}");
    assert_eq!(set % (24 * 60 * 60), 0);
}

#[tokio::test]
async fn unsetting_removes_all_tokens() {
    let relay = start("");
    set(&relay, "one").await;
    set(&relay, "two").await;
    let unset = format!("B7\tbob@x.org\nU7\t{TOKEN_KEY}\nC7");
    assert_eq!(ask(&relay, &unset).await, "O7\n");
    assert_eq!(tokens(&relay).await, "N\n");
    assert_eq!(ask(&relay, &unset).await, "O7\n");
}

#[tokio::test]
async fn files_of_classic_relays_are_read_and_kept() {
    let relay = start("");
    let path = relay.path("mail/bob@x.org/metadata.json");
    let (fresh, old) = (now() - 3600, now() - 91 * 24 * 60 * 60);
    let content = json!({"devicetoken": {"fresh": fresh, "old": old}, "other": {"x": 1}});
    fs::write(&path, content.to_string()).unwrap();
    assert_eq!(tokens(&relay).await, "Ofresh\n");
    set(&relay, "new").await;
    let kept = file(&relay);
    assert_eq!(kept["devicetoken"]["fresh"], fresh);
    assert_eq!(kept["devicetoken"].as_object().unwrap().len(), 2);
    assert_eq!(kept["other"], json!({"x": 1}));

    fs::write(&path, r#"{"devicetoken": ["a", "b"]}"#).unwrap();
    assert_eq!(tokens(&relay).await, "Oa b\n");
    set(&relay, "c").await;
    assert_eq!(tokens(&relay).await, "Oa b c\n");
}

#[tokio::test]
async fn a_broken_file_is_no_token_until_the_next_one_is_set() {
    let relay = start("");
    let path = relay.path("mail/bob@x.org/metadata.json");
    fs::write(&path, "{\"devicetoken\": {\"a\": ").unwrap();
    assert_eq!(tokens(&relay).await, "N\n");
    assert_eq!(set(&relay, "new").await, "O1\n");
    assert_eq!(tokens(&relay).await, "Onew\n");
    assert!(relay.path("mail/bob@x.org/metadata.json.broken").exists());
}

#[tokio::test]
async fn a_file_that_cannot_be_read_is_a_failure() {
    let relay = start("");
    fs::create_dir(relay.path("mail/bob@x.org/metadata.json")).unwrap();
    for reply in [tokens(&relay).await, set(&relay, "a-secret").await] {
        assert!(reply.starts_with('F'), "{reply}");
        assert!(
            !reply.contains("bob") && !reply.contains("secret"),
            "{reply}"
        );
    }
}

#[rstest]
#[case::unknown_private("B1\tbob@x.org\nS1\tpriv/g/comment\tx\nC1")]
#[case::unknown_shared("B1\tbob@x.org\nS1\tshared/g/devicetoken\tx\nC1")]
#[case::of_the_server(&format!("B1\tbob@x.org\nS1\t{SERVER}/turn\tx\nC1"))]
#[case::deleting_what_is_the_servers(&format!("B1\tbob@x.org\nU1\t{SERVER}/turn\nC1"))]
#[case::no_token(&format!("B1\tbob@x.org\nS1\t{TOKEN_KEY}\t\nC1"))]
#[case::one_of_two_words_too_long(&format!("B1\tbob@x.org\nS1\t{TOKEN_KEY}\ta {}\nC1", "x".repeat(2049)))]
#[case::too_long(&format!("B1\tbob@x.org\nS1\t{TOKEN_KEY}\t{}\nC1", "x".repeat(2049)))]
#[case::one_of_two(&format!("B1\tbob@x.org\nS1\t{TOKEN_KEY}\ta\nS1\tpriv/g/comment\tx\nC1"))]
#[case::nobody(&format!("B1\t\nS1\t{TOKEN_KEY}\ta\nC1"))]
#[case::without_a_user(&format!("B1\nS1\t{TOKEN_KEY}\ta\nC1"))]
#[case::no_mailbox(&format!("B1\tcarol@x.org\nS1\t{TOKEN_KEY}\ta\nC1"))]
#[case::no_mailbox_at_all(&format!("B1\t../bob@x.org\nS1\t{TOKEN_KEY}\ta\nC1"))]
#[tokio::test]
async fn what_cannot_be_set_fails_and_changes_nothing(#[case] request: &str) {
    let relay = start("");
    let reply = ask(&relay, request).await;
    assert!(reply.starts_with("F1\t"), "{reply}");
    assert_eq!(fs::read_dir(relay.path("mail")).unwrap().count(), 1);
    assert_eq!(tokens(&relay).await, "N\n");
}

/// As `doveadm` does with a mailbox that moves to another host.
#[tokio::test]
async fn several_tokens_can_be_set_at_once() {
    let relay = start("");
    let request = format!("B1\tbob@x.org\nS1\t{TOKEN_KEY}\tone two\nC1");
    assert_eq!(ask(&relay, &request).await, "O1\n");
    let told = tokens(&relay).await;
    assert!(told == "Oone two\n" || told == "Otwo one\n", "{told}");
}

#[rstest]
#[case("priv/g/comment")]
#[case("priv/g/messagenew")]
#[case("shared/g/devicetoken")]
#[case("shared/g/vendor/vendor.dovecot/pvt/server/comment")]
#[case(&format!("{SERVER}/unknown"))]
#[case("")]
#[tokio::test]
async fn what_is_not_there_is_not_found(#[case] key: &str) {
    let relay = start("");
    assert_eq!(ask(&relay, &format!("L{key}\tbob@x.org")).await, "N\n");
}

#[tokio::test]
async fn clients_are_told_of_the_iroh_relay_and_the_most_recipients() {
    let relay = start("");
    assert_eq!(told(&relay, "irohrelay").await, "Ohttps://x.org\n");
    assert_eq!(told(&relay, "maxsmtprecipients").await, "O1000\n");
    let relay = start("iroh_relay =\nmax_user_recipients_per_minute = 50");
    assert_eq!(told(&relay, "irohrelay").await, "N\n");
    assert_eq!(told(&relay, "maxsmtprecipients").await, "O50\n");
}

#[tokio::test]
async fn turn_credentials_are_computed_from_a_secret() {
    let folder = tempfile::tempdir().unwrap();
    let secret = folder.path().join("secret");
    let settings = format!(
        "turn_secret_file = {}\nturn_server = turn.x.org:3479",
        secret.display()
    );
    let relay = start(&settings);
    // Not yet there.
    assert_eq!(told(&relay, "turn").await, "N\n");
    fs::write(&secret, "north\n").unwrap();
    let answer = told(&relay, "turn").await;
    let parts: Vec<_> = answer.trim_end().splitn(4, ':').collect();
    assert_eq!(parts[..2], ["Oturn.x.org", "3479"]);
    let left = parts[2].parse::<u64>().unwrap() - now();
    assert!((4 * 86400..=5 * 86400).contains(&left), "{answer}");
    assert_eq!(parts[3].len(), 28, "{answer}");
}

#[tokio::test]
async fn turn_credentials_of_a_classic_service_are_passed_on() {
    let relay = start("");
    assert_eq!(told(&relay, "turn").await, "N\n");
    let listener = UnixListener::bind(relay.path("turn")).unwrap();
    tokio::spawn(async move {
        for line in ["1758650868:cGFzc3dvcmQ=\n", "no credentials\n"] {
            let (mut client, _) = listener.accept().await.unwrap();
            client.write_all(line.as_bytes()).await.unwrap();
        }
    });
    let expected = "Ox.org:3478:1758650868:cGFzc3dvcmQ=\n";
    assert_eq!(told(&relay, "turn").await, expected);
    assert_eq!(told(&relay, "turn").await, "N\n");
    // Now the socket of a service that has died.
    assert_eq!(told(&relay, "turn").await, "N\n");
}

#[tokio::test]
async fn app_versions_are_the_operators_file() {
    assert_eq!(told(&start(""), "appversions").await, "N\n");
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("appversions.json");
    let relay = start(&format!("appversions_file = {}", path.display()));
    assert_eq!(told(&relay, "appversions").await, "N\n");
    fs::write(&path, "{\n\t\"clients\": []\n}\n").unwrap();
    assert_eq!(told(&relay, "appversions").await, "O{\"clients\":[]}\n");
}

#[tokio::test]
async fn the_socket_is_for_the_mail_user() {
    let relay = start("");
    let mode = fs::metadata(relay.path("metadata")).unwrap().permissions();
    assert_eq!(mode.mode() & 0o777, 0o660);
}
