//! What a failure tester answers.

use std::ops::ControlFlow;

#[cfg(doc)]
use super::RetryingCall;

/// What the failure tester of [`RetryingCall::start`] answers: whether a failure is retried.
///
/// | answer | effect |
/// |---|---|
/// | `true`, `Ok(())` | the call is retried; if no delay is left, it ends with its failure |
/// | `false` | it ends with its failure |
/// | `Err(error)` | it ends with this error |
pub trait Verdict<E> {
    /// `Continue` with the failure, which stays the last one, or `Break` with the error to end
    /// with.
    fn apply(self, failure: E) -> ControlFlow<E, E>;
}

impl<E> Verdict<E> for bool {
    fn apply(self, failure: E) -> ControlFlow<E, E> {
        if self { ControlFlow::Continue(failure) } else { ControlFlow::Break(failure) }
    }
}

impl<E> Verdict<E> for Result<(), E> {
    fn apply(self, failure: E) -> ControlFlow<E, E> {
        match self {
            Ok(()) => ControlFlow::Continue(failure),
            Err(error) => ControlFlow::Break(error),
        }
    }
}
