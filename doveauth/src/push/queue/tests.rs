use super::*;
use proptest::prelude::*;

const NOW: u64 = 1_700_000_000;

struct Fixture {
    folder: tempfile::TempDir,
    queue: Queue,
}

impl Fixture {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let queue = Queue::open_or_create(&folder.path().join("q.sqlite"), "root", NOW).unwrap();
        Self { folder, queue }
    }

    /// As after a SIGKILL: what was not committed is gone.
    fn reopened(self, now: u64) -> Self {
        let Self { folder, queue } = self;
        drop(queue);
        let queue = Queue::open(&folder.path().join("q.sqlite"), now).unwrap();
        Self {
            folder,
            queue: queue.unwrap(),
        }
    }

    fn add(&mut self, tokens: &[&str], now: u64) -> Written {
        self.queue.write(&[new(tokens)], &[], now).unwrap()
    }

    fn settle(&mut self, id: i64, outcome: Outcome, now: u64) -> Written {
        self.queue.write(&[], &[(id, outcome)], now).unwrap()
    }

    fn take(&mut self, limit: usize, now: u64) -> Vec<(i64, String)> {
        let due = self.queue.take(limit, now).unwrap();
        let shown = due.notifications.into_iter();
        shown
            .map(|one| (one.id, one.token.as_str().to_owned()))
            .collect()
    }
}

fn new(tokens: &[&str]) -> New {
    let token = |text: &&str| Token::parse(text.as_bytes()).unwrap();
    New {
        address: "bob@x.org".into(),
        tokens: tokens.iter().map(token).collect(),
    }
}

#[test]
fn what_is_added_is_taken_once_and_gone_when_it_is_done() {
    let mut fixture = Fixture::new();
    let written = fixture.add(&["a", "b"], NOW);
    assert_eq!((written.added, written.news), (vec![Ok(())], true));
    let taken = fixture.take(10, NOW);
    let tokens: Vec<_> = taken.iter().map(|(_, token)| token.as_str()).collect();
    assert_eq!(tokens, ["a", "b"]);
    assert!(fixture.take(10, NOW).is_empty());
    fixture.settle(taken[0].0, Outcome::Done, NOW);
    assert_eq!(fixture.queue.pending(), 1);
    fixture.settle(taken[1].0, Outcome::Done, NOW);
    assert_eq!(fixture.queue.pending(), 0);
    assert!(fixture.reopened(NOW).take(10, NOW).is_empty());
}

#[test]
fn messages_before_it_is_sent_are_told_by_one_notification() {
    let mut fixture = Fixture::new();
    for _ in 0..5 {
        fixture.add(&["a"], NOW);
    }
    assert_eq!(fixture.queue.pending(), 1);
    let taken = fixture.take(10, NOW);
    assert_eq!(taken.len(), 1);
    fixture.settle(taken[0].0, Outcome::Done, NOW);
    assert!(fixture.take(10, NOW).is_empty());
}

#[test]
fn a_message_while_it_is_sent_is_told_by_one_more() {
    let mut fixture = Fixture::new();
    fixture.add(&["a"], NOW);
    let first = fixture.take(10, NOW);
    fixture.add(&["a"], NOW + 1);
    fixture.add(&["a"], NOW + 1);
    assert!(fixture.take(10, NOW + 1).is_empty());
    assert!(fixture.settle(first[0].0, Outcome::Done, NOW + 2).news);
    let second = fixture.take(10, NOW + 2);
    assert_eq!(second.len(), 1);
    fixture.settle(second[0].0, Outcome::Done, NOW + 2);
    assert_eq!(fixture.queue.pending(), 0);
}

#[test]
fn a_message_and_the_outcome_of_the_one_before_may_be_written_together() {
    let mut fixture = Fixture::new();
    fixture.add(&["a"], NOW);
    let first = fixture.take(10, NOW);
    let outcomes = [(first[0].0, Outcome::Done)];
    fixture.queue.write(&[new(&["a"])], &outcomes, NOW).unwrap();
    assert_eq!(fixture.take(10, NOW).len(), 1);
}

#[test]
fn failures_are_tried_again_later_and_then_dropped() {
    let mut fixture = Fixture::new();
    fixture.add(&["a"], NOW);
    let mut now = NOW;
    for pause in [8, 64, 512, 4096] {
        let taken = fixture.take(10, now);
        assert_eq!(fixture.settle(taken[0].0, Outcome::Failed, now).dropped, 0);
        assert!(fixture.take(10, now + pause - 1).is_empty());
        let due = fixture.queue.take(1, now + pause - 1).unwrap();
        assert_eq!(due.next, Some(now + pause));
        now += pause;
        fixture = fixture.reopened(now);
    }
    let taken = fixture.take(10, now);
    assert_eq!(fixture.settle(taken[0].0, Outcome::Failed, now).dropped, 1);
    assert_eq!(fixture.queue.pending(), 0);
    assert!(fixture.take(10, now + DAY).is_empty());
}

const DAY: u64 = 24 * 60 * 60;

#[test]
fn a_new_message_does_not_wait_for_the_pause_of_an_old_one() {
    let mut fixture = Fixture::new();
    fixture.add(&["a"], NOW);
    let taken = fixture.take(10, NOW);
    fixture.settle(taken[0].0, Outcome::Failed, NOW);
    assert!(fixture.add(&["a"], NOW + 1).news);
    let again = fixture.take(10, NOW + 1);
    assert_eq!(again.len(), 1);
    // Its pauses begin from the start.
    fixture.settle(again[0].0, Outcome::Failed, NOW + 1);
    assert_eq!(fixture.take(10, NOW + 9).len(), 1);
}

