//! Push notifications: from a message to the notification server.
//!
//! The server is played: the real one is outside.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[allow(dead_code, reason = "each program uses a part of it")]
mod common;

use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use common::{PATIENCE, Relay};
use doveauth::Drained;
use notifications::{Answer, Http, NotificationServer};
use rcgen::{CertificateParams, CertifiedIssuer, KeyPair};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::time::sleep;

const GUID: &str = "43f5f508a7ea0366dff30200c15250e3";

/// A place for a notification server, and the authority that vouches for it.
struct Place {
    folder: TempDir,
    issuer: CertifiedIssuer<'static, KeyPair>,
    address: SocketAddr,
}

impl Place {
    /// A port that nobody listens at.
    async fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("authority.pem"), issuer.pem()).unwrap();
        let free = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = free.local_addr().unwrap();
        Self {
            folder,
            issuer,
            address,
        }
    }

    async fn open(
        &self,
        http: Http,
        judge: impl Fn(&str) -> Answer + Send + Sync + 'static,
    ) -> NotificationServer {
        let listener = TcpListener::bind(self.address).await.unwrap();
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        let (chain, key) = (certificate.pem(), key.serialize_pem());
        NotificationServer::start(listener, chain.as_bytes(), key.as_bytes(), http, judge).unwrap()
    }

    /// A server that takes everything.
    async fn open_well(&self) -> NotificationServer {
        self.open(Http::Both, |_| Answer::Status(200)).await
    }

    /// What doveauth has to know of it.
    fn settings(&self) -> String {
        format!(
            "notification_url = https://{}/notify\nnotification_authorities = {}",
            self.address,
            self.folder.path().join("authority.pem").display(),
        )
    }
}

fn home(relay: &Relay, name: &str) -> PathBuf {
    relay.path(&format!("mail/{name}@x.org"))
}

/// Makes a mailbox and sets tokens as the account's devices do.
async fn set(relay: &Relay, name: &str, tokens: &[&str]) {
    fs::create_dir_all(home(relay, name)).unwrap();
    for token in tokens {
        let request = format!("B1\t{name}@x.org\nS1\tpriv/{GUID}/devicetoken\t{token}\nC1\n");
        assert_eq!(relay.ask("metadata", request.as_bytes()).await, "O1\n");
    }
}

/// What a classic relay's push script says of a delivered message.
async fn deliver(relay: &Relay, name: &str) -> String {
    let request =
        format!("H3\t2\t0\t\tmetadata\nB1\t{name}@x.org\nS1\tpriv/{GUID}/messagenew\t\nC1\n");
    relay.ask("metadata", request.as_bytes()).await
}

async fn tokens(relay: &Relay, name: &str) -> String {
    let request = format!("Lpriv/{GUID}/devicetoken\t{name}@x.org\n");
    relay.ask("metadata", request.as_bytes()).await
}

async fn eventually(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < deadline, "not in time: {what}");
        sleep(Duration::from_millis(10)).await;
    }
}

fn sorted(mut tokens: Vec<String>) -> Vec<String> {
    tokens.sort();
    tokens
}

/// Waits until nothing is to be sent, and everything is written.
async fn settled(relay: &Relay) {
    let path = relay.path("tables/notifications.sqlite");
    eventually("an empty queue", || {
        let file = rusqlite::Connection::open(&path).unwrap();
        let count = file.query_row("SELECT count(*) FROM notification", [], |row| row.get(0));
        count.is_ok_and(|count: i64| count == 0)
    })
    .await;
}

#[tokio::test]
async fn a_message_wakes_up_each_device_of_the_account() {
    let place = Place::new().await;
    let server = place.open_well().await;
    let relay = Relay::start(&place.settings());
    set(&relay, "bob", &["bobs-phone", "bobs-tablet"]).await;
    set(&relay, "carol", &["carols-phone"]).await;
    fs::create_dir(home(&relay, "dave")).unwrap();
    assert_eq!(deliver(&relay, "bob").await, "O1\n");
    assert_eq!(deliver(&relay, "dave").await, "O1\n");
    assert_eq!(deliver(&relay, "nobody").await, "O1\n");
    eventually("two posts", || server.count() == 2).await;
    settled(&relay).await;
    assert_eq!(sorted(server.tokens()), ["bobs-phone", "bobs-tablet"]);
    let post = &server.posts()[0];
    assert_eq!(post.path, "/notify");
    assert_eq!(deliver(&relay, "bob").await, "O1\n");
    eventually("two more posts", || server.count() == 4).await;
}

/// What the push script writes about delivered messages.
fn write(relay: &Relay, lines: &str) {
    let file = relay.path("new-messages");
    let mut file = OpenOptions::new()
        .append(true)
        .create(true)
        .open(file)
        .unwrap();
    file.write_all(lines.as_bytes()).unwrap();
}

