//! What the settings of Postfix and Dovecot that we ship do: each relay as it is shipped, beside one that differs in
//! nothing but that setting. The reasons are in `ansible/SETTINGS.md`.

use std::fs;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use tokio::time::sleep;

use super::interleave::in_turn;
use super::process_memory::bytes;
use super::process_time;
use super::stats::Sample;
use super::submission::unlimited;
use super::way::Way;
use super::{Figure, Goal, Report, runtime};
use crate::client::imap::ImapClient;
use crate::client::tls;
use crate::relay::{PLAIN_PASSWORD, RelayOptions, ServerSetting};
use crate::target::Target;
use crate::test_relay::TestRelay;

/// The size of the messages in bytes, and how often each relay carries a round of them; even.
const SIZE: usize = 2_000;
const ROUNDS: usize = 6;

/// Connections that are timed, to each relay.
const CONNECTIONS: usize = 50;

/// Sessions that idle at each relay, and how long until they hibernate where they do.
const SESSIONS: usize = 100;
const UNTIL_ASLEEP: Duration = Duration::from_secs(60);

/// LMTP's plugins with the one that compresses.
const ZLIB: &str = "protocol lmtp {
  mail_plugins = quota zlib mail_lua notify push_notification push_notification_lua
}";

/// What is measured.
#[derive(Clone, Copy)]
enum Work {
    /// Mail from submission to mailbox: messages a second, and processor time for each.
    Mail,
    /// From connecting to the submissions port to its greeting.
    Greeting,
    /// Sessions that idle: memory, processes, inotify instances.
    Idle,
}

/// A setting.
struct Comparison {
    name: &'static str,
    work: Work,
    /// Makes the options of the other relay.
    other: fn(RelayOptions) -> RelayOptions,
}

const COMPARISONS: &[Comparison] = &[
    Comparison {
        name: "stored-as-sent-not-gz",
        work: Work::Mail,
        other: |options| {
            options
                .with_server_setting(ServerSetting::dovecot(ZLIB))
                .with_server_setting(ServerSetting::dovecot("plugin {\n  zlib_save = gz\n}"))
        },
    },
    Comparison {
        name: "lmtp-without-zlib-and-list-index",
        work: Work::Mail,
        other: |options| {
            options
                .with_server_setting(ServerSetting::dovecot(ZLIB))
                .with_server_setting(ServerSetting::dovecot(
                    "protocol lmtp {\n  mailbox_list_index = yes\n}",
                ))
        },
    },
    Comparison {
        name: "lmtp-concurrency-20-not-4",
        work: Work::Mail,
        other: |options| {
            options.with_server_setting(ServerSetting::postfix(
                "lmtp_destination_concurrency_limit = 4",
            ))
        },
    },
    Comparison {
        name: "push-script-not-none",
        work: Work::Mail,
        other: |mut options| {
            options.without_push = true;
            options
        },
    },
    Comparison {
        name: "no-auth-cache",
        work: Work::Mail,
        other: |options| {
            options.with_server_setting(ServerSetting::dovecot(
                "auth_cache_size = 10M\nauth_cache_ttl = 1 min",
            ))
        },
    },
    Comparison {
        name: "in-flow-delay-0-not-1s",
        work: Work::Mail,
        other: |options| options.with_server_setting(ServerSetting::postfix("in_flow_delay = 1s")),
    },
    Comparison {
        name: "bare-newline-forbidden",
        work: Work::Mail,
        other: |options| {
            options.with_server_setting(ServerSetting::postfix("smtpd_forbid_bare_newline = no"))
        },
    },
    Comparison {
        name: "local-mail-unsigned",
        work: Work::Mail,
        other: |options| options.with("dkim_sign_local", true),
    },
    Comparison {
        name: "no-session-tickets",
        work: Work::Greeting,
        other: |options| {
            options
                .with_server_setting(ServerSetting::postfix("tls_config_file = default"))
                .with_server_setting(ServerSetting::postfix(
                    "tls_session_ticket_cipher = aes-256-cbc",
                ))
        },
    },
    Comparison {
        name: "hibernation",
        work: Work::Idle,
        other: |options| {
            options.with_server_setting(ServerSetting::dovecot("imap_hibernate_timeout = 0"))
        },
    },
];

/// Measures.
pub(super) fn run(report: &mut Report) -> anyhow::Result<()> {
    for Comparison { name, work, other } in COMPARISONS {
        let mut shipped = unlimited(RelayOptions::default());
        if let Work::Idle = work {
            // Sooner than on a public relay.
            let soon = ServerSetting::dovecot("imap_hibernate_timeout = 1 s");
            shipped = shipped.with_server_setting(soon);
        }
        let relays = [
            TestRelay::start(shipped.clone())?,
            TestRelay::start(other(shipped))?,
        ];
        let targets = [&relays[0].target, &relays[1].target];
        let figures = runtime()?.block_on(async {
            match work {
                Work::Mail => mail(name, targets).await,
                Work::Greeting => greeting(name, targets).await,
                Work::Idle => idle(name, targets).await,
            }
        });
        report.figures(figures.with_context(|| format!("setting {name}"))?);
        for relay in relays {
            relay.stop()?;
        }
    }
    Ok(())
}

