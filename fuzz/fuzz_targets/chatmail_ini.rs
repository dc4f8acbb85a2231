//! A configuration file. What is read can be written out in the plainest form and reads the same.

#![no_main]

use std::path::Path;

use chatmail::Config;
use chatmail::config::ini::{self, Entry};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let path = Path::new("chatmail.ini");
    let result = Config::parse(text, path);
    let Ok(entries) = ini::parse(text) else {
        let error = result.expect_err("a broken line is an error").to_string();
        assert!(error.starts_with("chatmail.ini: line "), "{error}");
        return;
    };
    let lines: Vec<_> = text.lines().collect();
    for entry in &entries {
        let line = lines.get(entry.line - 1).expect("a line of the file");
        assert!(line.contains(&entry.name), "{entry:?} is not there");
        let mut values = entry.value.split('\n');
        assert!(values.all(|part| text.contains(part)), "{entry:?}");
    }
    let plain = write(&entries);
    let again = ini::parse(&plain).expect("what was written is read");
    assert_eq!(without_lines(&again), without_lines(&entries), "{plain}");
    match (result, Config::parse(&plain, path)) {
        (Ok((config, warnings)), Ok((again, warnings_again))) => {
            assert_eq!(format!("{config:?}"), format!("{again:?}"));
            assert_eq!(warnings.len(), warnings_again.len());
            // The texts for the operator can be made.
            assert!(
                warnings
                    .iter()
                    .all(|warning| !warning.to_string().is_empty())
            );
        }
        (Err(error), Err(_)) => assert!(!error.to_string().is_empty()),
        (first, second) => panic!("{first:?} and then {second:?}"),
    }
});

/// The entries with their names in front and their values on lines of their own.
fn write(entries: &[Entry]) -> String {
    let mut sections: Vec<&str> = entries.iter().map(|entry| entry.section.as_str()).collect();
    sections.dedup();
    let mut text = String::new();
    for section in sections {
        text.push_str(&format!("[{section}]\n"));
        for entry in entries.iter().filter(|entry| entry.section == section) {
            let Entry { name, value, .. } = entry;
            // No blank before it: a name can be empty, and a blank would continue what is above.
            let divider = if name.contains('=') { ": " } else { "= " };
            text.push_str(&format!("{name}{divider}{}\n", value.replace('\n', "\n  ")));
        }
    }
    text
}

fn without_lines(entries: &[Entry]) -> Vec<(&str, &str, &str)> {
    entries
        .iter()
        .map(|e| (e.section.as_str(), e.name.as_str(), e.value.as_str()))
        .collect()
}
