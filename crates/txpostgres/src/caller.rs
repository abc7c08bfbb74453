//! On whose behalf a call is made, and whether it may be made now.

use std::sync::Arc;
use std::task::{Context, Poll};

use txpostgres_session::Result;

use crate::desk::Desk;
use crate::interaction::{Transaction, why_not_to_wait};
use crate::link::Link;
use crate::turnstile::Turn;

/// On whose behalf a call is made.
#[derive(Clone)]
pub(crate) enum Caller {
    /// The connection: each statement is its own transaction.
    Connection(Arc<Link>),
    /// An interaction.
    Transaction(Arc<Transaction>),
    /// What ends an interaction: it needs nobody's leave.
    End(Arc<Link>),
}

impl Caller {
    pub(crate) fn link(&self) -> &Arc<Link> {
        match self {
            Self::Connection(link) | Self::End(link) => link,
            Self::Transaction(transaction) => transaction.link(),
        }
    }
}

/// Whether the caller may submit now, and with which BEGIN.
#[inline]
pub(crate) fn admit<'c>(
    caller: &'c Caller,
    desk: &mut Desk,
    turn: &mut Option<Turn>,
    cx: &Context<'_>,
) -> Poll<Result<Option<&'c str>>> {
    if desk.session.is_closed() {
        return Poll::Ready(Err(desk.why_closed()));
    }
    match caller {
        Caller::Connection(_) if desk.turnstile.pass(turn, cx) => Poll::Ready(Ok(None)),
        Caller::Connection(link) => match why_not_to_wait(link, &desk.turnstile) {
            Some(error) => Poll::Ready(Err(error)),
            None => Poll::Pending,
        },
        Caller::End(_) => Poll::Ready(Ok(None)),
        Caller::Transaction(transaction) => transaction.admit(desk, cx),
    }
}
