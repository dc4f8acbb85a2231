//! Measurements of whole relays: `cargo testbed bench`.
//!
//! A bench runs what it measures and its reference in the same call, interleaved, and reports one
//! [`Figure`] for each number it finds.

mod report;

use anyhow::{Context as _, ensure};

pub use report::{Figure, Goal, Report};

/// A measurement.
#[derive(Clone, Copy)]
pub struct Bench {
    /// What it is called on the command line.
    pub name: &'static str,
    /// What it measures, in a line.
    pub summary: &'static str,
    /// Measures, and reports what it found.
    pub run: fn(&mut Report) -> anyhow::Result<()>,
}

/// All measurements, in the order of `--list`.
pub const BENCHES: &[Bench] = &[];

/// Arguments of `bench`.
#[derive(Clone, Debug, clap::Args)]
#[command(arg_required_else_help = true)]
pub struct BenchArgs {
    /// What to measure
    #[arg(value_name = "NAME", required_unless_present = "list")]
    names: Vec<String>,

    /// Show what can be measured
    #[arg(long)]
    list: bool,

    /// Append a line of JSON for each figure to FILE
    #[arg(long, value_name = "FILE")]
    json: Option<std::path::PathBuf>,
}

/// Runs the measurements that are asked for.
///
/// # Errors
/// A name is unknown, a measurement cannot be made, or a figure misses its goal.
pub fn run(args: &BenchArgs) -> anyhow::Result<()> {
    if args.list {
        for bench in BENCHES {
            println!("{:<16} {}", bench.name, bench.summary);
        }
        return Ok(());
    }
    let wanted = args.names.iter().map(|name| {
        BENCHES
            .iter()
            .find(|bench| bench.name == name)
            .with_context(|| format!("there is no bench `{name}`; --list shows what there is"))
    });
    // All names are looked up before the first measurement, which may take minutes.
    let wanted = wanted.collect::<anyhow::Result<Vec<_>>>()?;
    let mut missed = 0;
    for bench in wanted {
        println!("{}: {}", bench.name, bench.summary);
        let mut report = Report::default();
        (bench.run)(&mut report).with_context(|| format!("bench `{}`", bench.name))?;
        report.print(args.json.as_deref())?;
        missed += report.missed();
    }
    ensure!(missed == 0, "{missed} figure(s) miss their goal");
    Ok(())
}
