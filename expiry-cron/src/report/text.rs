//! The report for people.

use std::fmt;

use super::{Accounts, KIB, MIB, Report};

/// Columns of a full bar.
const WIDTH: u64 = 24;

impl fmt::Display for Report {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let storage = &self.storage;
        let total = storage.messages.saturating_add(storage.other);
        writeln!(out, "Storage in {} mailboxes", self.mailboxes)?;
        let line = |out: &mut fmt::Formatter<'_>, name: &str, bytes: u64| {
            let (bytes, share) = (size(bytes), Share(bytes, total));
            writeln!(out, "  {name:<22} {bytes:>10}  {share}")
        };
        line(out, "all files", total)?;
        line(out, "messages", storage.messages)?;
        line(out, "other files", storage.other)?;

        writeln!(out, "\nMessages of accounts, by size")?;
        let all = self.messages.first().map_or(0, |all| all.bytes);
        for sizes in &self.messages {
            let name = match sizes.min_size {
                0 => "of any size".to_owned(),
                from if from < MIB => format!("from {} KiB", from / KIB),
                from => format!("from {} MiB", from / MIB),
            };
            let (bytes, count) = (size(sizes.bytes), sizes.count);
            let share = Share(sizes.bytes, all);
            writeln!(out, "  {name:<14} {count:>7} {bytes:>10}  {share}")?;
        }

        writeln!(out, "\nAccounts")?;
        match &self.accounts {
            Some(accounts) => write!(out, "{accounts}")?,
            None => writeln!(out, "  not known: the database does not answer")?,
        }
        if self.errors > 0 {
            writeln!(
                out,
                "\n{} files or folders could not be read: there is more than this.",
                self.errors
            )?;
        }
        Ok(())
    }
}

impl fmt::Display for Accounts {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(out, "  {:<22} {:>10}", "all", self.all)?;
        writeln!(out, "  {:<22} {:>10}", "of tests (ci-)", self.ci)?;
        let (name, user) = ("of users", self.user);
        writeln!(out, "  {name:<22} {user:>10}  {}", Share(user, user))?;
        for active in &self.active {
            let name = match active.days {
                1 => "used in the last day".to_owned(),
                days => format!("in the last {days} days"),
            };
            let (count, share) = (active.accounts, Share(active.accounts, user));
            writeln!(out, "  {name:<22} {count:>10}  {share}")?;
        }
        Ok(())
    }
}

/// A part of a whole, as a number and a bar.
struct Share(u64, u64);

impl fmt::Display for Share {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(part, whole) = *self;
        if whole == 0 {
            return out.write_str("    -");
        }
        let part = u128::from(part.min(whole));
        let permille = part * 1000 / u128::from(whole);
        let columns = (part * u128::from(WIDTH)).div_ceil(u128::from(whole));
        write!(out, "{:>3}.{} %", permille / 10, permille % 10)?;
        match usize::try_from(columns).unwrap_or(0) {
            0 => Ok(()),
            columns => write!(out, "  {}", "█".repeat(columns)),
        }
    }
}

/// A number of octets in a unit that fits, in powers of 1024.
fn size(bytes: u64) -> String {
    const UNITS: [&str; 6] = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    let mut unit = "B";
    let mut tenths = u128::from(bytes) * 10;
    for larger in UNITS {
        if tenths < 10_240 {
            break;
        }
        tenths /= 1024;
        unit = larger;
    }
    match unit {
        "B" => format!("{bytes} B"),
        unit => format!("{}.{} {unit}", tenths / 10, tenths % 10),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case(0, "0 B")]
    #[case(1023, "1023 B")]
    #[case(1024, "1.0 KiB")]
    #[case(1_500_000, "1.4 MiB")]
    #[case(u64::MAX, "15.9 EiB")]
    fn sizes(#[case] bytes: u64, #[case] shown: &str) {
        assert_eq!(size(bytes), shown);
    }

    #[rstest]
    #[case(0, 0, "    -")]
    #[case(0, 5, "  0.0 %")]
    #[case(1, 1000, "  0.1 %  █")]
    #[case(12, 24, " 50.0 %  ████████████")]
    #[case(u64::MAX, u64::MAX, "100.0 %  ████████████████████████")]
    fn shares(#[case] part: u64, #[case] whole: u64, #[case] shown: &str) {
        assert_eq!(Share(part, whole).to_string(), shown);
    }
}
