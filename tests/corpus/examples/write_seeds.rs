//! Writes all messages to files, for fuzzers and for trying them on other programs:
//! `cargo run -p corpus --example write_seeds DIRECTORY`.

use std::path::Path;

fn main() -> std::io::Result<()> {
    let Some(directory) = std::env::args_os().nth(1) else {
        return Err(std::io::Error::other("which directory?"));
    };
    let directory = Path::new(&directory);
    std::fs::create_dir_all(directory)?;
    let count = corpus::write_seeds(directory)?;
    println!("{count} messages");
    Ok(())
}
