//! Connections are opened: one attempt, and what becomes of it.

use std::future::Future;
use std::sync::{Arc, Weak};

use txpostgres_policy::{OpeningId, is_permanent};
use txpostgres_session::{Error, ErrorKind, Result};

use super::exhausted::refused;
use super::member::{Member, MemberId};
use super::settings::call_back;
use super::shared::{Phase, Shared, now};
use super::waiter::Told;
use crate::driver::Occasion;
use crate::reconnection::{Base, DeadConnectionDetector, Overrides};

impl Shared {
    /// Opens a connection, which does not belong to the pool yet.
    pub(super) async fn open(self: &Arc<Self>, id: Option<OpeningId>) -> Result<Arc<Member>> {
        let generation = self.state.lock().generation;
        let settings = &self.settings;
        let mut config = settings.config.clone();
        if let Some(hook) = &settings.before_connect {
            config = call_back("before_connect", || hook(config)).await?;
        }
        let began = now();
        let member_id = self.next_member();
        let death_watch = DeathWatch { pool: self.this(), id: member_id };
        let pool = self.this();
        let on_heard = Arc::new(move |is_heard| {
            let (Some(pool), Some(id)) = (pool.upgrade(), id) else { return };
            if is_heard {
                pool.state.lock().openings.heard(now(), id);
            } else {
                pool.state.lock().openings.left(now(), id);
                // The next attempt may begin earlier than was known.
                pool.pump();
            }
        });
        // The user's.
        let builder = (settings.connection_factory)();
        if builder.has_detector() {
            let message = "the connections of a pool are replaced by the pool when they are lost";
            return Err(Error::new(ErrorKind::Config, message)
                .with_hint("give the connection factory's connections no detector"));
        }
        let detector = DeadConnectionDetector::builder().overrides(death_watch).build();
        let connection = builder.of_pool(self.keys.clone(), on_heard).detector(detector).build();
        let holder = parking_lot::Mutex::default();
        let member =
            Arc::new(Member { id: member_id, connection, generation, is_own: true, holder });
        // At its start a pool is opened by its user.
        let occasion = if id.is_some() { Occasion::Pool } else { Occasion::User };
        member.connection.connect_for(config, occasion).await?;
        if let Some(hook) = &settings.after_connect {
            let connection = member.connection.clone();
            if let Err(error) = call_back("after_connect", || hook(connection)).await {
                member.connection.close().await;
                return Err(error);
            }
        }
        let asked = now();
        member.round_trip().await?;
        let answered = now();
        self.state.lock().pace.round_trip(answered.saturating_duration_since(asked));
        let took = answered.saturating_duration_since(began);
        self.counters.opened(took);
        self.meters.created(took);
        Ok(member)
    }

    /// A connection that was opened belongs to the pool from now on, unless there is no room.
    pub(super) fn put(&self, member: Arc<Member>) {
        let expires = self.lifetime().filter(|_| member.is_own).map(|lifetime| now() + lifetime);
        let (id, is_own) = (member.id, member.is_own);
        let handed = {
            let mut state = self.state.lock();
            let is_wanted = state.phase != Phase::Closed
                && (!is_own
                    || (state.slots.size() < state.max && member.generation == state.generation));
            if !is_wanted {
                drop(state);
                self.retired(vec![member]);
                return;
            }
            state.slots.put(now(), Arc::clone(&member), expires).1
        };
        self.hand(handed);
        // It may have died before the pool knew of it.
        if is_own && member.is_dead() {
            self.remove(id);
        }
        // The keeper must know when it becomes too old.
        self.news.notify_one();
    }

    /// The task of an attempt.
    pub(super) fn attempt(&self, id: OpeningId) -> impl Future<Output = ()> + Send + use<> {
        let this = self.this();
        async move {
            let Some(shared) = this.upgrade() else { return };
            let _unfinished = Unfinished { shared: &shared, id };
            let opened = shared.open(Some(id)).await;
            match opened {
                Ok(member) => {
                    {
                        let mut state = shared.state.lock();
                        state.attempts.remove(&id);
                        state.openings.opened(now(), id);
                        state.last_failure = None;
                    }
                    shared.put(member);
                }
                Err(error) => shared.not_opened(id, &error),
            }
            shared.pump();
        }
    }

    fn not_opened(&self, id: OpeningId, error: &Error) {
        // A session that was opened and then lost says nothing of the next.
        let is_lost = matches!(error.kind(), ErrorKind::ConnectionDead | ErrorKind::Closed);
        let is_permanent = is_permanent(error) && !is_lost;
        let (is_first, waiters) = {
            let now = now();
            let mut state = self.state.lock();
            state.attempts.remove(&id);
            let is_first = !state.openings.is_troubled();
            state.openings.failed(now, id, is_permanent);
            let before = state.last_failure.replace((error.without_causes(), now));
            // Callers that can only wait for what will not come are told at once.
            let is_hopeless = state.openings.is_refused() && state.slots.size() == 0;
            let waiters = if is_hopeless { state.slots.dismiss() } else { Vec::new() };
            drop(state);
            drop(before);
            (is_first, waiters)
        };
        self.counters.not_opened();
        if is_first {
            tracing::warn!(target: "txpostgres", %error, "the pool cannot open a connection");
        } else {
            tracing::debug!(target: "txpostgres", %error, "the pool cannot open a connection");
        }
        for waiter in waiters {
            waiter.tell(Told::Refused(refused(error)));
        }
    }
}

/// An attempt in progress. One that panics, in what the program gave for it, has failed.
struct Unfinished<'a> {
    shared: &'a Shared,
    id: OpeningId,
}

impl Drop for Unfinished<'_> {
    fn drop(&mut self) {
        let was_running = {
            let mut state = self.shared.state.lock();
            let attempt = state.attempts.remove(&self.id);
            if attempt.is_some() {
                state.openings.failed(now(), self.id, false);
            }
            attempt.is_some()
        };
        if was_running {
            self.shared.counters.not_opened();
            self.shared.pump();
        }
    }
}

/// Tells the pool that a connection is dead; the pool opens another one.
struct DeathWatch {
    pool: Weak<Shared>,
    id: MemberId,
}

impl Overrides for DeathWatch {
    /// Whatever the error, the session is over, and the connection is not opened again.
    fn check_for_dead_connection(&self, _: &Base, error: &Error) -> bool {
        if let Some(pool) = self.pool.upgrade() {
            pool.lost(self.id, error);
        }
        false
    }
}
