//! From what was measured with few clients to what many need on each tier, and which limit gives first. Pure: no
//! clock, no machine. All that it says is extrapolated.

use super::usage::Tier;

/// What a host takes that clients' connections go through.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct HostCosts {
    /// Bytes without any client.
    pub(super) idle_memory: f64,
    /// Bytes for each client that waits, the kernel's included.
    pub(super) client_memory: f64,
    /// Processor seconds for each login.
    pub(super) login_work: f64,
    /// Processor seconds a second for each client that waits.
    pub(super) waiting_work: f64,
    /// Processor seconds for each message, from the sender to the recipient's screen.
    pub(super) message_work: f64,
    /// What a connection takes of its process of `imap-login`.
    pub(super) login_process: Share,
}

/// What one client takes of a process that many share.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Share {
    /// Open files.
    pub(super) descriptors: f64,
    /// Bytes of addresses.
    pub(super) address_space: f64,
}

/// What PostgreSQL takes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct DatabaseCosts {
    /// Bytes without any connection of ours.
    pub(super) idle_memory: f64,
    /// Bytes for each connection.
    pub(super) connection_memory: f64,
    /// Processor seconds for each query.
    pub(super) query_work: f64,
    /// Queries for each login, of all hosts together.
    pub(super) queries_per_login: f64,
    /// Queries for each message.
    pub(super) queries_per_message: f64,
    /// Bytes of each account, its part of the index included.
    pub(super) account: f64,
}

/// What was measured.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Costs {
    /// On a front.
    pub(super) front: HostCosts,
    /// On a backend.
    pub(super) backend: HostCosts,
    /// Of a process of `imap-hibernate`.
    pub(super) hibernate_process: Share,
    /// inotify instances of a client that waits.
    pub(super) inotify: f64,
    /// Bytes that a session takes on a backend while it is awake, beyond those of one that waits.
    pub(super) awake_memory: f64,
    /// In PostgreSQL.
    pub(super) database: DatabaseCosts,
}

/// What is allowed to take how much.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Limits {
    /// Clients of a process of `imap-login`, processes, and bytes of addresses of each.
    pub(super) login: Service,
    /// The same of `imap-hibernate`.
    pub(super) hibernate: Service,
    /// Sessions that are awake at a time, on a backend.
    pub(super) imap_processes: f64,
    /// Connections of Dovecot's processes to its statistics.
    pub(super) stats_clients: f64,
    /// Open files of a process.
    pub(super) open_files: f64,
    /// inotify instances of a backend's mail user.
    pub(super) inotify: f64,
    /// Ports that connections from one address to one port of another come from.
    pub(super) source_ports: f64,
    /// Connections of each doveauth.
    pub(super) database_connections: f64,
    /// Connections that PostgreSQL takes.
    pub(super) max_connections: f64,
}

/// What a service may have whose processes each serve many clients.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Service {
    /// Clients of a process.
    pub(super) clients: f64,
    /// Processes.
    pub(super) processes: f64,
    /// Bytes of addresses of each process.
    pub(super) address_space: f64,
}

/// A relay, all of whose hosts are alike.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Relay {
    pub(super) fronts: f64,
    pub(super) backends: f64,
    /// Of each host.
    pub(super) processors: f64,
    /// Bytes of each host.
    pub(super) memory: f64,
}

/// What there is to do.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Load {
    pub(super) accounts: f64,
    /// Connected at a time.
    pub(super) clients: f64,
    /// Seconds until a client comes back on a new connection.
    pub(super) session: f64,
    /// Messages a second for each client.
    pub(super) messages: f64,
    /// Seconds that a session stays awake after it has done something.
    pub(super) awake: f64,
}

impl Load {
    fn logins(&self) -> f64 {
        self.clients / self.session
    }

    fn messages(&self) -> f64 {
        self.clients * self.messages
    }
}

/// When something is needed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum When {
    /// Every day.
    Always,
    /// When all clients come back at once, as fast as the processors let them in.
    AllAtOnce,
}

/// What one host of a tier needs of something.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Need {
    pub(super) tier: Tier,
    pub(super) when: When,
    pub(super) what: &'static str,
    pub(super) needed: f64,
    pub(super) limit: f64,
    pub(super) unit: Unit,
}

/// How a number is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unit {
    /// Things.
    Count,
    /// Bytes.
    Bytes,
    /// Processors that are busy.
    Processors,
}

impl Need {
    /// Which part of the limit is used.
    pub(super) fn share(&self) -> f64 {
        self.needed / self.limit
    }
}

/// What each host needs. Of things that a service splits over processes it is the process that is full.
pub(super) fn needs(costs: &Costs, limits: &Limits, relay: &Relay, load: &Load) -> Vec<Need> {
    let mut needs = front(costs, limits, relay, load);
    needs.extend(backend(costs, limits, relay, load));
    needs.extend(database(costs, limits, relay, load));
    needs
}

fn front(costs: &Costs, limits: &Limits, relay: &Relay, load: &Load) -> Vec<Need> {
    let clients = load.clients / relay.fronts;
    let need = needing(Tier::Front, When::Always);
    let mut needs = host(Tier::Front, &costs.front, relay, load, relay.fronts);
    needs.extend(login_processes(Tier::Front, &costs.front, limits, clients));
    needs.push(need(
        "ports to one backend",
        clients / relay.backends,
        limits.source_ports,
        Unit::Count,
    ));
    needs
}

