//! The figures and tables of a run.

use std::time::Duration;

use super::super::stats::Sample;
use super::super::{Figure, Goal, Report};
use super::disk::Disk;
use super::measure::{Busy, Span, Step};
use super::model::{self, Costs, HostCosts, Limits, Load, Need, Relay, Unit, When};
use super::usage::Tier;

const MIB: f64 = 1048576.0;
const KIB: f64 = 1024.0;

/// What there was with so many clients.
pub(super) fn step(step: &Step, report: &mut Report) {
    let name = |what: &str| format!("clients/{}/{what}", step.clients);
    let mut figure = |what: String, value: f64, unit| {
        report.figure(Figure::new(name(&what), value, unit, None, Goal::None));
    };
    for tier in Tier::ALL {
        let of = tier.name();
        figure(
            format!("{of}/memory"),
            step.asleep.sum(tier, |group| group.pss as f64) / MIB,
            "MiB",
        );
        let processes = step.asleep.sum(tier, |group| group.processes as f64);
        figure(format!("{of}/processes"), processes, "");
        let files = step.asleep.sum(tier, |group| group.descriptors as f64);
        figure(format!("{of}/descriptors"), files, "");
        for (program, group) in step.asleep.groups(tier) {
            // What clients have nothing to do with.
            if group.pss as f64 > 8.0 * MIB {
                figure(
                    format!("{of}/{program}/memory"),
                    group.pss as f64 / MIB,
                    "MiB",
                );
                figure(
                    format!("{of}/{program}/processes"),
                    group.processes as f64,
                    "",
                );
                figure(
                    format!("{of}/{program}/descriptors"),
                    group.descriptors as f64,
                    "",
                );
            }
        }
        let login = step.arriving.work.seconds(tier) * 1000.0 / step.arriving.logins.max(1) as f64;
        figure(format!("{of}/processor-per-login"), login, "ms");
        let minutes = step.still.seconds / 60.0 * step.clients as f64;
        let waiting = step.still.work.seconds(tier) * 1e6 / minutes;
        figure(format!("{of}/processor-per-client-minute"), waiting, "us");
    }
    let watches = step.asleep.sum(Tier::Backend, |group| group.inotify as f64);
    figure("backend/inotify-instances".into(), watches, "");
    figure("kernel-memory".into(), step.kernel as f64 / MIB, "MiB");
    figure("awake-at-most".into(), step.awake.processes as f64, "");
    figure(
        "backend/stats/descriptors-then".into(),
        step.statistics.descriptors as f64,
        "",
    );
    let awake = step.awake.pss as f64 / step.awake.processes.max(1) as f64;
    figure("awake-session".into(), awake / KIB, "KiB");
    figure("logins".into(), step.arriving.logins as f64, "");
    figure("failed-logins".into(), step.arriving.failed as f64, "");
    figure("database/connections".into(), step.connections, "");
    let queries = step.arriving.queries / step.arriving.logins.max(1) as f64;
    figure("database/queries-per-login".into(), queries, "");
    figure(
        "database/queries-while-waiting".into(),
        rate(&step.still),
        "1/s",
    );
}

fn rate(span: &Span) -> f64 {
    span.queries / span.seconds
}

/// A line for somebody who waits.
pub(super) fn progress(step: &Step, taken: Duration) -> String {
    format!(
        "{} clients after {} s; {} logins in {:.0} s, {} failed; {:.1} GiB available",
        step.clients,
        taken.as_secs(),
        step.arriving.logins,
        step.arriving.seconds,
        step.arriving.failed,
        step.available as f64 / (1024.0 * MIB),
    )
}

/// What an account takes on disk.
pub(super) fn disk(disk: &Disk, report: &mut Report) {
    let figures = [
        ("backend/mailbox", disk.mailbox, "B"),
        ("backend/mailbox-files", disk.files, ""),
        ("database/row", disk.row, "B"),
        ("database/index", disk.index, "B"),
        ("database/account", disk.account, "B"),
    ];
    for (name, value, unit) in figures {
        let name = format!("clients/disk/{name}");
        report.figure(Figure::new(name, value, unit, None, Goal::None));
    }
}

