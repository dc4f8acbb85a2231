//! The LMTP server with raw clients.

use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use chatmail::Reply;
use mxdeliv_bridge::budget::{Budget, Exhausted, Reservation};
use mxdeliv_bridge::envelope::{Envelope, Recipient};
use mxdeliv_bridge::outbound::lmtp::{self, HeldMessage, Transactions};
use rstest::rstest;
use tempfile::TempDir;
use tokio::net::UnixStream;
use tokio::sync::{Notify, Semaphore, watch};
use tokio::task::JoinHandle;

use crate::lmtp_client::LmtpClient;

const SIZE_MAX: u64 = 32 * 1024 * 1024;
const BUDGET: u64 = 2 * SIZE_MAX;

/// Takes messages one by one, as many as it is let.
struct Desk {
    budget: Budget,
    /// A permit for each message that may be taken.
    let_through: Semaphore,
    began: Notify,
    taken: Mutex<Vec<(Envelope, Vec<u8>)>>,
}

impl Transactions for Desk {
    async fn recipient(&self, _: &Envelope, recipient: &Recipient) -> Result<(), Reply> {
        if recipient.path.as_bytes().starts_with(b"no") {
            return Err(Reply::new(550, (5, 1, 1), "No such user"));
        }
        Ok(())
    }

    async fn room(&self, _: &Envelope, _: u64, octets: u64) -> Result<Vec<Reservation>, Exhausted> {
        let reserved = self.budget.reserve(octets, Duration::from_secs(60)).await;
        reserved.map(|reservation| vec![reservation])
    }

    async fn message(&self, envelope: Envelope, message: HeldMessage) -> Vec<Reply> {
        self.began.notify_one();
        self.let_through.acquire().await.unwrap().forget();
        let replies = envelope.recipients.iter();
        let replies = replies.map(|_| Reply::new(250, (2, 0, 0), "Taken"));
        let replies = replies.collect();
        let taken = (envelope, message.octets().to_vec());
        self.taken.lock().unwrap().push(taken);
        replies
    }
}

struct Server {
    path: PathBuf,
    _dir: TempDir,
    desk: Arc<Desk>,
    stop: watch::Sender<bool>,
    serving: JoinHandle<()>,
}

impl Server {
    fn start() -> Self {
        let server = Self::start_closed();
        server.desk.let_through.add_permits(1000);
        server
    }

    /// With a desk that takes no message yet.
    fn start_closed() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("socket");
        let listener = chatmail::listen::unix(&path, 0o600).unwrap();
        let desk = Arc::new(Desk {
            budget: Budget::new(BUDGET),
            let_through: Semaphore::new(0),
            began: Notify::new(),
            taken: Mutex::default(),
        });
        let stop = watch::Sender::new(false);
        let serving = lmtp::serve(
            "test",
            listener,
            Arc::clone(&desk),
            SIZE_MAX,
            stop.subscribe(),
        );
        Self {
            path,
            _dir: dir,
            desk,
            stop,
            serving: tokio::spawn(serving),
        }
    }

    async fn client(&self) -> LmtpClient {
        LmtpClient::ready(&self.path).await
    }

    fn taken(&self) -> Vec<Vec<u8>> {
        let taken = self.desk.taken.lock().unwrap();
        taken.iter().map(|(_, message)| message.clone()).collect()
    }

    /// Waits until no message has room.
    async fn is_empty(&self) {
        let whole = self.desk.budget.reserve(BUDGET, Duration::from_secs(300));
        whole.await.unwrap();
    }
}

#[tokio::test]
async fn each_recipient_has_a_reply_on_a_connection_for_many_messages() {
    let server = Server::start();
    let mut client = server.client().await;
    for _ in 0..3 {
        let codes = client.deliver("<a@x>", &["b@y", "c@y"], "..a\r\n").await;
        assert_eq!(codes, [250, 250]);
    }
    assert_eq!(client.command("QUIT").await, 221);
    client.closed().await;
    assert_eq!(server.taken(), [b".a\r\n"; 3]);
    server.is_empty().await;
}

#[tokio::test]
async fn everything_may_come_octet_by_octet_or_all_at_once() {
    let server = Server::start();
    let conversation = "LHLO x\r\nMAIL FROM:<>\r\nRCPT TO:<b@y>\r\nRCPT TO:<no@y>\r\nDATA\r\n\
        one\r\n.\r\nMAIL FROM:<>\r\nRCPT TO:<b@y>\r\nDATA\r\ntwo\r\n.\r\nQUIT\r\n";
    let expected = [250, 250, 250, 550, 354, 250, 250, 250, 354, 250, 221];
    let mut whole = LmtpClient::connect(&server.path).await;
    whole.send(conversation).await;
    assert_eq!(whole.codes(expected.len()).await, expected);
    whole.closed().await;
    let mut pieces = LmtpClient::connect(&server.path).await;
    for octet in conversation.as_bytes() {
        pieces.send([*octet]).await;
        tokio::task::yield_now().await;
    }
    assert_eq!(pieces.codes(expected.len()).await, expected);
    assert_eq!(server.taken().concat(), b"one\r\ntwo\r\none\r\ntwo\r\n");
}

#[tokio::test]
async fn a_large_message() {
    let server = Server::start();
    let mut client = server.client().await;
    let mut message = String::new();
    while message.len() < 30 * 1024 * 1024 {
        message.push_str(&format!("{}{}\r\n", message.len(), "x".repeat(700)));
    }
    // Less than it is: it has to grow.
    let codes = client.deliver("<> SIZE=1000", &["b@y"], &message).await;
    assert_eq!(codes, [250]);
    // Not `assert_eq`: nobody wants to read 30 MiB.
    assert!(server.taken() == [message.into_bytes()]);
}

