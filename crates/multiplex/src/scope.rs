//! In which scope a statement is sent: the connection's, or that of a transaction or a savepoint.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};

use txpostgres_session::{Request, Result};

use crate::access_lock::LockId;
use crate::drive::Drive;
use crate::multiplexer::Access;
use crate::transaction::{EndKind, outlived};

/// In which scope a statement is sent.
pub enum Scope<D> {
    /// The connection's: each statement is its own transaction, in whichever session there is.
    Connection(Arc<D>),
    /// As `Connection`, in this session of the connection only.
    Session(Arc<D>, u64),
    /// As `Connection`, for a recovery handler of this session.
    Recovery(Arc<D>, u64),
    /// A transaction's, or a savepoint's.
    Transaction(Arc<TransactionScope<D>>),
    /// That of the transaction that holds this lease, in whatever savepoint it is.
    Lease(Arc<D>, LockId),
}

impl<D> Clone for Scope<D> {
    fn clone(&self) -> Self {
        match self {
            Self::Connection(driver) => Self::Connection(Arc::clone(driver)),
            Self::Session(driver, generation) => Self::Session(Arc::clone(driver), *generation),
            Self::Recovery(driver, generation) => Self::Recovery(Arc::clone(driver), *generation),
            Self::Transaction(transaction) => Self::Transaction(Arc::clone(transaction)),
            Self::Lease(driver, lease) => Self::Lease(Arc::clone(driver), *lease),
        }
    }
}

impl<D> fmt::Debug for Scope<D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Connection(_) => "Connection",
            Self::Session(..) => "Session",
            Self::Recovery(..) => "Recovery",
            Self::Transaction(_) => "Transaction",
            Self::Lease(..) => "Lease",
        })
    }
}

impl<D> Scope<D> {
    /// The driver.
    #[inline]
    pub fn driver(&self) -> &Arc<D> {
        match self {
            Self::Connection(driver)
            | Self::Session(driver, _)
            | Self::Recovery(driver, _)
            | Self::Lease(driver, _) => driver,
            Self::Transaction(transaction) => &transaction.driver,
        }
    }

    /// Whether each statement is its own transaction, in whichever session there is.
    pub fn is_of_connection(&self) -> bool {
        matches!(self, Self::Connection(_) | Self::Recovery(..))
    }

    /// Whether statements may be sent in it still.
    ///
    /// # Errors
    ///
    /// If the closure of the transaction has returned.
    #[inline]
    pub(crate) fn check(&self) -> Result<()> {
        match self {
            Self::Transaction(transaction) if transaction.has_ended() => Err(outlived()),
            _ => Ok(()),
        }
    }

    /// On whose behalf requests are submitted.
    #[inline]
    pub fn access(&self) -> Access {
        match self {
            Self::Connection(_) => Access::Shared,
            Self::Session(_, generation) => Access::Session(*generation),
            Self::Recovery(_, generation) => Access::Recovery(*generation),
            Self::Transaction(transaction) => transaction.access(),
            Self::Lease(_, lease) => Access::AnyLevel(*lease),
        }
    }
}

impl<D: Drive> Scope<D> {
    /// Submits and sends a request whose answer is ignored, if it may be sent.
    pub fn tell(&self, request: Request<'_>) {
        if self.check().is_err() {
            return;
        }
        let driver = self.driver();
        let is_told = driver.lock().tell(self.access(), request);
        if is_told {
            driver.drive(None, true);
        }
    }
}

/// A transaction, or a savepoint in one, while its closure runs: what cursors hold.
pub struct TransactionScope<D> {
    driver: Arc<D>,
    lease: LockId,
    /// The name of the savepoint.
    savepoint: Option<String>,
    /// The transaction that a savepoint is in.
    outer: Option<Arc<TransactionScope<D>>>,
    /// Numbers savepoints and portals.
    names: Arc<AtomicU64>,
    /// How many savepoints deep it is.
    level: u32,
    fate: AtomicU8,
}

/// The fate of a transaction scope: its closure runs, has returned, or was rolled back. The value
/// only grows.
const RUNNING: u8 = 0;
const ENDED: u8 = 1;
const UNDONE: u8 = 2;

impl<D> fmt::Debug for TransactionScope<D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TransactionScope").field("level", &self.level).finish_non_exhaustive()
    }
}

impl<D> TransactionScope<D> {
    /// The transaction with this lease.
    pub fn new(driver: Arc<D>, lease: LockId) -> Self {
        Self {
            driver,
            lease,
            savepoint: None,
            outer: None,
            names: Arc::default(),
            level: 0,
            fate: AtomicU8::new(RUNNING),
        }
    }

    /// A savepoint of this name.
    pub fn nested(outer: &Arc<Self>, name: String) -> Self {
        Self {
            savepoint: Some(name),
            outer: Some(Arc::clone(outer)),
            names: Arc::clone(&outer.names),
            level: outer.level + 1,
            ..Self::new(Arc::clone(&outer.driver), outer.lease)
        }
    }

    /// The driver.
    pub fn driver(&self) -> &Arc<D> {
        &self.driver
    }

    /// The lease.
    pub fn lease(&self) -> LockId {
        self.lease
    }

    /// How many savepoints deep it is.
    pub fn level(&self) -> u32 {
        self.level
    }

    /// On whose behalf requests are submitted.
    #[inline]
    pub fn access(&self) -> Access {
        Access::Lease { id: self.lease, level: self.level }
    }

    /// How it is committed, or a savepoint released.
    pub fn commit(&self) -> EndKind {
        self.savepoint.clone().map_or(EndKind::Commit, EndKind::Release)
    }

    /// How it is rolled back.
    pub fn roll_back(&self) -> EndKind {
        self.savepoint.clone().map_or(EndKind::RollBack, EndKind::RollBackTo)
    }

    /// Whether its closure has returned, or that of a transaction around it.
    pub fn has_ended(&self) -> bool {
        self.fate.load(Ordering::Acquire) != RUNNING
            || self.outer.as_ref().is_some_and(|outer| outer.has_ended())
    }

    /// Whether it was rolled back, or a transaction around it.
    pub fn is_undone(&self) -> bool {
        self.fate.load(Ordering::Acquire) == UNDONE
            || self.outer.as_ref().is_some_and(|outer| outer.is_undone())
    }

    /// Notes that its closure has returned.
    pub fn end(&self) {
        self.fate.fetch_max(ENDED, Ordering::AcqRel);
    }

    /// Notes that it is rolled back.
    pub fn undo(&self) {
        self.fate.fetch_max(UNDONE, Ordering::AcqRel);
    }

    /// A name that is unique in this transaction, for a savepoint or a portal.
    pub fn next_name(&self) -> String {
        format!("txpostgres_{}", self.names.fetch_add(1, Ordering::Relaxed) + 1)
    }
}
