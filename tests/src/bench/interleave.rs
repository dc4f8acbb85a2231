//! Things measured in turn, so that what else the machine does hits all alike.

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
    enum Side {
        Measured,
        Reference,
    }
    let [measured, reference] =
        in_turn(
            count,
            [Side::Measured, Side::Reference],
            async |side| match side {
                Side::Measured => measure().await,
                Side::Reference => refer().await,
            },
        )
        .await?;
    Ok(Rounds {
        measured,
        reference,
    })
}

/// Measures each subject `count` times and gives what that found, in the order of the subjects.
/// Each goes first as often as the others.
///
/// # Errors
/// The first error of a round.
pub(super) async fn in_turn<S, T, const N: usize>(
    count: usize,
    subjects: [S; N],
    mut measure: impl AsyncFnMut(&mut S) -> anyhow::Result<T>,
) -> anyhow::Result<[Vec<T>; N]> {
    let mut turns = subjects.map(|subject| (subject, Vec::with_capacity(count)));
    for round in 0..count {
        let (last, first) = turns.split_at_mut(round % N);
        for (subject, found) in first.iter_mut().chain(last) {
            found.push(measure(subject).await?);
        }
    }
    Ok(turns.map(|(_, found)| found))
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
    async fn three_take_turns_too() {
        let mut order = String::new();
        let found = in_turn(4, ['a', 'b', 'c'], async |&mut letter| {
            order.push(letter);
            Ok(letter)
        });
        assert_eq!(found.await.unwrap(), [['a'; 4], ['b'; 4], ['c'; 4]]);
        assert_eq!(order, "abcbcacababc");
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
