//! The web pages as a browser gets them: over TLS, from nginx, rendered from `chatmail.ini`.

use anyhow::{Context as _, ensure};
use testbed::client::{Connection, Security};
use testbed::{Target, TestRelay};

use crate::fixture::{shared_federation, shared_relay, unhurried};

/// What nginx answers.
struct Answer {
    head: String,
    body: String,
}

impl Answer {
    fn is(self, status: u16) -> anyhow::Result<Self> {
        let line = format!("HTTP/1.1 {status} ");
        ensure!(self.head.starts_with(&line), "not {status}: {}", self.head);
        Ok(self)
    }

    fn field(&self, name: &str) -> Option<&str> {
        let fields = self.head.lines().filter_map(|line| line.split_once(": "));
        let mut found = fields.filter(|(known, _)| known.eq_ignore_ascii_case(name));
        found.next().map(|(_, value)| value)
    }
}

/// Asks on a connection of its own.
async fn ask(target: &Target, method: &str, path: &str) -> anyhow::Result<Answer> {
    let https = target.https.as_ref().context("no HTTPS port")?;
    let mut connection = Connection::open(https, Security::TLS).await?;
    let request = format!(
        "{method} {path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\nContent-Length: 0\r\n\r\n",
        target.domain
    );
    connection.write(request.as_bytes()).await?;
    let answer = connection.read_to_end().await?;
    let answer = String::from_utf8(answer.to_vec())?;
    let (head, body) = answer.split_once("\r\n\r\n").context("half an answer")?;
    Ok(Answer {
        head: head.to_owned(),
        body: body.to_owned(),
    })
}

#[tokio::test]
async fn every_page_is_there_and_says_what_it_may_load() -> anyhow::Result<()> {
    let relay = shared_relay()?;
    for (path, kind, holds) in [
        ("/", "text/html", "dcaccount:https:&#x2f;&#x2f;chat.test"),
        ("/index.html", "text/html", "<svg class=\"qr-code\""),
        ("/info.html", "text/html", "20 days"),
        ("/privacy.html", "text/html", "Who is responsible"),
        ("/style.css", "text/css", "prefers-color-scheme"),
        ("/icon.svg", "image/svg+xml", "<svg"),
        ("/.well-known/mta-sts.txt", "text/plain", "mx: chat.test\n"),
        (
            "/.well-known/autoconfig/mail/config-v1.1.xml",
            "text/xml",
            "<hostname>chat.test</hostname>",
        ),
    ] {
        let page = ask(&relay.target, "GET", path).await?.is(200)?;
        ensure!(page.body.contains(holds), "no {holds}: {}", page.body);
        let expected = format!("{kind}; charset=utf-8");
        ensure!(
            page.field("Content-Type") == Some(&expected),
            "{}",
            page.head
        );
        let policy = page.field("Content-Security-Policy").unwrap_or_default();
        for word in [
            "default-src 'none'; ",
            "style-src 'self'; ",
            "frame-ancestors 'none'",
        ] {
            ensure!(policy.contains(word), "{}", page.head);
        }
        ensure!(!policy.contains("unsafe") && !policy.contains("script-src"));
        for (name, value) in [
            ("X-Content-Type-Options", Some("nosniff")),
            ("Referrer-Policy", Some("no-referrer")),
            ("Server", Some("nginx")),
            ("Allow", None),
            ("Set-Cookie", None),
        ] {
            ensure!(page.field(name) == value, "{name}: {}", page.head);
        }

        let head = ask(&relay.target, "HEAD", path).await?.is(200)?;
        ensure!(head.body.is_empty(), "{}", head.body);
        ensure!(head.field("Content-Length") == page.field("Content-Length"));
        for method in ["POST", "PUT", "DELETE", "OPTIONS"] {
            let refused = ask(&relay.target, method, path).await?.is(405)?;
            ensure!(
                refused.field("Allow") == Some("GET, HEAD"),
                "{}",
                refused.head
            );
        }
    }
    Ok(())
}

#[tokio::test]
async fn what_is_not_there_is_404() -> anyhow::Result<()> {
    let relay = shared_relay()?;
    for path in [
        "/nothing",
        "/index",
        "/.well-known",
        "/.well-known/",
        "/layout.html",
        "/../etc/chatmail.ini",
        "/%2e%2e/etc/chatmail.ini",
        "/..%2fetc/chatmail.ini",
    ] {
        let answer = ask(&relay.target, "GET", path).await?;
        if answer.head.starts_with("HTTP/1.1 400 ") {
            // nginx does not look for what is outside.
            continue;
        }
        let page = answer.is(404)?;
        ensure!(page.body.contains("There is nothing here"), "{}", page.body);
        ensure!(
            page.field("Content-Security-Policy").is_some(),
            "{}",
            page.head
        );
    }
    // Another method does not make it another thing.
    ask(&relay.target, "POST", "/nothing").await?.is(404)?;
    Ok(())
}

#[tokio::test]
async fn relays_that_vouch_for_themselves_say_so() -> anyhow::Result<()> {
    let relays = shared_federation()?;
    for target in &relays.peers[1..] {
        let host = target.domain.trim_matches(['[', ']']);
        let index = ask(target, "GET", "/").await?.is(200)?;
        let link = format!("href=\"https:&#x2f;&#x2f;{host}&#x2f;new\"");
        ensure!(index.body.contains(&link), "no {link}: {}", index.body);
        ensure!(!index.body.contains("dcaccount:"), "{}", index.body);
        let policy = ask(target, "GET", "/.well-known/mta-sts.txt")
            .await?
            .is(200)?;
        ensure!(policy.body.contains("mode: none"), "{}", policy.body);
    }
    Ok(())
}

#[tokio::test]
async fn pages_say_what_the_operator_has_set() -> anyhow::Result<()> {
    let relay = TestRelay::start(
        unhurried()
            .with("delete_mails_after", 3)
            .with("privacy_postal", "<b>1 Main Street</b>"),
    )?;
    let info = ask(&relay.target, "GET", "/info.html").await?.is(200)?;
    ensure!(info.body.contains("<dt>3 days</dt>"), "{}", info.body);
    let policy = ask(&relay.target, "GET", "/privacy.html").await?.is(200)?;
    let escaped = "&lt;b&gt;1 Main Street&lt;&#x2f;b&gt;";
    ensure!(policy.body.contains(escaped), "{}", policy.body);
    relay.stop()
}
