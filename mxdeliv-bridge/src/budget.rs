//! Memory that messages are held in: so much for all of them together.
//!
//! What counts is octets, not messages: a thousand small ones fit where two large ones do.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

/// What one permit stands for, in octets: permits are counted in 32 bits.
const UNIT: u64 = 4096;

/// Room for messages. Clones share it.
#[derive(Clone, Debug)]
pub struct Budget {
    room: Arc<Semaphore>,
    units: u32,
}

/// Room that belongs to a message until this is dropped.
#[derive(Debug)]
pub struct Reservation {
    permits: OwnedSemaphorePermit,
}

/// All room is taken, and stayed so.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no memory for another message now")]
pub struct Exhausted;

impl Budget {
    /// Room for this many octets, rounded up.
    pub fn new(octets: u64) -> Self {
        let units = units(octets);
        Self {
            room: Arc::new(Semaphore::new(units as usize)),
            units,
        }
    }

    /// Room for a message of at most this size, waited for in the order of coming.
    ///
    /// # Errors
    /// It is larger than the whole budget, or none was free within `patience`.
    pub async fn reserve(&self, octets: u64, patience: Duration) -> Result<Reservation, Exhausted> {
        let units = units(octets);
        if units > self.units {
            return Err(Exhausted);
        }
        let acquired = timeout(patience, self.room.clone().acquire_many_owned(units)).await;
        match acquired {
            Ok(Ok(permits)) => Ok(Reservation { permits }),
            Ok(Err(_)) | Err(_) => Err(Exhausted),
        }
    }

    /// How many octets are reserved.
    pub fn in_use(&self) -> u64 {
        let free = self.room.available_permits() as u64;
        u64::from(self.units).saturating_sub(free) * UNIT
    }
}

impl Reservation {
    /// How many octets it is for.
    pub fn octets(&self) -> u64 {
        self.permits.num_permits() as u64 * UNIT
    }
}

fn units(octets: u64) -> u32 {
    u32::try_from(octets.div_ceil(UNIT).max(1)).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn room_comes_back_when_a_message_is_gone() {
        let budget = Budget::new(100_000);
        let first = budget.reserve(90_000, Duration::ZERO).await.unwrap();
        assert!(first.octets() >= 90_000);
        assert_eq!(budget.in_use(), first.octets());
        assert!(budget.reserve(20_000, Duration::ZERO).await.is_err());
        drop(first);
        assert_eq!(budget.in_use(), 0);
        budget.reserve(100_000, Duration::ZERO).await.unwrap();
    }

    #[tokio::test]
    async fn more_than_all_of_it_is_never_waited_for() {
        let budget = Budget::new(4096);
        let waited = budget.reserve(4097, Duration::from_secs(3600)).await;
        assert_eq!(waited.unwrap_err(), Exhausted);
    }
}
