//! Decides whether a client received every acknowledged message, or was notified of each loss.

use std::collections::HashSet;

/// One event of a client on one channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Heard {
    /// A message with this number.
    Number(u64),
    /// Op 8: something may be missing here.
    Gap,
    /// The channel was resumed, and here something may be missing (`"recovered":false`).
    NotRecovered,
}

impl Heard {
    /// The number, if this is a message.
    pub(crate) fn number(&self) -> Option<u64> {
        match *self {
            Self::Number(number) => Some(number),
            Self::Gap | Self::NotRecovered => None,
        }
    }
}

/// A violation of the delivery guarantee.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Breach {
    /// Received twice.
    Doubled(u64),
    /// First received after a higher number.
    Disordered(u64),
    /// Acknowledged to the publisher, never received, and not covered by a reported gap.
    Missing(u64),
    /// Received, but not acknowledged to the publisher.
    Unknown(u64),
}

/// The result for a record without a violation.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Verdict {
    /// The missing numbers, each covered by a reported gap.
    pub(crate) missing: Vec<u64>,
    /// The number of times the client was notified that messages may be missing.
    pub(crate) reported: usize,
}

/// Judges one client's record of one channel. `acknowledged` are the numbers acknowledged to the publisher, in
/// ascending order.
///
/// The received numbers must ascend. For each acknowledged number that was not received, the client must have been
/// notified of a possible loss between the received numbers around it.
pub(crate) fn judge(acknowledged: &[u64], heard: &[Heard]) -> Result<Verdict, Breach> {
    let mut expected = acknowledged.iter().copied().peekable();
    let mut verdict = Verdict::default();
    let mut reported_here = false;
    let mut skip = |upto: Option<u64>, reported_here: bool, missing: &mut Vec<u64>| {
        while let Some(number) = expected.next_if(|number| upto.is_none_or(|upto| *number < upto)) {
            if !reported_here {
                return Err(Breach::Missing(number));
            }
            missing.push(number);
        }
        upto.map_or(Ok(()), |upto| expected.next_if_eq(&upto).map(|_| ()).ok_or(Breach::Unknown(upto)))
    };
    for (at, event) in heard.iter().enumerate() {
        let Heard::Number(number) = *event else {
            verdict.reported += 1;
            reported_here = true;
            continue;
        };
        check_order(&heard[..at], number)?;
        skip(Some(number), reported_here, &mut verdict.missing)?;
        reported_here = false;
    }
    skip(None, reported_here, &mut verdict.missing)?;
    Ok(verdict)
}

/// Checks that `number` is higher than every number before it.
fn check_order(before: &[Heard], number: u64) -> Result<(), Breach> {
    let last = before.iter().rev().find_map(|heard| match heard {
        Heard::Number(last) => Some(*last),
        Heard::Gap | Heard::NotRecovered => None,
    });
    if last.is_none_or(|last| last < number) {
        Ok(())
    } else if before.contains(&Heard::Number(number)) {
        Err(Breach::Doubled(number))
    } else {
        Err(Breach::Disordered(number))
    }
}

/// Counts of a record, regardless of notifications.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    /// Distinct numbers received.
    pub(crate) heard: usize,
    /// Acknowledged to the publisher and never received.
    pub(crate) lost: usize,
    /// Received again.
    pub(crate) doubled: usize,
    /// First received after a higher number.
    pub(crate) disordered: usize,
    pub(crate) gaps: usize,
    pub(crate) not_recovered: usize,
}

/// Counts one client's record of one channel; [`judge`] returns only the first breach.
pub(crate) fn count(acknowledged: &[u64], heard: &[Heard]) -> Counts {
    let mut counts = Counts::default();
    let mut found = HashSet::new();
    let mut highest = 0;
    for event in heard {
        match *event {
            Heard::Gap => counts.gaps += 1,
            Heard::NotRecovered => counts.not_recovered += 1,
            Heard::Number(number) if !found.insert(number) => counts.doubled += 1,
            Heard::Number(number) => {
                counts.disordered += usize::from(number < highest);
                highest = highest.max(number);
            }
        }
    }
    counts.heard = found.len();
    counts.lost = acknowledged.iter().filter(|number| !found.contains(number)).count();
    counts
}

