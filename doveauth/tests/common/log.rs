//! What this process logs.

use std::io;
use std::sync::Mutex;

use tracing_subscriber::filter::LevelFilter;

static LOG: Mutex<Vec<u8>> = Mutex::new(Vec::new());

struct Writer;

impl io::Write for Writer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        LOG.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Begins to keep what is logged, down to level debug. Once in a process.
pub(crate) fn keep() {
    tracing_subscriber::fmt()
        .with_max_level(LevelFilter::DEBUG)
        .with_ansi(false)
        .with_writer(|| Writer)
        .init();
}

/// Everything that was logged since.
pub(crate) fn kept() -> String {
    String::from_utf8(LOG.lock().unwrap().clone()).unwrap()
}
