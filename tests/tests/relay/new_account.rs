//! `POST /new` through nginx, and who may make an account.

use std::process::Command;

use anyhow::{Context as _, ensure};
use nix::sys::signal::Signal;
use serde_json::Value;
use testbed::client::{Connection, Envelope, Security};
use testbed::{RelayOptions, Target, TestRelay};

use crate::accounts_command::{doveauth, is_refused};
use crate::fixture::{
    Person, accepted, config, messages, random_name, send, shared_federation, shared_relay,
    unhurried,
};
use crate::mxdeliv_hostile::{exchange, is};

/// What nginx answers.
pub(crate) struct Answer {
    text: String,
    pub(crate) body: Value,
}

impl Answer {
    /// The value of a header field.
    fn field(&self, name: &str) -> Option<&str> {
        let mut lines = self.text.lines().take_while(|line| !line.is_empty());
        lines.find_map(|line| {
            let (found, value) = line.split_once(": ")?;
            found.eq_ignore_ascii_case(name).then_some(value)
        })
    }

    fn is(&self, status: u16) -> anyhow::Result<&Self> {
        is(&self.text, status)?;
        Ok(self)
    }

    /// An error unless it is refused with this status, and with words in JSON.
    fn refuses(&self, status: u16, reason: &str) -> anyhow::Result<&Self> {
        let found = self.is(status)?.body["reason"].as_str().unwrap_or_default();
        ensure!(found.contains(reason), "not {reason}: {}", self.text);
        Ok(self)
    }

    /// Somebody with the address and password in it.
    pub(crate) fn person(&self) -> anyhow::Result<Person> {
        self.is(200)?;
        ensure!(self.field("content-type") == Some("application/json"));
        ensure!(self.field("cache-control") == Some("no-store"));
        let text = |name: &str| self.body[name].as_str().context("not in the answer");
        Ok(Person {
            address: text("email")?.parse()?,
            password: text("password")?.to_owned(),
        })
    }
}

async fn ask(target: &Target, method: &str, path: &str) -> anyhow::Result<Answer> {
    let endpoint = target.https.as_ref().context("no HTTPS port")?;
    let connection = Connection::open(endpoint, Security::TLS).await?;
    let head = format!(
        "{method} {path} HTTP/1.1\r\nHost: chat.test\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
    );
    let text = exchange(connection, head.as_bytes()).await?;
    let (_, body) = text.split_once("\r\n\r\n").context("no answer")?;
    let body = serde_json::from_str(body).unwrap_or_default();
    Ok(Answer { text, body })
}

pub(crate) async fn post(target: &Target, path: &str) -> anyhow::Result<Answer> {
    ask(target, "POST", path).await
}

fn exists(target: &Target, person: &Person) -> bool {
    let home = target.mailboxes_dir.join(person.address.to_string());
    home.join("password").exists()
}

fn by_invite() -> RelayOptions {
    unhurried().with("registration", "invite")
}

/// An invite for so many: its token and its id.
fn invite(target: &Target, uses: usize) -> anyhow::Result<(String, String)> {
    let uses = uses.to_string();
    let made = doveauth(target, &["invites", "create", "--uses", &uses], 0)?;
    let text = |name: &str| made[0][name].as_str().map(str::to_owned);
    let token = text("token").context("no token")?;
    let url = format!("https://{}/new?t={token}", target.domain);
    ensure!(made[0]["url"] == *url, "{made:?}");
    Ok((token, text("id").context("no id")?))
}

/// Somebody whose password carries an invite.
fn invited(target: &Target, token: &str) -> anyhow::Result<Person> {
    let person = Person::new(target)?;
    let password = format!("{token}-{}", person.password);
    Ok(Person { password, ..person })
}

fn uses_left(target: &Target, id: &str) -> anyhow::Result<u64> {
    let listed = doveauth(target, &["invites", "list"], 0)?;
    let found = listed.iter().find(|line| line["id"] == *id);
    let left = found.context("not listed")?["uses_left"].as_u64();
    left.context("no number")
}

