//! An open session: its statement in progress, and what has arrived for the user.

use std::collections::VecDeque;

use txpostgres_policy::{CancelRoute, PollState};
use txpostgres_session::config::Config;
use txpostgres_session::{
    Answer, Cancel as Cancelled, EncodeBuffer, Error, ErrorKind, Event, Notification, Params,
    Result, Results, Session,
};

use crate::cancel::{Cancel, CancelState, CancelWatch};
use crate::opening::Opened;
use crate::statement::{Next, Statement};
use crate::transport::Transport;

/// See the module's text.
pub(crate) struct Open {
    pub(crate) session: Session,
    pub(crate) transport: Transport,
    route: CancelRoute,
    statement: Option<Statement>,
    /// The answer to the last statement, until the next one or until it is taken.
    pub(crate) answer: Option<Box<Answer>>,
    /// What the next poll reports: the failure of the statement, or the end of the session.
    failure: Option<Error>,
    pub(crate) notifications: VecDeque<Notification>,
    /// The cancel that is under way.
    cancel: Option<CancelWatch>,
    buffer: EncodeBuffer,
}

impl Open {
    pub(crate) fn new(opened: Opened) -> Self {
        let Opened { session, transport, route } = opened;
        let mut this = Self {
            session,
            transport,
            route,
            statement: None,
            answer: None,
            failure: None,
            notifications: VecDeque::new(),
            cancel: None,
            buffer: EncodeBuffer::new(),
        };
        this.take_events();
        this
    }

    /// Whether a statement is in progress.
    pub(crate) fn is_executing(&self) -> bool {
        self.statement.is_some()
    }

    /// Whether it has ended, and that was told.
    pub(crate) fn is_over(&self) -> bool {
        self.session.is_closed() && self.failure.is_none()
    }

    /// Sends and receives what goes without waiting.
    pub(crate) fn poll(&mut self) -> Result<PollState> {
        let was_executing = self.is_executing();
        let mut is_sent = self.transport.send(&mut self.session);
        if self.transport.receive(&mut self.session) {
            self.take_events();
            // The next step of a statement, or what TLS answers.
            if self.session.has_output() {
                is_sent = self.transport.send(&mut self.session);
            }
        }
        if self.session.has_events() {
            self.take_events();
        }
        // What was answered before the end is told before it: the descriptor is readable still.
        if was_executing && self.answer.is_some() {
            return Ok(PollState::Ok);
        }
        if let Some(error) = self.failure.take() {
            return Err(error);
        }
        if self.session.is_closed() {
            return Err(closed());
        }
        Ok(match (is_sent, self.is_executing()) {
            (false, _) => PollState::Write,
            (true, true) => PollState::Read,
            (true, false) => PollState::Ok,
        })
    }

    /// Begins a script.
    pub(crate) fn send_query(&mut self, sql: &str) -> Result<PollState> {
        self.check_idle()?;
        self.statement = Some(Statement::script(&mut self.session, sql)?);
        Ok(self.sent())
    }

    /// Begins one statement.
    pub(crate) fn execute(
        &mut self,
        sql: &str,
        params: impl Params + 'static,
        results: Results,
    ) -> Result<PollState> {
        self.check_idle()?;
        let (session, buffer) = (&mut self.session, &mut self.buffer);
        self.statement = Some(Statement::query(session, sql, params, results, buffer)?);
        Ok(self.sent())
    }

    /// Sends what was submitted. What goes wrong with that is told by the next poll.
    fn sent(&mut self) -> PollState {
        if let Some(answer) = self.answer.take() {
            self.session.recycle(answer);
        }
        if self.transport.send(&mut self.session) { PollState::Read } else { PollState::Write }
    }

    /// Whether a statement may begin.
    fn check_idle(&mut self) -> Result<()> {
        if self.is_executing() {
            let what = "a statement is in progress on this connection";
            let hint = "poll it until PollState::Ok; for several at once open several connections";
            return Err(Error::new(ErrorKind::Request, what).with_hint(hint));
        }
        match self.cancel.as_ref().map(CancelWatch::state) {
            None => {}
            Some(CancelState::Over) => self.end_cancel(),
            Some(CancelState::UnderWay) => {
                let what = "a cancel is under way on this connection";
                let hint = "poll the cancel to its end first: it could hit the next statement";
                return Err(Error::new(ErrorKind::Request, what).with_hint(hint));
            }
            Some(CancelState::Unknown) => {
                let what = "a cancel was not polled to its end, and may hit any statement to come";
                self.session.close();
                return Err(Error::new(ErrorKind::Closed, what).with_hint("connect anew"));
            }
        }
        Ok(())
    }

    fn end_cancel(&mut self) {
        self.cancel = None;
        self.session.open_gate();
    }

    /// Begins to cancel the statement in progress.
    pub(crate) fn cancel_start(&mut self, config: &Config) -> Result<Cancel> {
        if self.cancel.as_ref().map(CancelWatch::state) == Some(CancelState::Over) {
            self.end_cancel();
        }
        let Some(statement) = self.statement.as_ref().filter(|_| self.cancel.is_none()) else {
            return Ok(Cancel::of_nothing());
        };
        match self.session.cancel(statement.ticket()) {
            Cancelled::Running => {}
            // What was not sent yet is not sent any more: the next poll says so.
            Cancelled::Withdrawn | Cancelled::Over | Cancelled::Pipelined => {
                return Ok(Cancel::of_nothing());
            }
        }
        let Some(key) = self.session.cancel_key().cloned() else {
            self.session.open_gate();
            let what = "the server gave no key to cancel with";
            return Err(Error::new(ErrorKind::Request, what));
        };
        match Cancel::begin(key, &self.route, config) {
            Ok((cancel, watch)) => {
                self.cancel = Some(watch);
                Ok(cancel)
            }
            Err(error) => {
                self.session.open_gate();
                Err(error)
            }
        }
    }

    pub(crate) fn close(&mut self) {
        self.session.close();
        self.transport.say_goodbye(&mut self.session);
    }

    fn take_events(&mut self) {
        while let Some(event) = self.session.next_event() {
            match event {
                Event::Settled { ticket, outcome, status } => {
                    let is_own = |own: &mut Statement| own.ticket() == ticket;
                    let Some(statement) = self.statement.take_if(is_own) else { continue };
                    let is_cancelled = self.cancel.is_some();
                    let (session, buffer) = (&mut self.session, &mut self.buffer);
                    match statement.settled(session, outcome, status, is_cancelled, buffer) {
                        Next::Sent(statement) => self.statement = Some(statement),
                        Next::Done(Ok(answer)) => self.answer = Some(answer),
                        Next::Done(Err(error)) => self.failure = Some(error),
                    }
                }
                Event::Notification(notification) => self.notifications.push_back(notification),
                Event::Notice(notice) => {
                    tracing::debug!(target: "txpostgres", %notice, "a notice of the server");
                }
                // The statement says more: whether the server had got it.
                Event::Closed(Some(error)) => {
                    self.failure.get_or_insert(error);
                }
                _ => {}
            }
        }
    }
}

pub(crate) fn closed() -> Error {
    Error::new(ErrorKind::Closed, "the connection is closed")
}
