//! A log file that grows, and that is renamed or cut off now and then.

use std::fs::File;
use std::io::{self, ErrorKind, Read as _, Seek as _, SeekFrom};
use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;

/// Longest line that is looked at, in octets; longer ones are left out.
pub(super) const LINE_MAX: usize = 8192;

/// Octets that are read in one go.
const READ_AT_ONCE: usize = 4 << 20;

/// Octets that are read at a time.
const BUFFER: usize = 64 << 10;

/// Whether there is more to read now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Progress {
    /// There may be.
    More,
    /// Not until something is logged.
    End,
}

/// Reads what is appended to a file. It may be away, be renamed while a new one takes its place, or be
/// cut off: then it is read from its beginning.
#[derive(Debug)]
pub(super) struct Follower {
    path: PathBuf,
    open: Option<Open>,
    /// The part of a line that is there.
    line: Vec<u8>,
    /// Whether the rest of a line is to be left out.
    too_long: bool,
}

#[derive(Debug)]
struct Open {
    file: File,
    /// Where to go on.
    at: u64,
    /// Another file was seen in its place. What writes it may not have noticed yet, so that it is looked
    /// into once more.
    replaced: bool,
}

impl Follower {
    /// From the end of the file that is there now.
    pub(super) fn new(path: PathBuf) -> Self {
        let open = File::open(&path).and_then(|mut file| {
            let at = file.seek(SeekFrom::End(0))?;
            Ok(Open::new(file, at))
        });
        Self {
            path,
            open: open.ok(),
            line: Vec::new(),
            too_long: false,
        }
    }

    /// Shows each whole line that was appended since the last time, without its end.
    pub(super) fn read(&mut self, mut show: impl FnMut(&[u8])) -> io::Result<Progress> {
        if self.open.is_none() && !self.open_again()? {
            return Ok(Progress::End);
        }
        let mut buffer = vec![0; BUFFER];
        let mut left = READ_AT_ONCE;
        while left > 0 {
            let Some(open) = &mut self.open else { break };
            let length = open.file.read(&mut buffer)?;
            if length == 0 {
                return self.at_end();
            }
            open.at += length as u64;
            left = left.saturating_sub(length);
            self.take(buffer.get(..length).unwrap_or_default(), &mut show);
        }
        Ok(Progress::More)
    }

    /// Opens the file from its beginning; `false` when there is none.
    fn open_again(&mut self) -> io::Result<bool> {
        self.line.clear();
        self.too_long = false;
        self.open = match File::open(&self.path) {
            Ok(file) => Some(Open::new(file, 0)),
            Err(error) if error.kind() == ErrorKind::NotFound => None,
            Err(error) => return Err(error),
        };
        Ok(self.open.is_some())
    }

    fn at_end(&mut self) -> io::Result<Progress> {
        let Some(open) = &mut self.open else {
            return Ok(Progress::End);
        };
        let here = open.file.metadata()?;
        if here.len() < open.at {
            open.at = open.file.seek(SeekFrom::Start(0))?;
            self.line.clear();
            self.too_long = false;
            return Ok(Progress::More);
        }
        let is_there = match std::fs::metadata(&self.path) {
            Ok(there) => (there.dev(), there.ino()) == (here.dev(), here.ino()),
            // Renamed, and the new one is not there yet.
            Err(error) if error.kind() == ErrorKind::NotFound => true,
            Err(error) => return Err(error),
        };
        if is_there {
            return Ok(Progress::End);
        }
        if !std::mem::replace(&mut open.replaced, true) {
            return Ok(Progress::End);
        }
        self.open_again()?;
        Ok(Progress::More)
    }

    fn take(&mut self, octets: &[u8], show: &mut impl FnMut(&[u8])) {
        for piece in octets.split_inclusive(|&octet| octet == b'\n') {
            let (text, ends) = match piece.strip_suffix(b"\n") {
                Some(text) => (text, true),
                None => (piece, false),
            };
            self.too_long |= self.line.len() + text.len() > LINE_MAX;
            if self.too_long {
                self.line.clear();
            } else {
                self.line.extend_from_slice(text);
            }
            if ends {
                if !std::mem::take(&mut self.too_long) {
                    show(&self.line);
                }
                self.line.clear();
            }
        }
    }
}

