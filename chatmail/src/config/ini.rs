//! The INI dialect of `chatmail.ini`: the rules of Python's `iniconfig`, which classic relays use.
//!
//! - `name = value` or `name: value` at the line start; the first `=` divides unless a `:` stands
//!   before it.
//! - A line that begins with white space continues the value above, on a line of its own.
//! - `#` and `;` begin a comment only as the first character of a line that is not blank; inside a
//!   value they are text. There is no quoting.
//! - A name given twice in a section, or a section given twice, is an error.

use std::fmt;

/// A value and the line it began on (1-based).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The section it stands in.
    pub section: String,
    /// The name before the `=`.
    pub name: String,
    /// The value, trimmed; continuation lines joined by `\n`.
    pub value: String,
    /// The line of the name, counted from 1.
    pub line: usize,
}

/// A line that breaks the rules.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct IniError {
    /// The line, counted from 1.
    pub line: usize,
    /// What is wrong with it.
    pub problem: Problem,
}

impl fmt::Display for IniError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "line {}: {}", self.line, self.problem)
    }
}

/// What is wrong with a line.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// Neither a section, nor a name with `=` or `:`, nor a continuation.
    #[error("expected `name = value`, `[section]`, a comment, or an indented continuation line")]
    NotAnEntry,
    /// An indented line with no value above it.
    #[error("an indented line continues a value, and there is none above it")]
    NothingToContinue,
    /// An entry before the first `[section]`.
    #[error("`{0}` stands before the first section; put `[params]` above it")]
    NoSection(String),
    /// `[]`.
    #[error("a section needs a name")]
    EmptySection,
    /// The section was begun before.
    #[error("section `[{0}]` was begun before")]
    DuplicateSection(String),
    /// The name was given before in this section.
    #[error("`{name}` was given before, on line {first}; keep one of them")]
    DuplicateName {
        /// The name.
        name: String,
        /// Where it was first given.
        first: usize,
    },
}

enum Line<'a> {
    Blank,
    Section(&'a str),
    Entry(&'a str, &'a str),
    Continuation(&'a str),
}

/// Reads a whole file.
///
/// # Errors
/// The first line that breaks the rules in the module's documentation.
pub fn parse(text: &str) -> Result<Vec<Entry>, IniError> {
    let mut entries: Vec<Entry> = Vec::new();
    let mut sections: Vec<&str> = Vec::new();
    // Whether an indented line has a value to continue: false at the start and after a section.
    let mut in_entry = false;

    for (index, raw) in text.lines().enumerate() {
        let line = index + 1;
        let fail = |problem| IniError { line, problem };
        match classify(raw).map_err(fail)? {
            Line::Blank => {}
            Line::Section("") => return Err(fail(Problem::EmptySection)),
            Line::Section(name) if sections.contains(&name) => {
                return Err(fail(Problem::DuplicateSection(name.into())));
            }
            Line::Section(name) => {
                sections.push(name);
                in_entry = false;
            }
            Line::Entry(name, value) => {
                let Some(section) = sections.last() else {
                    return Err(fail(Problem::NoSection(name.into())));
                };
                let twin = |entry: &&Entry| entry.section == *section && entry.name == name;
                if let Some(twin) = entries.iter().find(twin) {
                    return Err(fail(Problem::DuplicateName {
                        name: name.into(),
                        first: twin.line,
                    }));
                }
                entries.push(Entry {
                    section: (*section).into(),
                    name: name.into(),
                    value: value.into(),
                    line,
                });
                in_entry = true;
            }
            Line::Continuation(more) => {
                let Some(last) = entries.last_mut().filter(|_| in_entry) else {
                    return Err(fail(Problem::NothingToContinue));
                };
                if !last.value.is_empty() {
                    last.value.push('\n');
                }
                last.value.push_str(more);
            }
        }
    }
    Ok(entries)
}

fn classify(raw: &str) -> Result<Line<'_>, Problem> {
    let line = raw.trim_end();
    if line.is_empty() || line.trim_start().starts_with(['#', ';']) {
        return Ok(Line::Blank);
    }
    if line.starts_with(char::is_whitespace) {
        return Ok(Line::Continuation(line.trim_start()));
    }
    if let Some(rest) = line.strip_prefix('[') {
        let bare = rest.split(['#', ';']).next().unwrap_or_default().trim_end();
        // iniconfig takes any other line that begins with `[` for a continuation.
        return Ok(bare
            .strip_suffix(']')
            .map_or(Line::Continuation(line), Line::Section));
    }
    let (name, value) = match line.split_once('=') {
        Some((name, value)) if !name.contains(':') => (name, value),
        _ => line.split_once(':').ok_or(Problem::NotAnEntry)?,
    };
    Ok(Line::Entry(name.trim(), value.trim()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    fn values(text: &str) -> Vec<(String, String)> {
        parse(text)
            .unwrap()
            .into_iter()
            .map(|entry| (entry.name, entry.value))
            .collect()
    }

    #[rstest]
    #[case("[params]\na = 1\nb: 2\n", &[("a", "1"), ("b", "2")])]
    #[case("[params]\na = x:y=z\nb:c = d", &[("a", "x:y=z"), ("b", "c = d")])]
    #[case("[params]\na = 1 # not a comment\n# b = 2\n  ; c = 3\n", &[("a", "1 # not a comment")])]
    #[case("[params]\na =\n  one\n\n  # between\n  two\n", &[("a", "one\ntwo")])]
    #[case("[params]\na = \"quoted\"\nempty =\n", &[("a", "\"quoted\""), ("empty", "")])]
    #[case("[params] # the section\r\na = 1\r\n", &[("a", "1")])]
    #[case("[params]\na = 1\n[2001:db8::1]:25 x\n", &[("a", "1\n[2001:db8::1]:25 x")])]
    fn reads(#[case] text: &str, #[case] expected: &[(&str, &str)]) {
        let expected: Vec<_> = expected
            .iter()
            .map(|(name, value)| (name.to_string(), value.to_string()))
            .collect();
        assert_eq!(values(text), expected);
    }

    #[rstest]
    #[case("a = 1", 1, Problem::NoSection("a".into()))]
    #[case("[params]\nnonsense", 2, Problem::NotAnEntry)]
    #[case("[params]\n  indented", 2, Problem::NothingToContinue)]
    #[case("  indented", 1, Problem::NothingToContinue)]
    #[case("[params]\na=1\n[other]\n  indented", 4, Problem::NothingToContinue)]
    #[case("[]", 1, Problem::EmptySection)]
    #[case("[x]\n[x]", 2, Problem::DuplicateSection("x".into()))]
    #[case("[x]\na=1\nb=2\na=3", 4, Problem::DuplicateName { name: "a".into(), first: 2 })]
    fn refuses(#[case] text: &str, #[case] line: usize, #[case] problem: Problem) {
        assert_eq!(parse(text), Err(IniError { line, problem }));
    }

    #[test]
    fn the_same_name_may_stand_in_two_sections() {
        assert_eq!(parse("[x]\na=1\n[y]\na=2").unwrap().len(), 2);
    }
}
