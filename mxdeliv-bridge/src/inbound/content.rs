//! The body of a request, which is the message: read piece by piece, held in memory.

use aws_lc_rs::digest::{Context, Digest, SHA256};
use axum::body::Body;
use filtermail::gate::Progress;
use filtermail::incoming::WireMessage;
use http_body_util::BodyExt as _;
use std::time::Duration;

use super::answer::Failure;
use super::clients::Slot;
use crate::budget::{Budget, Reservation};

/// How long a request waits for room.
const PATIENCE: Duration = Duration::from_secs(3);

/// What a message of unknown length gets room for at first, and at most at a time, in octets.
const GROWTH_MIN: u64 = 64 << 10;
const GROWTH_MAX: u64 = 4 << 20;

const CRLF: &[u8] = b"\r\n";

/// A message in memory, with the room that it takes.
#[derive(Debug)]
pub(super) struct Held {
    octets: Vec<u8>,
    budget: Budget,
    room: Vec<Reservation>,
    reserved: u64,
    /// The most that may be reserved.
    limit: u64,
    slot: Slot,
}

/// How the reading of a message ended.
#[derive(Debug)]
pub(super) enum Received {
    /// It is complete; the hash of what came.
    Whole(Digest),
    /// The rest was not read: it cannot pass.
    Decided,
}

impl Held {
    /// Room for a message of at most `size_max` octets, of which so many are announced.
    pub(super) async fn new(
        budget: &Budget,
        slot: Slot,
        announced: Option<u64>,
        size_max: u64,
    ) -> Result<Self, Failure> {
        let crlf = CRLF.len() as u64;
        let mut held = Self {
            octets: Vec::new(),
            budget: budget.clone(),
            room: Vec::new(),
            reserved: 0,
            limit: size_max.saturating_add(crlf),
            slot,
        };
        let expected = announced.map_or(GROWTH_MIN, |octets| octets.saturating_add(crlf));
        held.reserve(expected.min(held.limit)).await?;
        Ok(held)
    }

    /// The message.
    pub(super) fn octets(&self) -> &[u8] {
        &self.octets
    }

    /// The message, to be made shorter.
    pub(super) fn octets_mut(&mut self) -> &mut Vec<u8> {
        &mut self.octets
    }

    async fn push(&mut self, piece: &[u8]) -> Result<(), Failure> {
        let needed = self.octets.len() as u64 + piece.len() as u64;
        if needed > self.limit {
            return Err(Failure::too_large());
        }
        if needed > self.reserved {
            let step = self.reserved.clamp(GROWTH_MIN, GROWTH_MAX);
            let step = step.max(needed - self.reserved);
            self.reserve(step.min(self.limit - self.reserved)).await?;
        }
        self.octets.extend_from_slice(piece);
        Ok(())
    }

    async fn reserve(&mut self, octets: u64) -> Result<(), Failure> {
        let held = self.slot.hold(octets);
        held.map_err(|_| Failure::too_many())?;
        let room = self.budget.reserve(octets, PATIENCE).await;
        self.room.push(room.map_err(|_| Failure::no_room())?);
        self.reserved += octets;
        let length = self.octets.len();
        let capacity = usize::try_from(self.reserved).map_err(|_| Failure::too_large())?;
        self.octets.reserve_exact(capacity.saturating_sub(length));
        Ok(())
    }
}

/// Reads a body into memory and shows it to the rules on the way. A line end that is missing at the end
/// is added, as an MTA does.
pub(super) async fn receive(
    mut body: Body,
    held: &mut Held,
    message: &mut WireMessage,
    size_max: u64,
) -> Result<Received, Failure> {
    let mut hash = Context::new(&SHA256);
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|_| Failure::bad_request("The message broke off"))?;
        // Trailers say nothing here.
        let Ok(piece) = frame.into_data() else {
            continue;
        };
        if held.octets.len() as u64 + piece.len() as u64 > size_max {
            return Err(Failure::too_large());
        }
        held.push(&piece).await?;
        hash.update(&piece);
        if message.push(&piece) == Progress::Decided {
            return Ok(Received::Decided);
        }
    }
    if !held.octets.ends_with(CRLF) {
        held.push(CRLF).await?;
        message.push(CRLF);
    }
    Ok(Received::Whole(hash.finish()))
}
