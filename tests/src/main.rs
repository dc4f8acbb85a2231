//! `cargo testbed`: see `testbed::cli`.

use std::process::ExitCode;

use clap::Parser as _;
use peak_alloc::PeakAlloc;
use testbed::cli::{self, Cli};

// Counts the heap, for `bench gate`.
#[global_allocator]
static HEAP: PeakAlloc = PeakAlloc;

// On one thread: the programs of a relay end with the thread that started them.
#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    match cli::run(Cli::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