#[tokio::test]
async fn what_comes_back_logs_in_and_sends_mail() -> anyhow::Result<()> {
    let relay = shared_relay()?;
    let target = &relay.target;
    let alice = post(target, "/new").await?.person()?;
    let bob = post(target, "/cgi-bin/newemail.py").await?.person()?;
    let config = config(target)?;
    let name = alice.address.local_part().as_str().len();
    ensure!(name == config.username_max_length.get() as usize);
    ensure!(alice.address != bob.address && alice.password != bob.password);
    ensure!(!exists(target, &alice), "an account before the first login");

    let mut inbox = bob.inbox(target).await?;
    let mut submission = alice.submission(target).await?;
    let message = alice.writes_to(&bob)?;
    let envelope = Envelope::new(&alice.address, &bob.address);
    accepted(&send(&mut submission, &envelope, &message).await?)?;
    let arrived = messages(&mut inbox, 1).await?;
    ensure!(arrived[0].message.ends_with(&message.body));
    Ok(())
}

#[tokio::test]
async fn browsers_are_sent_to_the_app_and_other_methods_away() -> anyhow::Result<()> {
    let relay = shared_relay()?;
    let target = &relay.target;
    let app = format!("dcaccount:https://{}/new", target.domain);
    let token = "0123456789abcdefghjk";
    for (path, location) in [
        ("/new".to_owned(), app.clone()),
        ("/cgi-bin/newemail.py".to_owned(), app.clone()),
        (format!("/new?t={token}"), format!("{app}?t={token}")),
        ("/new?t=%0d%0aX:y".to_owned(), format!("{app}?t=")),
    ] {
        let answer = ask(target, "GET", &path).await?;
        let found = answer.is(302)?.field("location");
        ensure!(found == Some(location.as_str()), "{}", answer.text);
    }
    for method in ["HEAD", "PUT", "DELETE", "PATCH", "OPTIONS"] {
        let answer = ask(target, method, "/new").await?;
        ensure!(answer.is(405)?.field("allow") == Some("GET, POST"));
    }
    for path in ["/new/", "/newer", "/cgi-bin/", "/cgi-bin/newemail_py"] {
        post(target, path).await?.is(404)?;
    }
    Ok(())
}

/// Apps refuse their certificates, unless they are told not to look.
#[tokio::test]
async fn relays_without_a_public_certificate_say_so() -> anyhow::Result<()> {
    let relays = shared_federation()?;
    for target in &relays.peers[1..] {
        for method in ["GET", "POST"] {
            let answer = ask(target, method, "/new").await?;
            let person = answer.person()?;
            let encoded = |text: &str| {
                let text = text.replace('@', "%40").replace('[', "%5B");
                text.replace(']', "%5D")
            };
            let hosts = match target.domain.trim_matches(['[', ']']) {
                name if name.starts_with('_') => String::new(),
                address => format!("&ih={address}&sh={address}"),
            };
            let url = format!(
                "dclogin:{}?p={}&v=1&ic=3&sc=3{hosts}",
                encoded(&person.address.to_string()),
                person.password
            );
            ensure!(answer.body["dclogin_url"] == *url, "{}", answer.text);
            person.log_in(target).await?;
        }
    }
    let named = post(&relays.target, "/new").await?;
    named.person()?;
    ensure!(named.body.get("dclogin_url").is_none());
    Ok(())
}

#[tokio::test]
async fn a_closed_relay_says_so_and_lets_in_whom_it_knows() -> anyhow::Result<()> {
    let relay = TestRelay::start(unhurried().with("registration", "closed"))?;
    let target = &relay.target;
    let (token, id) = invite(target, 1)?;
    for path in ["/new".to_owned(), format!("/new?t={token}")] {
        post(target, &path).await?.refuses(403, "no new accounts")?;
    }
    let person = invited(target, &token)?;
    is_refused(target, &person).await?;
    ensure!(!exists(target, &person), "an account on a closed relay");
    ensure!(uses_left(target, &id)? == 1, "a use is taken");

    let made = doveauth(
        target,
        &["accounts", "create", &person.address.to_string()],
        0,
    )?;
    let password = made[0]["password"].as_str().context("no password")?;
    let password = password.to_owned();
    Person { password, ..person }.log_in(target).await?;
    relay.stop()
}

