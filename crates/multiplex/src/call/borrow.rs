//! A call that borrows its connection from a pool.

use std::task::{Context, Poll, ready};

use txpostgres_session::{Error, Result};

use super::{Call, CallState, polled_after_end};
use crate::drive::Drive;
use crate::loan::{Borrower, Lender, is_lost_unsent};
use crate::operation::BindParams;

impl<W: BindParams, D: Drive> Call<'_, W, D> {
    /// Borrows the connection that it is sent on.
    #[cold]
    pub(super) fn borrow(&mut self, cx: &mut Context<'_>) -> Poll<Result<()>> {
        let Some(loan) = &mut self.loan else {
            self.state = CallState::Ended;
            let error = self.scope.as_mut().err().and_then(Option::take);
            return Poll::Ready(Err(error.unwrap_or_else(polled_after_end)));
        };
        let borrower = Borrower {
            sql: self.operation.is_statement().then_some(&*self.sql),
            is_exclusive: self.is_exclusive,
            limit: self.patience.as_ref().and_then(|patience| patience.limit()),
        };
        match ready!(loan.poll_borrow(borrower, cx)) {
            Ok(scope) => {
                self.scope = Ok(scope);
                Poll::Ready(Ok(()))
            }
            Err(error) => {
                self.state = CallState::Ended;
                Poll::Ready(Err(error))
            }
        }
    }

    /// Gives the connection back, since the call has ended with this error, and borrows another one
    /// if the first was lost before anything of the call was sent.
    #[cold]
    pub(super) fn borrows_anew(&mut self, error: &Error) -> bool {
        if !is_lost_unsent(error) || self.operation.has_begun() || self.scope.is_err() {
            return false;
        }
        // A COPY that takes data counts as not sent up to the end of its data, of which the first
        // part would be missing on another connection.
        if self.is_answering {
            return false;
        }
        if let Some(loan) = &mut self.loan {
            loan.give_back();
        }
        self.scope = Err(None);
        self.state = CallState::Queued { id: None };
        true
    }
}

/// Gives the connection back, since the call has ended.
#[inline(never)]
pub(super) fn give_back<D: Drive>(loan: &mut Lender<D>) {
    if let Some(mut loan) = loan.take() {
        loan.give_back();
    }
}