fn backend(costs: &Costs, limits: &Limits, relay: &Relay, load: &Load) -> Vec<Need> {
    let clients = load.clients / relay.backends;
    let each_day = needing(Tier::Backend, When::Always);
    let at_once = needing(Tier::Backend, When::AllAtOnce);
    let awake = awake(load, relay, clients);
    let all_awake = all_awake(costs, relay, load);
    let mut needs = host(Tier::Backend, &costs.backend, relay, load, relay.backends);
    for need in &mut needs {
        if need.unit == Unit::Bytes {
            need.needed += awake * costs.awake_memory;
        }
    }
    let waiting = costs.backend.idle_memory + clients * costs.backend.client_memory;
    needs.extend(login_processes(
        Tier::Backend,
        &costs.backend,
        limits,
        clients,
    ));
    let full = clients.min(limits.hibernate.clients);
    let process = costs.hibernate_process;
    needs.extend([
        each_day(
            "imap-hibernate, clients",
            clients,
            limits.hibernate.clients * limits.hibernate.processes,
            Unit::Count,
        ),
        each_day(
            "imap-hibernate, files of a process",
            full * process.descriptors,
            limits.open_files,
            Unit::Count,
        ),
        each_day(
            "imap-hibernate, addresses of a process",
            full * process.address_space,
            limits.hibernate.address_space,
            Unit::Bytes,
        ),
        each_day(
            "inotify instances",
            clients * costs.inotify,
            limits.inotify,
            Unit::Count,
        ),
        each_day("sessions awake", awake, limits.imap_processes, Unit::Count),
        each_day(
            "connections to stats",
            awake,
            limits.stats_clients,
            Unit::Count,
        ),
        at_once(
            "sessions awake",
            all_awake,
            limits.imap_processes,
            Unit::Count,
        ),
        at_once(
            "connections to stats",
            all_awake.min(limits.imap_processes),
            limits.stats_clients,
            Unit::Count,
        ),
        at_once(
            "memory",
            waiting + all_awake.min(limits.imap_processes) * costs.awake_memory,
            relay.memory,
            Unit::Bytes,
        ),
    ]);
    needs
}

fn database(costs: &Costs, limits: &Limits, relay: &Relay, load: &Load) -> Vec<Need> {
    let need = needing(Tier::Database, When::Always);
    let at_once = needing(Tier::Database, When::AllAtOnce);
    let database = &costs.database;
    let connections = (relay.fronts + relay.backends) * limits.database_connections;
    let queries = queries(costs, load);
    vec![
        need(
            "connections",
            connections,
            limits.max_connections,
            Unit::Count,
        ),
        need(
            "processors",
            queries * database.query_work,
            relay.processors,
            Unit::Processors,
        ),
        need(
            "memory, all rows in it",
            database.idle_memory
                + connections * database.connection_memory
                + load.accounts * database.account,
            relay.memory,
            Unit::Bytes,
        ),
        at_once(
            "processors",
            return_rate(costs, relay) * database.queries_per_login * database.query_work,
            relay.processors,
            Unit::Processors,
        ),
    ]
}

/// Queries a second.
pub(super) fn queries(costs: &Costs, load: &Load) -> f64 {
    let database = &costs.database;
    load.logins() * database.queries_per_login + load.messages() * database.queries_per_message
}

/// Logins a second that the busier tier has the processors for.
pub(super) fn return_rate(costs: &Costs, relay: &Relay) -> f64 {
    let front = relay.fronts * relay.processors / costs.front.login_work;
    let backend = relay.backends * relay.processors / costs.backend.login_work;
    front.min(backend)
}

/// Sessions of a backend that have a process, of so many clients: whoever has just logged in or got a message.
fn awake(load: &Load, relay: &Relay, clients: f64) -> f64 {
    let rate = (load.logins() + load.messages()) / relay.backends;
    clients.min(rate * load.awake)
}

/// The same when all clients come back at once: those that get in before the first falls asleep.
fn all_awake(costs: &Costs, relay: &Relay, load: &Load) -> f64 {
    let clients = load.clients / relay.backends;
    clients.min(return_rate(costs, relay) / relay.backends * load.awake)
}

/// What fronts and backends need alike; there are so many `hosts` of the tier.
fn host(tier: Tier, costs: &HostCosts, relay: &Relay, load: &Load, hosts: f64) -> Vec<Need> {
    let need = needing(tier, When::Always);
    let clients = load.clients / hosts;
    let work = load.logins() / hosts * costs.login_work
        + load.messages() / hosts * costs.message_work
        + clients * costs.waiting_work;
    vec![
        need(
            "memory",
            costs.idle_memory + clients * costs.client_memory,
            relay.memory,
            Unit::Bytes,
        ),
        need("processors", work, relay.processors, Unit::Processors),
    ]
}

fn login_processes(tier: Tier, costs: &HostCosts, limits: &Limits, clients: f64) -> Vec<Need> {
    let need = needing(tier, When::Always);
    let full = clients.min(limits.login.clients);
    vec![
        need(
            "imap-login, clients",
            clients,
            limits.login.clients * limits.login.processes,
            Unit::Count,
        ),
        need(
            "imap-login, files of a process",
            full * costs.login_process.descriptors,
            limits.open_files,
            Unit::Count,
        ),
        need(
            "imap-login, addresses of a process",
            full * costs.login_process.address_space,
            limits.login.address_space,
            Unit::Bytes,
        ),
    ]
}

fn needing(tier: Tier, when: When) -> impl Fn(&'static str, f64, f64, Unit) -> Need {
    move |what, needed, limit, unit| Need {
        tier,
        when,
        what,
        needed,
        limit,
        unit,
    }
}

/// What gives first, of all tiers or of one.
pub(super) fn first(needs: &[Need], tier: Option<Tier>, when: When) -> Option<&Need> {
    let concerned = needs
        .iter()
        .filter(|need| need.when == when && tier.is_none_or(|tier| need.tier == tier));
    concerned.max_by(|one, other| one.share().total_cmp(&other.share()))
}

#[cfg(test)]
mod tests;
