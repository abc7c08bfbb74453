//! The request that ends a transaction or a savepoint, and what its answer means.

use std::task::Waker;

use txpostgres_session::{Answer, Delivery, Error, ErrorKind, Result, SqlState, TransactionStatus};

use crate::access_lock::LockId;
use crate::effects::Effects;

/// How a transaction or a savepoint ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EndKind {
    /// COMMIT.
    Commit,
    /// ROLLBACK.
    RollBack,
    /// RELEASE of the savepoint of this name.
    Release(String),
    /// ROLLBACK to the savepoint of this name, and its RELEASE.
    RollBackTo(String),
}

/// A request that ends a transaction or a savepoint, and its outcome.
#[derive(Debug)]
pub(crate) struct Ending {
    pub(crate) lease: LockId,
    /// The level of the savepoint; 0 for the transaction.
    pub(crate) level: u32,
    kind: EndKind,
    /// The task that awaits the end; `None` while it is being woken.
    waker: Option<Waker>,
    /// Nothing fetches the outcome.
    is_abandoned: bool,
    /// The level of its savepoint was left: by a rollback, when it was submitted.
    is_level_left: bool,
    outcome: Option<Result<()>>,
}

/// The consequences of the answer to an [`Ending`].
#[derive(Debug)]
pub(crate) struct Verdict {
    pub(crate) outcome: Result<()>,
    /// The transaction is still open, and must be rolled back.
    pub(crate) rolls_back: bool,
    /// The session must not be used any more, for this reason.
    pub(crate) lost: Option<Error>,
}

impl Verdict {
    fn new(outcome: Result<()>) -> Self {
        Self { outcome, rolls_back: false, lost: None }
    }
}

impl EndKind {
    /// Whether it ends a savepoint instead of the transaction.
    pub(crate) fn is_nested(&self) -> bool {
        matches!(self, Self::Release(_) | Self::RollBackTo(_))
    }

    pub(super) fn sql(&self) -> String {
        match self {
            Self::Commit => "COMMIT".to_owned(),
            Self::RollBack => "ROLLBACK".to_owned(),
            Self::Release(name) => format!("RELEASE SAVEPOINT {name}"),
            Self::RollBackTo(name) => {
                format!("ROLLBACK TO SAVEPOINT {name}; RELEASE SAVEPOINT {name}")
            }
        }
    }
}

impl Ending {
    /// `waker`: of the task that awaits the outcome; `None` if nothing does.
    pub(crate) fn new(lease: LockId, level: u32, kind: EndKind, waker: Option<Waker>) -> Self {
        let is_abandoned = waker.is_none();
        let is_level_left = !matches!(kind, EndKind::Release(_));
        Self { lease, level, kind, waker, is_abandoned, is_level_left, outcome: None }
    }

    /// Whether the level of its savepoint must be left now; once. What comes next may have entered
    /// a level of the same number.
    pub(crate) fn leaves_level(&mut self) -> bool {
        !std::mem::replace(&mut self.is_level_left, true)
    }

    pub(crate) fn kind(&self) -> &EndKind {
        &self.kind
    }

    pub(crate) fn take_waker(&mut self) -> Option<Waker> {
        self.waker.take()
    }

    /// Replaces the waker of the task that awaits the outcome.
    pub(crate) fn wait(&mut self, waker: &mut Option<Waker>, effects: &mut Effects) {
        if let Some(waker) = waker.take() {
            effects.discard(self.waker.replace(waker));
        }
    }

    /// Whether the task of this waker is registered.
    pub(crate) fn is_known(&self, waker: &Waker) -> bool {
        self.waker.as_ref().is_some_and(|known| known.will_wake(waker))
    }

    /// Abandons the outcome.
    pub(crate) fn abandon(&mut self, effects: &mut Effects) {
        self.is_abandoned = true;
        effects.discard(self.waker.take());
    }

    pub(crate) fn is_abandoned(&self) -> bool {
        self.is_abandoned
    }

    pub(crate) fn put(&mut self, outcome: Result<()>) {
        self.outcome = Some(outcome);
    }

    pub(crate) fn take_outcome(&mut self) -> Option<Result<()>> {
        self.outcome.take()
    }

    /// Decides what the answer means. `failure`: the error that failed the transaction before.
    pub(crate) fn judge(
        &self,
        answer: Result<Box<Answer>>,
        status: TransactionStatus,
        failure: impl FnOnce() -> Option<Error>,
    ) -> Verdict {
        match &self.kind {
            EndKind::Commit => judge_commit(answer, status, failure),
            EndKind::RollBack => judge_roll_back(answer, status == TransactionStatus::Idle),
            EndKind::Release(_) => {
                Verdict::new(answer.map(drop).map_err(|error| not_released(error, failure)))
            }
            EndKind::RollBackTo(_) => {
                judge_roll_back(answer, status == TransactionStatus::InTransaction)
            }
        }
    }
}

