//! Numbers in words, as filters of the templates: `{{ delete_mails_after | days }}`.

/// A number of days.
pub(super) fn days(count: u32) -> String {
    match count {
        1 => "1 day".to_owned(),
        _ => format!("{count} days"),
    }
}

/// A number of octets, in powers of 1024 as `chatmail.ini` has them, under the names that people know.
pub(super) fn size(octets: u64) -> String {
    const UNITS: [(&str, u32); 4] = [("TB", 40), ("GB", 30), ("MB", 20), ("kB", 10)];
    for (unit, shift) in UNITS {
        let whole = octets >> shift;
        if whole == 0 {
            continue;
        }
        let tenths = ((octets & ((1 << shift) - 1)) * 10) >> shift;
        return match tenths {
            0 => format!("{whole} {unit}"),
            _ => format!("{whole}.{tenths} {unit}"),
        };
    }
    format!("{octets} bytes")
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case(0, "0 bytes")]
    #[case(1023, "1023 bytes")]
    #[case(1024, "1 kB")]
    #[case(1536, "1.5 kB")]
    #[case(31_457_280, "30 MB")]
    #[case(524_288_000, "500 MB")]
    #[case(u64::MAX, "16777215.9 TB")]
    fn sizes(#[case] octets: u64, #[case] words: &str) {
        assert_eq!(size(octets), words);
    }

    #[test]
    fn one_day_is_one() {
        assert_eq!([0, 1, 20].map(days), ["0 days", "1 day", "20 days"]);
    }
}
