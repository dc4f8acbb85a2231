//! What is recorded, kept and shown, with a clock that the test sets.

use std::path::Path;
use std::sync::atomic::{AtomicI64, Ordering::SeqCst};

use super::*;

/// Figures in a file, at a time.
struct Fixture {
    dir: tempfile::TempDir,
    now: Arc<AtomicI64>,
    limits: Limits,
    statistics: Statistics,
}

impl Fixture {
    fn with(limits: Limits) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let now = Arc::new(AtomicI64::new(1_800_000_000));
        let statistics = open(dir.path(), limits, &now);
        Self {
            dir,
            now,
            limits,
            statistics,
        }
    }

    fn new() -> Self {
        Self::with(Limits::default())
    }

    fn pass(&self, seconds: i64) {
        self.now.fetch_add(seconds, SeqCst);
    }

    fn restart(&mut self) {
        self.statistics = Statistics::default();
        self.statistics = open(self.dir.path(), self.limits, &self.now);
    }

    fn record(&self, peer: &str, outcome: Result<u64, &str>) {
        self.statistics.record(Attempt {
            peer: peer.parse().unwrap(),
            direction: Direction::Outbound,
            transport: Transport::Mxdeliv,
            outcome: outcome.map(drop).map_err(str::to_owned),
            took: Duration::from_millis(outcome.unwrap_or(60_000)),
        });
    }

    fn all(&self) -> Vec<PeerFigures> {
        let mut all = Vec::new();
        let shared = &self.statistics.shared;
        let show = |figures| {
            all.push(figures);
            true
        };
        shared.read(None, show).unwrap();
        all
    }

    fn of(&self, peer: &str) -> Option<PeerFigures> {
        self.all().into_iter().find(|found| found.domain == peer)
    }

    fn count(&self, table: &str) -> i64 {
        let file = rusqlite::Connection::open(self.dir.path().join("peers.sqlite")).unwrap();
        let count = format!("SELECT count(*) FROM {table}");
        file.query_row(&count, [], |row| row.get(0)).unwrap()
    }
}

fn open(dir: &Path, limits: Limits, now: &Arc<AtomicI64>) -> Statistics {
    let text = format!(
        "[params]\nmail_domain = x.org\nmxdeliv_database_path = {}\n",
        dir.join("peers.sqlite").display()
    );
    let (config, _) = Config::parse(&text, Path::new("chatmail.ini")).unwrap();
    let now = now.clone();
    let clock = move || UNIX_EPOCH + Duration::from_secs(now.load(SeqCst).unsigned_abs());
    Statistics::with(&config, limits, Box::new(clock)).unwrap()
}

fn close(shown: Option<f64>, exact: f64) -> bool {
    shown.is_some_and(|shown| (shown - exact).abs() <= 0.1 * exact)
}

#[test]
fn a_peer_is_shown_as_it_fared_also_after_a_restart() {
    let mut fixture = Fixture::new();
    for milliseconds in 1..=100 {
        fixture.record("a.example", Ok(milliseconds));
    }
    fixture.pass(10);
    fixture.record("a.example", Err("550 <bob@a.example> is unknown"));
    fixture.record("b.example", Err("connection refused"));
    let before = fixture.all();
    fixture.restart();
    assert_eq!(fixture.all(), before);

    let [a, b] = &before[..] else {
        panic!("{before:?}")
    };
    let [way] = &a.ways[..] else { panic!("{a:?}") };
    assert_eq!(a.last_contact, 1_800_000_010);
    assert_eq!(way.last_success, Some(1_800_000_000));
    assert_eq!(way.last_failure, Some(1_800_000_010));
    assert_eq!(way.last_error.as_deref(), Some("550 … is unknown"));
    assert_eq!((way.hour.attempts, way.hour.successes), (101, 100));
    assert_eq!(way.hour.average_ms, Some(50.5));
    assert!(close(way.hour.p50_ms, 50.0) && close(way.hour.p95_ms, 95.0));
    assert_eq!((&way.hour, &way.day), (&way.day, &way.week));
    // Where nothing succeeded there are no times.
    let none = SpanFigures {
        attempts: 1,
        ..SpanFigures::default()
    };
    assert_eq!(
        (b.ways[0].hour.clone(), b.ways[0].last_success),
        (none, None)
    );
}

#[test]
fn what_was_counted_last_is_written_when_the_last_one_lets_go() {
    let fixture = Fixture::new();
    fixture.record("a.example", Ok(1));
    let clone = fixture.statistics.clone();
    drop(clone);
    assert_eq!(fixture.count("traffic_peers"), 0);
    let Fixture {
        dir, statistics, ..
    } = fixture;
    drop(statistics);
    let file = rusqlite::Connection::open(dir.path().join("peers.sqlite")).unwrap();
    let select = "SELECT domain FROM traffic_peers";
    let domain: String = file.query_row(select, [], |row| row.get(0)).unwrap();
    assert_eq!(domain, "a.example");
}

