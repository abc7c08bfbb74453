//! Watches whether a session is alive: carries out what [`Liveness`](txpostgres_policy::Liveness)
//! decides.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use txpostgres_multiplex::Drive as _;
use txpostgres_policy::{Liveness, LivenessSettings, LivenessStep, Probed};
use txpostgres_session::{CancelKey, Error, ErrorKind, KeyCache};

use super::connect::Connector;
use super::pulse::Pulse;
use super::{CancelRequester, Driver};

/// Spawns a task that watches the session of this number to its end. `suspect` is told how long
/// nothing has arrived when the server is asked about it on another connection, and `None` when
/// that is over.
pub(crate) fn watch_liveness(
    driver: &Arc<Driver>,
    generation: u64,
    settings: LivenessSettings,
    suspect: impl Fn(Option<Duration>) + Send + 'static,
) {
    let Some(requester) = driver.requester() else { return };
    let runtime = requester.runtime.clone();
    let driver = Arc::downgrade(driver);
    let process_id = driver.upgrade().and_then(|driver| driver.process_id());
    runtime.spawn(async move {
        let pulse = Pulse::new(settings.tick());
        let mut liveness = Liveness::new(settings);
        // Since when nothing has arrived.
        let mut silent = Instant::now();
        let mut received = 0;
        loop {
            pulse.tick().await;
            let Some(driver) = driver.upgrade() else { return };
            if !driver.is_of(generation) {
                return;
            }
            let observed = driver.observe();
            if observed.received != received {
                received = observed.received;
                silent = Instant::now();
                suspect(None);
            }
            match liveness.tick(observed) {
                LivenessStep::Rest => {}
                LivenessStep::Beat => driver.beat(),
                LivenessStep::Dead => return driver.give_up(generation, gone(silent.elapsed())),
                LivenessStep::Probe => {
                    drop(driver);
                    suspect(Some(silent.elapsed()));
                    let probed = probe(&requester, process_id, settings.probe_limit()).await;
                    tracing::debug!(target: "txpostgres", generation, ?probed, "a silent session");
                    if matches!(probed, Probed::Works | Probed::Unclear) {
                        suspect(None);
                    }
                    liveness.probed(probed);
                }
            }
        }
    });
}

async fn probe(requester: &CancelRequester, process_id: Option<i32>, limit: Duration) -> Probed {
    let Some(process_id) = process_id else { return Probed::Unclear };
    let connector = Connector {
        config: Arc::clone(&requester.config),
        dial: Arc::clone(&requester.dial),
        keys: KeyCache::default(),
        grace: requester.grace,
        on_heard: None,
    };
    connector.probe(&requester.route.endpoint, process_id, limit).await
}

fn gone(silent_for: Duration) -> Error {
    let message = format!(
        "the server owes an answer, has sent nothing for {:.1} s, and does not work on it",
        silent_for.as_secs_f64()
    );
    Error::new(ErrorKind::Lost, message)
}

impl Driver {
    /// Whether the session of this number is in use.
    fn is_of(&self, generation: u64) -> bool {
        let multiplexer = self.lock();
        multiplexer.generation() == generation && !multiplexer.is_closed()
    }

    fn process_id(&self) -> Option<i32> {
        self.lock().session()?.cancel_key().map(CancelKey::process_id)
    }
}
