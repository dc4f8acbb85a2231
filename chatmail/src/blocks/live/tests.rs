#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::sync::atomic::AtomicUsize;

use tempfile::TempDir;

use super::*;
use crate::Address;
use crate::blocks::{BlockTable, ENTRIES_MAX, Entry};

/// A file that others change, the list that follows it, and how often it was read.
struct Fixture {
    dir: TempDir,
    live: LiveBlockList,
    readings: Arc<AtomicUsize>,
}

impl Fixture {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let readings = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&readings);
        let observer = move |_: Result<&BlockList, &BlocksError>| {
            counter.fetch_add(1, SeqCst);
        };
        let live = LiveBlockList::new(dir.path().join("tables"), Box::new(observer));
        Self {
            dir,
            live,
            readings,
        }
    }

    fn path(&self) -> PathBuf {
        self.dir.path().join("tables")
    }

    fn table(&self) -> BlockTable {
        BlockTable::open_or_create(&self.path(), "no-such-user").unwrap()
    }

    /// A connection that knows nothing of us.
    fn connect(&self) -> Connection {
        Connection::open(self.path()).unwrap()
    }

    async fn blocks(&self, address: &str) -> bool {
        let address: Address = address.parse().unwrap();
        self.live.current().await.unwrap().has_address(&address)
    }

    fn readings(&self) -> usize {
        self.readings.load(SeqCst)
    }
}

fn entry(text: &str) -> [Entry; 1] {
    [text.parse().unwrap()]
}

#[tokio::test]
async fn every_change_holds_for_the_next_question() {
    let fixture = Fixture::new();
    assert!(!fixture.blocks("a@x.org").await);
    for _ in 0..20 {
        fixture.table().add(&entry("a@x.org"), None).unwrap();
        assert!(fixture.blocks("a@x.org").await);
        fixture.table().remove(&entry("a@x.org")).unwrap();
        assert!(!fixture.blocks("a@x.org").await);
    }
}

#[tokio::test]
async fn a_table_is_read_once_for_each_of_its_changes() {
    let fixture = Fixture::new();
    for _ in 0..3 {
        fixture.blocks("a@x.org").await;
    }
    assert_eq!(fixture.readings(), 1);
    // One of several connections: the file itself does not change when the last one closes.
    let mut table = fixture.table();
    table.add(&entry("a@x.org"), None).unwrap();
    for _ in 0..3 {
        assert!(fixture.blocks("a@x.org").await);
    }
    assert_eq!(fixture.readings(), 2);
    fixture
        .connect()
        .execute_batch("CREATE TABLE other (x); INSERT INTO other VALUES (1)")
        .unwrap();
    for _ in 0..3 {
        assert!(fixture.blocks("a@x.org").await);
    }
    assert_eq!(fixture.readings(), 2);
}

#[tokio::test]
async fn questions_at_the_same_time_share_a_reading() {
    let fixture = Fixture::new();
    fixture.table().add(&entry("a@x.org"), None).unwrap();
    let questions: Vec<_> = (0..50).map(|_| fixture.blocks("a@x.org")).collect();
    for blocked in futures_in_turn(questions).await {
        assert!(blocked);
    }
    assert_eq!(fixture.readings(), 1);
}

/// Begins all futures before it waits for any.
async fn futures_in_turn<F: Future>(futures: Vec<F>) -> Vec<F::Output> {
    let mut pending: Vec<_> = futures.into_iter().map(Box::pin).collect();
    let mut outputs: Vec<Option<F::Output>> = pending.iter().map(|_| None).collect();
    std::future::poll_fn(|context| {
        for (future, output) in pending.iter_mut().zip(&mut outputs) {
            if output.is_none()
                && let std::task::Poll::Ready(ready) = future.as_mut().poll(context)
            {
                *output = Some(ready);
            }
        }
        match outputs.iter().all(Option::is_some) {
            true => std::task::Poll::Ready(()),
            false => std::task::Poll::Pending,
        }
    })
    .await;
    outputs.into_iter().flatten().collect()
}

#[tokio::test]
async fn a_file_that_goes_or_comes_or_is_replaced_is_noticed() {
    let fixture = Fixture::new();
    fixture.table().add(&entry("a@x.org"), None).unwrap();
    assert!(fixture.blocks("a@x.org").await);
    let remove_all = || {
        for name in ["tables", "tables-wal", "tables-shm"] {
            let _ = std::fs::remove_file(fixture.dir.path().join(name));
        }
    };
    remove_all();
    assert!(!fixture.blocks("a@x.org").await);
    fixture.table().add(&entry("b@x.org"), None).unwrap();
    assert!(fixture.blocks("b@x.org").await && !fixture.blocks("a@x.org").await);

    // The log of the new file outlives the connection to the old one.
    remove_all();
    let mut table = fixture.table();
    table.add(&entry("c@x.org"), None).unwrap();
    assert!(fixture.blocks("c@x.org").await);
    assert!(fixture.dir.path().join("tables-wal").exists());
    assert_eq!(table.entries().unwrap().len(), 1);
}

