//! How a run ends, and what must hold then.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;

use super::{Slot, World};
use crate::finding::{Finding, Rule, found};
use crate::plan::Ending;
use crate::step::Step;

/// Milliseconds that a close may take: its own limit is a second.
const CLOSE_MS: u32 = 1_500;

impl World {
    /// Ends the run in the way of its settings.
    pub(crate) fn end(&mut self) -> Result<(), Finding> {
        self.calm(false)?;
        match self.settings.end {
            Ending::Vanish => return self.vanish(),
            Ending::Outside => self.drop_outside()?,
            Ending::Kill => self.kill()?,
            Ending::Close | Ending::Drop => {}
        }
        self.calm(true)?;
        self.probe()?;
        self.referee.end(&self.server)?;
        if self.settings.end == Ending::Close {
            self.close()?;
        }
        self.let_go()?;
        self.referee.end(&self.server)
    }

    /// The session ends while callers are aside.
    fn kill(&mut self) -> Result<(), Finding> {
        let Some(session) = self.net.session() else {
            return Ok(());
        };
        self.take(Step::Kill(session))?;
        self.settle()?;
        if self.referee.is_unread(|caller| self.rests(caller)) {
            return Ok(());
        }
        self.must_be_closed(session)
    }

    /// A call that is made now is answered, unless something explains why not.
    fn probe(&mut self) -> Result<(), Finding> {
        let Some(connection) = self.connection.clone() else {
            return Ok(());
        };
        let outcome = Arc::new(Mutex::new(None));
        let told = Arc::clone(&outcome);
        self.callers.push(Slot::new(
            u32::MAX,
            Box::pin(async move {
                let patience = Duration::from_secs(60);
                let probe = connection.run_script("listen probe; unlisten probe");
                let result = probe.wait_for_recovery(patience).await;
                *told.lock() = Some(result.map(drop).map_err(|error| error.to_string()));
            }),
        ));
        self.calm(true)?;
        let outcome = outcome.lock().take();
        match outcome {
            Some(Ok(())) => Ok(()),
            // A connection with a detector comes back from any loss.
            _ if self.referee.causes.any()
                && (self.settings.reconnects.is_none() || self.referee.causes.close) =>
            {
                Ok(())
            }
            Some(Err(error)) => {
                found(Rule::Unexplained, format!("the connection is of no use: {error}"))
            }
            None => found(Rule::Progress, "a last call is not answered"),
        }
    }

    fn close(&mut self) -> Result<(), Finding> {
        self.referee.causes.close = true;
        let Some(connection) = self.connection.clone() else {
            return Ok(());
        };
        self.callers.push(Slot::new(u32::MAX, Box::pin(async move { connection.close().await })));
        for _ in 0..CLOSE_MS {
            self.settle()?;
            if self.present().all(|(id, ..)| id != u32::MAX) {
                return Ok(());
            }
            self.tick(1)?;
        }
        found(Rule::Progress, format!("the connection does not close within {CLOSE_MS} ms"))
    }

    /// The futures of the callers are dropped outside of the runtime.
    fn drop_outside(&mut self) -> Result<(), Finding> {
        let works: Vec<_> = self.callers.iter_mut().map(|slot| slot.work.take()).collect();
        self.enter_outside(|| drop(works))?;
        self.observe()
    }

    /// The runtime is dropped before the futures that need it.
    fn vanish(&mut self) -> Result<(), Finding> {
        // What ends with it is not judged: the connection was taken from them.
        self.referee.causes.loss = true;
        let runtime = self.runtime.take();
        self.enter_outside(|| drop(runtime))?;
        self.drop_outside()?;
        self.let_go()
    }

    /// Everything is let go of, and nothing of it may be left.
    fn let_go(&mut self) -> Result<(), Finding> {
        self.referee.causes.close = true;
        self.ledger.forget_handles();
        let works: Vec<_> = self.callers.iter_mut().map(|slot| slot.work.take()).collect();
        let connection = self.connection.take();
        self.enter(|_| drop((works, connection)))?;
        if self.runtime.is_some() {
            self.settle()?;
        }
        let runtime = self.runtime.take();
        self.enter_outside(|| drop(runtime))?;
        let left = (0..self.net.lines()).find(|&line| !self.net.is_dropped(line));
        self.callers.clear();
        match left {
            Some(line) => found(Rule::Leak, format!("line {line} is open, and has no owner")),
            None => Ok(()),
        }
    }

    /// Lets go of everything after a finding, whatever that does.
    pub(crate) fn abandon(mut self) {
        let _ = self.let_go();
    }
}
