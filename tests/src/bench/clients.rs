//! A relay of several hosts with a million accounts, and as many clients as this machine carries: each logs in over TLS
//! by way of a front, selects its inbox, idles until its session sleeps on its backend, and stays.
//!
//! What each step costs on each tier is measured; a line through the steps says what one client costs, and the
//! [`model`] what 100 000 would. The settings are those that the playbook ships, sleep after half a minute included.

mod crowd;
mod disk;
mod fit;
mod logs;
mod mail;
mod measure;
mod model;
mod shipped;
mod show;
mod usage;

use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use sha_crypt::{PasswordHasher as _, ShaCrypt};

use super::Report;
use crate::cluster::{Cluster, ClusterOptions};
use crate::relay::{PLAIN_PASSWORD, shipped as shipped_setting};
use crowd::Crowd;
use measure::{Meter, Step};
use model::{Load, Relay};
use shipped::KernelLimits;

/// Rows in the table of accounts.
const ACCOUNTS: usize = 1_000_000;

/// Memory that must stay available, in bytes: no more clients come otherwise.
const KEEP_FREE: u64 = 3 << 30;

/// How long the clients are watched while they wait, and while mail comes.
const STILL: Duration = Duration::from_secs(60);
const BUSY: Duration = Duration::from_secs(90);

/// Files that this process has open beside its clients' connections, at most.
const OWN_FILES: usize = 200;

/// What stands around the clients at the end of a run, beside its steps.
const RESERVE: Duration = Duration::from_secs(5 * 60);

/// How long the cluster may take to end.
const STOPPING: Duration = Duration::from_secs(5 * 60);

/// The relay that is computed, as an operator might rent it.
const RELAY: Relay = Relay {
    fronts: 2.0,
    backends: 4.0,
    processors: 8.0,
    memory: 32.0 * 1073741824.0,
};

/// Clients of that relay, and messages that each gets in a day.
const CLIENTS: f64 = 100_000.0;
const MESSAGES_A_DAY: f64 = 100.0;

/// How far `clients` goes.
#[derive(Clone, Debug, clap::Args)]
pub struct ClientsArgs {
    /// Connected clients to measure at, one after the other; it ends earlier when memory or time does
    #[arg(
        long,
        value_name = "NUMBERS",
        value_delimiter = ',',
        default_value = "500,2000,5000,10000,15000"
    )]
    steps: Vec<usize>,

    /// Begin no step that would not end within so many minutes
    #[arg(long, value_name = "MINUTES", default_value_t = 30)]
    minutes: u64,

    /// Mean minutes until a client comes back on a new connection
    #[arg(long, value_name = "MINUTES", default_value_t = 10)]
    session: u64,

    /// Messages a second to clients that wait
    #[arg(long, value_name = "NUMBER", default_value_t = 5.0)]
    messages: f64,
}

/// Measures.
pub(super) fn run(args: &ClientsArgs, report: &mut Report) -> anyhow::Result<()> {
    let most = args.steps.iter().max().copied().unwrap_or_default();
    ensure!(
        most < ACCOUNTS,
        "there are {ACCOUNTS} accounts, for fewer clients"
    );
    ensure!(args.steps.is_sorted() && most > 0, "steps go up");
    ensure!(args.session > 0, "a session lasts for some time");
    let limits = KernelLimits::raise()?;
    let own = usize::try_from(limits.files())?.saturating_sub(OWN_FILES);
    ensure!(
        most <= own,
        "this process may have {own} connections: no more clients"
    );
    let unlimited = u32::MAX;
    let options = ClusterOptions::default()
        .with("max_user_send_per_minute", unlimited)
        .with("max_user_send_burst_size", unlimited)
        .with("max_user_recipients_per_minute", unlimited);
    let cluster = Cluster::start(&options)?;
    fill(&cluster)?;
    let measured = cluster.run(async || simulate(&cluster, args, report).await)?;
    let load = Load {
        accounts: ACCOUNTS as f64,
        clients: CLIENTS,
        session: args.session as f64 * 60.0,
        messages: MESSAGES_A_DAY / 86_400.0,
        awake: shipped_setting("dovecot_hibernate_after")?.into(),
    };
    show::model(&measured.costs, &measured.limits, &RELAY, &load);
    cluster.stop_within(STOPPING)?;
    drop(limits);
    Ok(())
}

