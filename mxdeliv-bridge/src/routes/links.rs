//! Next hops for Postfix: a link to the bridge's LMTP socket for each domain.
//!
//! Postfix gives each next hop its own concurrency, back-off and fairness. Its chroot and working
//! directory is the queue directory, which the LMTP socket's folder must lie in: with
//! `mxdeliv_lmtp_socket = QUEUE/mxdeliv/lmtp.sock` the next hop of x.org is `unix:mxdeliv/peers/x.org`, a
//! link to `../lmtp.sock`.

use std::collections::HashMap;
use std::fs::{self, DirBuilder, Permissions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use aws_lc_rs::digest::{SHA256, digest};
use chatmail::Domain;

use super::clock::Moment;

/// The most octets of a socket's path, without the final NUL (unix(7)).
const PATH_MAX: usize = 107;

/// What begins the name of a link that is not a domain's: no domain does.
const HASHED: char = '=';

/// The most links that are kept.
const LINKS_MAX: usize = 20_000;

/// How long a link is kept without use. What Postfix has in its queue for a link that is gone is tried
/// again, and then asks for the link.
const UNUSED: Duration = Duration::from_secs(3 * 24 * 60 * 60);

/// The folder of the links.
#[derive(Debug)]
pub(super) struct Links {
    folder: PathBuf,
    /// The folder as Postfix sees it.
    seen: String,
    /// What links lead to.
    target: PathBuf,
    /// When each link was last asked for.
    used: Mutex<HashMap<String, Moment>>,
}

impl Links {
    /// Makes the folder beside the LMTP socket if need be, and takes over the links in it.
    ///
    /// # Errors
    /// The folder cannot be made or read, or has no name that Postfix could be told.
    pub(super) fn open(lmtp_socket: &Path, now: Moment) -> io::Result<Self> {
        let beside = lmtp_socket.parent();
        let below_queue = beside
            .and_then(Path::file_name)
            .and_then(|name| name.to_str());
        let (Some(beside), Some(below_queue), Some(socket)) =
            (beside, below_queue, lmtp_socket.file_name())
        else {
            let why = "it must lie in a folder below Postfix's queue directory";
            return Err(io::Error::new(ErrorKind::InvalidInput, why));
        };
        let links = Self {
            folder: beside.join("peers"),
            seen: format!("{below_queue}/peers"),
            target: Path::new("..").join(socket),
            used: Mutex::default(),
        };
        match DirBuilder::new().create(&links.folder) {
            Err(error) if error.kind() != ErrorKind::AlreadyExists => return Err(error),
            _ => {}
        }
        // Whatever the umask: Postfix goes through it, as somebody else.
        fs::set_permissions(&links.folder, Permissions::from_mode(0o755))?;
        for entry in std::fs::read_dir(&links.folder)? {
            if let Ok(name) = entry?.file_name().into_string() {
                links.used().insert(name, now);
            }
        }
        Ok(links)
    }

    /// The next hop of a domain, as Postfix sees it; its link is there when this returns.
    ///
    /// # Errors
    /// It cannot be made.
    pub(super) fn next_hop(&self, domain: &Domain, now: Moment) -> io::Result<String> {
        let name = self.name(domain);
        self.make(&name)?;
        let mut used = self.used();
        if let Some(used) = used.get_mut(&name) {
            *used = now;
        } else {
            if used.len() >= LINKS_MAX {
                self.remove_oldest(&mut used);
            }
            used.insert(name.clone(), now);
        }
        Ok(format!("unix:{}/{name}", self.seen))
    }

    /// Removes links that nobody has asked for in days.
    pub(super) fn sweep(&self, now: Moment) {
        self.used().retain(|name, used| {
            let keep = now.since(*used) < UNUSED;
            if !keep {
                self.remove(name);
            }
            keep
        });
    }

    /// The domain, or a hash when the path would be too long or the domain is an address.
    fn name(&self, domain: &Domain) -> String {
        let length = self.folder.as_os_str().len() + 1 + domain.as_str().len();
        if domain.ip().is_none() && length <= PATH_MAX {
            return domain.to_string();
        }
        let hash = digest(&SHA256, domain.as_str().as_bytes());
        let hash = hash.as_ref().iter().take(16);
        hash.fold(HASHED.to_string(), |name, octet| {
            format!("{name}{octet:02x}")
        })
    }

    fn make(&self, name: &str) -> io::Result<()> {
        let path = self.folder.join(name);
        match symlink(&self.target, &path) {
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
            made => return made,
        }
        if std::fs::read_link(&path).is_ok_and(|target| target == self.target) {
            return Ok(());
        }
        // Of another configuration, or of a hand. Postfix sees the old one or the new one.
        let new = self.folder.join(format!("{name}.new"));
        match std::fs::remove_file(&new) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        symlink(&self.target, &new)?;
        std::fs::rename(new, path)
    }

    /// Removes a tenth, so that this is rare.
    fn remove_oldest(&self, used: &mut HashMap<String, Moment>) {
        let mut by_age: Vec<(Moment, String)> = used
            .iter()
            .map(|(name, used)| (*used, name.clone()))
            .collect();
        by_age.sort_unstable();
        by_age.truncate(by_age.len() / 10 + 1);
        for (_, name) in by_age {
            self.remove(&name);
            used.remove(&name);
        }
    }

    fn remove(&self, name: &str) {
        let path = self.folder.join(name);
        // Nothing else than a link is ours.
        if std::fs::read_link(&path).is_ok() {
            let _ = std::fs::remove_file(path);
        }
    }

    fn used(&self) -> MutexGuard<'_, HashMap<String, Moment>> {
        self.used.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tempfile::TempDir;

    const START: Moment = Moment(1_000_000);

    fn links() -> (TempDir, Links) {
        let queue = tempfile::tempdir().unwrap();
        std::fs::create_dir(queue.path().join("mxdeliv")).unwrap();
        let links = open(&queue);
        (queue, links)
    }

    fn open(queue: &TempDir) -> Links {
        Links::open(&queue.path().join("mxdeliv/lmtp.sock"), START).unwrap()
    }

    fn domain(text: &str) -> Domain {
        text.parse().unwrap()
    }

    fn count(queue: &TempDir) -> usize {
        let folder = queue.path().join("mxdeliv/peers");
        std::fs::read_dir(folder).unwrap().count()
    }

    #[test]
    fn a_link_leads_to_the_socket() {
        let (queue, links) = links();
        std::fs::write(queue.path().join("mxdeliv/lmtp.sock"), "here").unwrap();
        for _ in 0..2 {
            let hop = links.next_hop(&domain("X.test"), START).unwrap();
            assert_eq!(hop, "unix:mxdeliv/peers/x.test");
        }
        let seen = queue.path().join("mxdeliv/peers/x.test");
        assert_eq!(std::fs::read(seen).unwrap(), b"here");
    }

    #[test]
    fn postfix_gets_at_the_links_whatever_the_umask() {
        let (queue, _) = links();
        let folder = queue.path().join("mxdeliv/peers");
        fs::set_permissions(&folder, Permissions::from_mode(0o700)).unwrap();
        open(&queue);
        let mode = fs::metadata(&folder).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o755);
    }

    #[test]
    fn a_link_that_is_gone_or_wrong_is_made_again() {
        let (queue, links) = links();
        links.next_hop(&domain("x.test"), START).unwrap();
        let path = queue.path().join("mxdeliv/peers/x.test");
        std::fs::remove_file(&path).unwrap();
        links.next_hop(&domain("x.test"), START).unwrap();
        assert!(path.is_symlink());
        std::fs::remove_file(&path).unwrap();
        symlink("elsewhere", &path).unwrap();
        links.next_hop(&domain("x.test"), START).unwrap();
        assert_eq!(
            std::fs::read_link(&path).unwrap(),
            Path::new("../lmtp.sock")
        );
        assert_eq!(count(&queue), 1);
    }

    #[test]
    fn long_names_and_addresses_are_hashed() {
        let (queue, links) = links();
        let long = format!("{}.{}.test", "a".repeat(60), "b".repeat(60));
        let mut names = std::collections::HashSet::new();
        for text in [
            &long,
            &format!("c{}", &long[1..]),
            "[192.0.2.1]",
            "[IPv6:2001:db8::1]",
        ] {
            let hop = links.next_hop(&domain(text), START).unwrap();
            let name = hop.strip_prefix("unix:mxdeliv/peers/=").unwrap().to_owned();
            assert_eq!(name.len(), 32);
            assert!(name.bytes().all(|octet| octet.is_ascii_hexdigit()));
            assert!(links.folder.join(format!("={name}")).as_os_str().len() <= PATH_MAX);
            names.insert(name);
        }
        assert_eq!((names.len(), count(&queue)), (4, 4));
    }

    #[test]
    fn links_that_nobody_uses_go() {
        let (queue, links) = links();
        links.next_hop(&domain("old.test"), START).unwrap();
        links.next_hop(&domain("used.test"), START).unwrap();
        drop(links);
        let links = open(&queue);
        let later = START.after(UNUSED - Duration::from_secs(1));
        links.next_hop(&domain("used.test"), later).unwrap();
        links.sweep(later);
        assert_eq!(count(&queue), 2);
        links.sweep(START.after(UNUSED));
        assert_eq!(count(&queue), 1);
        assert!(queue.path().join("mxdeliv/peers/used.test").is_symlink());
    }

    #[test]
    fn there_are_only_so_many_links() {
        let (queue, links) = links();
        for number in 0..LINKS_MAX + 10 {
            links
                .next_hop(&domain(&format!("x{number}.test")), START)
                .unwrap();
        }
        assert!(count(&queue) <= LINKS_MAX);
        assert!(
            queue
                .path()
                .join(format!("mxdeliv/peers/x{}.test", LINKS_MAX + 9))
                .is_symlink()
        );
    }

    #[test]
    fn what_is_no_link_is_left_alone() {
        let (queue, links) = links();
        let path = queue.path().join("mxdeliv/peers/file");
        std::fs::write(&path, "precious").unwrap();
        links.remove("file");
        assert!(path.exists());
    }

    #[test]
    fn a_socket_outside_of_any_folder_is_an_error() {
        assert!(Links::open(Path::new("/lmtp.sock"), START).is_err());
        assert!(Links::open(Path::new("lmtp.sock"), START).is_err());
    }
}
