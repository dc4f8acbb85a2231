//! Two things measured in turn, so that what else the machine does hits both alike.

/// What the rounds of both gave, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Rounds<T> {
    /// Of what is measured.
    pub(super) measured: Vec<T>,
    /// Of what it is compared with.
    pub(super) reference: Vec<T>,
}

/// Runs both `count` times. Who goes first changes from round to round: whatever grows or shrinks
/// with time would favour one of them otherwise.
///
/// # Errors
/// The first error of a round.
pub(super) async fn interleaved<T>(
    count: usize,
    mut measure: impl AsyncFnMut() -> anyhow::Result<T>,
    mut refer: impl AsyncFnMut() -> anyhow::Result<T>,
) -> anyhow::Result<Rounds<T>> {
    let mut rounds = Rounds {
        measured: Vec::with_capacity(count),
        reference: Vec::with_capacity(count),
    };
    for round in 0..count {
        if round % 2 == 0 {
            rounds.measured.push(measure().await?);
            rounds.reference.push(refer().await?);
        } else {
            rounds.reference.push(refer().await?);
            rounds.measured.push(measure().await?);
        }
    }
    Ok(rounds)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::RefCell;

    #[tokio::test]
    async fn they_take_turns_at_going_first() {
        let order = RefCell::new(String::new());
        let log = |letter| {
            order.borrow_mut().push(letter);
            Ok(letter)
        };
        let rounds = interleaved(3, async || log('m'), async || log('r')).await;
        assert_eq!(order.borrow().as_str(), "mrrmmr");
        let rounds = rounds.unwrap();
        assert_eq!(rounds.measured, ['m'; 3]);
        assert_eq!(rounds.reference, ['r'; 3]);
    }

    #[tokio::test]
    async fn an_error_ends_it() {
        let mut left = 2;
        let measured = async || {
            left -= 1;
            anyhow::ensure!(left > 0, "broken");
            Ok(())
        };
        let outcome = interleaved(9, measured, async || Ok(())).await;
        assert_eq!(outcome.unwrap_err().to_string(), "broken");
    }
}