mod tests {
    use super::*;
    use Heard::{Gap, NotRecovered, Number};

    fn numbers(range: impl IntoIterator<Item = u64>) -> Vec<Heard> {
        range.into_iter().map(Number).collect()
    }

    fn reported(missing: impl IntoIterator<Item = u64>, reported: usize) -> Result<Verdict, Breach> {
        Ok(Verdict { missing: missing.into_iter().collect(), reported })
    }

    #[test]
    fn every_number_once_and_in_order_is_exact() {
        assert_eq!(judge(&[], &[]), reported([], 0));
        assert_eq!(judge(&[1, 2, 3], &numbers(1..=3)), reported([], 0));
        assert_eq!(judge(&[2, 5, 9], &numbers([2, 5, 9])), reported([], 0));
    }

    #[test]
    fn missing_numbers_must_be_reported_where_they_are_missing() {
        let all: Vec<u64> = (1..=5).collect();
        for (heard, missing) in [
            (vec![Number(1), Gap, Number(4), Number(5)], vec![2, 3]),
            (vec![Number(1), NotRecovered, Gap, Number(3), Number(4), Gap], vec![2, 5]),
            (vec![NotRecovered, Number(5)], vec![1, 2, 3, 4]),
            (vec![Gap], vec![1, 2, 3, 4, 5]),
        ] {
            let markers = heard.iter().filter(|heard| !matches!(heard, Number(_))).count();
            assert_eq!(judge(&all, &heard), reported(missing, markers), "{heard:?}");
        }
        for (heard, number) in [
            (numbers([1, 3, 4, 5]), 2),
            (numbers([2, 3, 4, 5]), 1),
            (numbers(1..=4), 5),
            (vec![], 1),
            // Reported, but between other numbers.
            (vec![Number(1), Gap, Number(2), Number(4), Number(5)], 3),
            (vec![Number(1), Number(3), Gap, Number(4), Number(5)], 2),
            (vec![Gap, Number(1), Number(2), Number(3), Number(4)], 5),
            // Told of one hole of two.
            (vec![Number(1), Gap, Number(3), Number(5)], 4),
        ] {
            assert_eq!(judge(&all, &heard), Err(Breach::Missing(number)), "{heard:?}");
        }
    }

    #[test]
    fn needless_reports_are_counted() {
        assert_eq!(judge(&[1, 2], &[Number(1), Gap, Number(2), NotRecovered]), reported([], 2));
    }

    #[test]
    fn duplicates_and_disorder_are_never_excused() {
        let all: Vec<u64> = (1..=5).collect();
        for (heard, breach) in [
            (numbers([1, 1, 2, 3, 4, 5]), Breach::Doubled(1)),
            (numbers([1, 2, 3, 2, 4, 5]), Breach::Doubled(2)),
            (vec![Number(1), Number(2), NotRecovered, Number(2)], Breach::Doubled(2)),
            (vec![Number(1), Gap, Number(3), Number(2), Number(4), Number(5)], Breach::Disordered(2)),
            (numbers(1..=6), Breach::Unknown(6)),
            (vec![Number(1), Gap, Number(0)], Breach::Disordered(0)),
        ] {
            assert_eq!(judge(&all, &heard), Err(breach), "{heard:?}");
        }
        assert_eq!(judge(&[1, 3], &numbers([1, 2, 3])), Err(Breach::Unknown(2)));
    }

    #[test]
    fn losses_and_duplicates_are_counted() {
        let heard = [Number(1), Number(4), Gap, Number(2), Number(4), NotRecovered, Number(6), Number(6)];
        let counts = Counts { heard: 4, lost: 2, doubled: 2, disordered: 1, gaps: 1, not_recovered: 1 };
        assert_eq!(count(&[1, 2, 3, 4, 5, 6], &heard), counts);
        assert_eq!(count(&[], &[]), Counts::default());
    }
}
