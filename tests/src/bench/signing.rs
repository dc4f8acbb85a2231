//! Signed mail: Postfix's submission port with filtermail, which looks whether the message is encrypted
//! and signs it, beside the same Postfix with OpenDKIM as only milter, which just signs.
//!
//! Both sign rsa-sha256, relaxed/simple, with a key of 2048 bits; OpenDKIM as Debian configures it. Only
//! acceptance is measured, and nobody speaks TLS.

use super::senders::{Senders, compare};
use super::submission::accepting;
use super::{Goal, Report, runtime};
use crate::relay::RelayOptions;
use crate::test_relay::TestRelay;

const NAME: &str = "signing/3KB-8-sessions";

/// Sessions at the same time, and messages of each in a round.
const SESSIONS: usize = 8;
const MESSAGES: usize = 150;

/// The size of a message in bytes, before it is signed.
const SIZE: usize = 3_000;

/// Rounds for each relay; even, so that each goes first equally often.
const ROUNDS: usize = 10;

/// Measures.
pub(super) fn run(report: &mut Report) -> anyhow::Result<()> {
    let filtermail = TestRelay::start(accepting(
        RelayOptions::default().with("dkim_sign_local", true),
    ))?;
    let opendkim = TestRelay::start(accepting(RelayOptions::open_dkim()))?;
    runtime()?.block_on(async {
        let relays = [
            Senders::login(&filtermail.target, SESSIONS, SIZE).await?,
            Senders::login(&opendkim.target, SESSIONS, SIZE).await?,
        ];
        let goal = Goal::RatioAtLeast(1.0);
        compare(NAME, goal, ROUNDS, MESSAGES, relays, report).await
    })?;
    filtermail.stop()?;
    opendkim.stop()
}
