//! The statement in progress: a script, or one statement with parameters and the steps that it
//! takes.

use txpostgres_session::{
    Answer, EncodeBuffer, EncodedQuery, Error, ErrorKind, Execute, NextStep, Params, Plan, Query,
    Request, Result, Results, Session, Submitted, Ticket, TransactionStatus,
};

/// See the module's text.
pub(crate) struct Statement {
    /// The request that is outstanding.
    ticket: Ticket,
    sql: String,
    kind: Kind,
}

enum Kind {
    Script,
    Query { query: Query, params: Box<dyn Encode> },
}

/// Values of parameters that wait until the types of the parameters are known.
trait Encode: Send {
    fn encode<'b>(&self, plan: Plan, sql: &str, buffer: &'b mut EncodeBuffer) -> EncodedQuery<'b>;
}

impl<P: Params> Encode for P {
    fn encode<'b>(&self, plan: Plan, sql: &str, buffer: &'b mut EncodeBuffer) -> EncodedQuery<'b> {
        self.with(|values| plan.encode(sql, Execute::Run(values), None, buffer))
    }
}

/// What becomes of a statement when a request of it is answered.
pub(crate) enum Next {
    /// Another step was submitted.
    Sent(Statement),
    Done(Result<Box<Answer>>),
}

impl Statement {
    /// Submits any number of statements as one text.
    pub(crate) fn script(session: &mut Session, sql: &str) -> Result<Self> {
        let ticket = session.submit(Request::Script { sql })?;
        Ok(Self { ticket, sql: sql.to_owned(), kind: Kind::Script })
    }

    /// Submits the first step of one statement.
    pub(crate) fn query<P: Params + 'static>(
        session: &mut Session,
        sql: &str,
        params: P,
        results: Results,
        buffer: &mut EncodeBuffer,
    ) -> Result<Self> {
        let mut query = Query::new();
        query.set_results(results);
        let ticket = submit(session, &mut query, sql, &params, buffer)?;
        let kind = Kind::Query { query, params: Box::new(params) };
        Ok(Self { ticket, sql: sql.to_owned(), kind })
    }

    pub(crate) fn ticket(&self) -> Ticket {
        self.ticket
    }

    /// The outstanding request has this answer. `is_cancelled`: no other step is to follow.
    pub(crate) fn settled(
        mut self,
        session: &mut Session,
        outcome: Result<Box<Answer>>,
        status: TransactionStatus,
        is_cancelled: bool,
        buffer: &mut EncodeBuffer,
    ) -> Next {
        let Kind::Query { query, params } = &mut self.kind else {
            return Next::Done(outcome.map_err(|error| error.with_statement(&*self.sql)));
        };
        match query.settled(session, &self.sql, outcome, status) {
            NextStep::Done(outcome) => return Next::Done(outcome),
            // No BEGIN is ever sent along.
            NextStep::AgainAfterRollback(error) => return Next::Done(Err(error)),
            NextStep::Again => {}
        }
        let submitted = if is_cancelled {
            let what = "the statement was cancelled before it was sent";
            Err(Error::new(ErrorKind::Cancelled, what).with_statement(&*self.sql))
        } else {
            submit(session, query, &self.sql, &**params, buffer)
        };
        match submitted {
            Ok(ticket) => Next::Sent(Self { ticket, ..self }),
            Err(error) => {
                let held = query.take_held();
                query.abandon(session);
                Next::Done(held.ok_or(error))
            }
        }
    }
}

/// Submits the next step of a query.
fn submit(
    session: &mut Session,
    query: &mut Query,
    sql: &str,
    params: &dyn Encode,
    buffer: &mut EncodeBuffer,
) -> Result<Ticket> {
    loop {
        let plan = query.plan(session, sql)?;
        let encoded = params.encode(plan, sql, buffer);
        if let Submitted::Sent(ticket) = query.submit(session, sql, encoded)? {
            return Ok(ticket);
        }
    }
}