async fn mail(name: &str, targets: [&Target; 2]) -> anyhow::Result<Vec<Figure>> {
    let mut ways = Vec::new();
    for target in targets {
        let mut way = Way::new(target, target, SIZE).await?;
        way.round().await?;
        ways.push((way, target));
    }
    let ways: [_; 2] = ways.try_into().ok().context("two ways")?;
    let found = in_turn(ROUNDS, ways, async |(way, target)| {
        let before = used(target)?;
        let speed = way.round().await?;
        let used = used(target)?.saturating_sub(before);
        Ok((speed, used.as_secs_f64() * 1000.0 / Way::MESSAGES as f64))
    })
    .await?;
    let median = |part: fn(&(f64, f64)) -> f64| {
        let of = |rounds: &Vec<(f64, f64)>| rounds.iter().map(part).collect::<Sample>().median();
        found.each_ref().map(of)
    };
    Ok(vec![
        pair(name, "mails/s", median(|found| found.0)),
        pair(name, "ms of processor/mail", median(|found| found.1)),
    ])
}

async fn greeting(name: &str, targets: [&Target; 2]) -> anyhow::Result<Vec<Figure>> {
    let found = in_turn(CONNECTIONS, targets, async |target| {
        let begun = Instant::now();
        tls::tickets_before_greeting(&target.smtps).await?;
        Ok(begun.elapsed())
    })
    .await?;
    let medians = found.map(|times| Sample::milliseconds(times).median());
    Ok(vec![pair(name, "ms to the greeting", medians)])
}

async fn idle(name: &str, targets: [&Target; 2]) -> anyhow::Result<Vec<Figure>> {
    let mut found = Vec::new();
    for (target, sleeps) in targets.into_iter().zip([true, false]) {
        let mut clients = Vec::new();
        for number in 0..SESSIONS {
            let address = format!("idler{number:04}@{}", target.domain);
            let mut client = ImapClient::login(&target.imap, &address, PLAIN_PASSWORD).await?;
            client.select("INBOX").await?;
            clients.push(client);
        }
        let mut sessions = Vec::new();
        for client in &mut clients {
            sessions.push(client.idle().await?);
        }
        let begun = Instant::now();
        let mut use_of = Dovecot::of(target)?;
        while sleeps && use_of.sessions > 0 {
            ensure!(begun.elapsed() < UNTIL_ASLEEP, "sessions do not hibernate");
            sleep(Duration::from_millis(200)).await;
            use_of = Dovecot::of(target)?;
        }
        found.push(use_of);
    }
    let both = |part: fn(&Dovecot) -> f64| [part(&found[0]), part(&found[1])];
    Ok(vec![
        pair(name, "MiB/100 sessions", both(|found| found.memory)),
        pair(
            name,
            "processes/100 sessions",
            both(|found| found.processes),
        ),
        pair(
            name,
            "inotify instances/100 sessions",
            both(|found| found.watches),
        ),
        pair(
            name,
            "descriptors/100 sessions",
            both(|found| found.descriptors),
        ),
    ])
}

fn pair(name: &str, unit: &'static str, [shipped, other]: [f64; 2]) -> Figure {
    Figure::new(
        format!("settings/{name}"),
        shipped,
        unit,
        Some(other),
        Goal::None,
    )
}

/// Processor time of everything that carries mail.
fn used(target: &Target) -> anyhow::Result<Duration> {
    let names = ["postfix", "dovecot", "doveauth", "filtermail"];
    names
        .iter()
        .map(|name| process_time::of_tree(target.procs[*name].pid()?))
        .sum()
}

/// What Dovecot's processes take together.
#[derive(Default)]
struct Dovecot {
    /// MiB, what processes share divided among them (PSS).
    memory: f64,
    processes: f64,
    watches: f64,
    descriptors: f64,
    /// Processes of sessions that are awake.
    sessions: usize,
}

impl Dovecot {
    fn of(target: &Target) -> anyhow::Result<Self> {
        let mut total = Self::default();
        for pid in process_time::tree(target.procs["dovecot"].pid()?)? {
            let process = std::path::PathBuf::from(format!("/proc/{pid}"));
            // One that ends meanwhile has nothing.
            let Ok(memory) = fs::read_to_string(process.join("smaps_rollup")) else {
                continue;
            };
            total.memory += bytes(&memory, "Pss:").unwrap_or(0) as f64 / f64::from(1 << 20);
            total.processes += 1.0;
            for descriptor in fs::read_dir(process.join("fd"))?.flatten() {
                total.descriptors += 1.0;
                let is_watch = fs::read_link(descriptor.path())
                    .is_ok_and(|file| file.to_string_lossy() == "anon_inode:inotify");
                total.watches += f64::from(u8::from(is_watch));
            }
            let name = fs::read_to_string(process.join("comm")).unwrap_or_default();
            total.sessions += usize::from(name.trim() == "imap");
        }
        Ok(total)
    }
}
