//! Logging in to an account that exists: the password decides, and nothing else.

use std::fs;

use anyhow::{Context as _, ensure};
use testbed::client::{ImapClient, ImapError, Security, SmtpClient};
use testbed::{Target, client::smtp::Reply};

use crate::fixture::{Person, shared_relay};

/// What the relay answers to `AUTH PLAIN`.
async fn smtp_auth(target: &Target, login: &str, password: &str) -> anyhow::Result<Reply> {
    let mut client = SmtpClient::connect(&target.smtps, Security::TLS).await?;
    client.hello().await?;
    Ok(client.auth_plain(login, password).await?)
}

fn let_in(reply: &Reply) -> anyhow::Result<()> {
    ensure!(reply.code == 235, "not let in: {reply}");
    Ok(())
}

#[tokio::test]
async fn the_right_password_lets_in_and_a_wrong_one_does_not() -> anyhow::Result<()> {
    let relay = shared_relay()?;
    let target = &relay.target;
    let alice = Person::new(target)?;
    let login = alice.address.to_string();
    alice.log_in(target).await?;
    alice.log_in(target).await?;
    let_in(&smtp_auth(target, &login, &alice.password).await?)?;

    let wrong = ImapClient::login(&target.imap, &login, "not the password").await;
    let Err(ImapError::AuthenticationFailed { completion, .. }) = wrong else {
        anyhow::bail!("a wrong password was not called wrong")
    };
    assert!(
        completion.text.starts_with("[AUTHENTICATIONFAILED]"),
        "{completion}"
    );
    let reply = smtp_auth(target, &login, "not the password").await?;
    assert!(reply.to_string().starts_with("535 5.7.8"), "{reply}");

    alice.log_in(target).await?;
    Ok(())
}

#[tokio::test]
async fn a_first_login_over_smtp_makes_the_account_too() -> anyhow::Result<()> {
    let relay = shared_relay()?;
    let target = &relay.target;
    let alice = Person::new(target)?;
    let login = alice.address.to_string();
    let_in(&smtp_auth(target, &login, &alice.password).await?)?;
    alice.log_in(target).await?;

    let short = Person {
        password: "too short".chars().take(8).collect(),
        ..Person::new(target)?
    };
    let login = short.address.to_string();
    let reply = smtp_auth(target, &login, &short.password).await?;
    assert!(reply.to_string().starts_with("535 5.7.8"), "{reply}");
    assert!(!target.mailboxes_dir.join(login).exists());
    Ok(())
}

#[tokio::test]
async fn capitals_make_no_difference_in_the_address() -> anyhow::Result<()> {
    let relay = shared_relay()?;
    let target = &relay.target;
    let alice = Person::new(target)?;
    let lower = alice.address.to_string();
    let upper = lower.to_uppercase();
    // The first login is in capitals: that must not make an account that nobody finds.
    ImapClient::login(&target.imap, &upper, &alice.password).await?;
    alice.log_in(target).await?;
    let_in(&smtp_auth(target, &upper, &alice.password).await?)?;
    let wrong = smtp_auth(target, &upper, "not the password").await?;
    assert_eq!(wrong.code, 535, "{wrong}");

    let same = fs::read_dir(&target.mailboxes_dir)?
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .filter(|name| name.eq_ignore_ascii_case(&lower))
        .collect::<Vec<_>>();
    assert_eq!(same, [lower]);
    Ok(())
}

#[tokio::test]
async fn passwords_may_hold_what_the_protocols_between_use_as_syntax() -> anyhow::Result<()> {
    let relay = shared_relay()?;
    let target = &relay.target;
    let longest = "x".repeat(500);
    let passwords = [
        r#"double"quotes"in it"#,
        r"single'quotes'in it",
        r"back\slash\and\\two",
        r#"ends with quote""#,
        r"ends with backslash\",
        r#"\"both\"at\once""#,
        "with/slash/es/../in it",
        "%u%d%w%% percent %Ew",
        "{PLAIN}looks like a scheme",
        "shared/passdb/looks like a key",
        "  blanks at both ends  ",
        "pässwörter und 漢字 🔑",
        longest.as_str(),
    ];
    let mut logins = tokio::task::JoinSet::new();
    for password in passwords {
        let password = password.to_owned();
        let target = target.clone();
        logins.spawn(async move {
            let context = format!("{password:?}");
            one_odd_password(&target, password).await.context(context)
        });
    }
    while let Some(outcome) = logins.join_next().await {
        outcome??;
    }
    Ok(())
}

/// Dovecot refuses them by itself, over every protocol; doveauth is not even asked.
#[tokio::test]
async fn passwords_with_control_characters_make_no_account() -> anyhow::Result<()> {
    let relay = shared_relay()?;
    let target = &relay.target;
    for password in ["tab\tbetween\twords", "escape \u{1}t of the dict protocol"] {
        let person = Person {
            password: password.to_owned(),
            ..Person::new(target)?
        };
        let login = person.address.to_string();
        let mut client = ImapClient::connect(&target.imap, Security::TLS).await?;
        let outcome = client
            .authenticate_with_literals(login.as_bytes(), password.as_bytes())
            .await;
        ensure!(
            matches!(outcome, Err(ImapError::AuthenticationFailed { .. })),
            "{password:?}: {outcome:?}"
        );
        let reply = smtp_auth(target, &login, password).await?;
        ensure!(reply.code == 535, "{password:?}: {reply}");
        assert!(!target.mailboxes_dir.join(login).exists(), "{password:?}");
    }
    Ok(())
}

/// Makes an account with the password and logs in over both protocols; all but the right one fail.
async fn one_odd_password(target: &Target, password: String) -> anyhow::Result<()> {
    let person = Person {
        password,
        ..Person::new(target)?
    };
    let login = person.address.to_string();
    let mut client = ImapClient::connect(&target.imap, Security::TLS).await?;
    client
        .authenticate_with_literals(login.as_bytes(), person.password.as_bytes())
        .await?;
    person.log_in(target).await?;
    let_in(&smtp_auth(target, &login, &person.password).await?)?;

    let mut shorter = person.password.clone();
    shorter.pop();
    for wrong in [shorter, format!("{}x", person.password)] {
        let reply = smtp_auth(target, &login, &wrong).await?;
        ensure!(reply.code == 535, "{wrong:?}: {reply}");
    }
    Ok(())
}
