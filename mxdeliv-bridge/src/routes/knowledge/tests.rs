use super::*;

const NOW: Moment = Moment(1_700_000_000_000);

const SECOND: Duration = Duration::from_secs(1);

fn domain(text: &str) -> Domain {
    text.parse().unwrap()
}

fn endpoint(host: &str) -> Endpoint {
    Endpoint {
        host: domain(host),
        port: 443,
        lax: false,
    }
}

fn knowledge() -> Knowledge {
    Knowledge::new(Limits::default(), 443)
}

/// Knows that `x.test` has these hosts.
fn resolved(hosts: &[&str]) -> Knowledge {
    let mut knowledge = knowledge();
    let hosts = hosts.iter().map(|host| domain(host)).collect();
    knowledge.resolved(&domain("x.test"), hosts, NOW);
    knowledge
}

/// A request at `now` that teaches this; whether it was allowed, and was a trial.
fn request(knowledge: &mut Knowledge, host: &str, lesson: Lesson, now: Moment) -> Option<Trial> {
    let trial = knowledge.begin(&endpoint(host), true, now)?;
    knowledge.learn(&endpoint(host), lesson, trial, now, now);
    Some(trial)
}

fn way(knowledge: &mut Knowledge, now: Moment) -> Transport {
    knowledge.transport(&domain("x.test"), now)
}

#[test]
fn an_unknown_domain_is_tried() {
    assert_eq!(way(&mut knowledge(), NOW), Transport::Mxdeliv);
}

#[test]
fn a_domain_without_an_open_endpoint_goes_by_smtp() {
    let mut knowledge = resolved(&["a.test", "b.test"]);
    request(&mut knowledge, "a.test", Lesson::Silent, NOW);
    assert_eq!(way(&mut knowledge, NOW), Transport::Mxdeliv);
    request(&mut knowledge, "b.test", Lesson::Failing, NOW);
    assert_eq!(way(&mut knowledge, NOW), Transport::Smtp);
    assert_eq!(
        way(&mut knowledge, NOW.after(5 * SECOND)),
        Transport::Mxdeliv
    );
}

#[test]
fn a_domain_that_takes_no_mail_goes_by_smtp_for_a_while() {
    let mut knowledge = knowledge();
    knowledge.unresolved(&domain("x.test"), 30 * SECOND, NOW);
    assert_eq!(way(&mut knowledge, NOW), Transport::Smtp);
    assert_eq!(
        way(&mut knowledge, NOW.after(30 * SECOND)),
        Transport::Mxdeliv
    );
}

#[test]
fn a_silent_endpoint_is_left_alone_for_half_an_hour_then_one_message_tries() {
    let mut knowledge = knowledge();
    request(&mut knowledge, "a.test", Lesson::Silent, NOW);
    let half_an_hour = NOW.after(30 * 60 * SECOND);
    let begin = |knowledge: &mut Knowledge, now| knowledge.begin(&endpoint("a.test"), true, now);
    assert_eq!(begin(&mut knowledge, Moment(half_an_hour.0 - 1)), None);
    assert_eq!(begin(&mut knowledge, half_an_hour), Some(Trial::Yes));
    // While that one is under way nobody else may.
    assert_eq!(begin(&mut knowledge, half_an_hour), None);
    let again = (Lesson::Silent, Trial::Yes, half_an_hour, half_an_hour);
    knowledge.learn(&endpoint("a.test"), again.0, again.1, again.2, again.3);
    let later = half_an_hour.after(30 * 60 * SECOND);
    assert_eq!(begin(&mut knowledge, Moment(later.0 - 1)), None);
    assert_eq!(begin(&mut knowledge, later), Some(Trial::Yes));
}

#[test]
fn a_trial_that_taught_nothing_leaves_the_next_to_another_message() {
    let mut knowledge = knowledge();
    request(&mut knowledge, "a.test", Lesson::Failing, NOW);
    let later = NOW.after(5 * SECOND);
    for _ in 0..3 {
        let trial = request(&mut knowledge, "a.test", Lesson::Nothing, later);
        assert_eq!(trial, Some(Trial::Yes));
    }
    let trial = request(&mut knowledge, "a.test", Lesson::Speaks, later);
    assert_eq!(trial, Some(Trial::Yes));
    let trial = request(&mut knowledge, "a.test", Lesson::Speaks, later);
    assert_eq!(trial, Some(Trial::No));
}

#[test]
fn who_may_not_try_does_not_and_leaves_the_trial_to_others() {
    let mut knowledge = knowledge();
    request(&mut knowledge, "a.test", Lesson::Failing, NOW);
    let later = NOW.after(5 * SECOND);
    assert_eq!(knowledge.begin(&endpoint("a.test"), false, later), None);
    let trial = knowledge.begin(&endpoint("a.test"), true, later);
    assert_eq!(trial, Some(Trial::Yes));
}

