//! Mail to clients that wait, at a steady rate, and clients that come back meanwhile.

use std::time::Duration;

use anyhow::Context as _;
use chatmail::Address;
use rand::Rng as _;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until};

use super::super::submission::{Sender, Wire};
use super::crowd::{Crowd, address};
use crate::mail;
use crate::target::Target;

/// Octets of a message: a text in a chat.
const SIZE: usize = 2_000;

/// Somebody who writes to clients, logged in at a front.
pub(super) struct Writer {
    sender: Sender,
    address: Address,
}

/// What happens in a while.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Pace {
    /// Messages a second.
    pub(super) messages: f64,
    /// Clients that drop their connection and come back, a second.
    pub(super) returns: f64,
}

/// What was done.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Done {
    /// Messages that were accepted.
    pub(super) messages: usize,
    /// Clients that were told to come back.
    pub(super) returns: usize,
}

impl Writer {
    /// Logs in with an account that is no client's.
    ///
    /// # Errors
    /// The login does not succeed.
    pub(super) async fn login(front: &Target, account: usize) -> anyhow::Result<Self> {
        let own: Address = address(account, &front.domain).parse()?;
        let wire = Wire::new(&mail::encrypted(&own, &own, SIZE)?)?;
        let sender = Sender::login_with_tls(front, &own, &own, wire).await?;
        Ok(Self {
            sender,
            address: own,
        })
    }

    /// Writes to clients, and has others come back, for so long.
    ///
    /// # Errors
    /// A message is not accepted.
    pub(super) async fn keep_busy(
        &mut self,
        crowd: &Crowd,
        pace: Pace,
        time: Duration,
    ) -> anyhow::Result<Done> {
        let end = Instant::now() + time;
        let tick = |rate: f64| {
            // Never, in a while that has an end.
            let pause = if rate > 0.0 { 1.0 / rate } else { 1e6 };
            let mut ticks = interval(Duration::from_secs_f64(pause));
            ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
            ticks
        };
        let (mut messages, mut returns) = (tick(pace.messages), tick(pace.returns));
        let mut done = Done::default();
        // The first tick comes at once.
        messages.tick().await;
        returns.tick().await;
        loop {
            let whom = rand::rng().random_range(0..crowd.len().max(1));
            tokio::select! {
                _ = messages.tick() => {
                    let recipient = crowd.address(whom).parse()?;
                    self.sender.address(&self.address, &recipient);
                    crowd.sent(whom);
                    self.sender.send().await.context("sending to a client")?;
                    done.messages += 1;
                }
                _ = returns.tick() => {
                    crowd.reconnect(whom);
                    done.returns += 1;
                }
                () = sleep_until(end) => return Ok(done),
            }
        }
    }
}
