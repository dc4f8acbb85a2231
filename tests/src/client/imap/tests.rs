use super::*;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpListener;

/// Plays a server: for each step it reads as many bytes as `expected` has, compares, answers.
async fn scripted(script: &'static [(&'static str, &'static str)]) -> ImapClient {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = listener.local_addr().unwrap().into();
    tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        let mut stream = BufReader::new(stream);
        stream
            .write_all(b"* OK [CAPABILITY IMAP4rev1] ready\r\n")
            .await
            .unwrap();
        for (expected, answer) in script {
            let mut came = vec![0; expected.len()];
            stream.read_exact(&mut came).await.unwrap();
            assert_eq!(String::from_utf8_lossy(&came), *expected);
            stream.write_all(answer.as_bytes()).await.unwrap();
        }
        stream.fill_buf().await.unwrap();
    });
    ImapClient::connect(&endpoint, Security::Plain)
        .await
        .unwrap()
}

#[tokio::test]
async fn a_fetched_message_keeps_every_byte() {
    let mut client = scripted(&[(
        "c1 UID FETCH 1:* (UID BODY.PEEK[])\r\n",
        "* 1 FETCH (UID 7 BODY[] {14}\r\nA: b\r\n\r\nc1 OK\n)\r\n\
         * 2 FETCH (FLAGS () UID 9 BODY[] {0}\r\n)\r\n* 3 EXISTS\r\nc1 OK done\r\n",
    )])
    .await;
    let fetched = client.fetch("1:*").await.unwrap();
    assert_eq!(
        fetched[0],
        Fetched {
            number: 1,
            uid: 7,
            message: "A: b\r\n\r\nc1 OK\n".into()
        }
    );
    assert_eq!(
        fetched[1],
        Fetched {
            number: 2,
            uid: 9,
            message: "".into()
        }
    );
    assert_eq!(fetched.len(), 2);
}

#[tokio::test]
async fn a_password_that_cannot_be_quoted_goes_as_a_literal() {
    let mut client = scripted(&[
        ("c1 LOGIN \"a@x\" {7}\r\n", "+ go\r\n"),
        (
            "p\u{e4}\u{df}\r\n\r\n",
            "c1 NO [AUTHENTICATIONFAILED] wrong\r\n",
        ),
        (
            "c2 LOGIN \"a@x\" \"long enough\"\r\n",
            "c2 NO [UNAVAILABLE] later\r\n",
        ),
    ])
    .await;
    let error = client
        .authenticate("a@x", "p\u{e4}\u{df}\r\n")
        .await
        .unwrap_err();
    assert!(
        matches!(error, ImapError::AuthenticationFailed { .. }),
        "{error}"
    );
    let error = client.authenticate("a@x", "long enough").await.unwrap_err();
    assert!(matches!(error, ImapError::Unavailable { .. }), "{error}");
    assert_eq!(
        error.to_string(),
        "LOGIN: unavailable: No [UNAVAILABLE] later"
    );
}

#[tokio::test]
async fn idle_waits_for_exists_and_ends() {
    let mut client = scripted(&[
        (
            "c1 IDLE\r\n",
            "+ idling\r\n* OK Still here\r\n* 4 EXISTS\r\n* 1 RECENT\r\n",
        ),
        ("DONE\r\n", "c1 OK\r\n"),
        ("c2 IDLE\r\n", "c2 BAD no\r\n"),
    ])
    .await;
    let mut idle = client.idle().await.unwrap();
    assert_eq!(idle.exists(Duration::from_secs(5)).await.unwrap(), 4);
    let error = idle
        .exists(Duration::from_millis(100))
        .await
        .unwrap_err()
        .to_string();
    assert!(error.contains("EXISTS within 100ms of IDLE"), "{error}");
    idle.done().await.unwrap();
    assert!(matches!(
        client.idle().await,
        Err(ImapError::Refused { .. })
    ));
}

#[tokio::test]
async fn select_tells_about_the_mailbox() {
    let mut client = scripted(&[(
        "c1 SELECT INBOX\r\n",
        "* FLAGS (\\Seen)\r\n* 2 EXISTS\r\n* OK [UIDVALIDITY 5] ok\r\n* OK [UIDNEXT 3] ok\r\n\
         c1 OK [READ-WRITE] done\r\n",
    )])
    .await;
    let mailbox = client.select("INBOX").await.unwrap();
    assert_eq!(
        mailbox,
        Mailbox {
            exists: 2,
            uid_next: 3,
            uid_validity: 5
        }
    );
}
