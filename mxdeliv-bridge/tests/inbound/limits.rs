//! Sizes, memory, and what one client may do.

use crate::bridge::{Bridge, soon};
use crate::http::{self, Post};
use crate::message;
use rstest::rstest;
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;

const BOB: &str = "bob@chat.example";

#[rstest]
#[case(true)]
#[case(false)]
#[tokio::test]
async fn a_thousand_recipients(#[case] a_line_each: bool) {
    let bridge = Bridge::start().await;
    let names: Vec<String> = (0..1000)
        .map(|number| format!("user{number:03}-{}@chat.example", "x".repeat(100)))
        .map(|name| name.replacen(&"x".repeat(100), &"x".repeat(40), 1))
        .collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let joined = names.join(", ");
    let recipients = if a_line_each { names } else { vec![&*joined] };
    let mut post = Post::to(&recipients);
    for number in 0..90 {
        post = post.with(&format!("X-Field-{number}"), &"y".repeat(700));
    }
    assert!(post.head().len() > 120 << 10, "{}", post.head().len());
    let began = Instant::now();
    assert_eq!(bridge.post(&post).await.told(), (200, "250 OK"));
    println!("1000 recipients took {:?}", began.elapsed());
    assert_eq!(bridge.dovecot.only().recipients.len(), 1000);
    assert_eq!(bridge.doveauth.lookups(), 1000);
}

#[tokio::test]
async fn one_recipient_more_is_too_many() {
    let bridge = Bridge::start().await;
    let names: Vec<String> = (0..1001).map(|at| format!("u{at}@chat.example")).collect();
    let answer = bridge.post(&Post::to(&[&names.join(",")])).await;
    assert_eq!(answer.told(), (400, "501 5.5.4 Too many recipients"));
}

#[tokio::test]
async fn floods_of_header_fields_are_refused() {
    let bridge = Bridge::start().await;
    let mut many = Post::to(&[BOB]);
    for number in 0..1200 {
        many = many.with("X-Field", &number.to_string());
    }
    assert_eq!(bridge.post(&many).await.status, 431);
    let large = Post::to(&[BOB]).with("X-Field", &"x".repeat(300 << 10));
    assert_eq!(bridge.post(&large).await.status, 431);
    assert_eq!(bridge.dovecot.delivered(), []);
}

#[tokio::test]
async fn a_length_beyond_the_limit_is_refused_unread() {
    let bridge = Bridge::with("max_message_size = 100000").await;
    let mut stream = UnixStream::connect(bridge.http()).await.unwrap();
    let head = Post::to(&[BOB]).head();
    for length in [(1_u64 << 30).to_string(), "100001".to_owned()] {
        let mut stream_of = UnixStream::connect(bridge.http()).await.unwrap();
        let octets = format!("{head}Content-Length: {length}\r\n\r\n");
        stream_of.write_all(octets.as_bytes()).await.unwrap();
        let answer = http::answer(&mut stream_of).await;
        assert_eq!(answer.told(), (413, "552 5.3.4 Message too large"));
    }
    let absurd = format!("{head}Content-Length: 99999999999999999999999\r\n\r\n");
    stream.write_all(absurd.as_bytes()).await.unwrap();
    assert_eq!(http::answer(&mut stream).await.status, 400);
}

#[tokio::test]
async fn a_message_as_large_as_may_be() {
    let body = message::encrypted("carol@[192.0.2.1]", 300_000);
    let keys = |limit: usize| format!("max_message_size = {limit}\nmxdeliv_memory = 1");
    for chunked in [None, Some(5000), Some(1_000_000)] {
        let mut post = Post::of("carol@[192.0.2.1]", &[BOB], body.clone());
        post.chunked = chunked;
        let fits = Bridge::with(&keys(body.len())).await;
        assert_eq!(fits.post(&post).await.status, 200, "{chunked:?}");
        assert_eq!(fits.dovecot.only().message, body);
        fits.until_idle().await;
        let too_small = Bridge::with(&keys(body.len() - 1)).await;
        assert_eq!(too_small.post(&post).await.status, 413, "{chunked:?}");
        assert_eq!(too_small.dovecot.delivered(), []);
        too_small.until_idle().await;
    }
}

