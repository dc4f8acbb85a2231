//! Every message of the corpus: tricks fail their rule, honest mail passes, in whatever pieces and
//! by whichever way they come.

use std::collections::BTreeSet;
use std::sync::LazyLock;

use corpus::{Honest, Trick};
use filtermail::gate::Direction::{Incoming, Outgoing};
use filtermail::gate::{Class, Direction, Rule};

use crate::message::{judge, judge_as_milter, judge_in_chunks};
use crate::properties::rpgp_agrees;

static TRICKS: LazyLock<Vec<Trick>> = LazyLock::new(corpus::tricks);
static HONEST: LazyLock<Vec<Honest>> = LazyLock::new(corpus::honest);

/// Sizes of pieces. The few messages above 100 KiB take long enough in larger ones.
fn pieces(message: &[u8]) -> [usize; 3] {
    if message.len() <= 100 << 10 {
        [1, 7, 65_536]
    } else {
        [997, 8192, 65_536]
    }
}

/// The rules by which a message is refused, in each size of pieces and in both ways.
fn refusals(direction: Direction, message: &[u8]) -> Vec<(usize, &'static str, Option<Rule>)> {
    let judgements = pieces(message).into_iter().flat_map(|size| {
        let reader = judge_in_chunks(direction, message, size);
        let milter = judge_as_milter(direction, message, size);
        let milter = milter.map(|verdict| (size, "milter", verdict));
        [(size, "reader", reader)].into_iter().chain(milter)
    });
    judgements
        .map(|(size, way, verdict)| (size, way, Trick::refusal(&verdict)))
        .collect()
}

#[test]
fn each_trick_fails_its_rule() {
    let mut wrong = Vec::new();
    for trick in TRICKS.iter() {
        for direction in [Outgoing, Incoming] {
            let expected = trick.rule(direction);
            for (size, way, refusal) in refusals(direction, &trick.message()) {
                if expected.is_some() && refusal != expected {
                    wrong.push(format!(
                        "{} {direction:?} by {way} in {size}: {refusal:?}, not {expected:?}",
                        trick.name
                    ));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn honest_mail_passes() {
    let mut wrong = Vec::new();
    for honest in HONEST.iter() {
        let directions: &[_] = if honest.outgoing {
            &[Incoming, Outgoing]
        } else {
            &[Incoming]
        };
        for &direction in directions {
            for (size, way, refusal) in refusals(direction, &honest.message()) {
                if let Some(rule) = refusal {
                    wrong.push(format!(
                        "{} {direction:?} by {way} in {size}: {rule}",
                        honest.name
                    ));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn what_passes_as_encrypted_is_an_encrypted_message_to_rpgp() {
    let tricks = TRICKS.iter();
    let tricks = tricks.map(|trick| (trick.name, trick.message()));
    let honest = HONEST.iter();
    let honest = honest.map(|honest| (honest.name, honest.message()));
    let mut encrypted = 0;
    for (name, message) in tricks.chain(honest) {
        if judge(Incoming, &message).class == Class::Encrypted {
            assert!(rpgp_agrees(&message), "{name}");
            encrypted += 1;
        }
    }
    assert!(encrypted >= 60, "{encrypted}");
}

#[test]
fn the_corpus_is_as_large_as_it_says() {
    let tricks = &TRICKS;
    assert!(tricks.len() >= 300, "{} tricks", tricks.len());
    assert!(HONEST.len() >= 60, "{} honest messages", HONEST.len());
    let refused = |direction| {
        TRICKS
            .iter()
            .filter(|t| t.rule(direction).is_some())
            .count()
    };
    assert!(refused(Outgoing) >= 300, "{}", refused(Outgoing));
    assert!(refused(Incoming) >= 300, "{}", refused(Incoming));
    let leave = HONEST.iter().filter(|honest| honest.outgoing).count();
    assert!(leave >= 10, "{leave}");
    println!("{} tricks, {} honest", tricks.len(), HONEST.len());
}

#[test]
fn names_are_unique_kebab_case_and_explained() {
    let mut names = BTreeSet::new();
    for trick in TRICKS.iter() {
        assert!(trick.why.ends_with(['.', '?']), "{}", trick.name);
        assert!(
            trick.outgoing.or(trick.incoming).is_some(),
            "{}",
            trick.name
        );
    }
    let all = TRICKS.iter().map(|trick| trick.name);
    for name in all.chain(HONEST.iter().map(|honest| honest.name)) {
        let kebab = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        assert!(name.chars().all(kebab), "{name}");
        assert!(names.insert(name), "{name} twice");
    }
}

#[test]
fn no_two_messages_are_the_same() {
    let mut messages = BTreeSet::new();
    let mut twice = Vec::new();
    for trick in TRICKS.iter() {
        if !messages.insert(trick.message()) {
            twice.push(trick.name);
        }
    }
    for honest in HONEST.iter() {
        if !messages.insert(honest.message()) {
            twice.push(honest.name);
        }
    }
    assert!(twice.is_empty(), "{twice:?}");
}

#[test]
fn each_rule_has_a_trick() {
    let tried: BTreeSet<Rule> = TRICKS.iter().filter_map(|trick| trick.outgoing).collect();
    let untried: Vec<_> = Rule::ALL
        .iter()
        .filter(|rule| !tried.contains(rule) && **rule != Rule::MarkerContent)
        .collect();
    assert!(untried.is_empty(), "{untried:?}");
    // Markers are refused whatever they hold on the way out.
    assert!(
        TRICKS
            .iter()
            .any(|t| t.incoming == Some(Rule::MarkerContent))
    );
}

#[test]
fn another_author_takes_the_place_of_the_first() {
    for trick in TRICKS.iter() {
        let message = trick.message_from("carol@chat.example");
        let old = corpus::AUTHOR.as_bytes();
        assert!(
            !message.windows(old.len()).any(|at| at == old),
            "{}",
            trick.name
        );
    }
}
