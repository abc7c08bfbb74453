//! Closures in a transaction, and in a savepoint of one.

use std::panic::resume_unwind;
use std::time::Duration;

use txpostgres::Cursor;

use super::ledger::Oops;
use super::op::{End, Op};
use super::{Env, Target, Work, perform};

/// What a closure that is to panic panics with.
pub(crate) struct PlannedPanic;

pub(super) fn interaction<'a>(
    env: &'a Env,
    target: &'a Target,
    op: &'a Op,
) -> Work<'a, Result<(), Oops>> {
    let (inner, program) = (env.clone(), op.clone());
    let closure = move |cursor: Cursor| closure(inner, program, cursor);
    match target {
        Target::Connection(connection) => {
            let mut interaction = connection.interaction();
            env.note(op, || interaction.cancel_handle());
            if let Some(ms) = op.limit {
                interaction = interaction.timeout(Duration::from_millis(ms.into()));
            }
            if op.drops {
                interaction = interaction.cancel_on_drop();
            }
            Box::pin(interaction.run(closure))
        }
        Target::Cursor(cursor) => Box::pin(cursor.run_interaction(closure)),
    }
}

fn closure(env: Env, op: Op, cursor: Cursor) -> Work<'static, Result<(), Oops>> {
    Box::pin(async move {
        let _inside = env.ledger.enter(op.id);
        let target = Target::Cursor(cursor);
        for inner in &op.body {
            let result = perform(&env, &target, inner).await;
            if op.end != End::Heedless {
                result?;
            }
        }
        match op.end {
            End::Badly => Err(Oops::Planned),
            End::Panic => resume_unwind(Box::new(PlannedPanic)),
            End::Well | End::Heedless | End::Dropped => Ok(()),
        }
    })
}