/// A GiB in chunks: the server stops reading at the limit, and holds no more than that.
#[tokio::test]
async fn chunks_without_end_end_at_the_limit() {
    let bridge = Bridge::with("max_message_size = 1M\nmxdeliv_memory = 1M").await;
    let stream = UnixStream::connect(bridge.http()).await.unwrap();
    let (mut read, mut write) = stream.into_split();
    let head = format!(
        "{}Transfer-Encoding: chunked\r\n\r\n",
        Post::to(&["open@chat.example"]).head()
    );
    let first = message::cleartext("carol@[192.0.2.1]");
    let first = format!("{:x}\r\n{first}\r\n", first.len());
    let line = [b"x".repeat(78), b"\r\n".to_vec()].concat().repeat(1024);
    let chunk = [format!("{:x}\r\n", line.len()).as_bytes(), &line, b"\r\n"].concat();
    let sending = async {
        write.write_all(head.as_bytes()).await?;
        write.write_all(first.as_bytes()).await?;
        for _ in 0..(1 << 30) / line.len() {
            write.write_all(&chunk).await?;
        }
        write.flush().await
    };
    let mut answer = Vec::new();
    let receiving = async {
        soon(read.read_to_end(&mut answer)).await.unwrap();
    };
    // The server goes on reading for a moment after its answer, so that it arrives.
    tokio::select! {
        sent = sending => drop(sent),
        () = receiving => {}
    }
    let mut rest = Vec::new();
    let _ = soon(read.read_to_end(&mut rest)).await;
    answer.extend(rest);
    let answer = String::from_utf8(answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");
    bridge.until_idle().await;
    assert!(bridge.metric("mxdeliv_inbound_octets_total") <= f64::from(1 << 20));
}

#[tokio::test]
async fn memory_that_slow_senders_hold_is_not_there_for_others() {
    let keys = "max_message_size = 1M\nmxdeliv_memory = 2M\nmxdeliv_max_requests_per_client = 3";
    let bridge = Bridge::with(keys).await;
    let mut slow = Vec::new();
    for client in ["198.51.100.1", "198.51.100.2"] {
        let mut stream = UnixStream::connect(bridge.http()).await.unwrap();
        let post = Post::to(&[BOB]).sent_by(client);
        let head = format!("{}Content-Length: 1040000\r\n\r\nFrom", post.head());
        stream.write_all(head.as_bytes()).await.unwrap();
        slow.push(stream);
    }
    bridge
        .until("mxdeliv_inbound_reserved_octets", 2.0 * 254.0 * 4096.0)
        .await;
    let mut large = Post::to(&[BOB]);
    large.body = message::encrypted("carol@[192.0.2.1]", 100_000).into();
    let answer = bridge.post(&large).await;
    assert_eq!(
        answer.told(),
        (503, "452 4.3.1 No room for the message now")
    );
    assert!(answer.head.contains("retry-after"), "{answer:?}");
    // One client may have half of it.
    let same = Post::to(&[BOB]).sent_by("198.51.100.1");
    let mut stream = UnixStream::connect(bridge.http()).await.unwrap();
    let head = format!("{}Content-Length: 1040000\r\n\r\n", same.head());
    stream.write_all(head.as_bytes()).await.unwrap();
    assert_eq!(http::answer(&mut stream).await.status, 429);
    drop(slow);
    bridge.until_idle().await;
    assert_eq!(bridge.post(&large).await.status, 200);
}

#[tokio::test]
async fn requests_of_one_client_at_a_time() {
    let bridge = Bridge::with("mxdeliv_max_requests_per_client = 2").await;
    bridge.dovecot.hold(true);
    let posts = ["alice@chat.example", "bob@chat.example"].map(|to| Post::to(&[to]));
    let open = posts.map(|post| {
        let socket = bridge.http();
        tokio::spawn(async move { post.send(&socket).await.status })
    });
    bridge.dovecot.come(2).await;
    let answer = bridge.post(&Post::to(&[BOB])).await;
    assert_eq!(answer.told(), (429, "451 4.7.1 Too many requests from you"));
    // Others are not concerned.
    let other = Post::to(&["nobody@chat.example"]).sent_by("192.0.2.2");
    assert_eq!(bridge.post(&other).await.status, 403);
    bridge.dovecot.hold(false);
    for open in open {
        assert_eq!(soon(open).await.unwrap(), 200);
    }
}

#[tokio::test]
async fn a_client_that_is_refused_again_and_again_has_to_wait() {
    let bridge = Bridge::with("mxdeliv_max_refusals_per_minute = 3").await;
    let mut get = Post::to(&[]);
    get.method = "GET";
    assert_eq!(bridge.post(&get).await.status, 405);
    let nobody = Post::to(&["nobody@chat.example"]);
    assert_eq!(bridge.post(&nobody).await.status, 403);
    // What is taken, and what fails for now, is not counted.
    assert_eq!(bridge.post(&Post::to(&[BOB])).await.status, 200);
    assert_eq!(
        bridge.post(&Post::to(&["full@chat.example"])).await.status,
        507
    );
    assert_eq!(bridge.post(&nobody).await.status, 403);
    assert_eq!(bridge.post(&Post::to(&[BOB])).await.status, 429);
    let other = nobody.sent_by("192.0.2.2");
    assert_eq!(bridge.post(&other).await.status, 403);
}

/// Real time, since real sockets and a clock that jumps do not go together.
#[tokio::test]
async fn slow_senders_are_answered_or_closed() {
    let bridge = Bridge::start().await;
    let began = Instant::now();
    let head = async {
        let mut stream = UnixStream::connect(bridge.http()).await.unwrap();
        stream
            .write_all(b"POST /mxdeliv HTTP/1.1\r\nX-")
            .await
            .unwrap();
        let mut rest = Vec::new();
        soon(stream.read_to_end(&mut rest)).await.unwrap();
    };
    let nothing = async {
        let mut stream = UnixStream::connect(bridge.http()).await.unwrap();
        let mut rest = Vec::new();
        soon(stream.read_to_end(&mut rest)).await.unwrap();
    };
    let body = async {
        let stream = UnixStream::connect(bridge.http()).await.unwrap();
        let (mut read, mut write) = stream.into_split();
        let head = format!("{}Content-Length: 100000\r\n\r\n", Post::to(&[BOB]).head());
        write.write_all(head.as_bytes()).await.unwrap();
        let trickle = async {
            for octet in b"From: <carol@[192.0.2.1]>\r\n".iter().cycle() {
                if write.write_all(&[*octet]).await.is_err() {
                    break;
                }
                tokio::time::sleep(Duration::from_millis(200)).await;
            }
            std::future::pending::<()>().await;
        };
        let mut answer = String::new();
        let receiving = soon(read.read_to_string(&mut answer));
        tokio::select! {
            () = trickle => {}
            received = receiving => drop(received.unwrap()),
        }
        assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
        assert!(answer.ends_with("451 4.4.2 The message did not come in time"));
    };
    tokio::join!(head, nothing, body);
    println!("slow senders were done with after {:?}", began.elapsed());
    bridge.until_idle().await;
}