#[tokio::test]
async fn what_the_push_script_writes_is_told() {
    let place = Place::new().await;
    let server = place.open_well().await;
    let relay = Relay::start(&place.settings());
    set(&relay, "bob", &["bobs-phone"]).await;
    set(&relay, "carol", &["carols-phone", "carols-tablet"]).await;
    write(&relay, "bob@x.org\n");
    eventually("one post", || server.count() == 1).await;
    settled(&relay).await;
    // Garbage, and what is of nobody or of another relay, is passed over; who gets two messages at once is told once.
    let garbage = "\u{0}\n\n../x@x.org\n@\nbob@y.org\n";
    let long = "x".repeat(1 << 20);
    write(
        &relay,
        &format!("{garbage}nobody@x.org\n{long}\ncarol@x.org\ncarol@x.org\n"),
    );
    eventually("two more posts", || server.count() == 3).await;
    settled(&relay).await;
    assert_eq!(
        sorted(server.tokens()),
        ["bobs-phone", "carols-phone", "carols-tablet"]
    );
}

/// One who has the file open when it is taken, and writes after that.
#[tokio::test]
async fn who_writes_late_is_heard() {
    let place = Place::new().await;
    let server = place.open_well().await;
    let relay = Relay::start(&place.settings());
    set(&relay, "bob", &["bobs-phone"]).await;
    set(&relay, "carol", &["carols-phone"]).await;
    let path = relay.path("new-messages");
    let options = || OpenOptions::new().append(true).create(true).open(&path);
    let mut late = options().unwrap();
    write(&relay, "bob@x.org\n");
    eventually("one post", || server.count() == 1).await;
    eventually("the file to be taken", || !path.exists()).await;
    late.write_all(b"carol@x.org\n").unwrap();
    drop(late);
    eventually("another post", || server.count() == 2).await;
    assert_eq!(sorted(server.tokens()), ["bobs-phone", "carols-phone"]);
}

/// What was delivered while doveauth was away, and what a killed one had taken and not yet queued.
#[tokio::test]
async fn what_was_written_before_the_start_is_told() {
    let place = Place::new().await;
    let server = place.open_well().await;
    let relay = Relay::start(&place.settings());
    set(&relay, "bob", &["bobs-phone"]).await;
    set(&relay, "carol", &["carols-phone"]).await;
    let (_, folder) = relay.stop_and_keep().await;
    fs::write(folder.path().join("new-messages.taken"), "bob@x.org\n").unwrap();
    fs::write(folder.path().join("new-messages"), "carol@x.org\n").unwrap();
    let relay = Relay::start_in(folder, &place.settings());
    eventually("two posts", || server.count() == 2).await;
    settled(&relay).await;
    assert_eq!(sorted(server.tokens()), ["bobs-phone", "carols-phone"]);
    assert!(!relay.path("new-messages.taken").exists());
}

/// Nobody is told, and the file does not grow.
#[tokio::test]
async fn without_a_notification_server_the_file_is_emptied() {
    let relay = Relay::start("notification_url =");
    write(&relay, "bob@x.org\n");
    let path = relay.path("new-messages");
    eventually("no file", || !path.exists()).await;
}

#[tokio::test]
async fn all_posts_share_one_connection() {
    let place = Place::new().await;
    let server = place.open_well().await;
    let relay = Relay::start(&place.settings());
    for number in 0..50 {
        set(&relay, &format!("bob{number}"), &[&format!("t{number}")]).await;
    }
    for number in 0..50 {
        assert_eq!(deliver(&relay, &format!("bob{number}")).await, "O1\n");
    }
    eventually("all posts", || server.count() == 50).await;
    settled(&relay).await;
    assert_eq!((server.count(), server.connections()), (50, 1));
}

#[tokio::test]
async fn a_server_without_http2_will_do() {
    let place = Place::new().await;
    let server = place.open(Http::Http1, |_| Answer::Status(200)).await;
    let relay = Relay::start(&place.settings());
    let names: Vec<_> = (0..20).map(|number| format!("t{number}")).collect();
    let names: Vec<_> = names.iter().map(String::as_str).collect();
    set(&relay, "bob", &names).await;
    assert_eq!(deliver(&relay, "bob").await, "O1\n");
    eventually("all posts", || server.count() == 20).await;
    settled(&relay).await;
    assert_eq!(server.count(), 20);
}

#[tokio::test]
async fn a_token_that_is_gone_is_removed() {
    let place = Place::new().await;
    let judge = |token: &str| Answer::Status(if token == "gone" { 410 } else { 200 });
    let server = place.open(Http::Both, judge).await;
    let relay = Relay::start(&place.settings());
    set(&relay, "bob", &["gone", "good"]).await;
    assert_eq!(deliver(&relay, "bob").await, "O1\n");
    eventually("two posts", || server.count() == 2).await;
    settled(&relay).await;
    assert_eq!(tokens(&relay, "bob").await, "Ogood\n");
    assert_eq!(deliver(&relay, "bob").await, "O1\n");
    eventually("one more post", || server.count() == 3).await;
    assert_eq!(server.tokens()[2], "good");
}

