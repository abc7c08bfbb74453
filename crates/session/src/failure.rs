//! What the call is told of a request that has failed: whose error it is, and what became of the
//! statement.

use crate::error::{Delivery, Error, ErrorKind};
use crate::protocol::expect::Expect;
use crate::transaction_effect::TransactionEffect;

/// Whether we did something about a request before its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Intervention {
    None,
    /// A CancelRequest was made for it.
    Asked,
    /// It was taken back before it left.
    Withdrawn,
}

/// What became of the statement of a request that has failed, by what was expected last: the
/// server's error undoes it. Without one it was carried out, and what failed is the call.
#[cold]
pub(crate) fn delivery(expected: Expect, is_complete: bool) -> Delivery {
    match (expected, is_complete) {
        (Expect::Failed, _) => Delivery::Answered,
        (_, true) => Delivery::CarriedOut,
        (_, false) => Delivery::Unknown,
    }
}

/// The error of a request, at its end or where the connection broke.
#[cold]
pub(crate) fn failed(
    error: Error,
    delivery: Delivery,
    effect: TransactionEffect,
    intervention: Intervention,
) -> Error {
    // Told before the statement is complete, of what is done already.
    let (delivery, effect) = if error.is_of_replication() {
        (Delivery::Unknown, effect.and_committed())
    } else {
        (delivery, effect)
    };
    let error = error.with_delivery(delivery).with_transaction_effect(effect);
    match intervention {
        // A cancel that we asked for is told apart from those of a timeout or an administrator,
        // which share its SQLSTATE.
        Intervention::Asked => error.cancelled_by_us(),
        _ => error,
    }
}

/// The server reports another `client_encoding` at the end of a request only, and not at all if it
/// is UTF-8 again by then: what came in between may be in any encoding, and would often be read as
/// UTF-8 without an error.
#[cold]
pub(crate) fn in_another_encoding() -> Error {
    let what = "the statement changes client_encoding, so its values cannot be read";
    Error::new(ErrorKind::Request, what).with_hint(
        "leave client_encoding alone: text is exchanged as UTF-8, whatever the database has",
    )
}
