//! Counts how often the gate's randomness test refuses truly random bodies.
//!
//! `cargo run --release --example entropy_false_positives [BODIES]`: 10 million bodies unless told
//! otherwise, from 20 octets to 1 MiB, most of them short, as mail is. The bound is 1 in 10^12 bodies
//! of any size, so any refusal is a defect.

use filtermail::gate::entropy::Randomness;
use rand::{Rng, RngCore, SeedableRng, rngs::SmallRng};
use std::time::Instant;

/// Sizes in octets, up to the first number, and how many of 10 000 bodies have one like it.
const SIZES: [(usize, u32); 5] = [
    (100, 4000),
    (1_000, 4000),
    (5_000, 1950),
    (50_000, 49),
    (1_048_576, 1),
];

fn main() -> anyhow::Result<()> {
    let bodies = std::env::args()
        .nth(1)
        .map_or(Ok(10_000_000), |text| text.parse::<u64>())?;
    let threads = std::thread::available_parallelism()?.get() as u64;
    let start = Instant::now();
    let counts: Vec<_> = std::thread::scope(|scope| {
        let run = |thread| scope.spawn(move || count(bodies / threads, thread));
        let running: Vec<_> = (0..threads).map(run).collect();
        running.into_iter().map(|thread| thread.join()).collect()
    });
    let (mut refused, mut octets) = (0, 0);
    for count in counts {
        let (more_refused, more_octets) = count.map_err(|_| anyhow::anyhow!("a thread failed"))?;
        refused += more_refused;
        octets += more_octets;
    }
    let tried = bodies / threads * threads;
    let seconds = start.elapsed().as_secs();
    println!("{refused} of {tried} random bodies refused ({octets} octets, {seconds} s)");
    Ok(())
}

/// Judges random bodies; gives the number of those refused, and all their octets.
fn count(bodies: u64, seed: u64) -> (u64, u64) {
    let mut rng = SmallRng::seed_from_u64(seed);
    let mut buffer = vec![0; 1_048_576];
    let (mut refused, mut octets) = (0, 0);
    for _ in 0..bodies {
        let length = length(&mut rng);
        let (body, _) = buffer.split_at_mut(length);
        rng.fill_bytes(body);
        octets += length as u64;
        let mut randomness = Randomness::new();
        let passed = randomness.push(body).is_ok() && randomness.finish().is_ok();
        refused += u64::from(!passed);
    }
    (refused, octets)
}

fn length(rng: &mut SmallRng) -> usize {
    let mut place = rng.random_range(0..10_000);
    let mut shortest = 20;
    for (longest, share) in SIZES {
        if place < share {
            return rng.random_range(shortest..=longest);
        }
        place -= share;
        shortest = longest;
    }
    shortest
}
