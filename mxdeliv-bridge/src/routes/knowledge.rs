//! What is known of peers, in memory. No sockets and no clock.
//!
//! An endpoint is open or closed. It is closed for a while by what a request to it taught: half an hour
//! when it does not speak mxdeliv, seconds to minutes when it fails (a circuit breaker: each failure
//! in a row doubles the time). When the time is over, one message may try; the others still go by
//! SMTP until that one knows.
//!
//! Peers and endpoints that were not used for the longest time are forgotten when there are too many:
//! whoever writes mail chooses the domains.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use chatmail::Domain;

use super::clock::Moment;
use super::endpoint::{Endpoint, Override};
use super::known::{Connect, Known, Lesson, Trial};
use super::store::Loaded;
use super::{Limits, PeerState, PeerView};
use crate::statistics::Transport;

/// The most domains that are remembered.
pub(super) const PEERS_MAX: usize = 10_000;

/// The most endpoints that are remembered.
pub(super) const ENDPOINTS_MAX: usize = 20_000;

/// How much later a peer must be used again for its time to be written down.
const USED_GRAIN: Duration = Duration::from_secs(24 * 60 * 60);

/// All that is known.
#[derive(Debug)]
pub(super) struct Knowledge {
    limits: Limits,
    /// The port of endpoints that DNS leads to.
    port: u16,
    endpoints: HashMap<Endpoint, Known>,
    peers: HashMap<Domain, Peer>,
    overrides: BTreeMap<Domain, Override>,
}

/// What is known of a domain.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Peer {
    /// The hosts of its endpoints, in the order of trying.
    pub(super) candidates: Vec<Domain>,
    /// The one that answered last.
    pub(super) good: Option<Domain>,
    pub(super) used: Moment,
    /// What was last written down of `used`.
    written: Moment,
    /// Until when DNS need not be asked about it again.
    closed_until: Moment,
}

/// A thing to write down.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Change {
    Endpoint(Endpoint, Known),
    Peer(Domain, Peer),
    ForgetEndpoints(Vec<Endpoint>),
    ForgetPeers(Vec<Domain>),
}

impl Peer {
    /// As it was written down.
    pub(super) fn new(candidates: Vec<Domain>, good: Option<Domain>, used: Moment) -> Self {
        Self {
            candidates,
            good,
            used,
            ..Self::default()
        }
    }
}

impl Knowledge {
    pub(super) fn new(limits: Limits, port: u16) -> Self {
        Self {
            limits,
            port,
            endpoints: HashMap::new(),
            peers: HashMap::new(),
            overrides: BTreeMap::new(),
        }
    }

    /// Takes in what was written down. A time that lies too far ahead is of a clock that was wrong.
    pub(super) fn load(&mut self, now: Moment, loaded: Loaded) {
        let longest = self.limits.silent.max(self.limits.failing_max);
        for (endpoint, mut known) in loaded.endpoints {
            known.closed_until = known.closed_until.min(now.after(longest));
            known.since = known.since.min(now);
            self.endpoints.insert(endpoint, known);
        }
        for (domain, mut peer) in loaded.peers {
            peer.used = peer.used.min(now);
            peer.written = peer.used;
            self.peers.insert(domain, peer);
        }
        self.overrides = loaded.overrides;
    }

    /// What Postfix should use for a domain.
    pub(super) fn transport(&mut self, domain: &Domain, now: Moment) -> Transport {
        if let Some(peer) = self.peers.get_mut(domain) {
            peer.used = now;
        }
        self.way(domain, now)
    }

    fn way(&self, domain: &Domain, now: Moment) -> Transport {
        let is_open = |endpoint: &Endpoint| self.is_open(endpoint, now);
        let by_https = match (self.overrides.get(domain), self.peers.get(domain)) {
            (Some(Override::Smtp), _) => false,
            (Some(Override::Endpoint(endpoint)), _) => is_open(endpoint),
            // Nothing is known, so a message is to find out.
            (None, None) => true,
            (None, Some(peer)) => {
                let mut endpoints = self.in_order(domain, peer).peekable();
                peer.closed_until <= now
                    && (endpoints.peek().is_none() || endpoints.any(|endpoint| is_open(&endpoint)))
            }
        };
        match by_https {
            true => Transport::Mxdeliv,
            false => Transport::Smtp,
        }
    }