#[tokio::test]
async fn the_nocreate_file_closes_a_relay() -> anyhow::Result<()> {
    let relay = TestRelay::start(unhurried())?;
    let target = &relay.target;
    let switch = config(target)?.nocreate_file;
    std::fs::write(&switch, "")?;
    post(target, "/new")
        .await?
        .refuses(403, "no new accounts")?;
    std::fs::remove_file(&switch)?;
    post(target, "/new").await?.person()?.log_in(target).await?;
    relay.stop()
}

#[tokio::test]
async fn an_invite_works_both_ways_until_it_is_used_up_or_revoked() -> anyhow::Result<()> {
    let relay = TestRelay::start(by_invite())?;
    let target = &relay.target;
    post(target, "/new").await?.refuses(403, "by invite only")?;
    post(target, "/new?t=").await?.refuses(403, "unknown")?;
    let unknown = "/new?t=0123456789abcdefghjk";
    post(target, unknown).await?.refuses(403, "unknown")?;
    let nobody = Person::new(target)?;
    is_refused(target, &nobody).await?;

    // A page that is opened and left costs nothing.
    let (token, id) = invite(target, 2)?;
    let page = format!("/new?t={token}");
    let left = post(target, &page).await?.person()?;
    let alice = post(target, &page).await?.person()?;
    ensure!(uses_left(target, &id)? == 2, "a use is taken by the page");
    alice.log_in(target).await?;
    ensure!(uses_left(target, &id)? == 1, "no use is taken by the login");
    let bob = invited(target, &token)?;
    let mut inbox = bob.inbox(target).await?;
    ensure!(uses_left(target, &id)? == 0, "no use is taken by hand");

    post(target, &page).await?.refuses(403, "used up")?;
    is_refused(target, &left).await?;
    is_refused(target, &invited(target, &token)?).await?;
    // The passwords stay what they were.
    alice.log_in(target).await?;
    let mut submission = alice.submission(target).await?;
    let envelope = Envelope::new(&alice.address, &bob.address);
    let message = alice.writes_to(&bob)?;
    accepted(&send(&mut submission, &envelope, &message).await?)?;
    messages(&mut inbox, 1).await?;

    let (token, id) = invite(target, 5)?;
    let page = format!("/new?t={token}");
    let late = post(target, &page).await?.person()?;
    doveauth(target, &["invites", "revoke", &id], 0)?;
    post(target, &page).await?.refuses(403, "unknown")?;
    is_refused(target, &late).await?;
    ensure!(!exists(target, &late), "an account by a revoked invite");
    relay.stop()
}

#[tokio::test]
async fn of_many_logins_at_once_one_gets_the_last_use() -> anyhow::Result<()> {
    const LOGINS: usize = 20;
    let relay = TestRelay::start(by_invite())?;
    let target = &relay.target;
    let (token, id) = invite(target, 1)?;
    let mut logins = tokio::task::JoinSet::new();
    for _ in 0..LOGINS {
        let (person, target) = (invited(target, &token)?, target.clone());
        logins.spawn(async move { person.log_in(&target).await.is_ok() });
    }
    let outcomes = logins.join_all().await;
    let created = outcomes.into_iter().filter(|&created| created).count();
    ensure!(created == 1, "{created} accounts");
    ensure!(uses_left(target, &id)? == 0);
    let listed = doveauth(target, &["accounts", "list"], 0)?;
    ensure!(listed.len() == 1, "{listed:?}");
    relay.stop()
}

