//! The task that keeps a pool: it closes what is too old or not needed, and opens what is lacking
//! when its time has come.

use std::future::{Future as _, poll_fn};
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use txpostgres_session::{Error, ErrorKind, Result};

use super::meters::REPORTED_EVERY;
use super::shared::{Phase, Shared, now};
use crate::driver::Pulse;

/// After connections were closed for their age, no others are for 1 s: at most a tenth of the pool
/// a second, or one connection.
const PAUSE: Duration = Duration::from_secs(1);

impl Shared {
    /// Spawns the keeper. It ends when the pool is closed, or its last handle dropped.
    pub(super) fn keep(&self) -> Result<()> {
        let task = self.this().upgrade().and_then(|shared| self.spawn(keep(shared)));
        if task.is_some() {
            return Ok(());
        }
        Err(Error::new(ErrorKind::Request, "a pool needs a Tokio runtime")
            .with_hint("call it in a task of one, or give one to the builder"))
    }
}

async fn keep(shared: Arc<Shared>) {
    let settings = &shared.settings;
    let mut rests_until = now();
    loop {
        // Registered before the state is read.
        let mut news = std::pin::pin!(shared.news.notified());
        news.as_mut().enable();
        shared.pump();
        let (expired, handed, next) = {
            let now = now();
            let mut state = shared.state.lock();
            if state.phase != Phase::Open {
                return;
            }
            let least = state.min;
            let mut expired = Vec::new();
            if rests_until <= now {
                let most = (state.slots.size() / 10).max(1);
                expired = state.slots.expire(now, settings.idle_timeout, least, most);
            }
            if !expired.is_empty() {
                rests_until = now + PAUSE;
            }
            let expiry = state.slots.next_expiry(now, settings.idle_timeout, least);
            let expiry = expiry.map(|expiry| expiry.max(rests_until));
            let handed = state.slots.serve(now);
            let reports = REPORTED_EVERY.map(|pause| now + pause);
            let turns = expiry.into_iter().chain(state.next_opening).chain(state.slots.next_turn());
            let turns = turns.chain(reports);
            (expired, handed, turns.min())
        };
        shared.hand(handed);
        if REPORTED_EVERY.is_some() {
            shared.meters.report(&shared.statistics());
        }
        if !expired.is_empty() {
            shared.retired(expired);
            continue;
        }
        let Some(next) = next else {
            news.await;
            continue;
        };
        let pulse = Pulse::new(next.saturating_duration_since(now()));
        let mut tick = std::pin::pin!(pulse.tick());
        poll_fn(|cx| match news.as_mut().poll(cx) {
            Poll::Pending => tick.as_mut().poll(cx),
            Poll::Ready(()) => Poll::Ready(()),
        })
        .await;
    }
}
