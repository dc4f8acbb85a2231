//! The smallest app for a chat (webxdc): what a page and a name are to a client.

use super::picture::crc32;

/// The files of the app, by name.
const FILES: [(&str, &str); 2] = [
    ("manifest.toml", "name = \"Realtime\"\n"),
    (
        "index.html",
        "<!DOCTYPE html><script src=\"webxdc.js\"></script><p>Realtime</p>\n",
    ),
];

/// A ZIP file, whose files are stored as they are (APPNOTE.TXT of PKWARE sections 4.3 and 4.4).
pub fn webxdc() -> Vec<u8> {
    let mut archive = Vec::new();
    let mut directory = Vec::new();
    for (name, content) in FILES {
        let offset = length(archive.len());
        let about = about(name, content);
        archive.extend_from_slice(b"PK\x03\x04");
        archive.extend_from_slice(&about);
        archive.extend_from_slice(name.as_bytes());
        archive.extend_from_slice(content.as_bytes());
        // The same once more, after the version that it was made by.
        directory.extend_from_slice(b"PK\x01\x02\x14\0");
        directory.extend_from_slice(&about);
        // No comment, the first disk, no attributes.
        directory.extend_from_slice(&[0; 10]);
        directory.extend_from_slice(&offset);
        directory.extend_from_slice(name.as_bytes());
    }
    let count = length(FILES.len());
    let start = length(archive.len());
    archive.extend_from_slice(&directory);
    archive.extend_from_slice(b"PK\x05\x06\0\0\0\0");
    archive.extend_from_slice(&count[..2]);
    archive.extend_from_slice(&count[..2]);
    archive.extend_from_slice(&length(directory.len()));
    archive.extend_from_slice(&start);
    archive.extend_from_slice(&[0; 2]);
    archive
}

/// What stands in front of a file as in the directory.
fn about(name: &str, content: &str) -> Vec<u8> {
    // Version 2.0, no flags, stored, at midnight of 1980-01-01.
    let mut about = vec![0x14, 0, 0, 0, 0, 0, 0, 0, 0x21, 0];
    about.extend_from_slice(&crc32(content.as_bytes()).to_le_bytes());
    about.extend_from_slice(&length(content.len()));
    about.extend_from_slice(&length(content.len()));
    about.extend_from_slice(&length(name.len())[..2]);
    // No extra field.
    about.extend_from_slice(&[0; 2]);
    about
}

fn length(count: usize) -> [u8; 4] {
    u32::try_from(count).unwrap_or(u32::MAX).to_le_bytes()
}
