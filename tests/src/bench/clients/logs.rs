//! What Dovecot complains of on the hosts: a limit that is reached is there before a client notices anything.

use std::collections::BTreeMap;
use std::fs;

use anyhow::Context as _;

use crate::cluster::Cluster;
use crate::relay::Layout;

/// How Dovecot marks lines that an operator should read.
const MARKS: [&str; 4] = ["Warning: ", "Error: ", "Fatal: ", "Panic: "];

/// Complaints by tier, without numbers, and how often each was made.
///
/// # Errors
/// A log cannot be read.
pub(super) fn complaints(cluster: &Cluster) -> anyhow::Result<BTreeMap<String, usize>> {
    let mut complaints = BTreeMap::new();
    for (tier, hosts) in [("front", &cluster.fronts), ("backend", &cluster.backends)] {
        for host in hosts {
            let path = Layout::new(host.state_dir.clone()).log("dovecot");
            let log = fs::read(&path).with_context(|| path.display().to_string())?;
            for complaint in String::from_utf8_lossy(&log).lines().filter_map(complaint) {
                *complaints
                    .entry(format!("{tier}: {complaint}"))
                    .or_default() += 1;
            }
        }
    }
    Ok(complaints)
}

/// What a line complains of. Users, sessions and numbers, which differ from line to line, are left out.
fn complaint(line: &str) -> Option<String> {
    let start = MARKS.iter().find_map(|mark| line.find(mark))?;
    let words = line.get(start..)?.split_whitespace();
    let same = words.filter(|word| !word.contains(['@', '<', '=']));
    let same: Vec<_> = same
        .map(|word| word.replace(|one: char| one.is_ascii_digit(), ""))
        .collect();
    Some(same.join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn complaints_that_say_the_same_are_the_same() {
        let of = |limit: u32| {
            let line = format!(
                "Nov 30 14:00:00 master: Warning: service(stats): client_limit ({limit}) reached, client connections \
                 are being dropped"
            );
            complaint(&line).unwrap()
        };
        assert_eq!(of(1000), of(17));
        assert!(
            of(1000).contains("service(stats): client_limit"),
            "{}",
            of(1000)
        );
        assert_eq!(
            complaint("Nov 30 14:00:00 imap-login: Info: Login: user=<x@y.test>"),
            None
        );
    }
}
