//! What is no line end to everybody, and NUL: a definite reply, and never a second message.
//!
//! (Postfix takes CRs right before a CRLF for part of the line's end, so these are none.)

use anyhow::{Context as _, ensure};
use testbed::client::ClientError;
use testbed::client::smtp::Reply;

use crate::fixture::{Correspondents, messages, shared_relay};

/// Opens a transaction, sends these bytes as content, and reads the one reply to it.
async fn reply_to(people: &mut Correspondents, content: &[u8]) -> Result<Reply, ClientError> {
    let smtp = people.begin_content().await?;
    smtp.raw(content).await?;
    smtp.reply("the reply to the content").await
}

#[tokio::test]
async fn nul_and_bare_line_ends_are_refused() -> anyhow::Result<()> {
    let relay = shared_relay()?;
    let target = &relay.target;
    for (what, place, insert) in [
        (
            "NUL in the armor",
            "-----BEGIN PGP MESSAGE-----\r\n\r\n",
            "\0",
        ),
        ("NUL in a header", "\r\nMIME-Version: 1.0", "\0"),
        (
            "bare CR in the armor",
            "-----BEGIN PGP MESSAGE-----\r\n\r\n",
            "\r",
        ),
        ("bare CR in the version part", "7bit\r\n\r\nVersion:", "\r"),
    ] {
        let mut people = Correspondents::new(target).await?;
        let message = people.alice.writes_to(&people.bob)?;
        let text = String::from_utf8(message.to_bytes())?;
        let (before, after) = text.split_once(place).context("a place for it")?;
        let content = format!("{before}{place}{insert}{after}.\r\n");
        let reply = reply_to(&mut people, content.as_bytes()).await?;
        ensure!((500..600).contains(&reply.code), "{what}: {reply}");
        people.send_good(0).await.with_context(|| what.to_owned())?;
    }
    Ok(())
}

/// A server that takes `<LF>.<LF>` and its kin for the end of a message reads what follows as
/// commands: a message in somebody else's name.
#[tokio::test]
async fn no_bare_line_end_splits_a_message() -> anyhow::Result<()> {
    let relay = shared_relay()?;
    let target = &relay.target;
    for end in [
        "\n.\n",
        "\n.\r\n",
        "\r\n.\n",
        "\r.\r",
        "\r.\r\n",
        "\r\n.\r",
        "\r\n\0.\r\n",
    ] {
        let mut people = Correspondents::new(target).await?;
        let (alice, bob) = (people.alice.address.clone(), people.bob.address.clone());
        let outer = people.alice.writes_to(&people.bob)?;
        let inner = people.alice.writes_to(&people.bob)?;
        let mut content = outer.to_bytes();
        content.truncate(content.len() - 2);
        content.extend_from_slice(end.as_bytes());
        content.extend_from_slice(
            format!("MAIL FROM:<{alice}>\r\nRCPT TO:<{bob}>\r\nDATA\r\n").as_bytes(),
        );
        content.extend_from_slice(&inner.to_bytes());
        content.extend_from_slice(b".\r\n");

        let sent = reply_to(&mut people, &content).await;
        match &sent {
            Ok(reply) => ensure!(reply.code >= 400, "{end:?} was taken: {reply}"),
            Err(error) => ensure!(error.is_disconnect(), "{end:?}: {error}"),
        }
        // Had the relay read two messages, there would be more replies and more mail.
        let usable = people.submission.command("NOOP").await;
        match usable {
            Ok(reply) => ensure!(reply.code == 250 || reply.code == 421, "{end:?}: {reply}"),
            Err(error) => ensure!(error.is_disconnect(), "{end:?}: {error}"),
        }
        people.submission = people.alice.submission(target).await?;
        people
            .send_good(0)
            .await
            .with_context(|| format!("after {end:?}"))?;
        assert_eq!(messages(&mut people.inbox, 1).await?.len(), 1, "{end:?}");
    }
    Ok(())
}
