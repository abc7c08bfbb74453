//! From where a call has its scope: given, or that of a connection that it borrows from a pool.

use std::fmt;
use std::future::poll_fn;
use std::task::{Context, Poll};
use std::time::Duration;

use txpostgres_session::{Delivery, Error, ErrorKind, Result};

use crate::call::polled_after_end;
use crate::cancellation::Cancellation;
use crate::drive::Drive;
use crate::scope::Scope;

/// What is borrowed for.
#[derive(Debug, Clone, Copy)]
pub struct Borrower<'a> {
    /// The text of a statement; `None` for several statements, or a transaction.
    pub sql: Option<&'a str>,
    /// Nothing else may use the connection meanwhile.
    pub is_exclusive: bool,
    /// How long it waits for a connection; `None`: as the pool says.
    pub limit: Option<Duration>,
}

impl Borrower<'_> {
    /// Something besides a single statement, which needs the connection for itself.
    pub const ALONE: Self = Borrower { sql: None, is_exclusive: true, limit: None };
}

/// Lends a connection, one at a time. What is lent when it is dropped goes back as something that
/// may be in use still.
pub trait Loan<D: Drive>: Send + Sync {
    /// Borrows a connection.
    fn poll_borrow(
        &mut self,
        borrower: Borrower<'_>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Scope<D>>>;

    /// What it was borrowed for has ended, and was answered. It may be borrowed again.
    fn give_back(&mut self);
}

/// What lends a call its connection; `None` for a call with a scope of its own.
pub(crate) type Lender<D> = Option<Box<dyn Loan<D>>>;

/// From where a call has its scope.
pub enum Source<D: Drive> {
    /// A scope that is given.
    Scope(Scope<D>),
    /// There is none.
    Refused(Option<Error>),
    /// A connection that was not borrowed yet.
    Loan(Box<dyn Loan<D>>),
    /// The scope of a connection that is borrowed.
    Borrowed(Scope<D>, Box<dyn Loan<D>>),
}

impl<D: Drive> From<Scope<D>> for Source<D> {
    fn from(scope: Scope<D>) -> Self {
        Self::Scope(scope)
    }
}

impl<D: Drive> From<Result<Scope<D>>> for Source<D> {
    fn from(scope: Result<Scope<D>>) -> Self {
        scope.map_or_else(|error| Self::Refused(Some(error)), Self::Scope)
    }
}

impl<D: Drive> Source<D> {
    /// Whether each statement is its own transaction, in whichever session there is.
    pub fn is_of_connection(&self) -> bool {
        match self {
            Self::Scope(scope) | Self::Borrowed(scope, _) => scope.is_of_connection(),
            Self::Refused(_) => false,
            Self::Loan(_) => true,
        }
    }

    /// Borrows a connection, unless the scope is there; the cancellation may end the wait. The
    /// scope is good until the connection is given back, by [`give_back`](Self::give_back) or by
    /// dropping this.
    ///
    /// # Errors
    ///
    /// There is no scope, or no connection.
    pub async fn borrow(
        &mut self,
        borrower: Borrower<'_>,
        mut cancellation: Option<&mut Cancellation<D>>,
    ) -> Result<Scope<D>> {
        let lent = match self {
            Self::Scope(scope) | Self::Borrowed(scope, _) => return Ok(scope.clone()),
            Self::Refused(error) => return Err(error.take().unwrap_or_else(polled_after_end)),
            Self::Loan(loan) => poll_fn(|cx| {
                if let Some(cancellation) = &mut cancellation {
                    cancellation.watch(cx);
                    if cancellation.must_end() {
                        return Poll::Ready(Err(cancellation.not_sent()));
                    }
                }
                loan.poll_borrow(borrower, cx)
            }),
        };
        let lent = lent.await?;
        if let Self::Loan(loan) = std::mem::replace(self, Self::Refused(None)) {
            *self = Self::Borrowed(lent.clone(), loan);
        }
        Ok(lent)
    }

    /// Gives the connection back: what it was borrowed for has ended, and was answered.
    pub fn give_back(&mut self) {
        if let Self::Borrowed(_, loan) = self {
            loan.give_back();
            if let Self::Borrowed(_, loan) = std::mem::replace(self, Self::Refused(None)) {
                *self = Self::Loan(loan);
            }
        }
    }

    /// Gives the connection back if it was lost before anything was sent: then another may be
    /// [borrowed](Self::borrow).
    pub fn borrows_anew(&mut self, error: &Error) -> bool {
        let borrows = matches!(self, Self::Borrowed(..)) && is_lost_unsent(error);
        if borrows {
            self.give_back();
        }
        borrows
    }

    /// The scope or the error, and the loan.
    pub(crate) fn into_parts(self) -> (Result<Scope<D>, Option<Error>>, Lender<D>) {
        match self {
            Self::Scope(scope) => (Ok(scope), None),
            Self::Refused(error) => (Err(error), None),
            Self::Loan(loan) => (Err(None), Some(loan)),
            Self::Borrowed(scope, loan) => (Ok(scope), Some(loan)),
        }
    }
}

/// Whether the connection was lost, and the server cannot have acted on the request.
pub(crate) fn is_lost_unsent(error: &Error) -> bool {
    let is_lost =
        matches!(error.kind(), ErrorKind::Lost | ErrorKind::ConnectionDead | ErrorKind::Closed);
    is_lost && error.delivery() == Delivery::NotSent
}

impl<D: Drive> fmt::Debug for Source<D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Scope(scope) | Self::Borrowed(scope, _) => scope.fmt(f),
            Self::Refused(_) => f.write_str("Refused"),
            Self::Loan(_) => f.write_str("Loan"),
        }
    }
}