    /// What the operator has decided about a domain.
    pub(super) fn decision(&self, domain: &Domain) -> Option<&Override> {
        self.overrides.get(domain)
    }

    pub(super) fn overrides(&self) -> &BTreeMap<Domain, Override> {
        &self.overrides
    }

    /// Decides. What is known of the endpoint is forgotten, so that the next message tries it.
    pub(super) fn decide(&mut self, domain: Domain, decision: Override) -> Vec<Change> {
        let mut changes = Vec::new();
        if let Override::Endpoint(endpoint) = &decision {
            self.endpoints.remove(endpoint);
            changes.push(Change::ForgetEndpoints(vec![endpoint.clone()]));
        }
        self.overrides.insert(domain, decision);
        changes
    }

    /// Takes a decision back; `false` when there was none.
    pub(super) fn undecide(&mut self, domain: &Domain) -> bool {
        self.overrides.remove(domain).is_some()
    }

    /// The endpoints of a domain's hosts, as remembered: the one that answered last comes first.
    pub(super) fn endpoints_of(&self, domain: &Domain) -> Vec<Endpoint> {
        match self.peers.get(domain) {
            Some(peer) => self.in_order(domain, peer).collect(),
            None => Vec::new(),
        }
    }

    fn in_order<'a>(
        &self,
        domain: &Domain,
        peer: &'a Peer,
    ) -> impl Iterator<Item = Endpoint> + use<'a> {
        let (port, lax) = (self.port, takes_any_certificate(domain));
        let others = peer.candidates.iter();
        let others = others.filter(|host| Some(*host) != peer.good.as_ref());
        let hosts = peer.good.iter().chain(others).cloned();
        hosts.map(move |host| Endpoint { host, port, lax })
    }

    /// Remembers where DNS leads to. The endpoint that answered last is forgotten when it is no
    /// longer among them: the domain has moved.
    pub(super) fn resolved(
        &mut self,
        domain: &Domain,
        candidates: Vec<Domain>,
        now: Moment,
    ) -> Vec<Change> {
        let mut changes = self.make_room_for_peer(domain);
        let peer = self.peers.entry(domain.clone()).or_default();
        let before = std::mem::take(peer);
        *peer = Peer {
            good: before.good.clone().filter(|good| candidates.contains(good)),
            candidates,
            used: now,
            written: before.written,
            closed_until: Moment::default(),
        };
        // Hosts of one preference change places; that is no news.
        let same_hosts = before.candidates.len() == peer.candidates.len()
            && before
                .candidates
                .iter()
                .all(|host| peer.candidates.contains(host));
        let news = !same_hosts || before.good != peer.good;
        if news || now.since(peer.written) > USED_GRAIN {
            peer.written = now;
            changes.push(Change::Peer(domain.clone(), peer.clone()));
        }
        changes
    }

    /// DNS says that a domain takes no mail, or does not say: it is not asked again for this long.
    pub(super) fn unresolved(
        &mut self,
        domain: &Domain,
        time: Duration,
        now: Moment,
    ) -> Vec<Change> {
        let changes = self.make_room_for_peer(domain);
        let peer = self.peers.entry(domain.clone()).or_default();
        peer.closed_until = now.after(time);
        peer.used = now;
        changes
    }

    /// Whether DNS was asked about a domain a moment ago and gave nothing to go by. Whoever asks again so
    /// soon may wait as long as the one before.
    pub(super) fn is_unresolved(&self, domain: &Domain, now: Moment) -> bool {
        let peer = self.peers.get(domain);
        !self.overrides.contains_key(domain) && peer.is_some_and(|peer| peer.closed_until > now)
    }

    fn is_open(&self, endpoint: &Endpoint, now: Moment) -> bool {
        self.endpoints
            .get(endpoint)
            .is_none_or(|known| known.is_open(now))
    }

    /// Whether a request may go to an endpoint, and whether that is a trial, which only one message may
    /// make at a time, and none without `may_try`. What begins must end with [`learn`](Self::learn).
    pub(super) fn begin(
        &mut self,
        endpoint: &Endpoint,
        may_try: bool,
        now: Moment,
    ) -> Option<Trial> {
        match self.endpoints.get_mut(endpoint) {
            None => Some(Trial::No),
            Some(known) if !known.is_open(now) => None,
            Some(known) if known.is_half_open() => {
                known.on_trial = may_try;
                may_try.then_some(Trial::Yes)
            }
            Some(_) => Some(Trial::No),
        }
    }

    /// Whether an endpoint is open and nothing speaks against connecting to it for a message that may
    /// come; a connection that was in use within `recently` is there.
    pub(super) fn wants_connection(
        &self,
        endpoint: &Endpoint,
        recently: Duration,
        now: Moment,
    ) -> Connect {
        match self.endpoints.get(endpoint) {
            None => Connect::Yes,
            Some(known) if known.is_half_open() || !known.is_open(now) => Connect::Closed,
            Some(known) if now.since(known.connected) < recently => Connect::There,
            Some(_) => Connect::Yes,
        }
    }

    /// Remembers that a connection is there; when one was in use before.
    pub(super) fn connected(&mut self, endpoint: &Endpoint, now: Moment) -> Vec<Change> {
        let changes = self.make_room_for_endpoint(endpoint);
        let known = self.known(endpoint, now);
        known.connected = now;
        changes
    }

    /// Whether a connection to the endpoint was in use within this time.
    pub(super) fn was_connected(&self, endpoint: &Endpoint, within: Duration, now: Moment) -> bool {
        let known = self.endpoints.get(endpoint);
        known.is_some_and(|known| now.since(known.connected) < within)
    }

    /// Whether an endpoint has lately refused a message of this size, or a smaller one, as too large.
    pub(super) fn is_too_large(&self, endpoint: &Endpoint, size: usize, now: Moment) -> bool {
        let known = self.endpoints.get(endpoint);
        let limit = known.and_then(|known| known.too_large);
        limit.is_some_and(|(limit, until)| size >= limit && now < until)
    }

    /// Remembers for a while that a message was too large.
    pub(super) fn too_large(
        &mut self,
        endpoint: &Endpoint,
        size: usize,
        now: Moment,
    ) -> Vec<Change> {
        let changes = self.make_room_for_endpoint(endpoint);
        let until = now.after(self.limits.silent);
        self.known(endpoint, now).too_large = Some((size, until));
        changes
    }

    /// Ends what [`begin`](Self::begin) began at `began`. `trial` is what that said.
    pub(super) fn learn(
        &mut self,
        endpoint: &Endpoint,
        lesson: Lesson,
        trial: Trial,
        began: Moment,
        now: Moment,
    ) -> Learnt {
        let mut changes = match lesson {
            Lesson::Nothing => Vec::new(),
            _ => self.make_room_for_endpoint(endpoint),
        };
        let limits = self.limits;
        let Some(known) = (match lesson {
            Lesson::Nothing => self.endpoints.get_mut(endpoint),
            _ => Some(self.known(endpoint, now)),
        }) else {
            return Learnt {
                changes,
                before: PeerState::Unknown,
                news: None,
            };
        };
        if trial == Trial::Yes {
            known.on_trial = false;
        }
        known.used = now;
        let before = known.clone();
        known.learn(lesson, &limits, began, now);
        if known.state != before.state {
            known.since = now;
        }
        let news = (known.state != before.state).then_some(known.state);
        if news.is_some() || known.closed_until != before.closed_until {
            changes.push(Change::Endpoint(endpoint.clone(), known.clone()));
        }
        Learnt {
            changes,
            before: before.state,
            news,
        }
    }

    /// Remembers which of a domain's endpoints has answered.
    pub(super) fn answered(&mut self, domain: &Domain, host: &Domain) -> Vec<Change> {
        match self.peers.get_mut(domain) {
            Some(peer) if peer.good.as_ref() != Some(host) && peer.candidates.contains(host) => {
                peer.good = Some(host.clone());
                vec![Change::Peer(domain.clone(), peer.clone())]
            }
            _ => Vec::new(),
        }
    }

    /// What is known of a domain, for an operator.
    pub(super) fn view(&self, domain: &Domain, now: Moment) -> PeerView {
        let decided = self.overrides.get(domain).cloned();
        let endpoint = match &decided {
            Some(Override::Smtp) => None,
            Some(Override::Endpoint(endpoint)) => Some(endpoint.clone()),
            None => {
                let endpoints = self.endpoints_of(domain);
                let open = endpoints
                    .iter()
                    .find(|endpoint| self.is_open(endpoint, now));
                open.or(endpoints.first()).cloned()
            }
        };
        let known = endpoint
            .as_ref()
            .and_then(|endpoint| self.endpoints.get(endpoint));
        let next_try = known.map(|known| known.closed_until);
        PeerView {
            domain: domain.clone(),
            transport: self.way(domain, now),
            decided,
            state: known.map_or(PeerState::Unknown, |known| known.state),
            since: known.map(|known| known.since.system()),
            next_try: next_try.filter(|next| *next > now).map(Moment::system),
            endpoint,
        }
    }

    /// All domains that something is known of, in order.
    pub(super) fn domains(&self) -> Vec<Domain> {
        let mut domains: Vec<Domain> = self.peers.keys().cloned().collect();
        domains.extend(self.overrides.keys().cloned());
        domains.sort_unstable();
        domains.dedup();
        domains
    }

    /// How many endpoints are in this state.
    pub(super) fn count(&self, state: PeerState) -> usize {
        let known = self.endpoints.values();
        known.filter(|known| known.state == state).count()
    }

    /// How many domains are remembered.
    pub(super) fn peers(&self) -> usize {
        self.peers.len()
    }

    fn known(&mut self, endpoint: &Endpoint, now: Moment) -> &mut Known {
        let known = self.endpoints.entry(endpoint.clone());
        known.or_insert_with(|| Known::new(PeerState::Unknown, now))
    }

    fn make_room_for_peer(&mut self, domain: &Domain) -> Vec<Change> {
        if self.peers.len() < PEERS_MAX || self.peers.contains_key(domain) {
            return Vec::new();
        }
        let forgotten = forget_oldest(&mut self.peers, |peer| peer.used);
        vec![Change::ForgetPeers(forgotten)]
    }

    fn make_room_for_endpoint(&mut self, endpoint: &Endpoint) -> Vec<Change> {
        if self.endpoints.len() < ENDPOINTS_MAX || self.endpoints.contains_key(endpoint) {
            return Vec::new();
        }
        let forgotten = forget_oldest(&mut self.endpoints, |known| known.used);
        vec![Change::ForgetEndpoints(forgotten)]
    }
}

/// What came of a lesson.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Learnt {
    pub(super) changes: Vec<Change>,
    /// The state before.
    pub(super) before: PeerState,
    /// The state, if it is another than before.
    pub(super) news: Option<PeerState>,
}

/// Whether a domain's endpoints may show any certificate: nobody can have one for an address, or for
/// a name that begins with `_`.
pub(super) fn takes_any_certificate(domain: &Domain) -> bool {
    domain.is_uncertified()
}

/// Forgets a tenth, so that this is rare.
fn forget_oldest<K: Clone + Eq + std::hash::Hash, V>(
    map: &mut HashMap<K, V>,
    used: impl Fn(&V) -> Moment,
) -> Vec<K> {
    let mut by_age: Vec<(Moment, &K)> = map.iter().map(|(key, value)| (used(value), key)).collect();
    let tenth = (by_age.len() / 10).max(1).min(by_age.len());
    if tenth < by_age.len() {
        by_age.select_nth_unstable_by_key(tenth, |(used, _)| *used);
    }
    let oldest: Vec<K> = by_age
        .iter()
        .take(tenth)
        .map(|(_, key)| (*key).clone())
        .collect();
    for key in &oldest {
        map.remove(key);
    }
    oldest
}

#[cfg(test)]
mod tests;