fn judge_commit(
    answer: Result<Box<Answer>>,
    status: TransactionStatus,
    failure: impl FnOnce() -> Option<Error>,
) -> Verdict {
    let is_over = status == TransactionStatus::Idle;
    match answer {
        Ok(answer) if answer.tag().as_str() == "ROLLBACK" && is_over => {
            Verdict::new(Err(commit_refused(failure())))
        }
        Ok(_) if is_over => Verdict::new(Ok(())),
        // The answer contradicts itself, so whether the transaction was committed is unknown.
        Ok(_) => {
            let message = "COMMIT was answered, and yet the transaction is open";
            let lost = Error::new(ErrorKind::Protocol, message);
            Verdict { lost: Some(lost), ..Verdict::new(Err(commit_unknown(message))) }
        }
        Err(error) if error.is_of_replication() => Verdict::new(Err(error)),
        Err(error)
            if error.kind() != ErrorKind::Server && error.delivery() == Delivery::Unknown =>
        {
            let message =
                "the connection broke after COMMIT was sent: whether it took place is unknown";
            Verdict::new(Err(commit_unknown(message).with_source(error)))
        }
        // PostgreSQL ends a transaction whose COMMIT fails; a pooler may refuse it before that.
        Err(error) => {
            let rolls_back = !is_over && error.kind() == ErrorKind::Server;
            Verdict { rolls_back, ..Verdict::new(Err(error)) }
        }
    }
}

/// `is_done`: the status is that after a rollback.
fn judge_roll_back(answer: Result<Box<Answer>>, is_done: bool) -> Verdict {
    match answer {
        Ok(_) if is_done => Verdict::new(Ok(())),
        Ok(_) => {
            let why = || rollback_failed("the transaction is still open");
            Verdict { lost: Some(why()), ..Verdict::new(Err(why())) }
        }
        // The server ends the transaction of a session that is over by itself.
        Err(error) if error.kind() == ErrorKind::Lost && error.delivery() == Delivery::NotSent => {
            Verdict::new(Ok(()))
        }
        Err(error) => {
            let lost = Some(rollback_failed(&error.to_string()));
            Verdict { lost, ..Verdict::new(Err(error)) }
        }
    }
}

/// The reason to close a session.
fn rollback_failed(reason: &str) -> Error {
    Error::new(ErrorKind::Lost, format!("a transaction could not be rolled back: {reason}"))
}

fn commit_unknown(message: &'static str) -> Error {
    Error::new(ErrorKind::CommitUnknown, message).with_delivery(Delivery::Unknown)
}

fn commit_refused(failure: Option<Error>) -> Error {
    refused(
        "nothing was committed: a statement of the transaction had failed, and COMMIT became ROLLBACK",
        "return the error of the statement that failed, or run it in a nested interaction",
        failure,
    )
}

/// Nothing was kept, since a statement had failed with this error.
fn refused(message: &'static str, hint: &'static str, failure: Option<Error>) -> Error {
    let error = Error::new(ErrorKind::CommitRefused, message)
        .with_delivery(Delivery::Answered)
        .with_hint(hint);
    match failure {
        Some(failure) => error.with_source(failure),
        None => error,
    }
}

/// The error of a nested interaction whose savepoint could not be released.
fn not_released(error: Error, failure: impl FnOnce() -> Option<Error>) -> Error {
    if error.sqlstate() != Some(SqlState::IN_FAILED_SQL_TRANSACTION) {
        return error;
    }
    refused(
        "nothing of the nested interaction was kept: one of its statements had failed, and its savepoint could not be released",
        "return the error of the statement that failed, or run it in a nested interaction of its own",
        failure(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::access_lock::AccessLock;

    const IDLE: TransactionStatus = TransactionStatus::Idle;
    const OPEN: TransactionStatus = TransactionStatus::InTransaction;

    #[test]
    fn commit_means_what_its_answer_and_the_status_say_together() {
        let mut lock = AccessLock::default();
        let lease = lock.poll_exclusive(&mut None, &mut None, &mut Effects::default()).unwrap();
        let ending = |kind| Ending::new(lease, 0, kind, None);
        let answer = || Ok(Box::<Answer>::default());
        let committed = ending(EndKind::Commit).judge(answer(), IDLE, || None);
        assert!(committed.outcome.is_ok() && committed.lost.is_none());
        let open = ending(EndKind::Commit).judge(answer(), OPEN, || None);
        assert_eq!(open.outcome.unwrap_err().kind(), ErrorKind::CommitUnknown);
        assert!(open.lost.is_some());
        let lost = Error::new(ErrorKind::Lost, "gone").with_delivery(Delivery::Unknown);
        let unknown = ending(EndKind::Commit).judge(Err(lost), OPEN, || None);
        assert_eq!(unknown.outcome.unwrap_err().kind(), ErrorKind::CommitUnknown);
        let rolled_back = ending(EndKind::RollBack).judge(answer(), OPEN, || None);
        assert!(rolled_back.outcome.is_err() && rolled_back.lost.is_some());
    }
}
