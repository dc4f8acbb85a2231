//! What is in a tree, beside what has to be.

use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use anyhow::{Context as _, ensure};

use super::tree::{FOLDERS, Tree};
use super::workers::Workers;

/// Which files have to be there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Expected {
    /// All.
    Full,
    /// Those that no run removes.
    Expired,
}

/// Sees that a tree has exactly the files that it should have.
///
/// # Errors
/// It has others, or cannot be read.
pub(super) fn check(tree: &Tree, expected: Expected, workers: &Workers) -> anyhow::Result<()> {
    let found = Mutex::new(Differences::default());
    workers.each(tree.mailboxes, |mailbox| {
        let differences = Differences::of(tree, expected, mailbox)?;
        found
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .add(differences);
        Ok(())
    })?;
    let found = found.into_inner().unwrap_or_else(PoisonError::into_inner);
    ensure!(
        found.example.is_none(),
        "{} has not the files it should have: {} missing, {} too many, such as {}",
        tree.root.display(),
        found.missing,
        found.too_many,
        found.example.unwrap_or_default().display()
    );
    let mailboxes = names(&tree.root)?.len();
    ensure!(
        mailboxes == tree.mailboxes,
        "{mailboxes} mailboxes instead of {}",
        tree.mailboxes
    );
    Ok(())
}

/// What is not as it should be.
#[derive(Debug, Default)]
struct Differences {
    missing: usize,
    too_many: usize,
    example: Option<PathBuf>,
}

impl Differences {
    fn of(tree: &Tree, expected: Expected, mailbox: usize) -> anyhow::Result<Self> {
        let home = tree.home(mailbox);
        let mut there = names(&home)?;
        for folder in FOLDERS {
            let path = home.join(folder);
            ensure!(there.remove(&path), "{} is missing", path.display());
            there.extend(names(&path)?);
        }
        let mut found = Self::default();
        for file in tree.files(mailbox) {
            let path = file.path(&home);
            let kept = expected == Expected::Full || !file.goes;
            if kept && !there.remove(&path) {
                found.missing += 1;
                found.example = Some(path);
            }
        }
        found.too_many = there.len();
        found.example = there.into_iter().next().or(found.example);
        Ok(found)
    }

    fn add(&mut self, other: Self) {
        self.missing += other.missing;
        self.too_many += other.too_many;
        self.example = self.example.take().or(other.example);
    }
}

/// What is in a folder.
fn names(folder: &Path) -> anyhow::Result<HashSet<PathBuf>> {
    let context = || format!("reading {}", folder.display());
    fs::read_dir(folder)
        .with_context(context)?
        .map(|entry| Ok(entry.with_context(context)?.path()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::super::tree::tests::small;
    use super::*;

    fn complaint(tree: &Tree, expected: Expected) -> Option<String> {
        let checked = check(tree, expected, &Workers::as_we_are());
        checked.err().map(|error| format!("{error:#}"))
    }

    #[test]
    fn a_tree_is_full_then_expired_then_full_again() {
        let folder = tempfile::tempdir().unwrap();
        let tree = small(folder.path());
        let workers = Workers::as_we_are();
        workers
            .each(tree.mailboxes, |mailbox| tree.write(mailbox))
            .unwrap();
        for _ in 0..2 {
            assert_eq!(complaint(&tree, Expected::Full), None);
            let left = complaint(&tree, Expected::Expired).unwrap();
            let many = format!("0 missing, {} too many", tree.files_that_go());
            assert!(left.contains(&many), "{left}");

            for path in tree.paths_that_go() {
                fs::remove_file(path).unwrap();
            }
            assert_eq!(complaint(&tree, Expected::Expired), None);
            let gone = complaint(&tree, Expected::Full).unwrap();
            let many = format!("{} missing, 0 too many", tree.files_that_go());
            assert!(gone.contains(&many), "{gone}");

            workers
                .each(tree.mailboxes, |mailbox| tree.restore(mailbox))
                .unwrap();
        }
    }

    #[test]
    fn what_does_not_belong_there_is_found() {
        for name in ["0@x/cur", "more@x", "000000002@chat.test/tmp/left"] {
            let folder = tempfile::tempdir().unwrap();
            let tree = small(folder.path());
            (0..tree.mailboxes).for_each(|mailbox| tree.write(mailbox).unwrap());
            fs::create_dir_all(tree.root.join(name)).unwrap();
            assert!(complaint(&tree, Expected::Full).is_some(), "{name}");
        }
    }
}
