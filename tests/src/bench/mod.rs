//! Measurements of whole relays: `cargo testbed bench`.
//!
//! A bench runs what it measures and its reference in the same call, interleaved, and reports one
//! [`Figure`] for each number it finds.

mod clients;
mod delivery;
mod delta;
mod doveauth;
mod expiry;
mod federation;
mod federation_flush;
mod federation_peers;
mod gate;
mod gate_worst;
mod incoming;
mod interleave;
mod milter;
mod milter_memory;
mod pair;
mod postgres;
mod process_memory;
mod process_time;
mod provision;
mod push;
mod report;
mod senders;
mod settings;
mod signing;
mod stats;
mod submission;
mod throughput;
mod way;

use std::io;

use anyhow::{Context as _, ensure};
use tokio::runtime::Runtime;

pub use clients::ClientsArgs;
pub use report::{Figure, Goal, Report};

use crate::host::packages::{FOR_MACHINES, OPENDKIM, POSTGRESQL};
use crate::{binaries, host, patched_dovecot};

/// A measurement.
#[derive(Clone, Copy)]
pub struct Bench {
    /// What it is called on the command line.
    pub name: &'static str,
    /// What it measures, in a line.
    pub summary: &'static str,
    /// Measures, and reports what it found.
    pub run: Run,
}

/// How a measurement is made.
#[derive(Clone, Copy)]
pub enum Run {
    /// Always the same.
    Fixed(fn(&mut Report) -> anyhow::Result<()>),
    /// With as many clients as the command line says.
    Clients(fn(&ClientsArgs, &mut Report) -> anyhow::Result<()>),
}

/// All measurements, in the order of `--list`.
pub const BENCHES: &[Bench] = &[
    Bench {
        name: "gate",
        summary: "the gate alone: speed on a large encrypted message, and heap",
        run: Run::Fixed(gate::run),
    },
    Bench {
        name: "gate-worst",
        summary: "the gate alone on the corpus, and on what costs the most for its size",
        run: Run::Fixed(gate_worst::run),
    },
    Bench {
        name: "milter",
        summary: "mail accepted by Postfix with filtermail, a null milter and none (three minutes)",
        run: Run::Fixed(milter::run),
    },
    Bench {
        name: "milter-memory",
        summary: "filtermail's memory while 200 messages of 30 MiB come at once",
        run: Run::Fixed(milter_memory::run),
    },
    Bench {
        name: "incoming",
        summary: "mail from outside accepted with gate and DKIM verification, and with neither",
        run: Run::Fixed(incoming::run),
    },
    Bench {
        name: "signing",
        summary: "mail accepted by Postfix with filtermail signing it, and with OpenDKIM doing so",
        run: Run::Fixed(signing::run),
    },
    Bench {
        name: "doveauth",
        summary: "lookups and creations of accounts on tmpfs, and memory",
        run: Run::Fixed(doveauth::run),
    },
    Bench {
        name: "postgres",
        summary: "logins and creations with accounts in PostgreSQL and in files, a million accounts (two minutes)",
        run: Run::Fixed(postgres::run),
    },
    Bench {
        name: "clients",
        summary: "a relay of several hosts, a million accounts, clients that stay; 100 000 computed (half an hour)",
        run: Run::Clients(clients::run),
    },
    Bench {
        name: "push",
        summary: "push notifications written and sent, what they cost a delivery, memory (a minute)",
        run: Run::Fixed(push::run),
    },
    Bench {
        name: "delivery",
        summary: "from MAIL FROM to EXISTS, with our daemons and without (two minutes)",
        run: Run::Fixed(delivery::run),
    },
    Bench {
        name: "delta",
        summary: "Delta Chat: a profile, a text, a text and its answer, ten texts; without our daemons too (five minutes)",
        run: Run::Fixed(delta::run),
    },
    Bench {
        name: "throughput",
        summary: "submission to mailbox, eight senders; a classic relay's settings without daemons too (two minutes)",
        run: Run::Fixed(throughput::run),
    },
    Bench {
        name: "settings",
        summary: "settings of Postfix and Dovecot, each beside another value (ten minutes)",
        run: Run::Fixed(settings::run),
    },
    Bench {
        name: "federation",
        summary: "from relay to relay by /mxdeliv, and by SMTP (two minutes)",
        run: Run::Fixed(federation::run),
    },
    Bench {
        name: "federation-flush",
        summary: "20 000 messages to 200 dead peers: the bridge's memory and descriptors (four minutes)",
        run: Run::Fixed(federation_flush::run),
    },
    Bench {
        name: "expiry",
        summary: "old mail found and removed among a million messages on disk, and memory (ten minutes)",
        run: Run::Fixed(expiry::run),
    },
    Bench {
        name: "provision",
        summary: "the playbook on a bare machine, and when there is nothing to do; idle daemons (ten minutes)",
        run: Run::Fixed(provision::run),
    },
];

/// Arguments of `bench`.
#[derive(Clone, Debug, clap::Args)]
#[command(arg_required_else_help = true)]
pub struct BenchArgs {
    /// What to measure
    #[arg(value_name = "NAME", required_unless_present = "list")]
    names: Vec<String>,

    /// Show what can be measured
    #[arg(long)]
    pub list: bool,

    /// Install missing Debian packages without asking
    #[arg(long)]
    pub yes: bool,

    /// Append a line of JSON for each figure to FILE
    #[arg(long, value_name = "FILE")]
    json: Option<std::path::PathBuf>,

    /// Of `clients`.
    #[command(flatten, next_help_heading = "Of `clients`")]
    clients: ClientsArgs,
}

/// Runs the measurements that are asked for, on release binaries.
///
/// # Errors
/// A name is unknown, a measurement cannot be made, or a figure misses its goal.
pub async fn run(args: BenchArgs) -> anyhow::Result<()> {
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
    let mut also = Vec::new();
    for bench in &wanted {
        match bench.name {
            "signing" => also.push(OPENDKIM),
            "postgres" | "clients" => also.push(POSTGRESQL),
            "provision" => also.extend(FOR_MACHINES),
            _ => {}
        }
    }
    host::prepare_with(args.yes, &also).await?;
    binaries::build()?;
    // What is told to clients is measured with what public relays run.
    if wanted.iter().any(|bench| bench.name != "provision") {
        patched_dovecot::provide()?;
    }
    let mut missed = 0;
    for &bench in wanted {
        println!("{}: {}", bench.name, bench.summary);
        let clients = args.clients.clone();
        let report = tokio::task::spawn_blocking(move || measure(bench, &clients)).await?;
        let report = report.with_context(|| format!("bench `{}`", bench.name))?;
        report.print(args.json.as_deref())?;
        missed += report.missed();
    }
    ensure!(missed == 0, "{missed} figure(s) miss their goal");
    Ok(())
}

fn measure(bench: Bench, clients: &ClientsArgs) -> anyhow::Result<Report> {
    let mut report = Report::default();
    match bench.run {
        Run::Fixed(run) => run(&mut report)?,
        Run::Clients(run) => run(clients, &mut report)?,
    }
    Ok(report)
}

/// A runtime for a bench's clients. On one thread: the cores are for the relay.
fn runtime() -> io::Result<Runtime> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
}
