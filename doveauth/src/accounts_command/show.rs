//! Commands that change nothing.

use std::io::Write;

use chatmail::accounts::{Account, Details};
use chatmail::{Address, Config};
use serde_json::json;

use super::desk::Desk;
use crate::command::Done;

/// Accounts that are read from the database at a time.
const PAGE: u32 = 1000;

/// `list`.
pub(super) fn list(desk: &Desk, json: bool, out: &mut impl Write) -> anyhow::Result<Done> {
    let Some(postgres) = desk.operator.postgres() else {
        for address in desk.operator.store().accounts()? {
            let address = address?;
            let details = match json {
                true => desk.operator.store().details(&address)?,
                false => None,
            };
            line(&address, details.as_ref(), json, out)?;
        }
        return Ok(Done::All);
    };
    let mut after = String::new();
    loop {
        let page = desk.run(postgres.page(&after, PAGE))??;
        let Some((last, _)) = page.last() else {
            return Ok(Done::All);
        };
        after = last.to_string();
        for (address, stored) in &page {
            let details = desk.operator.details_of(postgres, address, stored)?;
            line(address, Some(&details), json, out)?;
        }
    }
}

/// Writes of an account what a list has; in JSON nothing if it has been deleted meanwhile.
fn line(
    address: &Address,
    details: Option<&Details>,
    json: bool,
    out: &mut impl Write,
) -> std::io::Result<()> {
    if !json {
        return writeln!(out, "{address}");
    }
    let Some(details) = details else {
        return Ok(());
    };
    let mut line = json!({
        "address": address.to_string(),
        "state": state(details),
        "last_login": date(details.last_login_day),
    });
    if let Some(backend) = &details.backend {
        line["backend"] = (**backend).into();
    }
    writeln!(out, "{line}")
}

/// `show`.
pub(super) fn one(
    desk: &Desk,
    config: &Config,
    address: &Address,
    json: bool,
    out: &mut impl Write,
) -> anyhow::Result<Done> {
    let Some(details) = desk.run(desk.operator.details(address))?? else {
        if json {
            let line = json!({ "address": address.to_string(), "state": "missing" });
            writeln!(out, "{line}")?;
        } else {
            writeln!(out, "missing {address}")?;
        }
        return Ok(Done::NotAll);
    };
    let mut fields = json!({
        "address": address.to_string(),
        "state": state(&details),
        "last_login": date(details.last_login_day),
        "cleartext": details.cleartext,
        "bytes_used": details.bytes_used,
        "bytes_max": config.max_mailbox_size.bytes(),
    });
    if let Some(backend) = &details.backend {
        fields["backend"] = (**backend).into();
    }
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