#[test]
fn what_has_waited_too_long_is_dropped() {
    let mut fixture = Fixture::new();
    fixture.add(&["a", "b", "c"], NOW);
    fixture.add(&["d"], NOW + 100);
    let due = fixture.queue.take(1, NOW + backoff::DEADLINE + 1).unwrap();
    // One look drops no more than it was to take; the next one comes at once.
    assert_eq!(
        (due.dropped, due.next),
        (1, Some(NOW + backoff::DEADLINE + 1))
    );
    let due = fixture.queue.take(10, NOW + backoff::DEADLINE + 1).unwrap();
    assert_eq!((due.dropped, due.notifications.len()), (2, 1));
    assert_eq!(fixture.queue.pending(), 1);
}

#[test]
fn the_queue_has_an_end() {
    let mut fixture = Fixture::new();
    fixture.queue.pending_max = 2;
    let batch = [new(&["a"]), new(&["b", "c"]), new(&["a"]), new(&["d"])];
    let added = fixture.queue.write(&batch, &[], NOW).unwrap().added;
    assert_eq!(added, [Ok(()), Err(Full), Ok(()), Err(Full)]);
    assert_eq!(fixture.queue.pending(), 2);
}

#[test]
fn a_clock_that_was_wrong_holds_up_nothing_for_ever() {
    let mut fixture = Fixture::new();
    fixture.add(&["a"], NOW + 10 * DAY);
    let mut fixture = fixture.reopened(NOW);
    assert_eq!(fixture.take(10, NOW).len(), 1);
}

#[test]
fn what_is_in_flight_when_the_process_dies_is_sent_again() {
    let mut fixture = Fixture::new();
    fixture.add(&["a", "b"], NOW);
    let taken = fixture.take(10, NOW);
    fixture.settle(taken[0].0, Outcome::Done, NOW);
    let again = fixture.reopened(NOW).take(10, NOW);
    assert_eq!(again.len(), 1);
    assert_eq!(again[0].1, "b");
}

#[test]
fn syncing_goes_on_beside_writing() {
    let mut fixture = Fixture::new();
    let path = fixture.folder.path().join("q.sqlite");
    let mut sync = Sync::open(&path).unwrap().unwrap();
    for number in 0..50 {
        fixture.add(&[&format!("t{number}")], NOW);
        sync.sync().unwrap();
    }
    assert_eq!(fixture.take(100, NOW).len(), 50);
}

#[test]
fn a_file_of_somebody_else_is_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("q.sqlite");
    std::fs::write(&path, "not a database, but some text of somebody").unwrap();
    assert!(Queue::open(&path, NOW).is_err());
    assert!(std::fs::read_to_string(&path).unwrap().starts_with("not a"));
}

#[derive(Clone, Debug)]
enum Step {
    Message(u8),
    Send(usize),
    Done(usize),
    Failed(usize),
    Wait(u64),
    Die,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (0..6_u8).prop_map(Step::Message),
        4 => (1..4_usize).prop_map(Step::Send),
        3 => (0..4_usize).prop_map(Step::Done),
        3 => (0..4_usize).prop_map(Step::Failed),
        2 => (0..5000_u64).prop_map(Step::Wait),
        1 => Just(Step::Die),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    /// After each message its token is sent at least once more, or given up after a failure; what was noted as
    /// done is not sent again without a new message.
    #[test]
    fn each_message_is_told(steps in prop::collection::vec(step(), 0..60)) {
        let mut fixture = Fixture::new();
        let mut now = NOW;
        let mut flying: Vec<(i64, String)> = Vec::new();
        // Tokens with a message that no later attempt has told.
        let mut untold = std::collections::BTreeSet::new();
        for step in steps {
            match step {
                Step::Message(name) => {
                    let name = format!("t{name}");
                    fixture.add(&[&name], now);
                    untold.insert(name);
                }
                Step::Send(limit) => {
                    for (id, token) in fixture.take(limit, now) {
                        prop_assert!(untold.remove(&token), "{} is sent without a message", token);
                        prop_assert!(flying.iter().all(|(_, other)| *other != token));
                        flying.push((id, token));
                    }
                }
                Step::Done(index) if index < flying.len() => {
                    let (id, _) = flying.remove(index);
                    fixture.settle(id, Outcome::Done, now);
                }
                Step::Failed(index) if index < flying.len() => {
                    let (id, token) = flying.remove(index);
                    if fixture.settle(id, Outcome::Failed, now).dropped == 0 {
                        untold.insert(token);
                    }
                }
                Step::Done(_) | Step::Failed(_) => {}
                // Less than the deadline over all steps.
                Step::Wait(time) if now + time < NOW + backoff::DEADLINE => now += time,
                Step::Wait(_) => {}
                Step::Die => {
                    fixture = fixture.reopened(now);
                    untold.extend(flying.drain(..).map(|(_, token)| token));
                }
            }
            let waiting: std::collections::BTreeSet<_> = untold
                .iter()
                .chain(flying.iter().map(|(_, token)| token))
                .collect();
            prop_assert_eq!(fixture.queue.pending(), waiting.len() as u64);
        }
    }
}