#[test]
fn each_failure_in_a_row_doubles_the_pause_up_to_ten_minutes() {
    let mut knowledge = knowledge();
    let mut now = NOW;
    let mut pauses = Vec::new();
    for _ in 0..40 {
        request(&mut knowledge, "a.test", Lesson::Failing, now).unwrap();
        let until = knowledge.endpoints[&endpoint("a.test")].closed_until;
        pauses.push(until.since(now).as_secs());
        now = until;
    }
    assert_eq!(pauses[..9], [5, 10, 20, 40, 80, 160, 320, 600, 600]);
    assert!(pauses[9..].iter().all(|pause| *pause == 600));
    request(&mut knowledge, "a.test", Lesson::Speaks, now).unwrap();
    request(&mut knowledge, "a.test", Lesson::Failing, now).unwrap();
    let until = knowledge.endpoints[&endpoint("a.test")].closed_until;
    assert_eq!(until.since(now).as_secs(), 5);
}

#[test]
fn requests_that_fail_together_are_one_failure() {
    let mut knowledge = knowledge();
    let a = endpoint("a.test");
    let trials: Vec<Trial> = (0..5)
        .map(|_| knowledge.begin(&a, true, NOW).unwrap())
        .collect();
    for (second, trial) in (1..).zip(trials) {
        let now = NOW.after(second * SECOND);
        knowledge.learn(&a, Lesson::Failing, trial, NOW, now);
    }
    assert_eq!(knowledge.endpoints[&a].failures, 1);
    assert_eq!(knowledge.endpoints[&a].closed_until, NOW.after(6 * SECOND));
}

#[test]
fn an_endpoint_that_cannot_be_reached_fails_if_it_spoke_before() {
    let mut knowledge = knowledge();
    request(&mut knowledge, "a.test", Lesson::Unreachable, NOW);
    assert_eq!(
        knowledge.endpoints[&endpoint("a.test")].state,
        PeerState::Silent
    );
    request(&mut knowledge, "b.test", Lesson::Speaks, NOW);
    request(&mut knowledge, "b.test", Lesson::Unreachable, NOW);
    assert_eq!(
        knowledge.endpoints[&endpoint("b.test")].state,
        PeerState::Failing
    );
    // What says itself that it does not speak is believed.
    let later = NOW.after(5 * SECOND);
    request(&mut knowledge, "b.test", Lesson::Silent, later);
    let later = later.after(30 * 60 * SECOND);
    request(&mut knowledge, "b.test", Lesson::Unreachable, later);
    assert_eq!(
        knowledge.endpoints[&endpoint("b.test")].state,
        PeerState::Silent
    );
}

#[test]
fn the_endpoint_that_answered_last_comes_first_while_it_is_one() {
    let mut knowledge = resolved(&["a.test", "b.test"]);
    let (x, b) = (domain("x.test"), domain("b.test"));
    let hosts = |knowledge: &Knowledge| -> Vec<String> {
        let endpoints = knowledge.endpoints_of(&domain("x.test"));
        endpoints.iter().map(Endpoint::to_string).collect()
    };
    assert_eq!(hosts(&knowledge), ["a.test", "b.test"]);
    assert_eq!(knowledge.answered(&x, &b).len(), 1);
    assert_eq!(knowledge.answered(&x, &b).len(), 0);
    assert_eq!(hosts(&knowledge), ["b.test", "a.test"]);
    assert!(
        knowledge
            .resolved(&x, vec![b.clone(), domain("a.test")], NOW)
            .is_empty()
    );
    assert_eq!(hosts(&knowledge), ["b.test", "a.test"]);
    // Mail for a domain that has moved does not go where it was.
    assert_eq!(knowledge.resolved(&x, vec![domain("a.test")], NOW).len(), 1);
    assert_eq!(hosts(&knowledge), ["a.test"]);
}

#[test]
fn that_a_peer_is_in_use_is_written_down_once_a_day() {
    let mut knowledge = resolved(&["a.test"]);
    let x = domain("x.test");
    let mut writes = Vec::new();
    for hour in 1..=72 {
        let now = NOW.after(hour * 3600 * SECOND);
        knowledge.transport(&x, now);
        if !knowledge
            .resolved(&x, vec![domain("a.test")], now)
            .is_empty()
        {
            writes.push(hour);
        }
    }
    assert_eq!(writes, [25, 50]);
}

#[test]
fn a_decision_beats_all_and_a_new_endpoint_is_tried_at_once() {
    let mut knowledge = resolved(&["a.test"]);
    let x = domain("x.test");
    request(&mut knowledge, "a.test", Lesson::Silent, NOW);
    request(&mut knowledge, "b.test", Lesson::Silent, NOW);
    let changes = knowledge.decide(x.clone(), Override::Endpoint(endpoint("b.test")));
    assert_eq!(changes, [Change::ForgetEndpoints(vec![endpoint("b.test")])]);
    assert_eq!(way(&mut knowledge, NOW), Transport::Mxdeliv);
    request(&mut knowledge, "b.test", Lesson::Failing, NOW);
    assert_eq!(way(&mut knowledge, NOW), Transport::Smtp);
    knowledge.decide(x.clone(), Override::Smtp);
    assert_eq!(
        way(&mut knowledge, NOW.after(3600 * SECOND)),
        Transport::Smtp
    );
    assert!(knowledge.undecide(&x));
    assert!(!knowledge.undecide(&x));
    assert_eq!(
        way(&mut knowledge, NOW.after(3600 * SECOND)),
        Transport::Mxdeliv
    );
}

