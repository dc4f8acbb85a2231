//! Processor time of a process with everything that it has started, from `/proc/PID/stat`.
//!
//! Unlike messages a second it says how much work something is, however busy the machine is with
//! other things.

use std::collections::HashMap;
use std::fs;
use std::time::Duration;

use anyhow::Context as _;

/// Linux tells times to programs in hundredths of a second, whatever its own clock does.
const TICK: Duration = Duration::from_millis(10);

/// The processor time that a process, its descendants, and those of them that have ended have used.
///
/// # Errors
/// There is no such process, or `/proc` cannot be read.
pub(super) fn of_tree(root: i32) -> anyhow::Result<Duration> {
    let processes = all()?;
    processes
        .contains_key(&root)
        .then(|| sum(&processes, root))
        .with_context(|| format!("no process {root}"))
}

/// A process and its descendants.
///
/// # Errors
/// `/proc` cannot be read.
pub(super) fn tree(root: i32) -> anyhow::Result<Vec<i32>> {
    let processes = all()?;
    let pids = processes.keys().copied();
    Ok(pids
        .filter(|&pid| is_below(&processes, root, pid))
        .collect())
}

fn all() -> anyhow::Result<HashMap<i32, Usage>> {
    let mut processes = HashMap::new();
    for entry in fs::read_dir("/proc").context("reading /proc")? {
        let path = entry?.path().join("stat");
        // Not a process, or one that has just ended: its parent has inherited its time.
        if let Ok(text) = fs::read_to_string(&path)
            && let Some((pid, usage)) = parse(&text)
        {
            processes.insert(pid, usage);
        }
    }
    Ok(processes)
}

/// What one process has used, those of its children included that it has waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Usage {
    parent: i32,
    ticks: u32,
}

fn parse(stat: &str) -> Option<(i32, Usage)> {
    let (pid, rest) = stat.split_once(' ')?;
    // The name stands in parentheses and may hold any character.
    let (_, rest) = rest.rsplit_once(") ")?;
    let fields: Vec<&str> = rest.split_ascii_whitespace().collect();
    let parent = fields.get(1)?.parse().ok()?;
    // utime, stime, cutime, cstime
    let ticks = fields.get(11..15)?.iter().map(|ticks| ticks.parse::<u32>());
    let ticks = ticks.sum::<Result<u32, _>>().ok()?;
    Some((pid.parse().ok()?, Usage { parent, ticks }))
}

fn sum(processes: &HashMap<i32, Usage>, root: i32) -> Duration {
    let used = processes
        .iter()
        .filter(|&(&pid, _)| is_below(processes, root, pid));
    TICK * used.map(|(_, usage)| usage.ticks).sum::<u32>()
}

fn is_below(processes: &HashMap<i32, Usage>, root: i32, pid: i32) -> bool {
    let ancestors = std::iter::successors(Some(pid), |pid| {
        processes.get(pid).map(|usage| usage.parent)
    });
    // No more steps than processes: they are not all read at the same moment.
    ancestors
        .take(processes.len())
        .any(|ancestor| ancestor == root)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Instant;

    #[test]
    fn a_stat_line_is_read() {
        let line = "7 (a) b) S 3 7 7 0 -1 4194304 9 9 9 9 100 20 3 4 20 0 1 0 5 6 7";
        let usage = Usage {
            parent: 3,
            ticks: 127,
        };
        assert_eq!(parse(line), Some((7, usage)));
        assert_eq!(parse("7 (a) S 3"), None);
    }

    #[test]
    fn descendants_count_and_others_do_not() {
        let process = |pid, parent, ticks| (pid, Usage { parent, ticks });
        let processes = HashMap::from([
            process(1, 0, 1000),
            process(2, 1, 1),
            process(3, 2, 2),
            process(4, 3, 4),
            process(5, 1, 100),
        ]);
        assert_eq!(sum(&processes, 2), Duration::from_millis(70));
    }

    #[test]
    fn work_takes_processor_time() {
        let own = i32::try_from(std::process::id()).unwrap();
        let before = of_tree(own).unwrap();
        let begun = Instant::now();
        while begun.elapsed() < Duration::from_secs(60) {
            if of_tree(own).unwrap() > before {
                return;
            }
        }
        panic!("a minute of work and no processor time");
    }
}