impl Open {
    fn new(file: File, at: u64) -> Self {
        Self {
            file,
            at,
            replaced: false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write as _;
    use std::path::Path;

    fn append(path: &Path, text: &str) {
        let mut file = File::options()
            .append(true)
            .create(true)
            .open(path)
            .unwrap();
        file.write_all(text.as_bytes()).unwrap();
    }

    /// What comes until there is no more now.
    fn lines(follower: &mut Follower) -> Vec<String> {
        let mut lines = Vec::new();
        let mut show = |line: &[u8]| lines.push(String::from_utf8(line.to_vec()).unwrap());
        while follower.read(&mut show).unwrap() == Progress::More {}
        lines
    }

    fn log() -> (tempfile::TempDir, PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("mail.log");
        (dir, path)
    }

    #[test]
    fn it_begins_at_the_end_and_shows_whole_lines() {
        let (_dir, path) = log();
        append(&path, "old\n");
        let mut follower = Follower::new(path.clone());
        assert_eq!(lines(&mut follower), [""; 0]);
        append(&path, "one\ntw");
        assert_eq!(lines(&mut follower), ["one"]);
        append(&path, "o\n\nthree\n");
        assert_eq!(lines(&mut follower), ["two", "", "three"]);
    }

    #[test]
    fn a_file_that_comes_later_is_read_from_its_beginning() {
        let (_dir, path) = log();
        let mut follower = Follower::new(path.clone());
        assert_eq!(lines(&mut follower), [""; 0]);
        append(&path, "first\n");
        assert_eq!(lines(&mut follower), ["first"]);
    }

    #[test]
    fn rotation_loses_no_line() {
        let (dir, path) = log();
        append(&path, "old\n");
        let mut follower = Follower::new(path.clone());
        append(&path, "one\n");
        let renamed = dir.path().join("mail.log.1");
        std::fs::rename(&path, &renamed).unwrap();
        assert_eq!(lines(&mut follower), ["one"]);
        append(&renamed, "two\n");
        append(&path, "four\n");
        assert_eq!(lines(&mut follower), ["two"]);
        // Whoever writes had the old one open still.
        append(&renamed, "three\n");
        assert_eq!(lines(&mut follower), ["three", "four"]);
        append(&path, "five\n");
        assert_eq!(lines(&mut follower), ["five"]);
    }

    #[test]
    fn a_file_that_is_cut_off_is_read_from_its_beginning() {
        let (_dir, path) = log();
        let mut follower = Follower::new(path.clone());
        append(&path, "a long line\nand half of");
        assert_eq!(lines(&mut follower), ["a long line"]);
        File::options()
            .write(true)
            .open(&path)
            .unwrap()
            .set_len(0)
            .unwrap();
        append(&path, "new\n");
        assert_eq!(lines(&mut follower), ["new"]);
    }

    #[test]
    fn long_lines_are_left_out_and_take_no_memory() {
        let (_dir, path) = log();
        let mut follower = Follower::new(path.clone());
        let long = "x".repeat(LINE_MAX);
        append(&path, &format!("{long}\n{long}x\nshort\n"));
        assert_eq!(lines(&mut follower), [long.as_str(), "short"]);
        append(&path, &"y".repeat(3 * READ_AT_ONCE));
        assert_eq!(lines(&mut follower), [""; 0]);
        assert!(follower.line.capacity() <= 2 * LINE_MAX);
        append(&path, "\nafter\n");
        assert_eq!(lines(&mut follower), ["after"]);
    }

    #[test]
    fn a_folder_in_its_place_is_an_error() {
        let (_dir, path) = log();
        std::fs::create_dir(&path).unwrap();
        let mut follower = Follower::new(path);
        assert!(follower.read(|_| {}).is_err());
    }
}
