//! One caller on its way to a connection of the pool.
//!
//! ```text
//!   New ──free──▶ checked ──alive──▶ granted
//!    │              │  └─ was idle for long ──▶ Preparing ──proved, hooks done──▶ granted
//!    │              └─ dead: New again, at the same place in the queue   └─ not: New again
//!    └──none──▶ Waiting ──handed──▶ checked
//!
//!   in Waiting and Preparing the time limit ends it
//! ```

use std::future::Future as _;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::time::{Sleep, timeout};
use tracing::Span;
use txpostgres_policy::{Check, Place};
use txpostgres_session::{Error, ErrorKind, Result};

use super::member::Holder;
use super::permit::Permit;
use super::settings::{ConnectionHook, call_back};
use super::shared::{Claimed, Lent, Shared, now};
use super::waiter::{Told, Waiter};
use super::wish::{Purpose, Wish};
use crate::reconnection::BoxFuture;

/// How long a connection may take to prove that it is alive: 1 s. After that another one is tried.
const PROOF_LIMIT: Duration = Duration::from_secs(1);

/// See the module's text.
pub(super) struct Borrowing {
    shared: Arc<Shared>,
    /// Apart, since most callers find a connection at once.
    way: Option<Box<Way>>,
}

/// A caller that did not find a connection at once.
struct Way {
    stage: Stage,
    /// Its place in the queue.
    place: Option<Place>,
    began: Instant,
    timer: Option<Pin<Box<Sleep>>>,
    /// Of the wait.
    span: Span,
}

enum Stage {
    New,
    Waiting(Arc<Waiter>),
    // In a lock, which is never taken, so that the whole is `Sync`.
    Preparing(Mutex<BoxFuture<'static, Option<Permit>>>),
}

impl Borrowing {
    pub(super) fn new(shared: &Arc<Shared>) -> Self {
        Self { shared: Arc::clone(shared), way: None }
    }

    #[inline]
    pub(super) fn poll(&mut self, wish: &Wish, cx: &mut Context<'_>) -> Poll<Result<Permit>> {
        if self.way.is_none() {
            // On the path of every call.
            let now = now();
            let lent = self.shared.claim(now, wish);
            if let Some(mut lent) = lent {
                lent.permit.set_purpose(wish.purpose);
                if lent.check == Check::No && !lent.permit.member.is_dead() {
                    self.shared.granted(&lent.permit, wish, Duration::ZERO);
                    return Poll::Ready(Ok(lent.permit));
                }
                let mut way = self.new_way(now);
                if let Some(permit) = way.check(&self.shared, lent) {
                    self.shared.granted(&permit, wish, Duration::ZERO);
                    return Poll::Ready(Ok(permit));
                }
                self.way = Some(Box::new(way));
            }
        }
        self.poll_slowly(wish, cx)
    }

    fn new_way(&self, began: Instant) -> Way {
        let name = &self.shared.settings.name;
        let span = tracing::debug_span!(target: "txpostgres", "wait for a connection", pool = name);
        Way { stage: Stage::New, place: None, began, timer: None, span }
    }

