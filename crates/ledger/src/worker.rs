//! A worker: writes rows in one way after another, and notes what it was told.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use fastrand::Rng;
use parking_lot::Mutex;
use tokio::time::{sleep, timeout};
use txpostgres::Connection;

use crate::book::{Book, Entry};
use crate::calls::{Told, rows_of, write};
use crate::outcome::Outcome;
use crate::timeline::Timeline;
use crate::way::Way;

/// A call that takes longer hangs: 40 s. It may wait for a recovery for 5 s, behind others that do,
/// for a frozen server for 3 s, and for the grace period of a cancel.
const HANG: Duration = Duration::from_secs(40);

/// The longest pause between two calls: 12 ms. Without pauses the table of a long run would make
/// copies of the data directory slow, and the processors busy.
const LONGEST_PAUSE: u64 = 12_000;

/// What workers share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) book: Book,
    pub(crate) timeline: Timeline,
    pub(crate) stop: AtomicBool,
    /// Calls that hang, and workers that panicked.
    pub(crate) stuck: Mutex<Vec<String>>,
}

/// One of several tasks that use the connection at once.
#[derive(Debug)]
pub(crate) struct Worker {
    pub(crate) connection: Connection,
    pub(crate) shared: Arc<Shared>,
    pub(crate) dice: Rng,
    /// How many calls of this worker were acknowledged.
    pub(crate) acknowledged: Arc<AtomicU64>,
}

impl Worker {
    /// Writes until told to stop.
    pub(crate) async fn work(mut self) {
        while !self.shared.stop.load(Ordering::Relaxed) {
            let way = Way::choose(&mut self.dice);
            if !self.carry_out(way).await {
                return;
            }
            sleep(Duration::from_micros(self.dice.u64(0..LONGEST_PAUSE))).await;
        }
    }

    /// Makes one call. Returns whether it came to its end.
    async fn carry_out(&mut self, way: Way) -> bool {
        let Shared { book, timeline, stuck, .. } = &*self.shared;
        let ids: Vec<i64> = (0..rows_of(way)).map(|_| book.id()).collect();
        let began = timeline.now();
        let call = write(&self.connection, way, &ids, &mut self.dice);
        let told = timeout(HANG, call).await;
        let time = (began, timeline.now());
        let Ok(told) = told else {
            stuck.lock().push(format!(
                "{way} from {:.3} s on with row {:?} does not end",
                began.as_secs_f64(),
                ids.first()
            ));
            return false;
        };
        if told.len() != ids.len() {
            stuck.lock().push(format!("{way} told of {} rows, not {}", told.len(), ids.len()));
            return false;
        }
        if told.iter().any(|told| told.outcome == Outcome::Acknowledged) {
            self.acknowledged.fetch_add(1, Ordering::Relaxed);
        }
        for (id, Told { outcome, error }) in ids.into_iter().zip(told) {
            book.note(id, Entry { way, outcome, time, error: error.map(Into::into) });
        }
        true
    }
}
