//! One statement with many sets of parameters, pipelined in a few flights.

use txpostgres_multiplex::{BindParams, Borrower};
use txpostgres_session::{
    CommandTag, Execute, ParameterSets, Parameters, Params, Result, Rows, TransactionStatus,
};

use crate::driver::{Call, Source};

/// The most parameter sets in one flight: beyond a thousand, the share of a round trip that each
/// set costs is negligible. The session ends a flight earlier when its bytes reach a limit.
const FLIGHT: usize = 1_000;

/// The parameter sets of one flight.
struct Flight<P>(Vec<P>);

impl<P: Params> ParameterSets for Flight<P> {
    fn len(&self) -> usize {
        self.0.len()
    }

    fn with(&self, index: usize, f: &mut dyn FnMut(Parameters<'_>) -> Result<()>) -> Result<()> {
        match self.0.get(index) {
            Some(set) => set.with(f),
            None => f(&[]),
        }
    }
}

impl<P: Params> BindParams for &Flight<P> {
    fn bind<R>(&self, f: impl FnOnce(Execute<'_>) -> Result<R>) -> Result<R> {
        f(Execute::Many(*self))
    }
}

/// The results of all parameter sets together.
#[derive(Default)]
pub(crate) struct Executed {
    pub(crate) rows: Rows,
    /// Rows returned or changed.
    pub(crate) row_count: u64,
    /// The command tag of the last set.
    pub(crate) tag: CommandTag,
}

/// Runs the statement with each parameter set until one fails.
pub(crate) async fn execute_many<I>(mut source: Source, sql: &str, sets: I) -> Result<Executed>
where
    I: Iterator,
    I::Item: Params,
{
    let scope = source.borrow(Borrower::ALONE, None).await?;
    let mut sets = sets.fuse();
    let mut executed = Executed::default();
    let mut before = 0;
    // Outside of a transaction each flight is one.
    let mut has_committed = false;
    let mut flight = Flight(Vec::new());
    loop {
        flight.0.extend(sets.by_ref().take(FLIGHT - flight.0.len()));
        if flight.0.is_empty() {
            source.give_back();
            return Ok(executed);
        }
        let call = Call::new(Ok(scope.clone()), sql, &flight);
        let flown = call
            .answer(|answer| {
                let is_committed = answer.transaction_status() == TransactionStatus::Idle;
                let counts = (answer.items(), answer.row_count());
                (counts, *answer.tag(), answer.take_rows(), is_committed)
            })
            .await;
        let ((items, row_count), tag, rows, is_committed) = flown.map_err(|error| {
            let error = if has_committed { error.after_commit() } else { error };
            match error.item() {
                Some(item) => error.with_item(before + item),
                None => error,
            }
        })?;
        before += items;
        has_committed |= is_committed;
        executed.row_count = executed.row_count.saturating_add(row_count);
        executed.tag = tag;
        executed.rows.append(rows);
        flight.0.drain(..items.clamp(1, flight.0.len()));
    }
}
