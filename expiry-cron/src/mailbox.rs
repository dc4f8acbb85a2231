//! All that is in one mailbox, in no order.
//!
//! A mailbox is a Maildir++ directory: messages in `cur`, `new` and `tmp` of its own and of any directory
//! below it, and other files. Names are read and looked at one after the other; nothing is collected.

use std::ffi::CStr;
use std::io;

use crate::directory::{Buffer, Directory, Kind, Status};
use crate::rules::Part;

/// How deep directories may lie in one another. Deeper ones are not looked at: IMAP folders lie beside
/// one another, whatever their names say.
pub const DEPTH_MAX: usize = 32;

/// A message as it is found.
#[derive(Clone, Copy)]
pub struct Message<'a> {
    /// The directory it is in.
    pub directory: &'a Directory,
    /// Which one of its folder.
    pub part: Part,
    /// Whether the folder is INBOX.
    pub inbox: bool,
    /// Its name.
    pub name: &'a CStr,
    /// Its time and size.
    pub status: Status,
}

/// Is shown what is in a mailbox.
pub trait Visitor {
    /// A message.
    fn message(&mut self, at: &Trail, message: Message<'_>);

    /// A regular file that is not a message. Shown only to those who want it.
    fn other_file(&mut self, status: Status) {
        let _ = status;
    }

    /// Whether files that are not messages are to be shown, which costs a look at each.
    fn wants_other_files(&self) -> bool {
        false
    }

    /// Something that cannot be looked at.
    fn trouble(&mut self, at: &Trail, error: &io::Error);
}

/// Where a walk is: names from the mailbox down, for those who are told.
#[derive(Debug, Default)]
pub struct Trail(Vec<u8>);

impl Trail {
    /// Begins at a mailbox.
    pub fn begin(&mut self, mailbox: &CStr) {
        self.0.clear();
        self.0.extend_from_slice(mailbox.to_bytes());
    }

    /// The name of the mailbox itself, with what is not printable written as an escape.
    pub fn mailbox(&self) -> impl std::fmt::Display {
        let name = self.0.split(|octet| *octet == b'/').next();
        name.unwrap_or_default().escape_ascii()
    }

    /// Does something one directory further down.
    fn below<T>(&mut self, name: &CStr, work: impl FnOnce(&mut Self) -> T) -> T {
        let length = self.0.len();
        self.0.push(b'/');
        self.0.extend_from_slice(name.to_bytes());
        let result = work(self);
        self.0.truncate(length);
        result
    }

    /// The path of a name here, with what is not printable written as an escape.
    pub fn to(&self, name: &CStr) -> String {
        format!("{}/{}", self, name.to_bytes().escape_ascii())
    }
}

impl std::fmt::Display for Trail {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.escape_ascii().fmt(out)
    }
}

/// Room that walks need, used again and again: a buffer for each level.
#[derive(Debug, Default)]
pub struct Room {
    buffers: Vec<Buffer>,
}

impl Room {
    /// A buffer to list a directory with; give it [back](Self::give_back).
    pub fn buffer(&mut self) -> Buffer {
        self.buffers.pop().unwrap_or_default()
    }

    /// Takes a buffer for the next who needs one.
    pub fn give_back(&mut self, buffer: Buffer) {
        self.buffers.push(buffer);
    }
}

/// Shows a visitor all that is in a mailbox, whose name the trail begins with. `false` when there is
/// nothing in it, not even a directory.
pub fn walk(
    mailbox: &Directory,
    trail: &mut Trail,
    room: &mut Room,
    visitor: &mut impl Visitor,
) -> bool {
    let mut walk = Walk {
        room,
        visitor,
        depth: 0,
    };
    walk.folder(mailbox, trail)
}

struct Walk<'a, V> {
    room: &'a mut Room,
    visitor: &'a mut V,
    depth: usize,
}

impl<V: Visitor> Walk<'_, V> {
    /// A directory that may hold `cur`, `new` and `tmp`. `false` when nothing is in it.
    fn folder(&mut self, folder: &Directory, trail: &mut Trail) -> bool {
        self.list(folder, trail, |walk, trail, name, kind| match kind {
            Kind::Directory => walk.directory(folder, name, trail),
            Kind::File if walk.visitor.wants_other_files() => match folder.status(name) {
                Ok(Some(status)) => walk.visitor.other_file(status),
                Ok(None) => {}
                Err(error) => walk.visitor.trouble(trail, &error),
            },
            Kind::File | Kind::Other | Kind::Unknown => {}
        })
    }

    fn directory(&mut self, parent: &Directory, name: &CStr, trail: &mut Trail) {
        let part = Part::of(name.to_bytes());
        trail.below(name, |trail| match parent.open(name) {
            Ok(directory) => match part {
                Some(part) => self.messages(&directory, part, trail),
                None if self.depth == DEPTH_MAX => {
                    let error = io::Error::other("directories lie too deep in one another");
                    self.visitor.trouble(trail, &error);
                }
                None => {
                    self.depth += 1;
                    let _ = self.folder(&directory, trail);
                    self.depth -= 1;
                }
            },
            // It has been removed meanwhile.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => self.visitor.trouble(trail, &error),
        });
    }

    fn messages(&mut self, directory: &Directory, part: Part, trail: &mut Trail) {
        let inbox = self.depth == 0;
        let _ = self.list(directory, trail, |walk, trail, name, kind| {
            if !matches!(kind, Kind::File) {
                return;
            }
            match directory.status(name) {
                Ok(Some(status)) if status.kind == Kind::File => {
                    let message = Message {
                        directory,
                        part,
                        inbox,
                        name,
                        status,
                    };
                    walk.visitor.message(trail, message);
                }
                Ok(_) => {}
                Err(error) => walk.visitor.trouble(trail, &error),
            }
        });
    }

    /// Lists a directory with the kind of each name, if need be by looking at it. `false` when
    /// nothing is in it.
    fn list(
        &mut self,
        directory: &Directory,
        trail: &mut Trail,
        mut found: impl FnMut(&mut Self, &mut Trail, &CStr, Kind),
    ) -> bool {
        let mut any = false;
        let mut buffer = self.room.buffer();
        let listed = directory.list(&mut buffer).and_then(|mut names| {
            names.for_each(|name, kind| {
                any = true;
                match kind {
                    Kind::Unknown => match directory.status(name) {
                        Ok(Some(status)) => found(self, trail, name, status.kind),
                        Ok(None) => {}
                        Err(error) => self.visitor.trouble(trail, &error),
                    },
                    kind => found(self, trail, name, kind),
                }
            })
        });
        self.room.give_back(buffer);
        if let Err(error) = listed {
            self.visitor.trouble(trail, &error);
            return true;
        }
        any
    }
}
