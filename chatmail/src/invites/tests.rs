//! The table, and uses that are taken while processes are killed.

use std::collections::HashSet;
use std::num::NonZeroU32;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::Path;
use std::sync::Mutex;
use std::time::{Duration, SystemTime};

use super::*;
use crate::Address;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

fn table(dir: &Path) -> InviteTable {
    InviteTable::open_or_create(&dir.join("tables"), "no-such-user").unwrap()
}

fn new(uses: u32, valid_for: Option<Duration>) -> NewInvite {
    NewInvite {
        uses: NonZeroU32::new(uses).unwrap(),
        valid_for,
        note: "for the club".parse().unwrap(),
    }
}

fn at(days: u32) -> SystemTime {
    SystemTime::UNIX_EPOCH + DAY * 20_000 + DAY * days
}

fn address(number: usize) -> Address {
    format!("user{number}@x.org").parse().unwrap()
}

fn uses_left(table: &mut InviteTable) -> u32 {
    table.list(at(0)).unwrap()[0].uses_left
}

fn nobody(_: &str) -> Option<bool> {
    Some(false)
}

fn everybody(_: &str) -> Option<bool> {
    Some(true)
}

#[test]
fn an_invite_is_listed_until_it_is_revoked() {
    let dir = tempfile::tempdir().unwrap();
    let mut table = table(dir.path());
    let (token, made) = table.create(&new(3, Some(DAY)), at(0)).unwrap();
    assert_eq!(made.id, token.id());
    assert_eq!(made.created, "2024-10-04T00:00:00Z");
    assert_eq!(made.expires.as_deref(), Some("2024-10-05T00:00:00Z"));
    assert_eq!((made.uses, made.uses_left, made.good), (3, 3, Ok(())));
    let (forever, _) = table.create(&new(1, None), at(1)).unwrap();

    let listed = table.list(at(0)).unwrap();
    assert_eq!((listed.len(), &listed[0]), (2, &made));
    assert_eq!(listed[1].expires, None);
    assert_eq!(table.list(at(1)).unwrap()[0].good, Err(NoGood::Expired));
    for (token, now, good) in [
        (&token, at(0), Ok(())),
        (&token, at(1), Err(NoGood::Expired)),
        (&forever, at(9999), Ok(())),
        (&Token::random().unwrap(), at(0), Err(NoGood::Unknown)),
    ] {
        assert_eq!(table.look(token, now).unwrap(), good);
    }

    assert!(table.revoke(&made.id).unwrap());
    assert!(!table.revoke(&made.id).unwrap());
    assert_eq!(table.look(&token, at(0)).unwrap(), Err(NoGood::Unknown));
    assert_eq!(table.list(at(0)).unwrap().len(), 1);
}

#[test]
fn the_file_does_not_hold_the_token() {
    let dir = tempfile::tempdir().unwrap();
    let mut table = table(dir.path());
    let (token, _) = table.create(&new(1, None), at(0)).unwrap();
    drop(table);
    let file = std::fs::read(dir.path().join("tables")).unwrap();
    let holds = |text: &str| file.windows(text.len()).any(|part| part == text.as_bytes());
    assert!(holds("for the club") && !holds(token.as_str()));
}

#[test]
fn a_use_is_spent_with_the_account_and_given_back_without() {
    let dir = tempfile::tempdir().unwrap();
    let mut table = table(dir.path());
    let (token, _) = table.create(&new(1, None), at(0)).unwrap();
    let claim = |table: &mut InviteTable, number| {
        table
            .claim(&token, &address(number), at(0), nobody)
            .unwrap()
    };

    let first = claim(&mut table, 1).unwrap();
    assert_eq!(claim(&mut table, 2).unwrap_err(), NoGood::UsedUp);
    let failed = table.settle(&first, || ("no room", false)).unwrap();
    assert_eq!(failed, Settled::Done("no room"));
    let second = claim(&mut table, 2).unwrap();
    let done = table.settle(&second, || ((), true)).unwrap();
    assert_eq!(done, Settled::Done(()));
    assert_eq!(uses_left(&mut table), 0);
    // A claim is settled once.
    let again = table.settle(&second, || panic!("written twice")).unwrap();
    assert_eq!(again, Settled::<()>::Lost);
    assert_eq!(claim(&mut table, 3).unwrap_err(), NoGood::UsedUp);
}