    #[cold]
    fn poll_slowly(&mut self, wish: &Wish, cx: &mut Context<'_>) -> Poll<Result<Permit>> {
        let mut way = self.way.take().unwrap_or_else(|| Box::new(self.new_way(now())));
        let span = way.span.clone();
        let _entered = span.enter();
        let polled = way.poll(&self.shared, wish, cx);
        match &polled {
            Poll::Pending => self.way = Some(way),
            Poll::Ready(Ok(permit)) => {
                self.shared.granted(permit, wish, now().saturating_duration_since(way.began));
            }
            Poll::Ready(Err(error)) => self.shared.not_granted(error),
        }
        polled
    }
}

impl Way {
    fn poll(
        &mut self,
        shared: &Arc<Shared>,
        wish: &Wish,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Permit>> {
        loop {
            match &mut self.stage {
                Stage::New => {
                    let now = now();
                    match shared.claim_or_wait(now, wish, self.place) {
                        Err(error) => return Poll::Ready(Err(error)),
                        Ok(Claimed::Lent(lent)) => {
                            if let Some(permit) = self.checked(shared, lent, wish) {
                                return Poll::Ready(Ok(permit));
                            }
                        }
                        Ok(Claimed::Queued(waiter, place)) => {
                            self.place = Some(place);
                            self.stage = Stage::Waiting(waiter);
                            shared.pump();
                        }
                    }
                }
                Stage::Waiting(waiter) => {
                    let told = match waiter.poll(cx.waker()) {
                        Some(told) => told,
                        None if self.poll_timer(shared, wish, cx).is_pending() => {
                            return Poll::Pending;
                        }
                        // Handed out at the last moment, or not at all.
                        None => match self.leave_queue(shared) {
                            Some(told) => told,
                            None => return Poll::Ready(Err(shared.exhausted(wish))),
                        },
                    };
                    self.stage = Stage::New;
                    match told {
                        Told::Refused(error) => return Poll::Ready(Err(error)),
                        Told::Lent(lent) => {
                            if let Some(permit) = self.checked(shared, lent, wish) {
                                return Poll::Ready(Ok(permit));
                            }
                        }
                    }
                }
                Stage::Preparing(preparing) => match preparing.get_mut().as_mut().poll(cx) {
                    Poll::Ready(Some(mut permit)) => {
                        permit.set_purpose(wish.purpose);
                        return Poll::Ready(Ok(permit));
                    }
                    Poll::Ready(None) => self.stage = Stage::New,
                    Poll::Pending if self.poll_timer(shared, wish, cx).is_pending() => {
                        return Poll::Pending;
                    }
                    Poll::Pending => return Poll::Ready(Err(shared.exhausted(wish))),
                },
            }
        }
    }

    fn poll_timer(&mut self, shared: &Shared, wish: &Wish, cx: &mut Context<'_>) -> Poll<()> {
        let limit = wish.limit.unwrap_or(shared.settings.acquire_timeout);
        let began = self.began;
        let timer = self.timer.get_or_insert_with(|| {
            let left = (began + limit).saturating_duration_since(now());
            Box::pin(tokio::time::sleep(left))
        });
        timer.as_mut().poll(cx)
    }

    /// Returns what it was told before it left.
    fn leave_queue(&mut self, shared: &Shared) -> Option<Told> {
        let Stage::Waiting(waiter) = std::mem::replace(&mut self.stage, Stage::New) else {
            return None;
        };
        if let Some(place) = self.place {
            shared.leave(place);
        }
        waiter.leave()
    }

    fn checked(&mut self, shared: &Arc<Shared>, mut lent: Lent, wish: &Wish) -> Option<Permit> {
        lent.permit.set_purpose(wish.purpose);
        self.check(shared, lent)
    }

    /// The connection, if it can be used at once. Otherwise it is being prepared, or another must
    /// be found.
    #[cold]
    fn check(&mut self, shared: &Arc<Shared>, lent: Lent) -> Option<Permit> {
        let Lent { permit, check } = lent;
        if permit.member.is_dead() {
            permit.discard();
            self.stage = Stage::New;
            return None;
        }
        if check == Check::No {
            return Some(permit);
        }
        let preparation = Preparation {
            is_looked_at: permit.member.has_input() != Some(false),
            is_proved: check == Check::Prove,
            hook: shared.settings.before_acquire.clone(),
        };
        if !preparation.is_needed() {
            permit.checked();
            return Some(permit);
        }
        self.stage = Stage::Preparing(Mutex::new(Box::pin(preparation.prepared(permit))));
        None
    }
}

/// What is done with an idle connection before it is handed out.
struct Preparation {
    is_looked_at: bool,
    is_proved: bool,
    hook: Option<ConnectionHook>,
}

impl Preparation {
    fn is_needed(&self) -> bool {
        self.is_looked_at || self.is_proved || self.hook.is_some()
    }

    /// The connection, if it can be used.
    async fn prepared(self, permit: Permit) -> Option<Permit> {
        if self.is_looked_at {
            permit.member.look().await;
        }
        if permit.member.is_dead() {
            permit.discard();
            return None;
        }
        if self.is_proved {
            let proof = timeout(PROOF_LIMIT, permit.member.round_trip()).await;
            if !matches!(proof, Ok(Ok(()))) {
                let silent = "a connection of the pool gave no sign of life";
                permit.shared.lost(permit.member.id, &Error::new(ErrorKind::Lost, silent));
                permit.discard();
                return None;
            }
        }
        if let Some(hook) = self.hook {
            let connection = permit.member.connection.clone();
            if let Err(error) = call_back("before_acquire", || hook(connection)).await {
                tracing::debug!(target: "txpostgres", %error, "before_acquire has refused");
                permit.discard();
                return None;
            }
        }
        permit.checked();
        Some(permit)
    }
}

impl Drop for Borrowing {
    fn drop(&mut self) {
        if let Some(mut way) = self.way.take() {
            // A connection that it was told of gives itself back.
            drop(way.leave_queue(&self.shared));
        }
    }
}

impl Shared {
    /// A connection was handed to a caller.
    #[inline]
    fn granted(&self, permit: &Permit, wish: &Wish, waited: Duration) {
        if permit.is_alone() && wish.purpose == Purpose::Anything {
            let holder = Holder {
                task: tokio::task::try_id(),
                place: wish.place,
                since: now(),
                _span: tracing::debug_span!(
                    target: "txpostgres", "connection in use", pool = self.settings.name
                ),
            };
            *permit.member.holder.lock() = Some(holder);
        }
        self.counters.granted(waited);
        self.meters.waited(waited);
    }
}
