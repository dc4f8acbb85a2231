//! What each step costs, and what follows from all of them for one client.

use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use tokio::time::sleep;

use super::crowd::Crowd;
use super::fit::Line;
use super::mail::{Done, Pace, Writer};
use super::model::{Costs, DatabaseCosts, HostCosts, Share};
use super::usage::{Group, Holdings, Roots, Tier, Work, available_memory, kernel_memory};
use super::{ACCOUNTS, BUSY, ClientsArgs, KEEP_FREE, STILL};
use crate::cluster::{Cluster, Postgres};

/// How long sessions may take to fall asleep, beyond the time that they are told to wait.
const UNTIL_ASLEEP: Duration = Duration::from_secs(180);

/// How long PostgreSQL keeps its counts to itself at most.
const COUNTED: Duration = Duration::from_secs(11);

/// Looks at a cluster.
pub(super) struct Meter {
    roots: Roots,
    database: Postgres,
    fronts: f64,
    backends: f64,
}

/// What there was with so many clients.
#[derive(Clone, Debug)]
pub(super) struct Step {
    pub(super) clients: usize,
    /// All of them asleep.
    pub(super) asleep: Holdings,
    /// The kernel's memory, asleep, and what was available on the machine, in bytes.
    pub(super) kernel: u64,
    pub(super) available: u64,
    /// Sessions that had a process when the last client had come, their memory (PSS), and the kernel's then.
    pub(super) awake: Group,
    pub(super) awake_kernel: u64,
    /// Dovecot's statistics at that time: each process connects to them.
    pub(super) statistics: Group,
    /// From the first of the step's logins until all slept.
    pub(super) arriving: Span,
    /// While nothing happened.
    pub(super) still: Span,
    /// Connections of our daemons to PostgreSQL.
    pub(super) connections: f64,
}

/// What was done in a time.
#[derive(Clone, Debug, Default)]
pub(super) struct Span {
    pub(super) seconds: f64,
    pub(super) work: Work,
    /// Transactions of PostgreSQL; each of our daemons' queries is one.
    pub(super) queries: f64,
    pub(super) logins: usize,
    pub(super) failed: usize,
}

/// What mail and clients that come back cost while all others wait.
#[derive(Clone, Debug)]
pub(super) struct Busy {
    /// Mail alone.
    pub(super) mail: Span,
    pub(super) sent: Done,
    /// From the final dot to `EXISTS`.
    pub(super) latencies: Vec<Duration>,
    /// Mail, and clients that come back.
    pub(super) both: Span,
    pub(super) done: Done,
    /// Sessions that were awake at the end of that.
    pub(super) awake: usize,
}

impl Meter {
    /// For a cluster that runs.
    ///
    /// # Errors
    /// A program does not.
    pub(super) fn of(cluster: &Cluster) -> anyhow::Result<Self> {
        Ok(Self {
            roots: Roots::of(cluster)?,
            database: cluster.database()?.clone(),
            fronts: cluster.fronts.len() as f64,
            backends: cluster.backends.len() as f64,
        })
    }

    /// The relay without clients.
    ///
    /// # Errors
    /// Something does not run.
    pub(super) fn empty(&self) -> anyhow::Result<Step> {
        Ok(Step {
            clients: 0,
            asleep: self.roots.holdings()?,
            kernel: kernel_memory()?,
            available: available_memory()?,
            awake: Group::default(),
            awake_kernel: 0,
            statistics: Group::default(),
            arriving: Span::default(),
            still: Span::default(),
            connections: self.connections()?,
        })
    }

    /// Lets clients come until there are so many, or memory gets short, and watches them wait.
    ///
    /// # Errors
    /// They do not get in, or do not fall asleep.
    pub(super) async fn step(&self, crowd: &mut Crowd, clients: usize) -> anyhow::Result<Step> {
        let begun = self.begin(crowd)?;
        crowd
            .grow(clients, || Ok(available_memory()? > KEEP_FREE))
            .await?;
        let at_most = self.roots.holdings()?;
        let awake = at_most.group(Tier::Backend, "imap");
        let statistics = at_most.group(Tier::Backend, "stats");
        let awake_kernel = kernel_memory()?;
        self.all_asleep().await?;
        let arriving = self.end(begun, crowd).await?;
        let begun = self.begin(crowd)?;
        sleep(STILL).await;
        let still = self.end(begun, crowd).await?;
        ensure!(
            still.logins == 0,
            "clients came back while nothing happened"
        );
        Ok(Step {
            clients: crowd.tally().idling,
            asleep: self.roots.holdings()?,
            kernel: kernel_memory()?,
            available: available_memory()?,
            awake,
            awake_kernel,
            statistics,
            arriving,
            still,
            connections: self.connections()?,
        })
    }

