//! The callers: programs of the library, written as data and carried out through its public
//! interface.

mod copies;
mod frames;
mod interactions;
mod ledger;
mod listeners;
mod named;
mod op;
mod rows;
mod statements;
mod streams;
mod target;

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use parking_lot::Mutex;
use txpostgres::config::Config;
use txpostgres::{CancelHandle, Connection};

use crate::gate::Gate;

pub(crate) use interactions::PlannedPanic;
pub(crate) use ledger::{Failure, Heard, Ledger, Oops, Outcome, Told};
pub(crate) use listeners::channel_of;
pub(crate) use op::{End, Kind, Op};
pub(crate) use target::Target;

/// A future of a caller.
pub(crate) type Work<'a, T = ()> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// What a caller works with.
#[derive(Clone)]
pub(crate) struct Env {
    pub(crate) connection: Connection,
    pub(crate) ledger: Ledger,
    pub(crate) config: Config,
    /// Opens when the trials are over.
    pub(crate) gate: Gate,
    /// Futures that were put aside; `None` in one that is.
    asides: Option<Asides>,
}

type Asides = Arc<Mutex<Vec<Work<'static>>>>;

impl Env {
    pub(crate) fn new(connection: Connection, ledger: Ledger, config: Config, gate: Gate) -> Self {
        Self { connection, ledger, config, gate, asides: None }
    }

    /// Carries out a program, and at its end what was put aside.
    pub(crate) fn run(mut self, ops: Vec<Op>) -> Work<'static> {
        let asides = Asides::default();
        self.asides = Some(Arc::clone(&asides));
        Box::pin(async move {
            let target = Target::Connection(self.connection.clone());
            for op in &ops {
                // What fails has told so; a program goes on.
                let _ = perform(&self, &target, op).await;
            }
            let asides = std::mem::take(&mut *asides.lock());
            frames::all(asides).await;
        })
    }

    fn wrong(&self, op: &Op, verdict: Result<(), String>) {
        if let Err(why) = verdict {
            self.ledger.tell(Told::Wrong { op: op.id, why });
        }
    }

    /// Notes the handle of an operation that is to have one.
    fn note(&self, op: &Op, handle: impl FnOnce() -> CancelHandle) {
        if op.handle {
            self.ledger.put_handle(op.id, handle());
        }
    }
}

/// Carries out one operation.
pub(crate) fn perform<'a>(
    env: &'a Env,
    target: &'a Target,
    op: &'a Op,
) -> Work<'a, Result<(), Oops>> {
    if op.kind.is_frame() {
        return frames::perform(env, target, op);
    }
    Box::pin(async move {
        let beginning = env.ledger.begin(op.id);
        let result = carry_out(env, target, op).await;
        beginning.end(match &result {
            Ok(()) => Outcome::Well,
            Err(oops) => Outcome::from(oops),
        });
        result
    })
}

fn carry_out<'a>(env: &'a Env, target: &'a Target, op: &'a Op) -> Work<'a, Result<(), Oops>> {
    match op.kind {
        Kind::Query | Kind::Text | Kind::Shape | Kind::One | Kind::Execute => {
            Box::pin(statements::statement(env, target, op))
        }
        Kind::Script => Box::pin(statements::script(env, target, op)),
        Kind::Batch => Box::pin(statements::batch(env, target, op)),
        Kind::Many => Box::pin(statements::many(env, target, op)),
        Kind::Interaction => interactions::interaction(env, target, op),
        Kind::Stream => Box::pin(streams::stream(env, target, op)),
        Kind::CopyIn => Box::pin(copies::copy_in(env, target, op)),
        Kind::CopyInRows => Box::pin(copies::copy_in_rows(env, target, op)),
        Kind::CopyOut => Box::pin(copies::copy_out(env, target, op)),
        Kind::CopyOutRows => Box::pin(copies::copy_out_rows(env, target, op)),
        Kind::Named => Box::pin(named::named(env, target, op)),
        Kind::Subscribe => Box::pin(listeners::subscribe(env, op)),
        Kind::Hear => Box::pin(listeners::hear(env, op)),
        Kind::Observe => {
            listeners::observe(env, op);
            Box::pin(std::future::ready(Ok(())))
        }
        Kind::Listen | Kind::Unlisten | Kind::UnlistenAll | Kind::Notify => {
            Box::pin(listeners::channel(env, target, op))
        }
        Kind::Discard | Kind::Deallocate | Kind::Forget | Kind::Alter => {
            Box::pin(statements::raw(target, op))
        }
        Kind::Cancel => Box::pin(statements::cancel(env, op)),
        Kind::Sleep => Box::pin(frames::sleep(op)),
        Kind::Hold => Box::pin(frames::hold(env)),
        Kind::Close => Box::pin(async {
            env.connection.close().await;
            Ok(())
        }),
        Kind::Connect => Box::pin(async { Ok(env.connection.connect(env.config.clone()).await?) }),
        Kind::Join | Kind::Select | Kind::Aside | Kind::Repeat | Kind::ByHand => {
            frames::perform(env, target, op)
        }
    }
}
