//! A connection that was given back in an unclear state: it is made clean in the background, or
//! closed.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::timeout;
use txpostgres_multiplex::Drive as _;
use txpostgres_policy::SlotName;
use txpostgres_session::{Error, ErrorKind, Result, TransactionStatus};

use super::SessionState;
use super::member::Member;
use super::settings::call_back;
use super::shared::{Shared, now};

/// How long a statement may run on that its caller has left: 1 s. Then it is cancelled, and the
/// connection is closed.
const PATIENCE: Duration = Duration::from_secs(1);

/// How long all else may take together: 5 s.
const LIMIT: Duration = Duration::from_secs(5);

/// Puts a session back to what it was when it began, except for prepared statements: they do no
/// harm, and are of use. The parts of DISCARD ALL but `DEALLOCATE ALL` (manual, DISCARD).
const RESET: &str = "close all; set session authorization default; reset all; unlisten *; \
                     select pg_catalog.pg_advisory_unlock_all(); discard plans; discard temp; \
                     discard sequences";

impl Shared {
    /// Has a connection cleaned that was set aside.
    pub(super) fn clean(&self, slot: SlotName, member: Arc<Member>) {
        let Some(shared) = self.this().upgrade() else { return };
        let id = member.id;
        let task = self.spawn(async move {
            match shared.make_clean(&member).await {
                Ok(()) => {
                    let handed = shared.state.lock().slots.put_back(now(), slot);
                    shared.hand(handed);
                    if shared.state.lock().slots.is_at_rest() {
                        shared.at_rest.notify_waiters();
                    }
                }
                Err(error) => {
                    tracing::debug!(target: "txpostgres", %error, "a connection is not used again");
                    shared.remove(id);
                    shared.retired(vec![member]);
                }
            }
        });
        if task.is_none() {
            self.remove(id);
        }
    }

    async fn make_clean(&self, member: &Member) -> Result<()> {
        // What is in flight ends first, the rollback of a transaction that was left among it.
        timeout(PATIENCE, member.round_trip()).await.map_err(|_| too_slow("a statement"))??;
        timeout(LIMIT, self.tidy_up(member)).await.map_err(|_| too_slow("cleaning up"))??;
        if member.is_clean() { Ok(()) } else { Err(too_slow("what was left")) }
    }

    async fn tidy_up(&self, member: &Member) -> Result<()> {
        let status = member.connection.handle.driver.lock().transaction_status();
        if status != TransactionStatus::Idle {
            tracing::warn!(
                target: "txpostgres",
                "a connection was given back to the pool in a transaction, which is rolled back"
            );
            member.run("rollback").await?;
        }
        match self.settings.session_state {
            SessionState::Keep => {}
            SessionState::Reset => {
                // In a script of several statements `discard` would be in a transaction.
                for sql in RESET.split("; ") {
                    member.run(sql).await?;
                }
            }
            SessionState::Discard => member.run("discard all").await?,
        }
        if let Some(hook) = &self.settings.after_release {
            let connection = member.connection.clone();
            call_back("after_release", || hook(connection)).await?;
        }
        Ok(())
    }
}

fn too_slow(what: &str) -> Error {
    Error::new(ErrorKind::Timeout, format!("{what} has taken too long on a connection of the pool"))
}
