use super::*;

const MIB: f64 = 1048576.0;

fn costs() -> Costs {
    let host = HostCosts {
        idle_memory: 100.0 * MIB,
        client_memory: 0.1 * MIB,
        login_work: 0.01,
        waiting_work: 1e-6,
        message_work: 0.02,
        login_process: Share {
            descriptors: 2.0,
            address_space: 0.1 * MIB,
        },
    };
    Costs {
        front: host,
        backend: host,
        hibernate_process: Share {
            descriptors: 4.0,
            address_space: 0.01 * MIB,
        },
        inotify: 1.0,
        awake_memory: MIB,
        database: DatabaseCosts {
            idle_memory: 50.0 * MIB,
            connection_memory: 2.0 * MIB,
            query_work: 0.0001,
            queries_per_login: 5.0,
            queries_per_message: 3.0,
            account: 250.0,
        },
    }
}

fn limits() -> Limits {
    Limits {
        login: Service {
            clients: 5000.0,
            processes: 100.0,
            address_space: 1024.0 * MIB,
        },
        hibernate: Service {
            clients: 1000.0,
            processes: 100.0,
            address_space: 256.0 * MIB,
        },
        imap_processes: 10_000.0,
        stats_clients: 100_000.0,
        open_files: 65_535.0,
        inotify: 65_535.0,
        source_ports: 28_232.0,
        database_connections: 8.0,
        max_connections: 100.0,
    }
}

const RELAY: Relay = Relay {
    fronts: 2.0,
    backends: 4.0,
    processors: 8.0,
    memory: 65_536.0 * MIB,
};

const LOAD: Load = Load {
    accounts: 1e6,
    clients: 100_000.0,
    session: 1000.0,
    messages: 0.001,
    awake: 30.0,
};

fn find(needs: &[Need], tier: Tier, when: When, what: &str) -> Need {
    let found = needs
        .iter()
        .find(|need| (need.tier, need.when, need.what) == (tier, when, what));
    *found.unwrap_or_else(|| panic!("{tier:?} {what}"))
}

#[track_caller]
fn is(need: Need, needed: f64) {
    let difference = (need.needed - needed).abs();
    assert!(difference < needed * 1e-9, "{need:?} is not {needed}");
}

#[test]
fn clients_are_divided_among_the_hosts_of_a_tier() {
    let needs = needs(&costs(), &limits(), &RELAY, &LOAD);
    let always = |tier, what| find(&needs, tier, When::Always, what);
    is(always(Tier::Front, "memory"), (100.0 + 5000.0) * MIB);
    is(always(Tier::Front, "ports to one backend"), 12_500.0);
    is(always(Tier::Backend, "inotify instances"), 25_000.0);
    // 50 logins a second, 50 messages, 50 000 that wait.
    is(always(Tier::Front, "processors"), 0.5 + 1.0 + 0.05);
    is(always(Tier::Backend, "processors"), 0.25 + 0.5 + 0.025);
}

#[test]
fn whoever_logs_in_or_gets_a_message_is_awake_for_a_while() {
    let needs = needs(&costs(), &limits(), &RELAY, &LOAD);
    // 100 logins and 100 messages a second on four backends.
    let awake = 200.0 / 4.0 * 30.0;
    is(
        find(&needs, Tier::Backend, When::Always, "sessions awake"),
        awake,
    );
    is(
        find(&needs, Tier::Backend, When::Always, "memory"),
        (100.0 + 2500.0 + awake) * MIB,
    );
}

#[test]
fn no_more_are_awake_than_there_are() {
    let load = Load {
        session: 1.0,
        ..LOAD
    };
    let needs = needs(&costs(), &limits(), &RELAY, &load);
    is(
        find(&needs, Tier::Backend, When::Always, "sessions awake"),
        25_000.0,
    );
}

#[test]
fn a_return_of_all_is_as_fast_as_the_busier_tier() {
    let costs = costs();
    // The fronts' 16 processors, not the backends' 32.
    assert!((return_rate(&costs, &RELAY) - 1600.0).abs() < 1e-9);
    let needs = needs(&costs, &limits(), &RELAY, &LOAD);
    let at_once = |tier, what| find(&needs, tier, When::AllAtOnce, what);
    is(at_once(Tier::Backend, "sessions awake"), 12_000.0);
    // No more processes than are allowed.
    is(at_once(Tier::Backend, "connections to stats"), 10_000.0);
    is(
        at_once(Tier::Backend, "memory"),
        (100.0 + 2500.0 + 10_000.0) * MIB,
    );
    is(at_once(Tier::Database, "processors"), 1600.0 * 5.0 * 0.0001);
}

#[test]
fn a_process_is_never_fuller_than_it_may_be() {
    let needs = needs(&costs(), &limits(), &RELAY, &LOAD);
    let always = |what| find(&needs, Tier::Front, When::Always, what);
    is(always("imap-login, files of a process"), 10_000.0);
    is(always("imap-login, addresses of a process"), 500.0 * MIB);
    is(always("imap-login, clients"), 50_000.0);
    let few = Load {
        clients: 1000.0,
        ..LOAD
    };
    let needs = super::needs(&costs(), &limits(), &RELAY, &few);
    let files = "imap-login, files of a process";
    is(find(&needs, Tier::Front, When::Always, files), 1000.0);
}

#[test]
fn the_database_answers_each_login_and_message() {
    assert!((queries(&costs(), &LOAD) - (500.0 + 300.0)).abs() < 1e-9);
    let needs = needs(&costs(), &limits(), &RELAY, &LOAD);
    let always = |what| find(&needs, Tier::Database, When::Always, what);
    is(always("connections"), 48.0);
    is(always("processors"), 0.08);
    is(
        always("memory, all rows in it"),
        (50.0 + 96.0) * MIB + 250e6,
    );
}

#[test]
fn the_first_limit_is_the_one_that_is_fullest() {
    let mut limits = limits();
    let name = |limits: &Limits, tier, when| {
        let needs = needs(&costs(), limits, &RELAY, &LOAD);
        first(&needs, tier, when).unwrap().what
    };
    assert_eq!(
        name(&limits, Some(Tier::Database), When::Always),
        "connections"
    );
    assert_eq!(name(&limits, None, When::AllAtOnce), "sessions awake");
    limits.source_ports = 12_000.0;
    assert_eq!(name(&limits, None, When::Always), "ports to one backend");
    limits.hibernate.processes = 10.0;
    assert_eq!(name(&limits, None, When::Always), "imap-hibernate, clients");
    assert_eq!(
        name(&limits, Some(Tier::Front), When::Always),
        "ports to one backend"
    );
}
