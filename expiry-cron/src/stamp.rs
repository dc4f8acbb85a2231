//! What Dovecot writes into the name of a message.
//!
//! `1775324677.M448978P3029757.host,S=3235,W=3305:2,S`: the second of its arrival, what makes the name
//! unique, then fields. `S=` is the size that counts towards the quota, which is that of the message
//! before it was compressed.

/// The time and the size in a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Stamp {
    /// Seconds since 1970.
    pub arrived: u64,
    /// Octets.
    pub size: u64,
}

impl Stamp {
    /// Reads a name; `None` when it is not one of Dovecot's, or has no size.
    pub fn parse(name: &[u8]) -> Option<Self> {
        let (arrived, rest) = number(name)?;
        let line = rest
            .strip_prefix(b".")?
            .split(|&byte| byte == b'\n')
            .next()?;
        // Something must stand between the point and the field.
        let line = line.get(1..)?;
        let starts = (0..line.len()).rev();
        let mut fields = starts.filter_map(|at| line.get(at..)?.strip_prefix(b",S="));
        let size = fields.find_map(number)?.0;
        Some(Self { arrived, size })
    }
}

/// The digits at the beginning, as a number no larger than fits, and what follows them.
fn number(text: &[u8]) -> Option<(u64, &[u8])> {
    let digits = text.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let (digits, rest) = text.split_at(digits);
    let add = |sum: u64, digit: &u8| sum.saturating_mul(10).saturating_add((digit - b'0').into());
    (!digits.is_empty()).then(|| (digits.iter().fold(0, add), rest))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use rstest::rstest;

    #[rstest]
    #[case("1775324677.M448978P3029757.host,S=3235,W=3305:2,S", Some((1_775_324_677, 3235)))]
    #[case("5.x,S=1", Some((5, 1)))]
    #[case("5.x,S=1,S=2", Some((5, 2)))]
    #[case("5.x,S=1,S=:2,", Some((5, 1)))]
    #[case("5..,S=7", Some((5, 7)))]
    #[case("5.x,W=1", None)]
    #[case("5.,S=1", None)]
    #[case("5.,S=1,S=2", Some((5, 2)))]
    #[case("x5.x,S=1", None)]
    #[case(".x,S=1", None)]
    #[case("5,S=1", None)]
    #[case("5.x,S=", None)]
    #[case("5.x\n,S=1", None)]
    #[case("5.\nx,S=1", None)]
    #[case("", None)]
    #[case("99999999999999999999999.x,S=99999999999999999999999", Some((u64::MAX, u64::MAX)))]
    fn names(#[case] name: &str, #[case] expected: Option<(u64, u64)>) {
        let found = Stamp::parse(name.as_bytes());
        assert_eq!(found.map(|stamp| (stamp.arrived, stamp.size)), expected);
    }

    proptest! {
        #[test]
        fn any_name_is_read_without_harm(name in proptest::collection::vec(any::<u8>(), 0..80)) {
            let _ = Stamp::parse(&name);
        }

        #[test]
        fn what_dovecot_writes_is_read_back(
            arrived: u64,
            size: u64,
            unique in "[A-Za-z0-9.]{1,30}",
            flags in "(,W=[0-9]{1,5})?(:2,[SRTDF]{0,5})?",
        ) {
            let name = format!("{arrived}.{unique},S={size}{flags}");
            prop_assert_eq!(Stamp::parse(name.as_bytes()), Some(Stamp { arrived, size }));
        }
    }
}
