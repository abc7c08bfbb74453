//! Connections for the calls that a pool has in common with a connection.

use std::hash::BuildHasher;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use foldhash::fast::FixedState;
use txpostgres_multiplex::{Borrower, Loan};
use txpostgres_session::{Result, is_query_or_change};

use super::borrowing::Borrowing;
use super::permit::{Permit, finish};
use super::shared::Shared;
use super::wish::{Purpose, Wish};
use crate::driver::{Driver, Scope};

/// See the module's text.
pub(super) struct PoolLoan {
    borrowing: Borrowing,
    wish: Option<Wish>,
    permit: Option<Permit>,
}

impl PoolLoan {
    pub(super) fn new(shared: &Arc<Shared>) -> Self {
        Self { borrowing: Borrowing::new(shared), wish: None, permit: None }
    }

    /// A statement that cannot change the state of the session may be in flight with others, if it
    /// is known to be quick.
    #[inline]
    fn wish(borrower: Borrower<'_>) -> Wish {
        let purpose = match borrower.sql {
            Some(sql) if is_query_or_change(sql) => {
                Purpose::Statement(FixedState::with_seed(0).hash_one(sql))
            }
            _ => Purpose::Anything,
        };
        Wish { purpose, shares: !borrower.is_exclusive, limit: borrower.limit, place: None }
    }
}

impl Loan<Driver> for PoolLoan {
    #[inline]
    fn poll_borrow(&mut self, borrower: Borrower<'_>, cx: &mut Context<'_>) -> Poll<Result<Scope>> {
        let wish = self.wish.take().unwrap_or_else(|| Self::wish(borrower));
        let polled = self.borrowing.poll(&wish, cx);
        if polled.is_pending() {
            self.wish = Some(wish);
        }
        let permit = ready!(polled)?;
        let scope = permit.member.scope();
        self.permit = Some(permit);
        Poll::Ready(Ok(scope))
    }

    fn give_back(&mut self) {
        finish(&mut self.permit);
    }
}