#[test]
fn buckets_add_up_over_writes_and_expire() {
    let fixture = Fixture::new();
    fixture.record("a.example", Ok(10));
    assert_eq!(fixture.of("a.example").unwrap().ways[0].hour.attempts, 1);
    fixture.record("a.example", Ok(10));
    assert_eq!(fixture.of("a.example").unwrap().ways[0].hour.attempts, 2);
    assert_eq!(fixture.count("traffic_buckets"), 1);
    let mut counts = Vec::new();
    for seconds in [3600, 600, 82_200, 600, 6 * 86_400 - 600, 600] {
        fixture.pass(seconds);
        let way = fixture.of("a.example").unwrap().ways.remove(0);
        counts.push([way.hour.attempts, way.day.attempts, way.week.attempts]);
    }
    let (in_hour, in_day, in_week, gone) = ([2, 2, 2], [0, 2, 2], [0, 0, 2], [0, 0, 0]);
    assert_eq!(counts, [in_hour, in_day, in_day, in_week, in_week, gone]);
    assert_eq!(fixture.count("traffic_buckets"), 0);
    // What is known of the peer beside that stays.
    let way = &fixture.of("a.example").unwrap().ways[0];
    assert_eq!(
        (way.last_success, &way.hour.p95_ms),
        (Some(1_800_000_000), &None)
    );
}

#[test]
fn strangers_go_first_then_those_not_heard_of_for_longest() {
    let fixture = Fixture::with(Limits {
        peers: 3,
        buckets: 1000,
    });
    for (peer, outcome) in [
        ("old.example", Ok(1)),
        ("friend.example", Ok(1)),
        ("typo.example", Err("no such domain")),
        ("new.example", Ok(1)),
    ] {
        fixture.record(peer, outcome);
        fixture.pass(1);
        fixture.all();
    }
    let names = |fixture: &Fixture| -> Vec<String> {
        fixture.all().into_iter().map(|peer| peer.domain).collect()
    };
    assert_eq!(
        names(&fixture),
        ["friend.example", "new.example", "old.example"]
    );
    fixture.record("newer.example", Ok(1));
    assert_eq!(
        names(&fixture),
        ["friend.example", "new.example", "newer.example"]
    );
    assert_eq!(
        (
            fixture.count("traffic_ways"),
            fixture.count("traffic_buckets")
        ),
        (3, 3)
    );
}

#[test]
fn the_oldest_buckets_go_when_there_are_too_many() {
    let fixture = Fixture::with(Limits {
        peers: 100,
        buckets: 10,
    });
    for _ in 0..30 {
        fixture.record("a.example", Ok(1));
        fixture.pass(SLOT_SECONDS);
        fixture.all();
    }
    assert_eq!(fixture.count("traffic_buckets"), 10);
    assert_eq!(fixture.of("a.example").unwrap().ways[0].day.attempts, 10);
}

#[test]
fn what_cannot_be_written_stays_until_it_can() {
    let fixture = Fixture::new();
    fixture.all();
    let file = rusqlite::Connection::open(fixture.dir.path().join("peers.sqlite")).unwrap();
    file.execute_batch("ALTER TABLE traffic_ways RENAME TO away")
        .unwrap();
    fixture.record("a.example", Ok(1));
    fixture.statistics.shared.write();
    assert_eq!(fixture.count("traffic_peers"), 0);
    fixture.record("a.example", Ok(1));
    file.execute_batch("ALTER TABLE away RENAME TO traffic_ways")
        .unwrap();
    assert_eq!(fixture.of("a.example").unwrap().ways[0].hour.attempts, 2);
}

#[tokio::test]
async fn peers_come_one_by_one() {
    let fixture = Fixture::new();
    for number in 0..100 {
        fixture.record(&format!("peer{number:02}.example"), Ok(1));
    }
    let mut peers = fixture.statistics.peers(None);
    let mut names = Vec::new();
    while let Some(peer) = peers.recv().await {
        names.push(peer.unwrap().domain);
    }
    assert_eq!(names.len(), 100);
    assert!(names.is_sorted());
    // Who takes no more stops it.
    let mut peers = fixture.statistics.peers(None);
    peers.recv().await.unwrap().unwrap();
    drop(peers);
    let one = "peer07.example".parse().unwrap();
    let mut peers = fixture.statistics.peers(Some(one));
    assert_eq!(
        peers.recv().await.unwrap().unwrap().domain,
        "peer07.example"
    );
    assert!(peers.recv().await.is_none());
}

#[test]
fn no_address_is_kept() {
    let fixture = Fixture::new();
    fixture.record(
        "a.example",
        Err("<bob@a.example> \"bob\"@a.example bob@a.example"),
    );
    fixture.statistics.shared.write();
    let file = rusqlite::Connection::open(fixture.dir.path().join("peers.sqlite")).unwrap();
    let select = "SELECT error FROM traffic_ways";
    let error: String = file.query_row(select, [], |row| row.get(0)).unwrap();
    assert_eq!(error, "… … …");
}