#[tokio::test]
async fn what_fails_is_tried_again() {
    let place = Place::new().await;
    let (asked, answers) = (std::sync::Mutex::new(0), [500, 301]);
    let judge = move |_: &str| {
        let mut asked = asked.lock().unwrap();
        *asked += 1;
        Answer::Status(answers.get(*asked - 1).copied().unwrap_or(200))
    };
    let server = place.open(Http::Both, judge).await;
    let relay = Relay::start(&place.settings());
    set(&relay, "bob", &["a-token"]).await;
    assert_eq!(deliver(&relay, "bob").await, "O1\n");
    let begun = Instant::now();
    eventually("a second post", || server.count() == 2).await;
    // The pause is of eight seconds; a clock that shows whole ones may cut one short.
    assert!(
        begun.elapsed() > Duration::from_secs(6),
        "{:?}",
        begun.elapsed()
    );
    // A new message does not wait for the pause of the one before; redirects are not followed.
    sleep(Duration::from_millis(200)).await;
    assert_eq!(deliver(&relay, "bob").await, "O1\n");
    eventually("a third post", || server.count() == 3).await;
    settled(&relay).await;
    assert!(server.posts().iter().all(|post| post.path == "/notify"));
}

#[tokio::test]
async fn messages_that_come_while_nobody_answers_are_told_by_one_post() {
    let place = Place::new().await;
    let relay = Relay::start(&place.settings());
    set(&relay, "bob", &["a-token"]).await;
    for _ in 0..30 {
        assert_eq!(deliver(&relay, "bob").await, "O1\n");
    }
    let server = place.open_well().await;
    assert_eq!(deliver(&relay, "bob").await, "O1\n");
    eventually("a post", || server.count() >= 1).await;
    settled(&relay).await;
    assert!(server.count() <= 2, "{} posts", server.count());
}

#[tokio::test]
async fn a_server_that_is_silent_holds_up_no_delivery_and_no_stop() {
    let place = Place::new().await;
    let server = place.open(Http::Both, |_| Answer::Silence).await;
    let relay = Relay::start(&place.settings());
    for number in 0..20 {
        set(&relay, &format!("bob{number}"), &[&format!("t{number}")]).await;
        assert_eq!(deliver(&relay, &format!("bob{number}")).await, "O1\n");
    }
    eventually("a post", || server.count() == 1).await;
    assert_eq!(relay.stop().await, Drained::All);
}

#[tokio::test]
async fn a_certificate_of_somebody_else_gets_no_token_and_the_log_never() {
    let (place, other) = (Place::new().await, Place::new().await);
    fs::copy(
        other.folder.path().join("authority.pem"),
        place.folder.path().join("authority.pem"),
    )
    .unwrap();
    let server = place.open_well().await;
    common::log::keep();
    let relay = Relay::start(&place.settings());
    set(&relay, "xyzzy", &["plugh-token"]).await;
    assert_eq!(deliver(&relay, "xyzzy").await, "O1\n");
    eventually("a log line", || {
        common::log::kept().contains("is tried again later")
    })
    .await;
    assert_eq!(server.count(), 0);
    // One that is sent is not logged either, nor by the libraries that send it.
    let place = Place::new().await;
    let server = place.open_well().await;
    let relay = Relay::start(&place.settings());
    set(&relay, "xyzzy", &["plugh-token"]).await;
    assert_eq!(deliver(&relay, "xyzzy").await, "O1\n");
    eventually("a post", || server.count() == 1).await;
    settled(&relay).await;
    let log = common::log::kept();
    assert!(!log.contains("plugh") && !log.contains("xyzzy"), "{log}");
}

#[tokio::test]
async fn a_damaged_queue_is_set_aside() {
    let place = Place::new().await;
    let server = place.open_well().await;
    let relay = Relay::start(&place.settings());
    set(&relay, "bob", &["a-token"]).await;
    fs::create_dir_all(relay.path("tables")).unwrap();
    let path = relay.path("tables/notifications.sqlite");
    fs::write(&path, "SQLite format 3\0 and then nothing that makes sense").unwrap();
    assert_eq!(deliver(&relay, "bob").await, "O1\n");
    eventually("a post", || server.count() == 1).await;
    assert!(relay.path("tables/notifications.sqlite.broken").exists());
}

#[tokio::test]
async fn a_queue_that_cannot_be_written_fails_the_notification_and_nothing_else() {
    let place = Place::new().await;
    let relay = Relay::start(&place.settings());
    set(&relay, "bob", &["plugh-token"]).await;
    fs::write(relay.path("tables"), "a file, not a folder").unwrap();
    for _ in 0..2 {
        let reply = deliver(&relay, "bob").await;
        assert!(reply.starts_with("F1\t"), "{reply}");
        assert!(
            !reply.contains("plugh") && !reply.contains("bob@"),
            "{reply}"
        );
    }
    set(&relay, "bob", &["another"]).await;
    assert_eq!(relay.stop().await, Drained::All);
}

#[tokio::test]
async fn without_a_server_nothing_is_queued() {
    let relay = Relay::start("notification_url =");
    set(&relay, "bob", &["a-token"]).await;
    assert_eq!(deliver(&relay, "bob").await, "O1\n");
    assert!(!relay.path("tables").exists());
}
