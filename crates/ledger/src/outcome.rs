//! What became of a row, by the client's own words.

use txpostgres::{Delivery, Error, ErrorKind};

/// What the client has told of a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Outcome {
    /// It was written.
    Acknowledged,
    /// It was not written, and will not be.
    Rejected,
    /// It may have been written, once.
    Unknown,
}

impl Outcome {
    /// Of a statement that is a transaction of its own.
    pub(crate) fn of_statement<T>(result: &Result<T, Error>) -> Self {
        let Err(error) = result else { return Self::Acknowledged };
        match error.delivery() {
            _ if error.has_committed() => Self::Unknown,
            Delivery::NotSent | Delivery::Answered => Self::Rejected,
            // What failed is the reading of its answer.
            Delivery::CarriedOut => Self::Acknowledged,
            Delivery::Unknown => Self::Unknown,
        }
    }

    /// Of an interaction. Whatever fails before COMMIT is sent is rolled back, and whether a
    /// COMMIT took place is told by an error of its own: see the errors of `run_interaction`.
    pub(crate) fn of_interaction<T>(result: &Result<T, Error>) -> Self {
        match result {
            Ok(_) => Self::Acknowledged,
            Err(error) if error.kind() == ErrorKind::CommitUnknown || error.has_committed() => {
                Self::Unknown
            }
            Err(_) => Self::Rejected,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delivery_tells_of_a_statement() {
        let lost =
            |delivery| Err::<(), _>(Error::new(ErrorKind::Lost, "x").with_delivery(delivery));
        for (delivery, outcome) in [
            (Delivery::NotSent, Outcome::Rejected),
            (Delivery::Answered, Outcome::Rejected),
            (Delivery::Unknown, Outcome::Unknown),
            (Delivery::CarriedOut, Outcome::Acknowledged),
        ] {
            assert_eq!(Outcome::of_statement(&lost(delivery)), outcome);
        }
        assert_eq!(Outcome::of_statement(&Ok(())), Outcome::Acknowledged);
    }

    #[test]
    fn an_interaction_is_unknown_if_its_commit_is() {
        let failed = |kind| Err::<(), _>(Error::new(kind, "x").with_delivery(Delivery::Unknown));
        assert_eq!(Outcome::of_interaction(&failed(ErrorKind::Lost)), Outcome::Rejected);
        assert_eq!(Outcome::of_interaction(&failed(ErrorKind::CommitUnknown)), Outcome::Unknown);
    }
}