/// doveauth is killed while invites are redeemed: there are exactly as many accounts as uses that were taken.
#[tokio::test]
async fn kills_neither_lose_uses_nor_give_any_away() -> anyhow::Result<()> {
    const KILLS: usize = 10;
    const USES: usize = 1000;
    let relay = TestRelay::start(by_invite())?;
    let target = &relay.target;
    let (token, id) = invite(target, USES)?;
    let mut logins = tokio::task::JoinSet::new();
    for _ in 0..8 {
        let (target, token) = (target.clone(), token.clone());
        logins.spawn(async move {
            loop {
                // Those that meet a kill fail.
                if let Ok(person) = invited(&target, &token) {
                    let _ = person.log_in(&target).await;
                }
            }
        });
    }
    for kill in 1..=KILLS {
        crate::fixture::eventually("some accounts", || {
            let accounts = doveauth(target, &["accounts", "list"], 0)?;
            Ok(accounts.len() >= 3 * kill)
        })
        .await?;
        let before = relay.signal("doveauth", Signal::SIGKILL)?;
        relay.wait_restarted("doveauth", before, crate::fixture::PATIENCE)?;
    }
    logins.shutdown().await;
    // What is left is settled at the next start.
    let before = relay.signal("doveauth", Signal::SIGTERM)?;
    relay.wait_restarted("doveauth", before, crate::fixture::PATIENCE)?;
    crate::fixture::eventually("uses and accounts to agree", || {
        let accounts = doveauth(target, &["accounts", "list"], 0)?.len();
        Ok(uses_left(target, &id)? + accounts as u64 == USES as u64)
    })
    .await?;
    relay.stop()
}

#[tokio::test]
async fn a_network_has_a_rate_at_the_page_and_at_the_door() -> anyhow::Result<()> {
    let options = unhurried().with("max_creations_per_network_per_hour", 2);
    let relay = TestRelay::start(options)?;
    let target = &relay.target;
    let alice = post(target, "/new").await?.person()?;
    post(target, "/new").await?.person()?;
    let over = post(target, "/new").await?;
    let wait = over.refuses(429, "Too many")?.field("retry-after");
    let wait: u64 = wait.context("no Retry-After")?.parse()?;
    ensure!((1..=1801).contains(&wait), "{wait}");

    // Whoever picks a name without asking is counted as well, over IMAP and SMTP.
    alice.log_in(target).await?;
    Person::new(target)?.submission(target).await?;
    is_refused(target, &Person::new(target)?).await?;
    ensure!(Person::new(target)?.submission(target).await.is_err());
    alice.log_in(target).await?;
    relay.stop()
}

#[tokio::test]
async fn a_relay_that_is_not_well_says_when_to_come_again() -> anyhow::Result<()> {
    let options = unhurried().with("min_free_disk_space", "1000000T");
    let relay = TestRelay::start(options)?;
    let target = &relay.target;
    let answer = post(target, "/new").await?;
    ensure!(
        answer
            .refuses(503, "no room")?
            .field("retry-after")
            .is_some()
    );

    let doveauth = relay.signal("doveauth", Signal::SIGSTOP)?;
    let answer = post(target, "/new").await?;
    let away = answer.refuses(503, "try again later").map(|_| ());
    relay.signal("doveauth", Signal::SIGCONT)?;
    away.with_context(|| format!("while {doveauth} was stopped"))?;
    relay.stop()
}

/// What an operator sees at a terminal.
#[tokio::test]
async fn an_invite_is_printed_with_its_qr_code() -> anyhow::Result<()> {
    let relay = TestRelay::start(by_invite())?;
    let target = &relay.target;
    let output = Command::new(testbed::binaries::release("doveauth")?)
        .arg("--config")
        .arg(&target.chatmail_ini)
        .args(["invites", "create", "--note", &random_name(9)])
        .output()?;
    let text = String::from_utf8(output.stdout)?;
    let mut lines = text.lines();
    let url = lines.next().context("no link")?;
    let path = url.strip_prefix(&format!("https://{}", target.domain));
    post(target, path.context("another link")?)
        .await?
        .person()?;
    ensure!(lines.any(|line| line.contains('█')), "no QR code: {text}");
    relay.stop()
}