/// What a run found.
struct Measured {
    costs: model::Costs,
    limits: model::Limits,
}

async fn simulate(
    cluster: &Cluster,
    args: &ClientsArgs,
    report: &mut Report,
) -> anyhow::Result<Measured> {
    let begun = Instant::now();
    let meter = Meter::of(cluster)?;
    let limits = shipped::limits(cluster)?;
    let front = cluster.fronts.first().context("no front")?;
    let endpoints = cluster.fronts.iter().map(|front| front.imap.clone());
    let mut crowd = Crowd::new(endpoints.collect(), &front.domain);
    let mut steps = vec![meter.empty()?];
    let mut last = Duration::ZERO;
    for &clients in &args.steps {
        let before = crowd.len();
        let longer = (clients - before) as f64 / before.max(1) as f64;
        let expected = last.mul_f64(longer.max(1.0));
        if before > 0 && !fits(&steps, clients)? {
            println!("no more than {before} clients: too little memory for {clients}");
            break;
        }
        if begun.elapsed() + expected + RESERVE > Duration::from_secs(args.minutes * 60) {
            println!("no more than {before} clients: too little time for {clients}");
            break;
        }
        let started = Instant::now();
        let step = meter.step(&mut crowd, clients).await?;
        show::step(&step, report);
        println!("{}", show::progress(&step, started.elapsed()));
        last = started.elapsed();
        steps.push(step);
        if crowd.len() < clients {
            println!("no more than {} clients: memory", crowd.len());
            break;
        }
    }
    ensure!(
        steps.len() > 2,
        "one step is no line: give more time, or smaller steps"
    );
    let disk = disk::of_accounts(cluster, &crowd)?;
    show::disk(&disk, report);
    let busy = meter.busy(cluster, &crowd, args).await?;
    show::busy(&busy, report);
    for (complaint, times) in crowd
        .complaints()
        .into_iter()
        .chain(logs::complaints(cluster)?)
    {
        println!("{times} times: {complaint}");
    }
    let costs = meter.costs(&steps, &busy, disk.account)?;
    show::costs(&costs, report);
    Ok(Measured { costs, limits })
}

/// Whether so many clients leave enough memory, as far as those that are there tell.
fn fits(steps: &[Step], clients: usize) -> anyhow::Result<bool> {
    let (Some(first), Some(last)) = (steps.first(), steps.last()) else {
        return Ok(true);
    };
    let taken = first.available.saturating_sub(last.available);
    let more = clients.saturating_sub(last.clients) as u64;
    let needed = taken / last.clients.max(1) as u64 * more;
    Ok(usage::available_memory()? > KEEP_FREE + needed)
}

/// Makes the accounts, half of them on each backend, with a password that all clients know.
fn fill(cluster: &Cluster) -> anyhow::Result<()> {
    let hash = ShaCrypt::SHA512.hash_password_with_salt(PLAIN_PASSWORD.as_bytes(), b"012345678901");
    let hash = hash.map_err(|error| anyhow::anyhow!("hashing a password: {error}"))?;
    let domain = &cluster.fronts.first().context("no front")?.domain;
    let names = cluster
        .backends
        .iter()
        .map(|backend| format!("'{}'", backend.name));
    let names: Vec<_> = names.collect();
    let database = cluster.database()?;
    let last = ACCOUNTS - 1;
    database.sql(&format!(
        "INSERT INTO accounts (address, password, last_login, backend) \
         SELECT lpad(number::text, 9, '0') || '@{domain}', '{{SHA512-CRYPT}}{hash}', 20000, \
         (ARRAY[{}])[number % {} + 1] FROM generate_series(0, {last}) AS number",
        names.join(","),
        names.len(),
    ))?;
    database.sql("VACUUM ANALYZE accounts").map(drop)
}
