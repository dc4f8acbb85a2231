//! Messages that came before: a peer that has not heard our answer sends again.
//!
//! A message is the same when sender, recipients and content are. While it is under way, whoever sends
//! it again waits for the outcome; when all was delivered, it is remembered for an hour. When only some
//! recipients have it, that is remembered as well, so that the others get it and they do not get it
//! twice. All of it is lost when the bridge is restarted: then a message may be delivered twice.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use aws_lc_rs::digest::{Context, Digest, SHA256};
use tokio::sync::watch;
use tokio::time::Instant;

use super::envelope::Posted;

/// How long a message is remembered.
const REMEMBERED_FOR: Duration = Duration::from_secs(60 * 60);

/// The most messages that are remembered; the oldest go first.
const REMEMBERED_MAX: usize = 100_000;

/// What was delivered in the last hour, and what is under way.
#[derive(Clone, Debug, Default)]
pub(super) struct Duplicates(Arc<Mutex<State>>);

/// What stands for a message: SHA-256 over envelope and content.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Key([u8; 32]);

/// A message that nobody else delivers while this exists.
#[derive(Debug)]
pub(super) struct Claim {
    duplicates: Duplicates,
    key: Key,
    before: Option<Done>,
    /// Those who wait see it end.
    _end: watch::Sender<()>,
}

#[derive(Debug, Default)]
struct State {
    seen: HashMap<Key, (Instant, Done)>,
    /// The oldest first; what was seen again has more than one entry.
    order: VecDeque<(Instant, Key)>,
    under_way: HashMap<Key, watch::Receiver<()>>,
}

/// Who has a message.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Done {
    All,
    /// A bit for each recipient.
    Some(Box<[u8]>),
}

impl Key {
    /// The key of a message, its content given by its hash.
    pub(super) fn new(posted: &Posted, content: &Digest) -> Self {
        let mut hash = Context::new(&SHA256);
        // Paths hold no line ends.
        for path in std::iter::once(&posted.sender).chain(&posted.recipients) {
            hash.update(path.as_bytes());
            hash.update(b"\n");
        }
        hash.update(content.as_ref());
        let mut key = [0; 32];
        key.copy_from_slice(hash.finish().as_ref());
        Self(key)
    }
}

impl Duplicates {
    /// Waits until nobody else has the message under way, then keeps others from it.
    pub(super) async fn claim(&self, key: Key) -> Claim {
        loop {
            let mut other = match self.try_claim(key) {
                Ok(claim) => return claim,
                Err(other) => other,
            };
            // The error that the other's end is.
            let _ = other.changed().await;
        }
    }

    fn try_claim(&self, key: Key) -> Result<Claim, watch::Receiver<()>> {
        let mut state = self.state();
        if let Some(other) = state.under_way.get(&key) {
            return Err(other.clone());
        }
        state.forget_old();
        let (end, ended) = watch::channel(());
        state.under_way.insert(key, ended);
        Ok(Claim {
            duplicates: self.clone(),
            key,
            before: state.seen.get(&key).map(|(_, done)| done.clone()),
            _end: end,
        })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Claim {
    /// Whether all recipients have the message already.
    pub(super) fn is_done(&self) -> bool {
        self.before == Some(Done::All)
    }

    /// Whether a recipient has it already, by its place in the envelope.
    pub(super) fn has(&self, recipient: usize) -> bool {
        match &self.before {
            None => false,
            Some(Done::All) => true,
            Some(Done::Some(bits)) => {
                let octet = bits.get(recipient / 8).copied().unwrap_or(0);
                octet >> (recipient % 8) & 1 == 1
            }
        }
    }

    /// Keeps in mind which recipients have the message now.
    pub(super) fn remember(self, has: &[bool]) {
        let done = if has.iter().all(|&has| has) {
            Done::All
        } else {
            Done::Some(pack(has))
        };
        self.duplicates.state().remember(self.key, done);
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        self.duplicates.state().under_way.remove(&self.key);
    }
}

impl State {
    fn remember(&mut self, key: Key, done: Done) {
        let now = Instant::now();
        self.seen.insert(key, (now, done));
        self.order.push_back((now, key));
        self.forget_old();
    }

    fn forget_old(&mut self) {
        while let Some(&(since, key)) = self.order.front() {
            if self.order.len() <= REMEMBERED_MAX && since.elapsed() < REMEMBERED_FOR {
                return;
            }
            self.order.pop_front();
            // Unless it was seen again.
            if self.seen.get(&key).is_some_and(|(at, _)| *at == since) {
                self.seen.remove(&key);
            }
        }
    }
}

fn pack(has: &[bool]) -> Box<[u8]> {
    let octet = |bits: &[bool]| {
        let bits = bits.iter().rev();
        bits.fold(0, |octet, &bit| octet << 1 | u8::from(bit))
    };
    has.chunks(8).map(octet).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::time::advance;

    fn key(number: u32) -> Key {
        let mut key = [0; 32];
        key[..4].copy_from_slice(&number.to_be_bytes());
        Key(key)
    }

    #[tokio::test]
    async fn what_was_done_is_known_by_recipient() {
        let duplicates = Duplicates::default();
        let claim = duplicates.claim(key(1)).await;
        assert!(!claim.is_done() && !claim.has(0));
        let has: Vec<bool> = (0..20).map(|at| at % 3 == 0).collect();
        claim.remember(&has);
        let claim = duplicates.claim(key(1)).await;
        assert!(!claim.is_done());
        for (at, &has) in has.iter().enumerate() {
            assert_eq!(claim.has(at), has, "{at}");
        }
        assert!(!claim.has(1000));
        claim.remember(&[true; 20]);
        assert!(duplicates.claim(key(1)).await.is_done());
        assert!(!duplicates.claim(key(2)).await.is_done());
    }

    #[tokio::test]
    async fn the_second_waits_for_the_first() {
        let duplicates = Duplicates::default();
        let first = duplicates.claim(key(1)).await;
        let waiting = tokio::spawn({
            let duplicates = duplicates.clone();
            async move { duplicates.claim(key(1)).await.is_done() }
        });
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished());
        // Others do not wait.
        duplicates.claim(key(2)).await;
        first.remember(&[true]);
        assert!(waiting.await.unwrap());
    }

    #[tokio::test]
    async fn a_first_that_fails_leaves_it_to_the_second() {
        let duplicates = Duplicates::default();
        drop(duplicates.claim(key(1)).await);
        assert!(!duplicates.claim(key(1)).await.is_done());
        assert!(duplicates.state().under_way.is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn an_hour_is_long_enough() {
        let duplicates = Duplicates::default();
        duplicates.claim(key(1)).await.remember(&[true, false]);
        advance(REMEMBERED_FOR / 2).await;
        duplicates.claim(key(1)).await.remember(&[true, true]);
        advance(REMEMBERED_FOR / 2).await;
        assert!(duplicates.claim(key(1)).await.is_done());
        advance(REMEMBERED_FOR / 2).await;
        assert!(!duplicates.claim(key(1)).await.is_done());
        assert!(duplicates.state().seen.is_empty());
    }

    #[tokio::test]
    async fn memory_has_a_limit() {
        let duplicates = Duplicates::default();
        for number in 0..REMEMBERED_MAX as u32 + 100 {
            duplicates.claim(key(number)).await.remember(&[true]);
        }
        assert_eq!(duplicates.state().seen.len(), REMEMBERED_MAX);
        assert!(!duplicates.claim(key(0)).await.is_done());
        let last = key(REMEMBERED_MAX as u32 + 99);
        assert!(duplicates.claim(last).await.is_done());
    }
}
