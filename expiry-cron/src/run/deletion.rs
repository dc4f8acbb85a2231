//! What there is to know for deleting accounts, wherever they are: in files or in a database.

use std::ffi::{CStr, CString};
use std::io;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};

use chatmail::Address;
use chatmail::accounts::PASSWORD_FILE;
use chatmail::accounts::deletion::EXPIRED_FILE;
use chatmail::tombstones::Day;

use crate::directory::Directory;
use crate::mailbox::Room;
use crate::narrator::Narrator;
use crate::removal;

/// Between two looks whether to stop.
pub(super) const PAUSE: Duration = Duration::from_millis(100);

/// How accounts are deleted.
#[derive(Clone, Copy)]
pub(super) struct Deletion<'a> {
    /// The directory of all mailboxes.
    pub(super) root: &'a Directory,
    /// The day until which addresses stay taken; `None` when they are not.
    pub(super) until: Option<Day>,
    /// How long an account waits after it was marked.
    pub(super) window: Duration,
    pub(super) stop: &'a AtomicBool,
    pub(super) narrator: &'a Narrator,
}

impl Deletion<'_> {
    /// Whether the run is told to stop.
    pub(super) fn is_stopped(&self) -> bool {
        self.stop.load(Relaxed)
    }

    /// Whether an account may be deleted that was marked then.
    pub(super) fn is_due(&self, marked: Instant) -> bool {
        self.left(marked).is_none()
    }

    /// Waits until an account may be deleted that was marked then; `false` when told to stop.
    pub(super) fn wait(&self, marked: Instant) -> bool {
        while !self.is_stopped() {
            match self.left(marked) {
                Some(left) => std::thread::sleep(PAUSE.min(left)),
                None => return true,
            }
        }
        false
    }

    /// Removes a mailbox of which a database knows that it has to go, whatever password file it has from before.
    pub(super) fn remove_mailbox(&self, address: &Address, room: &mut Room) -> io::Result<()> {
        let Ok(name) = CString::new(address.to_string()) else {
            return Ok(());
        };
        match self.root.open(name.as_c_str()) {
            Ok(mailbox) => mailbox.rename(PASSWORD_FILE, EXPIRED_FILE).map(drop)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(error),
        }
        removal::remove(self.root, &name, room)?;
        self.narrator.step(|| format!("removing {address}"));
        Ok(())
    }

    fn left(&self, marked: Instant) -> Option<Duration> {
        let left = self.window.saturating_sub(marked.elapsed());
        (!left.is_zero()).then_some(left)
    }
}

/// The address whose mailbox has this name; a name with capitals belongs to nobody.
pub(super) fn address_of(name: &CStr) -> Option<Address> {
    let name = name.to_str().ok()?;
    let address: Address = name.parse().ok()?;
    (address.to_string() == name).then_some(address)
}
