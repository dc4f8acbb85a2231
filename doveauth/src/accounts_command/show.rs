//! Commands that change nothing.

use std::io::Write;

use chatmail::accounts::{Account, Details, Operator};
use chatmail::{Address, Config};
use serde_json::json;

use crate::command::Done;

/// `list`.
pub(super) fn list(operator: &Operator, json: bool, out: &mut impl Write) -> anyhow::Result<Done> {
    for address in operator.store().accounts()? {
        let address = address?;
        if !json {
            writeln!(out, "{address}")?;
            continue;
        }
        // It may have been deleted meanwhile.
        if let Some(details) = operator.store().details(&address)? {
            let line = json!({
                "address": address.to_string(),
                "state": state(&details),
                "last_login": date(details.last_login_day),
            });
            writeln!(out, "{line}")?;
        }
    }
    Ok(Done::All)
}

/// `show`.
pub(super) fn one(
    operator: &Operator,
    config: &Config,
    address: &Address,
    json: bool,
    out: &mut impl Write,
) -> anyhow::Result<Done> {
    let Some(details) = operator.store().details(address)? else {
        if json {
            let line = json!({ "address": address.to_string(), "state": "missing" });
            writeln!(out, "{line}")?;
        } else {
            writeln!(out, "missing {address}")?;
        }
        return Ok(Done::NotAll);
    };
    let fields = json!({
        "address": address.to_string(),
        "state": state(&details),
        "last_login": date(details.last_login_day),
        "cleartext": details.cleartext,
        "bytes_used": details.bytes_used,
        "bytes_max": config.max_mailbox_size.bytes(),
    });
    match fields.as_object() {
        Some(fields) if !json => {
            for (name, value) in fields {
                let value = value
                    .as_str()
                    .map_or_else(|| value.to_string(), str::to_owned);
                writeln!(out, "{name}: {value}")?;
            }
        }
        _ => writeln!(out, "{fields}")?,
    }
    Ok(Done::All)
}

fn state(details: &Details) -> &'static str {
    match details.account {
        Account::Present(_) => "active",
        Account::Blocked => "blocked",
        Account::Locked => "locked",
        Account::Missing => "missing",
    }
}

/// A day, counted from 1970, in the calendar (RFC 3339).
fn date(day: u64) -> String {
    // Years begin in March, so that a leap day is the last one; 400 of them have 146 097 days.
    let day = day + 719_468;
    let (era, day) = (day / 146_097, day % 146_097);
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let day_of_month = day - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    let year = era * 400 + year + u64::from(month <= 2);
    format!("{year:04}-{month:02}-{day_of_month:02}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case(0, "1970-01-01")]
    #[case(58, "1970-02-28")]
    #[case(59, "1970-03-01")]
    #[case(364, "1970-12-31")]
    #[case(10_957, "2000-01-01")]
    #[case(11_016, "2000-02-29")]
    #[case(11_017, "2000-03-01")]
    #[case(20_786, "2026-11-29")]
    #[case(47_540, "2100-02-28")]
    #[case(47_541, "2100-03-01")]
    fn days_have_dates(#[case] day: u64, #[case] expected: &str) {
        assert_eq!(date(day), expected);
    }
}
