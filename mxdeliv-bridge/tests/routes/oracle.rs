//! What Postfix is told, also by Postfix's own client.

use std::process::Output;

use mxdeliv_bridge::routes::{Override, Routes, oracle};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::{PATIENCE, World, domain};

struct Oracle {
    world: World,
    routes: Routes,
    stop: watch::Sender<bool>,
    served: JoinHandle<()>,
}

impl Oracle {
    async fn start() -> Self {
        let world = World::new().await;
        let routes = world.routes();
        let stop = watch::Sender::new(false);
        let served = oracle::bind(&world.config(), &routes, stop.subscribe()).unwrap();
        Self {
            world,
            routes,
            stop,
            served: tokio::spawn(served),
        }
    }

    async fn connect(&self) -> UnixStream {
        UnixStream::connect(self.world.path("queue/mxdeliv/route.sock"))
            .await
            .unwrap()
    }

    async fn ask(&self, key: &str) -> String {
        let mut stream = self.connect().await;
        let request = netstring(&format!("route {key}"));
        stream.write_all(request.as_bytes()).await.unwrap();
        read(&mut stream).await
    }

    async fn postmap(&self, key: &str) -> Output {
        let map = format!(
            "socketmap:unix:{}:route",
            self.world.path("queue/mxdeliv/route.sock").display()
        );
        // A configuration of its own: Debian's package may have been installed without one.
        let folder = self.world.path("postfix");
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join("main.cf"), "compatibility_level = 3.6\n").unwrap();
        let asked = tokio::process::Command::new("/usr/sbin/postmap")
            .arg("-c")
            .arg(folder)
            .args(["-q", key, &map])
            .output();
        asked
            .await
            .expect("Postfix is needed: apt-get install postfix")
    }
}

fn netstring(text: &str) -> String {
    format!("{}:{text},", text.len())
}

/// What the oracle says at once.
async fn read(stream: &mut UnixStream) -> String {
    let mut reply = vec![0; 1000];
    let length = timeout(PATIENCE, stream.read(&mut reply))
        .await
        .unwrap()
        .unwrap();
    String::from_utf8(reply[..length].to_vec()).unwrap()
}

#[tokio::test]
async fn a_domain_gets_a_next_hop_of_its_own() {
    let oracle = Oracle::start().await;
    oracle.world.peer("x.test").await;
    for key in ["bob@x.test", "x.test", "bob+tag@X.TEST"] {
        let reply = oracle.ask(key).await;
        assert_eq!(reply, netstring("OK mxdeliv:unix:mxdeliv/peers/x.test"));
    }
    let link = std::fs::read_link(oracle.world.path("queue/mxdeliv/peers/x.test")).unwrap();
    assert_eq!(link.to_str(), Some("../lmtp.sock"));
    let smtp = oracle.routes.set_override(domain("x.test"), Override::Smtp);
    smtp.await.unwrap();
    assert_eq!(oracle.ask("bob@x.test").await, netstring("OK smtp:"));
}

#[tokio::test]
async fn keys_that_are_no_peers_are_not_found() {
    let oracle = Oracle::start().await;
    for key in [
        "own.test",
        "a@own.test",
        ".x.test",
        "*",
        "",
        "localhost",
        "a b@c",
    ] {
        assert_eq!(oracle.ask(key).await, netstring("NOTFOUND "), "{key}");
    }
    let mut stream = oracle.connect().await;
    stream
        .write_all(netstring("other x.test").as_bytes())
        .await
        .unwrap();
    assert!(read(&mut stream).await.contains(":PERM "));
}

#[tokio::test]
async fn the_question_connects_to_the_peer() {
    let oracle = Oracle::start().await;
    let peer = oracle.world.peer("x.test").await;
    oracle.ask("bob@x.test").await;
    peer.wait_for(1).await;
    assert_eq!(peer.seen()[0].method, "HEAD");
}

#[tokio::test]
async fn a_connection_takes_many_questions_in_any_pieces() {
    let oracle = Oracle::start().await;
    let mut stream = oracle.connect().await;
    let questions: String = (0..200)
        .map(|number| netstring(&format!("route .{number}.test")))
        .collect();
    for piece in questions.as_bytes().chunks(7) {
        stream.write_all(piece).await.unwrap();
    }
    let mut replies = vec![0; 200 * netstring("NOTFOUND ").len()];
    let whole = timeout(PATIENCE, stream.read_exact(&mut replies)).await;
    whole.unwrap().unwrap();
    assert_eq!(
        String::from_utf8(replies).unwrap(),
        netstring("NOTFOUND ").repeat(200)
    );
}

#[tokio::test]
async fn what_is_no_question_closes_the_connection() {
    let oracle = Oracle::start().await;
    for garbage in [
        "GET / HTTP/1.1\r\n\r\n",
        "99999:route",
        "5:route;",
        ":,",
        "-1:,",
    ] {
        let mut stream = oracle.connect().await;
        stream.write_all(garbage.as_bytes()).await.unwrap();
        assert_eq!(read(&mut stream).await, "", "{garbage}");
    }
    assert_eq!(oracle.ask(".x").await, netstring("NOTFOUND "));
}

#[tokio::test]
async fn a_stop_ends_idle_connections_after_their_answers() {
    let oracle = Oracle::start().await;
    let mut idle = oracle.connect().await;
    idle.write_all(netstring("route .x").as_bytes())
        .await
        .unwrap();
    assert_eq!(read(&mut idle).await, netstring("NOTFOUND "));
    oracle.stop.send_replace(true);
    timeout(PATIENCE, oracle.served).await.unwrap().unwrap();
    assert_eq!(read(&mut idle).await, "");
}

#[tokio::test]
async fn a_link_that_cannot_be_made_leaves_smtp() {
    let oracle = Oracle::start().await;
    std::fs::remove_dir(oracle.world.path("queue/mxdeliv/peers")).unwrap();
    std::fs::write(oracle.world.path("queue/mxdeliv/peers"), "in the way").unwrap();
    assert_eq!(oracle.ask("bob@x.test").await, netstring("OK smtp:"));
}

#[tokio::test]
async fn postfix_understands_the_answers() {
    let oracle = Oracle::start().await;
    oracle.world.peer("x.test").await;
    let asked = oracle.postmap("bob@x.test").await;
    let said = String::from_utf8(asked.stdout).unwrap();
    assert_eq!(
        said, "mxdeliv:unix:mxdeliv/peers/x.test\n",
        "{:?}",
        asked.stderr
    );
    oracle
        .routes
        .set_override(domain("x.test"), Override::Smtp)
        .await
        .unwrap();
    let asked = oracle.postmap("bob@x.test").await;
    assert_eq!(String::from_utf8(asked.stdout).unwrap(), "smtp:\n");
    let asked = oracle.postmap("own.test").await;
    assert!(asked.stdout.is_empty());
    assert_eq!(asked.status.code(), Some(1));
    assert!(asked.stderr.is_empty(), "{:?}", asked.stderr);
}
