//! Room for messages, of which no peer can take all: a peer that is slow with large messages holds up
//! its own and not the others'.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use chatmail::Domain;
use tokio::time::{Instant, sleep};

use crate::budget::{Budget, Exhausted, Reservation};

/// How long a message waits for room. Postfix waits two minutes for the answer to `DATA`
/// (`lmtp_data_init_timeout`).
const PATIENCE: Duration = Duration::from_secs(60);

/// A peer may have this part of the budget; a message that is larger than that, alone.
const PART: u64 = 4;

/// How often a large message looks for room.
const LARGE_PAUSE: Duration = Duration::from_millis(100);

/// Peers that are known at least before idle ones are looked for.
const PEERS_MIN: usize = 64;

/// A budget with a share for each peer.
#[derive(Debug)]
pub(super) struct Shares {
    budget: Budget,
    share: u64,
    peers: Mutex<Peers>,
}

#[derive(Debug, Default)]
struct Peers {
    shares: HashMap<Domain, Arc<Budget>>,
    /// The count at which those are forgotten that nobody uses.
    forget_at: usize,
}

impl Shares {
    /// Shares of this budget, which is for `octets`.
    pub(super) fn new(budget: Budget, octets: u64) -> Self {
        Self {
            budget,
            share: octets / PART,
            peers: Mutex::default(),
        }
    }

    /// Room for `octets` beside those that are `held`, in the peer's share and in the whole. Waits for
    /// it, in the order of coming unless they are more than a share.
    ///
    /// # Errors
    /// None was free for a minute.
    pub(super) async fn reserve(
        &self,
        peer: Option<&Domain>,
        held: u64,
        octets: u64,
    ) -> Result<Vec<Reservation>, Exhausted> {
        let deadline = Instant::now() + PATIENCE;
        let mut room = Vec::new();
        let of_share = (held + octets).min(self.share) - held.min(self.share);
        if let Some(peer) = peer.filter(|_| of_share > 0) {
            let share = self.share_of(peer);
            room.push(share.reserve(of_share, PATIENCE).await?);
        }
        room.push(if octets > self.share {
            self.reserve_large(octets, deadline).await?
        } else {
            let left = deadline.saturating_duration_since(Instant::now());
            self.budget.reserve(octets, left).await?
        });
        Ok(room)
    }

    /// What is larger than a share does not stand in the queue: while it waited for much, those behind
    /// it would wait although there is room for them.
    async fn reserve_large(
        &self,
        octets: u64,
        deadline: Instant,
    ) -> Result<Reservation, Exhausted> {
        loop {
            match self.budget.reserve(octets, Duration::ZERO).await {
                Err(_) if Instant::now() < deadline => sleep(LARGE_PAUSE).await,
                reserved => return reserved,
            }
        }
    }

    fn share_of(&self, peer: &Domain) -> Arc<Budget> {
        let mut peers = self.peers.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(share) = peers.shares.get(peer) {
            return Arc::clone(share);
        }
        if peers.shares.len() >= peers.forget_at {
            // Nobody waits for such a share, and nobody holds any of it.
            peers
                .shares
                .retain(|_, share| Arc::strong_count(share) > 1 || share.in_use() > 0);
            peers.forget_at = PEERS_MIN.max(peers.shares.len() * 2);
        }
        let share = Arc::new(Budget::new(self.share));
        peers.shares.insert(peer.clone(), Arc::clone(&share));
        share
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WHOLE: u64 = 1024 * 1024;

    fn shares() -> Shares {
        Shares::new(Budget::new(WHOLE), WHOLE)
    }

    fn peer(number: usize) -> Domain {
        format!("peer{number}.example").parse().unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn a_peer_has_a_quarter_and_others_have_theirs() {
        let shares = shares();
        let slow = shares.reserve(Some(&peer(0)), 0, WHOLE / 4).await.unwrap();
        let began = Instant::now();
        shares.reserve(Some(&peer(0)), 0, 1).await.unwrap_err();
        assert_eq!(began.elapsed(), PATIENCE);
        let began = Instant::now();
        shares.reserve(Some(&peer(1)), 0, WHOLE / 4).await.unwrap();
        shares.reserve(None, 0, WHOLE / 2).await.unwrap();
        assert_eq!(began.elapsed(), Duration::ZERO);
        drop(slow);
        shares.reserve(Some(&peer(0)), 0, 1).await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn a_message_over_a_share_takes_it_whole() {
        let shares = shares();
        let mut large = shares.reserve(Some(&peer(0)), 0, WHOLE / 2).await.unwrap();
        shares.reserve(Some(&peer(0)), 0, 1).await.unwrap_err();
        // Its own share does not keep it from growing.
        large.extend(
            shares
                .reserve(Some(&peer(0)), WHOLE / 2, WHOLE / 4)
                .await
                .unwrap(),
        );
        shares.reserve(Some(&peer(1)), 0, WHOLE / 4).await.unwrap();
        shares
            .reserve(Some(&peer(1)), 0, WHOLE / 2)
            .await
            .unwrap_err();
    }

    #[tokio::test(start_paused = true)]
    async fn a_large_message_that_waits_does_not_keep_others_waiting() {
        let shares = shares();
        let held = shares.reserve(None, 0, WHOLE / 4).await.unwrap();
        let large = peer(0);
        let large = shares.reserve(Some(&large), 0, WHOLE);
        let others = async {
            let began = Instant::now();
            sleep(PATIENCE / 4).await;
            shares.reserve(Some(&peer(1)), 0, WHOLE / 4).await.unwrap();
            assert_eq!(began.elapsed(), PATIENCE / 4);
            drop(held);
        };
        let (large, ()) = tokio::join!(large, others);
        large.unwrap();
    }

    #[tokio::test]
    async fn peers_without_messages_are_forgotten() {
        let shares = shares();
        let held = shares.reserve(Some(&peer(0)), 0, WHOLE / 4).await.unwrap();
        for number in 1..10 * PEERS_MIN {
            shares.reserve(Some(&peer(number)), 0, 1).await.unwrap();
        }
        let known = shares.peers.lock().unwrap().shares.len();
        assert!(known <= PEERS_MIN + 1, "{known}");
        assert!(shares.share_of(&peer(0)).in_use() > 0);
        drop(held);
        assert_eq!(shares.share_of(&peer(0)).in_use(), 0);
    }
}