#[test]
fn a_size_that_was_too_large_is_remembered_for_a_while() {
    let mut knowledge = knowledge();
    let a = endpoint("a.test");
    knowledge.too_large(&a, 1000, NOW);
    assert!(!knowledge.is_too_large(&a, 999, NOW));
    assert!(knowledge.is_too_large(&a, 1000, NOW));
    assert!(!knowledge.is_too_large(&a, 1000, NOW.after(30 * 60 * SECOND)));
    assert_eq!(knowledge.begin(&a, true, NOW), Some(Trial::No));
}

#[test]
fn connections_are_made_to_open_endpoints_that_have_none() {
    let mut knowledge = knowledge();
    let a = endpoint("a.test");
    let wish = |knowledge: &Knowledge, now| {
        knowledge.wants_connection(&endpoint("a.test"), 50 * SECOND, now)
    };
    assert_eq!(wish(&knowledge, NOW), Connect::Yes);
    knowledge.connected(&a, NOW);
    assert_eq!(wish(&knowledge, NOW.after(49 * SECOND)), Connect::There);
    assert_eq!(wish(&knowledge, NOW.after(50 * SECOND)), Connect::Yes);
    request(&mut knowledge, "a.test", Lesson::Silent, NOW);
    // Also when its time is over: the trial is for a message.
    assert_eq!(wish(&knowledge, NOW), Connect::Closed);
    assert_eq!(wish(&knowledge, NOW.after(3600 * SECOND)), Connect::Closed);
}

#[test]
fn memory_is_bounded_and_what_is_used_stays() {
    let mut knowledge = knowledge();
    let mut forgotten = (0, 0);
    for number in 0..3 * ENDPOINTS_MAX as u64 {
        let now = NOW.after(Duration::from_millis(number));
        let name = domain(&format!("x{number}.test"));
        let mut changes = knowledge.resolved(&name, vec![name.clone()], now);
        knowledge.transport(&domain("x0.test"), now);
        for host in [name.as_str(), "x0.test"] {
            let learnt = knowledge.learn(&endpoint(host), Lesson::Speaks, Trial::No, now, now);
            changes.extend(learnt.changes);
        }
        for change in changes {
            match change {
                Change::ForgetPeers(peers) => forgotten.0 += peers.len(),
                Change::ForgetEndpoints(endpoints) => forgotten.1 += endpoints.len(),
                Change::Peer(..) | Change::Endpoint(..) => {}
            }
        }
        assert!(knowledge.peers.len() <= PEERS_MAX);
        assert!(knowledge.endpoints.len() <= ENDPOINTS_MAX);
    }
    assert!(knowledge.peers.contains_key(&domain("x0.test")));
    assert!(knowledge.endpoints.contains_key(&endpoint("x0.test")));
    // What was forgotten here is forgotten on disk.
    assert_eq!(forgotten.0 + knowledge.peers.len(), 3 * ENDPOINTS_MAX);
    assert_eq!(forgotten.1 + knowledge.endpoints.len(), 3 * ENDPOINTS_MAX);
}

#[test]
fn a_clock_that_was_wrong_closes_nothing_for_years() {
    let mut knowledge = knowledge();
    let mut known = Known::new(PeerState::Silent, NOW.after(1_000_000_000 * SECOND));
    known.closed_until = NOW.after(1_000_001_800 * SECOND);
    let endpoints = vec![(endpoint("a.test"), known)];
    let loaded = Loaded {
        endpoints,
        ..Loaded::default()
    };
    knowledge.load(NOW, loaded);
    let later = NOW.after(30 * 60 * SECOND);
    let trial = knowledge.begin(&endpoint("a.test"), true, later);
    assert_eq!(trial, Some(Trial::Yes));
}

#[test]
fn operators_see_what_is_known() {
    let mut knowledge = resolved(&["a.test", "b.test"]);
    let x = domain("x.test");
    let view = knowledge.view(&x, NOW);
    assert_eq!(view.endpoint, Some(endpoint("a.test")));
    assert_eq!((view.state, view.since), (PeerState::Unknown, None));
    request(&mut knowledge, "a.test", Lesson::Failing, NOW);
    assert_eq!(knowledge.view(&x, NOW).endpoint, Some(endpoint("b.test")));
    request(&mut knowledge, "b.test", Lesson::Silent, NOW);
    let view = knowledge.view(&x, NOW);
    assert_eq!(view.transport, Transport::Smtp);
    assert_eq!(
        (view.endpoint, view.state),
        (Some(endpoint("a.test")), PeerState::Failing)
    );
    assert_eq!(view.since, Some(NOW.system()));
    assert_eq!(view.next_try, Some(NOW.after(5 * SECOND).system()));
    knowledge.decide(domain("y.test"), Override::Smtp);
    assert_eq!(knowledge.domains(), [x, domain("y.test")]);
}