/// Mail, and clients that come back.
pub(super) fn busy(busy: &Busy, report: &mut Report) {
    let mut figure = |name: &str, value: f64, unit| {
        let name = format!("clients/busy/{name}");
        report.figure(Figure::new(name, value, unit, None, Goal::None));
    };
    let latencies = Sample::milliseconds(busy.latencies.iter().copied());
    figure("messages", busy.sent.messages as f64, "");
    figure("messages-seen", busy.latencies.len() as f64, "");
    figure("message-median", latencies.median(), "ms");
    figure("message-99th", latencies.percentile(99), "ms");
    figure("mail/queries", rate(&busy.mail), "1/s");
    figure("both/messages", busy.done.messages as f64, "");
    figure("both/returns", busy.done.returns as f64, "");
    figure("both/logins", busy.both.logins as f64, "");
    figure("both/failed-logins", busy.both.failed as f64, "");
    figure("both/awake", busy.awake as f64, "");
    figure("both/queries", rate(&busy.both), "1/s");
    for tier in Tier::ALL {
        for (span, what) in [(&busy.mail, "mail"), (&busy.both, "both")] {
            for (program, seconds) in span.work.programs(tier) {
                if seconds > 0.1 {
                    figure(&format!("{what}/{}/{program}", tier.name()), seconds, "s");
                }
            }
        }
    }
}

/// What one client costs, from all steps.
pub(super) fn costs(costs: &Costs, report: &mut Report) {
    let mut figure = |name: &str, value: f64, unit| {
        let name = format!("clients/each/{name}");
        report.figure(Figure::new(name, value, unit, None, Goal::None));
    };
    let mut host = |name: &str, host: &HostCosts| {
        figure(&format!("{name}/memory"), host.client_memory / KIB, "KiB");
        figure(&format!("{name}/idle-host"), host.idle_memory / MIB, "MiB");
        let process = &host.login_process;
        figure(&format!("{name}/imap-login-files"), process.descriptors, "");
        let addresses = process.address_space / KIB;
        figure(&format!("{name}/imap-login-addresses"), addresses, "KiB");
        figure(
            &format!("{name}/processor-per-login"),
            host.login_work * 1000.0,
            "ms",
        );
        let minute = host.waiting_work * 60.0 * 1e6;
        figure(&format!("{name}/processor-per-minute"), minute, "us");
        figure(
            &format!("{name}/processor-per-message"),
            host.message_work * 1000.0,
            "ms",
        );
    };
    host("front", &costs.front);
    host("backend", &costs.backend);
    let sleeping = &costs.hibernate_process;
    figure("backend/imap-hibernate-files", sleeping.descriptors, "");
    figure(
        "backend/imap-hibernate-addresses",
        sleeping.address_space / KIB,
        "KiB",
    );
    figure("backend/inotify-instances", costs.inotify, "");
    figure("backend/awake-session", costs.awake_memory / KIB, "KiB");
    let database = &costs.database;
    figure(
        "database/connection",
        database.connection_memory / MIB,
        "MiB",
    );
    figure(
        "database/processor-per-query",
        database.query_work * 1e6,
        "us",
    );
    figure("database/queries-per-login", database.queries_per_login, "");
    figure(
        "database/queries-per-message",
        database.queries_per_message,
        "",
    );
}

/// What a relay with many clients needs, as the model has it.
pub(super) fn model(costs: &Costs, limits: &Limits, relay: &Relay, load: &Load) {
    println!(
        "\nEXTRAPOLATED from the figures for each client: {} accounts, {} connected clients, a new connection each {} \
         minutes and {:.0} messages a day each;\n{} fronts and {} backends with {} processors and {:.0} GiB each",
        load.accounts,
        load.clients,
        load.session / 60.0,
        load.messages * 86_400.0,
        relay.fronts,
        relay.backends,
        relay.processors,
        relay.memory / (1024.0 * MIB),
    );
    let needs = model::needs(costs, limits, relay, load);
    for (when, title) in [
        (When::Always, "at any time"),
        (When::AllAtOnce, "when all come back at once"),
    ] {
        println!("\n{title}, on each host:");
        for tier in Tier::ALL {
            let of_tier = needs
                .iter()
                .filter(|need| (need.tier, need.when) == (tier, when));
            for need in of_tier {
                println!("{}", line(need));
            }
        }
        for tier in Tier::ALL {
            if let Some(need) = model::first(&needs, Some(tier), when) {
                println!("  {} gives first by {}", tier.name(), need.what);
            }
        }
        if let Some(need) = model::first(&needs, None, when) {
            println!("  of all: {}, {}", need.tier.name(), need.what);
        }
    }
    let rate = model::return_rate(costs, relay);
    println!(
        "\n{:.0} queries a second in all; all clients are back after {:.0} s, {rate:.0} logins a second",
        model::queries(costs, load),
        load.clients / rate,
    );
}

fn line(need: &Need) -> String {
    let number = |value: f64| match need.unit {
        Unit::Count => format!("{value:.0}"),
        Unit::Bytes => format!("{:.0} MiB", value / MIB),
        Unit::Processors => format!("{value:.2}"),
    };
    format!(
        "  {:<9} {:<40} {:>12} of {:>12}  {:>7.1} %",
        need.tier.name(),
        need.what,
        number(need.needed),
        number(need.limit),
        need.share() * 100.0
    )
}
