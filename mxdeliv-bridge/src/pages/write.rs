//! Files that readers see whole.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use super::PagesError;

/// Puts `content` in the place of a file, in one step; its folder is made if need be. Whether that was needed:
/// a file that has this content is left alone, and with it the time that browsers know it by.
///
/// # Errors
/// The folder or the file cannot be written.
pub(super) fn replace(path: &Path, content: &[u8]) -> Result<bool, PagesError> {
    if fs::read(path).is_ok_and(|there| there == content) {
        return Ok(false);
    }
    let unfinished = unfinished(path);
    let written = write(path, &unfinished, content);
    if written.is_err() {
        // If it is there at all, it is of no use.
        let _ = fs::remove_file(&unfinished);
    }
    written.map_err(|source| PagesError::Write {
        path: path.to_owned(),
        source,
    })?;
    Ok(true)
}

fn write(path: &Path, unfinished: &Path, content: &[u8]) -> io::Result<()> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    // What an earlier run has left, or somebody has put there: not to be followed or written into.
    match fs::remove_file(unfinished) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = File::create_new(unfinished)?;
    file.write_all(content)?;
    // Whatever the umask: nginx runs as somebody else.
    file.set_permissions(fs::Permissions::from_mode(0o644))?;
    file.sync_all()?;
    fs::rename(unfinished, path)
}

/// Beside the file, hidden, and of this process.
fn unfinished(path: &Path) -> PathBuf {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    path.with_file_name(format!(".{name}.{}", std::process::id()))
}