    /// Lets mail come, and then clients come back as well.
    ///
    /// # Errors
    /// Mail is not accepted.
    pub(super) async fn busy(
        &self,
        cluster: &Cluster,
        crowd: &Crowd,
        args: &ClientsArgs,
    ) -> anyhow::Result<Busy> {
        let front = cluster.fronts.first().context("no front")?;
        let mut writer = Writer::login(front, ACCOUNTS - 1).await?;
        self.all_asleep().await?;
        let mut pace = Pace {
            messages: args.messages,
            returns: 0.0,
        };
        let begun = self.begin(crowd)?;
        let sent = writer.keep_busy(crowd, pace, BUSY).await?;
        self.all_asleep().await?;
        let mail = self.end(begun, crowd).await?;
        let latencies = crowd.take_latencies();
        pace.returns = crowd.len() as f64 / (args.session as f64 * 60.0);
        let begun = self.begin(crowd)?;
        let done = writer.keep_busy(crowd, pace, BUSY).await?;
        let awake = self.roots.awake()?;
        self.all_asleep().await?;
        let both = self.end(begun, crowd).await?;
        Ok(Busy {
            mail,
            sent,
            latencies,
            both,
            done,
            awake,
        })
    }

    /// Waits until no session has a process.
    async fn all_asleep(&self) -> anyhow::Result<()> {
        let deadline = Instant::now() + UNTIL_ASLEEP;
        loop {
            let awake = self.roots.awake()?;
            if awake == 0 {
                return Ok(());
            }
            ensure!(Instant::now() < deadline, "{awake} sessions do not sleep");
            sleep(Duration::from_millis(500)).await;
        }
    }

    fn begin(&self, crowd: &Crowd) -> anyhow::Result<Begun> {
        let tally = crowd.tally();
        Ok(Begun {
            at: Instant::now(),
            work: self.roots.work()?,
            queries: self.transactions()?,
            logins: tally.logins,
            failed: tally.failed,
        })
    }

    async fn end(&self, begun: Begun, crowd: &Crowd) -> anyhow::Result<Span> {
        let seconds = begun.at.elapsed().as_secs_f64();
        let work = self.roots.work()?.since(&begun.work);
        let tally = crowd.tally();
        // What was asked last is in the counts then.
        sleep(COUNTED).await;
        Ok(Span {
            seconds,
            work,
            queries: self.transactions()? - begun.queries,
            logins: tally.logins - begun.logins,
            failed: tally.failed - begun.failed,
        })
    }

    fn transactions(&self) -> anyhow::Result<f64> {
        let count =
            "SELECT xact_commit + xact_rollback FROM pg_stat_database WHERE datname = 'chatmail'";
        Ok(self.database.sql(count)?.parse()?)
    }

    fn connections(&self) -> anyhow::Result<f64> {
        let count = "SELECT count(*) FROM pg_stat_activity WHERE usename = 'chatmail'";
        Ok(self.database.sql(count)?.parse()?)
    }

