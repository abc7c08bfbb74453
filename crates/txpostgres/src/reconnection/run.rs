//! One outage, carried out: the attempts that the lifeline says, until the connection is up again.

use std::fmt;
use std::sync::Arc;

use tokio::time::{Instant, sleep_until};
use txpostgres_policy::{LifeState, Lost, RunId};

use super::detector::Core;
use super::overrides::Base;
use super::state::ConnectionState;

/// Notes that the connection is dead, unless that is known already, and spawns the run.
pub(super) fn start<E: Send + Sync + fmt::Display + 'static>(core: &Arc<Core<E>>, error: &E) {
    let lost = core.lifeline.lock().lost();
    let cause: Arc<str> = error.to_string().into();
    match lost {
        Lost::Known => {}
        Lost::Continues => {
            *core.cause.lock() = cause;
            core.changed.notify_waiters();
        }
        Lost::Begins(run) => begin(core, run, cause, error),
    }
}

fn begin<E: Send + Sync + fmt::Display + 'static>(
    core: &Arc<Core<E>>,
    run: RunId,
    cause: Arc<str>,
    error: &E,
) {
    tracing::warn!(target: "txpostgres", %cause, "the connection was lost");
    *core.cause.lock() = Arc::clone(&cause);
    *core.outage.lock() = Some((run, std::time::Instant::now()));
    core.states.set(ConnectionState::Down { cause });
    core.link().died(error);
    if !core.lifeline.lock().is_current(run) {
        // The user has closed it meanwhile.
        core.link().given_up();
        return;
    }
    let Some(runtime) = core.runtime() else {
        tracing::error!(target: "txpostgres", "without a runtime nothing is reconnected");
        core.lifeline.lock().give_up(run);
        given_up(core);
        return;
    };
    let task = runtime.spawn(carry_out(Arc::clone(core), run));
    let before = core.task.lock().replace(task.abort_handle());
    drop(before);
}

/// Makes attempts until the connection is up, given up or closed.
async fn carry_out<E: Send + Sync + fmt::Display + 'static>(core: Arc<Core<E>>, run: RunId) {
    let base = Base(Arc::clone(&core));
    // The user's: asked without a lock.
    let mut delays = (core.reconnection_iterator)();
    loop {
        // Registered before the state is read.
        let changed = core.changed.notified();
        let mut changed = std::pin::pin!(changed);
        changed.as_mut().enable();
        let state = {
            let lifeline = core.lifeline.lock();
            if !lifeline.is_current(run) {
                return;
            }
            lifeline.state()
        };
        match state {
            LifeState::Down { attempts, .. } => {
                let delay = delays.next();
                let now = Instant::now();
                core.lifeline.lock().schedule(run, now.into_std(), delay);
                if let LifeState::Waiting { until, .. } = core.lifeline.lock().state() {
                    let delay = Instant::from_std(until).saturating_duration_since(now);
                    let attempt = attempts.saturating_add(1);
                    let cause = Arc::clone(&core.cause.lock());
                    core.states.set(ConnectionState::Reconnecting { attempt, delay, cause });
                }
            }
            LifeState::Waiting { until, .. } => {
                let until = Instant::from_std(until);
                if until > Instant::now() {
                    sleep_until(until).await;
                }
                // The clock that is read may be coarser than the timer's.
                core.lifeline.lock().begin_attempt(run, until.into_std());
            }
            LifeState::Connecting { attempt } => match core.overrides.reconnect(&base).await {
                Ok(()) => opened(&core, run, attempt, &base).await,
                Err(error) => failed(&core, run, attempt, &error),
            },
            // Overridden, or lost while it was restored, which is about to be told.
            LifeState::Restoring { .. } => changed.await,
            LifeState::GivenUp => return given_up(&core),
            LifeState::Up | LifeState::Closed => return,
        }
    }
}

async fn opened<E: Send + Sync + fmt::Display + 'static>(
    core: &Arc<Core<E>>,
    run: RunId,
    attempt: u32,
    base: &Base<E>,
) {
    if core.lifeline.lock().opened(run) {
        tracing::debug!(target: "txpostgres", attempt, "reconnected");
        let generation = core.next_generation();
        core.states.set(ConnectionState::Restoring { generation });
        core.overrides.connection_recovered(base).await;
    }
}

fn failed<E: Send + Sync + fmt::Display + 'static>(
    core: &Arc<Core<E>>,
    run: RunId,
    attempt: u32,
    error: &E,
) {
    let is_permanent = (core.is_permanent)(error);
    tracing::debug!(target: "txpostgres", attempt, %error, is_permanent, "not reconnected");
    *core.cause.lock() = error.to_string().into();
    if is_permanent {
        core.link().failed_permanently(error);
    }
    core.lifeline.lock().failed(run, is_permanent);
}

fn given_up<E: Send + Sync + 'static>(core: &Arc<Core<E>>) {
    let cause = Arc::clone(&core.cause.lock());
    tracing::error!(target: "txpostgres", %cause, "the connection is not reconnected any more");
    core.states.set(ConnectionState::GivenUp { cause });
    core.link().given_up();
    core.changed.notify_waiters();
}

/// The handlers have run.
pub(super) fn recovered<E: Send + Sync + 'static>(core: &Arc<Core<E>>) {
    // First the connection, which knows whether it is dead again; then what is told of it.
    if !core.link().recovered() {
        // The run goes on, if it was not closed meanwhile.
        core.lifeline.lock().not_restored();
        core.changed.notify_waiters();
        return;
    }
    if !core.lifeline.lock().restored() {
        return;
    }
    let generation = core.generation();
    core.states.set(ConnectionState::Up { generation });
    let took = core.outage.lock().take().map(|(_, since)| since.elapsed());
    tracing::info!(target: "txpostgres", generation, ?took, "the connection is back");
    core.changed.notify_waiters();
}