#[tokio::test]
async fn what_is_too_large_is_said_before_or_after() {
    let server = Server::start();
    let mut client = server.client().await;
    let mail = format!("MAIL FROM:<> SIZE={}", SIZE_MAX + 1);
    assert_eq!(client.command(&mail).await, 552);
    let line = format!("{}\r\n", "x".repeat(998));
    let message = line.repeat(SIZE_MAX as usize / 1000 + 1);
    assert_eq!(client.deliver("<>", &["b@y"], &message).await, [552]);
    assert_eq!(client.deliver("<>", &["b@y"], "x\r\n").await, [250]);
    assert_eq!(server.taken(), [b"x\r\n"]);
}

/// The second would hold memory that is not there; so it waits, before it begins.
#[tokio::test]
async fn a_message_without_room_waits_for_its_turn() {
    let server = Server::start_closed();
    let mail = format!("<> SIZE={SIZE_MAX}");
    let mut holding = Vec::new();
    for _ in 0..2 {
        let mut client = server.client().await;
        assert_eq!(client.begin(&mail, &["b@y"]).await, 354);
        client.send("x\r\n.\r\n").await;
        server.desk.began.notified().await;
        holding.push(client);
    }
    let mut waiting = server.client().await;
    waiting
        .send(format!("MAIL FROM:{mail}\r\nRCPT TO:<b@y>\r\nDATA\r\n"))
        .await;
    assert_eq!(waiting.codes(2).await, [250, 250]);
    assert_eq!(server.desk.budget.in_use(), BUDGET);
    server.desk.let_through.add_permits(1);
    assert_eq!(waiting.code().await, 354);
    server.desk.let_through.add_permits(2);
    waiting.send("x\r\n.\r\n").await;
    assert_eq!(waiting.code().await, 250);
    for mut client in holding {
        assert_eq!(client.code().await, 250);
    }
    server.is_empty().await;
}

#[tokio::test(start_paused = true)]
async fn nobody_waits_for_room_for_ever() {
    let server = Server::start_closed();
    let whole = server.desk.budget.reserve(BUDGET, Duration::ZERO).await;
    let mut client = server.client().await;
    assert_eq!(client.begin("<> SIZE=10", &["b@y"]).await, 452);
    drop(whole);
    server.desk.let_through.add_permits(1);
    assert_eq!(client.deliver("<> SIZE=10", &["b@y"], "x\r\n").await, [250]);
}

#[rstest]
#[case("")]
#[case("LHLO x\r\n")]
#[case("LHLO x\r\nMAIL FROM:<>\r\n")]
#[case("LHLO x\r\nMAIL FROM:<>\r\nRCPT TO:<b@y>\r\n")]
#[case("LHLO x\r\nMAIL FROM:<>\r\nRCPT TO:<b@y>\r\nDATA\r\n")]
#[case("LHLO x\r\nMAIL FROM:<>\r\nRCPT TO:<b@y>\r\nDATA\r\nhalf")]
#[case("LHLO x\r\nMAIL FROM:<>\r\nRCPT TO:<b@y>\r\nDATA\r\nhalf\r\n.")]
#[tokio::test]
async fn a_client_that_goes_leaves_nothing(#[case] said: &str) {
    let server = Server::start();
    let mut client = LmtpClient::connect(&server.path).await;
    client.send(said).await;
    drop(client);
    server.stop.send_replace(true);
    server.serving.await.unwrap();
    assert_eq!(server.desk.budget.in_use(), 0);
    assert_eq!(server.desk.taken.lock().unwrap().len(), 0);
}

#[tokio::test]
async fn a_client_that_goes_after_its_message_does_not_end_it() {
    let server = Server::start_closed();
    let mut client = server.client().await;
    assert_eq!(client.begin("<>", &["b@y"]).await, 354);
    client.send("x\r\n.\r\n").await;
    server.desk.began.notified().await;
    drop(client);
    server.desk.let_through.add_permits(1);
    server.is_empty().await;
    assert_eq!(server.taken(), [b"x\r\n"]);
}

#[tokio::test]
async fn told_to_stop_it_finishes_what_was_begun() {
    let server = Server::start();
    let mut idle = server.client().await;
    let mut busy = server.client().await;
    assert_eq!(busy.command("MAIL FROM:<>").await, 250);
    server.stop.send_replace(true);
    assert!(idle.reply().await.starts_with("421 4.3.2"));
    idle.closed().await;
    assert_eq!(busy.command("RCPT TO:<b@y>").await, 250);
    assert_eq!(busy.command("DATA").await, 354);
    busy.send("x\r\n.\r\n").await;
    assert_eq!(busy.codes(2).await, [250, 421]);
    busy.closed().await;
    server.serving.await.unwrap();
    UnixStream::connect(&server.path).await.unwrap_err();
}

#[tokio::test(start_paused = true)]
async fn a_client_that_says_nothing_is_sent_away() {
    let server = Server::start();
    let mut idle = server.client().await;
    assert!(idle.reply().await.starts_with("421 4.4.2"));
    idle.closed().await;
    let mut slow = server.client().await;
    assert_eq!(slow.begin("<>", &["b@y"]).await, 354);
    let dripping = tokio::spawn(async move {
        for _ in 0..3 {
            slow.send("x\r\n").await;
            tokio::time::sleep(Duration::from_secs(250)).await;
        }
        slow
    });
    let mut slow = dripping.await.unwrap();
    assert!(slow.reply().await.starts_with("421 4.4.2"));
    server.is_empty().await;
    assert_eq!(server.taken(), [[0; 0]; 0]);
}