    /// What follows for one client, from steps of which the first is without any.
    ///
    /// # Errors
    /// There are too few steps for a line.
    pub(super) fn costs(&self, steps: &[Step], busy: &Busy, account: f64) -> anyhow::Result<Costs> {
        let line = |of: &dyn Fn(&Step) -> f64| {
            let points: Vec<_> = steps
                .iter()
                .map(|step| (step.clients as f64, of(step)))
                .collect();
            Line::through(&points).context("too few steps for a line")
        };
        let of_tier = |tier: Tier, part: fn(Group) -> f64| {
            line(&move |step: &Step| step.asleep.sum(tier, part))
        };
        let of_group = |tier: Tier, name: &'static str, part: fn(Group) -> f64| {
            line(&move |step: &Step| part(step.asleep.group(tier, name)))
        };
        let kernel = line(&|step| step.kernel as f64)?.slope.max(0.0);
        let descriptors = |tier| of_tier(tier, |group| group.descriptors as f64);
        let files = [
            descriptors(Tier::Front)?.slope,
            descriptors(Tier::Backend)?.slope,
        ];
        // Each client has its end of a connection on this machine too.
        let all_files = files[0] + files[1] + 1.0;
        let rates = Rates::of(steps, busy);
        let host = |tier: Tier, hosts: f64, files: f64| -> anyhow::Result<HostCosts> {
            let memory = of_tier(tier, |group| group.pss as f64)?;
            let first = steps.first().context("no steps")?;
            Ok(HostCosts {
                idle_memory: first.asleep.sum(tier, |group| group.pss as f64) / hosts,
                client_memory: memory.slope + kernel * files / all_files,
                login_work: rates.login(tier),
                waiting_work: rates.waiting(tier).slope.max(0.0),
                message_work: rates.message(tier),
                login_process: Share {
                    descriptors: of_group(tier, "imap-login", |group| group.descriptors as f64)?
                        .slope,
                    address_space: of_group(tier, "imap-login", |group| {
                        group.address_space as f64
                    })?
                    .slope,
                },
            })
        };
        let sleeping = |part: fn(Group) -> f64| of_group(Tier::Backend, "imap-hibernate", part);
        let inotify = of_tier(Tier::Backend, |group| group.inotify as f64)?;
        Ok(Costs {
            front: host(Tier::Front, self.fronts, files[0])?,
            backend: host(Tier::Backend, self.backends, files[1])?,
            hibernate_process: Share {
                descriptors: sleeping(|group| group.descriptors as f64)?.slope,
                address_space: sleeping(|group| group.address_space as f64)?.slope,
            },
            inotify: inotify.slope,
            awake_memory: awake_memory(steps),
            database: self.database_costs(steps, &rates, account)?,
        })
    }

    fn database_costs(
        &self,
        steps: &[Step],
        rates: &Rates<'_>,
        account: f64,
    ) -> anyhow::Result<DatabaseCosts> {
        let last = steps.last().context("no steps")?;
        let group = last.asleep.group(Tier::Database, "postgres");
        let each = group.private as f64 / group.processes.max(1) as f64;
        let work: f64 = steps
            .iter()
            .map(|step| step.arriving.work.seconds(Tier::Database))
            .sum();
        let queries: f64 = steps.iter().map(|step| step.arriving.queries).sum();
        Ok(DatabaseCosts {
            idle_memory: group.pss as f64 - last.connections * each,
            connection_memory: each,
            query_work: work / queries,
            queries_per_login: queries / rates.logins,
            queries_per_message: rates.busy.mail.queries / rates.busy.sent.messages.max(1) as f64,
            account,
        })
    }
}

/// What there was when a time began.
struct Begun {
    at: Instant,
    work: Work,
    queries: f64,
    logins: usize,
    failed: usize,
}

/// What one session takes while it has a process, in bytes, in the step in which most had one.
fn awake_memory(steps: &[Step]) -> f64 {
    let most = steps.iter().max_by_key(|step| step.awake.processes);
    most.map_or(0.0, |step| {
        let kernel = step.awake_kernel.saturating_sub(step.kernel);
        (step.awake.pss + kernel) as f64 / step.awake.processes.max(1) as f64
    })
}

/// Processor time for each of what happened.
struct Rates<'a> {
    steps: &'a [Step],
    busy: &'a Busy,
    logins: f64,
}

impl<'a> Rates<'a> {
    fn of(steps: &'a [Step], busy: &'a Busy) -> Self {
        let logins = steps.iter().map(|step| step.arriving.logins as f64).sum();
        Self {
            steps,
            busy,
            logins,
        }
    }

    /// Seconds a second of a tier while nothing happens, over the number of clients.
    fn waiting(&self, tier: Tier) -> Line {
        let with_clients = self.steps.iter().filter(|step| step.clients > 0);
        let point = |step: &Step| {
            let work = step.still.work.seconds(tier) / step.still.seconds;
            (step.clients as f64, work)
        };
        let points: Vec<_> = with_clients.map(point).collect();
        Line::through(&points).unwrap_or(Line {
            base: 0.0,
            slope: 0.0,
        })
    }

    /// Seconds for each login, until its session sleeps. Those who have waited meanwhile are taken off.
    fn login(&self, tier: Tier) -> f64 {
        let waiting = self.waiting(tier);
        let mut others = 0.0;
        let mut work = 0.0;
        for step in self.steps {
            work += step.arriving.work.seconds(tier);
            let meanwhile = step.clients as f64 - step.arriving.logins as f64;
            others += waiting.at(meanwhile.max(0.0)) * step.arriving.seconds;
        }
        (work - others) / self.logins
    }

    /// Seconds for each message, until its recipient sleeps again.
    fn message(&self, tier: Tier) -> f64 {
        let clients = self.steps.last().map_or(0, |step| step.clients) as f64;
        let span = &self.busy.mail;
        let others = self.waiting(tier).at(clients) * span.seconds;
        (span.work.seconds(tier) - others) / self.busy.sent.messages.max(1) as f64
    }
}