#[tokio::test]
async fn a_broken_file_is_an_error_until_it_is_whole_again() {
    let fixture = Fixture::new();
    fixture.table().add(&entry("a@x.org"), None).unwrap();
    assert!(fixture.blocks("a@x.org").await);
    let whole = std::fs::read(fixture.path()).unwrap();
    for garbage in [
        b"garbage".repeat(1000),
        Vec::new(),
        whole.iter().map(|byte| !byte).collect(),
    ] {
        std::fs::write(fixture.path(), garbage).unwrap();
        for _ in 0..2 {
            assert!(fixture.live.current().await.is_err());
        }
    }
    for name in ["tables-wal", "tables-shm"] {
        let _ = std::fs::remove_file(fixture.dir.path().join(name));
    }
    let restored = fixture.dir.path().join("restored");
    std::fs::write(&restored, whole).unwrap();
    std::fs::rename(restored, fixture.path()).unwrap();
    // Written back from before the log was, or with it: in either case a list.
    fixture.table().add(&entry("a@x.org"), None).unwrap();
    assert!(fixture.blocks("a@x.org").await);
}

#[tokio::test]
async fn a_damaged_page_is_an_error() {
    let fixture = Fixture::new();
    let many: Vec<_> = (0..2000)
        .flat_map(|number| entry(&format!("spam{number}.example")))
        .collect();
    fixture.table().add(&many, None).unwrap();
    assert_eq!(
        fixture.live.current().await.unwrap().counts().domains,
        many.len()
    );
    let mut bytes = std::fs::read(fixture.path()).unwrap();
    // The last page holds entries. Its first byte says what sort of page it is.
    let page = bytes.len() - 4096;
    bytes[page..page + 8].fill(0xff);
    std::fs::write(fixture.path(), bytes).unwrap();
    assert!(fixture.live.current().await.is_err());
}

#[tokio::test]
async fn a_folder_in_the_way_is_an_error() {
    let fixture = Fixture::new();
    std::fs::create_dir(fixture.path()).unwrap();
    let error = fixture.live.current().await.unwrap_err().to_string();
    assert!(error.contains("tables"), "{error}");
    std::fs::remove_dir(fixture.path()).unwrap();
    assert!(!fixture.blocks("a@x.org").await);
}

#[tokio::test]
async fn what_nobody_has_committed_does_not_count_and_keeps_nobody_waiting() {
    let fixture = Fixture::new();
    fixture.table().add(&entry("a@x.org"), None).unwrap();
    let writer = fixture.connect();
    writer
        .execute_batch("BEGIN IMMEDIATE; DELETE FROM blocks")
        .unwrap();
    assert!(fixture.blocks("a@x.org").await);
    writer.execute_batch("COMMIT").unwrap();
    assert!(!fixture.blocks("a@x.org").await);
}

/// Not a test of time: it prints what the module's pages promise.
#[tokio::test]
async fn a_full_list_is_asked_quickly() {
    let fixture = Fixture::new();
    let all: Vec<Entry> = (0..ENTRIES_MAX)
        .map(|number| match number % 4 {
            0 => format!("user{number}@spam.example"),
            1 => format!("spam{number}.example"),
            2 => format!("10.{}.{}.{}", number >> 16, number >> 8 & 255, number & 255),
            _ => format!("2001:db8:{:x}:{:x}::/64", number >> 16, number & 0xffff),
        })
        .map(|text| text.parse().unwrap())
        .collect();
    fixture.table().add(&all, None).unwrap();
    let began = std::time::Instant::now();
    let list = fixture.live.current().await.unwrap();
    let reading = began.elapsed();
    let client = Some("192.0.2.1".parse().unwrap());
    let sender: Address = "nobody+tag@example.org".parse().unwrap();
    let rounds = 10_000;
    let began = std::time::Instant::now();
    for _ in 0..rounds {
        assert!(!list.is_blocked(client, Some(std::hint::black_box(&sender))));
    }
    let asking = began.elapsed() / rounds;
    let began = std::time::Instant::now();
    for _ in 0..rounds {
        fixture.live.current().await.unwrap();
    }
    let looking = began.elapsed() / rounds;
    println!(
        "{} entries: read in {reading:?}, asked in {asking:?}, looked for changes in {looking:?}",
        all.len()
    );
}