#[test]
fn claims_that_were_left_are_judged_by_what_is_on_disk() {
    let dir = tempfile::tempdir().unwrap();
    let mut table = table(dir.path());
    let (token, _) = table.create(&new(2, None), at(0)).unwrap();
    for number in [1, 2] {
        let left = table
            .claim(&token, &address(number), at(0), nobody)
            .unwrap();
        let _ = left.unwrap();
    }
    // Those of a moment ago are somebody's who is at it.
    let refused = table.claim(&token, &address(3), at(0), nobody).unwrap();
    assert_eq!(refused.unwrap_err(), NoGood::UsedUp);
    table.recover(|_| None).unwrap();
    assert_eq!(uses_left(&mut table), 0);
    table.recover(|name| Some(name == "user1@x.org")).unwrap();
    assert_eq!(uses_left(&mut table), 1);
    table.recover(nobody).unwrap();
    assert_eq!(uses_left(&mut table), 1);

    // Also without a restart, after a while, or when the clock was set back.
    for now in [1, 0] {
        let left = table.claim(&token, &address(4), at(now), nobody).unwrap();
        let _ = left.unwrap();
        assert_eq!(uses_left(&mut table), 0);
        let next = table
            .claim(&token, &address(5), at(1 - now), nobody)
            .unwrap();
        table.settle(&next.unwrap(), || ((), false)).unwrap();
        assert_eq!(uses_left(&mut table), 1);
    }
}

#[test]
fn who_was_given_up_does_not_write() {
    let dir = tempfile::tempdir().unwrap();
    let (mut one, mut other) = (table(dir.path()), table(dir.path()));
    let (token, _) = one.create(&new(1, None), at(0)).unwrap();
    let claim = |table: &mut InviteTable| {
        table
            .claim(&token, &address(1), at(0), nobody)
            .unwrap()
            .unwrap()
    };
    let slow = claim(&mut one);
    // Another process for the same address; a restart; an operator.
    let ends: [&dyn Fn(&mut InviteTable); 3] = [
        &|other| drop(claim(other)),
        &|other| other.recover(nobody).unwrap(),
        &|other| assert!(other.revoke(&token.id()).unwrap()),
    ];
    let mut slow = slow;
    for end in ends {
        end(&mut other);
        let settled = one.settle(&slow, || panic!("written")).unwrap();
        assert_eq!(settled, Settled::<()>::Lost);
        let again = one.claim(&token, &address(1), at(0), nobody).unwrap();
        let Ok(again) = again else {
            assert_eq!(again.unwrap_err(), NoGood::Unknown);
            return;
        };
        slow = again;
    }
    panic!("the revoked invite is good");
}

#[test]
fn a_claim_of_a_killed_process_whose_account_is_there_is_spent() {
    let dir = tempfile::tempdir().unwrap();
    let mut table = table(dir.path());
    let (token, _) = table.create(&new(2, None), at(0)).unwrap();
    let left = table.claim(&token, &address(1), at(0), nobody).unwrap();
    let _ = left.unwrap();
    // The account was deleted and is made anew: another use.
    let next = table.claim(&token, &address(1), at(0), everybody).unwrap();
    table.settle(&next.unwrap(), || ((), true)).unwrap();
    assert_eq!(uses_left(&mut table), 0);
}

/// Several processes, each with a connection of its own, some of which die on the way.
#[test]
fn of_many_at_once_exactly_as_many_succeed_as_there_are_uses() {
    const USES: u32 = 10;
    let dir = tempfile::tempdir().unwrap();
    let (token, _) = table(dir.path()).create(&new(USES, None), at(0)).unwrap();
    let accounts = Mutex::new(HashSet::new());
    let exists = |name: &str| Some(accounts.lock().unwrap().contains(name));
    std::thread::scope(|scope| {
        for number in 0..40 {
            let (dir, token, accounts) = (dir.path(), &token, &accounts);
            scope.spawn(move || {
                let mut table = table(dir);
                let claimed = table.claim(token, &address(number), at(0), exists).unwrap();
                let Ok(claim) = claimed else {
                    return;
                };
                match number % 4 {
                    // Killed before it writes.
                    0 => {}
                    // Fails to write.
                    1 => drop(table.settle(&claim, || ((), false)).unwrap()),
                    // Writes, and dies before that is noted: the transaction ends as a kill ends it.
                    2 => {
                        let died = catch_unwind(AssertUnwindSafe(|| {
                            table.settle::<()>(&claim, || {
                                accounts.lock().unwrap().insert(address(number).to_string());
                                resume_unwind(Box::new("killed"))
                            })
                        }));
                        assert!(died.is_err());
                    }
                    _ => drop(table.settle(&claim, || {
                        accounts.lock().unwrap().insert(address(number).to_string());
                        ((), true)
                    })),
                }
            });
        }
    });
    let mut table = table(dir.path());
    table.recover(exists).unwrap();
    let made = u32::try_from(accounts.lock().unwrap().len()).unwrap();
    assert_eq!(uses_left(&mut table), USES - made);
    // What was given back can be used to the end.
    for number in 100..100 + USES as usize {
        if let Ok(claim) = table
            .claim(&token, &address(number), at(0), exists)
            .unwrap()
        {
            table
                .settle(&claim, || {
                    accounts.lock().unwrap().insert(address(number).to_string());
                    ((), true)
                })
                .unwrap();
        }
    }
    assert_eq!(accounts.lock().unwrap().len(), USES as usize);
}
