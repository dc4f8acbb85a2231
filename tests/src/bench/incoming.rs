//! Mail from outside: Postfix's port 25 with filtermail, which asks doveauth about the recipient,
//! looks whether the message is encrypted and verifies its DKIM signature, beside the same Postfix
//! without any milter.
//!
//! Keys are in filtermail's cache after the first message. Only acceptance is measured, and nobody
//! speaks TLS: both would make the milter's cost look small.

use chatmail::Address;

use super::senders::{Senders, compare};
use super::submission::{Sender, Wire, accepting};
use super::{Goal, Report, runtime};
use crate::client::{Security, SmtpClient};
use crate::foreign::ForeignDomain;
use crate::mail;
use crate::relay::{PLAIN_PASSWORD, RelayOptions};
use crate::target::Target;
use crate::test_relay::TestRelay;

const NAME: &str = "incoming/3KB-8-sessions";

/// Sessions at the same time, and messages of each in a round.
const SESSIONS: usize = 8;
const MESSAGES: usize = 150;

/// The size of a message in bytes, before it is signed.
const SIZE: usize = 3_000;

/// Rounds for each relay; even, so that each goes first equally often.
const ROUNDS: usize = 10;

/// Measures.
pub(super) fn run(report: &mut Report) -> anyhow::Result<()> {
    let filtermail = TestRelay::start(accepting(RelayOptions::default()))?;
    let none = TestRelay::start(accepting(RelayOptions::plain()))?;
    // A relay without milter asks no DNS; the messages are the same.
    let foreign = ForeignDomain::new(filtermail.dns()?, "peer.test")?;
    runtime()?.block_on(async {
        let relays = [
            connect(&filtermail.target, &foreign).await?,
            connect(&none.target, &foreign).await?,
        ];
        let goal = Goal::RatioAtLeast(0.7);
        compare(NAME, goal, ROUNDS, MESSAGES, relays, report).await
    })?;
    filtermail.stop()?;
    none.stop()
}

/// Sessions from the foreign domain to an account of the relay.
async fn connect<'a>(target: &'a Target, foreign: &ForeignDomain) -> anyhow::Result<Senders<'a>> {
    let recipient: Address = format!("recipient@{}", target.domain).parse()?;
    // The first login makes the account.
    let login = recipient.to_string();
    SmtpClient::login(&target.submission, Security::Plain, &login, PLAIN_PASSWORD).await?;

    let mut senders = Vec::with_capacity(SESSIONS);
    for number in 0..SESSIONS {
        let sender = format!("sender{number}@{}", foreign.name()).parse()?;
        let message = foreign.sign(&mail::encrypted(&sender, &recipient, SIZE)?)?;
        let wire = Wire::new(&message)?;
        senders.push(Sender::outside(target, &sender, &recipient, wire).await?);
    }
    Ok(Senders::new(target, senders))
}
