//! The directory of all mailboxes, gone through by several threads.
//!
//! On a disk that has to be asked, threads wait for it beside one another; so there are more of them than
//! processors. Memory does not grow with the number of mailboxes: names are taken from the kernel as
//! threads become free.

use std::ffi::{CStr, CString};
use std::io::{self, ErrorKind};
use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};

use crate::directory::{Buffer, Directory, Kind, Listing};

/// Names that a thread takes at a time.
const BATCH: usize = 16;

/// Threads unless told otherwise. On a disk of the slower kind the walk gets faster up to some eight.
pub const THREADS: NonZeroUsize = NonZeroUsize::new(8).unwrap();

/// How to go through them.
#[derive(Clone, Copy, Debug)]
pub struct Pass {
    /// Threads.
    pub threads: NonZeroUsize,
    /// No more mailboxes than this; `None` for all.
    pub max: Option<u64>,
}

/// Whether a name in the directory of all mailboxes is that of one, as far as the name tells.
pub fn is_mailbox(name: &CStr, kind: Kind) -> bool {
    matches!(kind, Kind::Directory | Kind::Unknown) && name.to_bytes().contains(&b'@')
}

/// Whether an error of opening a mailbox says that it is none: it has been removed meanwhile, or the
/// name is that of a link or a file.
pub fn is_no_mailbox(error: &io::Error) -> bool {
    const LOOP: i32 = rustix::io::Errno::LOOP.raw_os_error();
    matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory)
        || error.raw_os_error() == Some(LOOP)
}

/// How many mailboxes there are.
///
/// # Errors
/// What the system says.
pub fn count(root: &Directory) -> io::Result<u64> {
    let mut count = 0;
    let mut buffer = Buffer::new();
    root.list(&mut buffer)?.for_each(|name, kind| {
        count += u64::from(is_mailbox(name, kind));
    })?;
    Ok(count)
}

/// Gives each thread a worker and each mailbox to one of them. Ends early when `stop` is set. The
/// workers come back.
///
/// # Errors
/// The directory cannot be listed to its end.
pub fn each<W: Send>(
    root: &Directory,
    pass: Pass,
    stop: &AtomicBool,
    mut worker: impl FnMut() -> W,
    work: impl Fn(&mut W, &CStr) + Sync,
) -> io::Result<Vec<W>> {
    let mut buffer = Buffer::new();
    let names = Mutex::new(Names {
        listing: root.list(&mut buffer)?,
        left: pass.max.unwrap_or(u64::MAX),
    });
    let go_through = |mut worker: W| -> (W, io::Result<()>) {
        let mut batch = Vec::with_capacity(BATCH);
        loop {
            let taken = names
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .take(&mut batch);
            for name in batch.drain(..) {
                if !stop.load(Relaxed) {
                    work(&mut worker, &name);
                }
            }
            match taken {
                Ok(true) if !stop.load(Relaxed) => {}
                taken => return (worker, taken.map(drop)),
            }
        }
    };
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..pass.threads.get())
            .map(|_| {
                let worker = worker();
                scope.spawn(|| go_through(worker))
            })
            .collect();
        let mut workers = Vec::with_capacity(threads.len());
        for thread in threads {
            let died = |_| io::Error::other("a thread died");
            let (worker, ended) = thread.join().map_err(died)?;
            ended?;
            workers.push(worker);
        }
        Ok(workers)
    })
}

/// The names that nobody has taken yet.
struct Names<'a> {
    listing: Listing<'a>,
    left: u64,
}

impl Names<'_> {
    /// Takes some; `false` when they were the last.
    fn take(&mut self, batch: &mut Vec<CString>) -> io::Result<bool> {
        while batch.len() < BATCH {
            if self.left == 0 {
                return Ok(false);
            }
            let next = self
                .listing
                .find_map(|name, kind| is_mailbox(name, kind).then(|| name.to_owned()))?;
            match next {
                Some(name) => batch.push(name),
                None => return Ok(false),
            }
            self.left -= 1;
        }
        Ok(true)
    }
}
