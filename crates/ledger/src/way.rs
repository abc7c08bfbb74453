//! The ways in which rows are written.

use std::fmt;

/// A way of writing rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Way {
    /// `run_operation`.
    Operation,
    /// `run_operation` that does not wait for a recovery.
    Impatient,
    /// `run_query_as`, whose answer cannot be read as what was asked for.
    Unreadable,
    /// `run_script` of several statements, which are one transaction.
    Script,
    /// `batch`: each statement has a result of its own.
    Batch,
    /// `execute_many`, in one flight.
    Many,
    /// `copy_in_rows`.
    Copy,
    /// `run_operation` that breaks a rule of the table.
    Refused,
    /// An interaction that is committed.
    Interaction,
    /// An interaction with a nested one that fails, and is committed.
    Nested,
    /// An interaction whose closure fails on purpose.
    FailedClosure,
    /// An interaction of which a statement fails.
    FailedStatement,
    /// An interaction of which a statement fails, and whose closure returns `Ok` all the same.
    IgnoredFailure,
    /// An interaction whose COMMIT is refused, by a deferred constraint.
    FailedCommit,
    /// `run_operation`, dropped at some time.
    Dropped,
    /// `run_operation` that is cancelled when it is dropped at some time.
    CancelledOnDrop,
    /// An interaction, dropped at some time.
    DroppedInteraction,
    /// `run_operation`, cancelled by its handle at some time.
    Cancelled,
    /// `run_operation` with a short time limit.
    Limited,
    /// An interaction with a short time limit.
    LimitedInteraction,
}

/// Each way, and how often it is chosen.
const WEIGHTS: [(Way, u32); 20] = [
    (Way::Operation, 10),
    (Way::Impatient, 2),
    (Way::Unreadable, 3),
    (Way::Script, 3),
    (Way::Batch, 4),
    (Way::Many, 3),
    (Way::Copy, 2),
    (Way::Refused, 2),
    (Way::Interaction, 12),
    (Way::Nested, 3),
    (Way::FailedClosure, 2),
    (Way::FailedStatement, 2),
    (Way::IgnoredFailure, 2),
    (Way::FailedCommit, 2),
    (Way::Dropped, 3),
    (Way::CancelledOnDrop, 1),
    (Way::DroppedInteraction, 3),
    (Way::Cancelled, 1),
    (Way::Limited, 1),
    (Way::LimitedInteraction, 1),
];

impl Way {
    pub(crate) fn all() -> impl Iterator<Item = Self> {
        WEIGHTS.into_iter().map(|(way, _)| way)
    }

    pub(crate) fn choose(dice: &mut fastrand::Rng) -> Self {
        chosen(&WEIGHTS, dice).unwrap_or(Self::Operation)
    }
}

impl fmt::Display for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self:?}")
    }
}

/// One of these, by their weights.
pub(crate) fn chosen<T: Copy>(weights: &[(T, u32)], dice: &mut fastrand::Rng) -> Option<T> {
    let total: u32 = weights.iter().map(|(_, weight)| weight).sum();
    let mut left = dice.u32(0..total.max(1));
    for (one, weight) in weights {
        match left.checked_sub(*weight) {
            Some(rest) => left = rest,
            None => return Some(*one),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn each_way_is_chosen() {
        let mut dice = fastrand::Rng::with_seed(1);
        let chosen: BTreeSet<Way> = (0..2_000).map(|_| Way::choose(&mut dice)).collect();
        assert_eq!(chosen, Way::all().collect());
    }
}
