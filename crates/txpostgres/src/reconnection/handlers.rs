//! Recovery handlers: what runs after a connection was opened again, before anything else uses it.

use std::fmt;
use std::future::{Future, poll_fn};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::Poll;

use super::BoxFuture;
use crate::notify::ObserverOutput;
use crate::panics::{CallbackFailure, call_back};

/// Identifies a recovery handler.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct RecoveryHandlerId(u64);

type Handle = dyn Fn() -> BoxFuture<'static, Result<(), String>> + Send + Sync;

/// A callback that is called whenever a connection is recovered.
///
/// A handle: clones are the same handler, and a detector has the same handler once, however often
/// it is added. A second handler created from the same function is a different one.
///
/// ```
/// use txpostgres::reconnection::{DeadConnectionDetector, RecoveryHandler};
///
/// let detector = DeadConnectionDetector::new();
/// let handler = RecoveryHandler::new(|| async { println!("it is back") });
/// let id = detector.add_recovery_handler(&handler);
/// assert_eq!(detector.add_recovery_handler(&handler), id);
/// assert_eq!(detector.recovery_handlers().len(), 1);
/// ```
#[derive(Clone)]
pub struct RecoveryHandler {
    id: RecoveryHandlerId,
    handle: Arc<Handle>,
}

impl RecoveryHandler {
    /// A handler whose future is awaited before the connection is up. It may return nothing or a
    /// `Result`, whose error is logged and discarded, as a panic is.
    pub fn new<F, Fut>(handle: F) -> Self
    where
        F: Fn() -> Fut + Send + Sync + 'static,
        Fut: Future<Output: ObserverOutput> + Send + 'static,
    {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        let id = RecoveryHandlerId(NEXT.fetch_add(1, Ordering::Relaxed));
        let handle = Arc::new(move || -> BoxFuture<'static, Result<(), String>> {
            let handling = handle();
            Box::pin(async move { handling.await.failure() })
        });
        Self { id, handle }
    }

    /// Identifies this handler.
    pub fn id(&self) -> RecoveryHandlerId {
        self.id
    }

    /// Calls the handler and awaits its future. Errors and panics are logged and have no other
    /// effect.
    async fn run(self) {
        let handler = self.id.0;
        match call_back(|| Some((self.handle)())).await {
            Ok(()) => {}
            Err(CallbackFailure::Error(failure)) => {
                tracing::error!(target: "txpostgres", handler, %failure, "a recovery handler failed");
            }
            Err(CallbackFailure::Panic(said)) => {
                tracing::error!(target: "txpostgres", handler, said, "a recovery handler panicked");
            }
        }
    }
}

/// Runs handlers in parallel with each other, in one task.
pub(super) async fn run_all(handlers: Vec<RecoveryHandler>) {
    let mut running: Vec<BoxFuture<'static, ()>> = Vec::with_capacity(handlers.len());
    for handler in handlers {
        running.push(Box::pin(handler.run()));
    }
    poll_fn(|cx| {
        running.retain_mut(|handler| handler.as_mut().poll(cx).is_pending());
        if running.is_empty() { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
}

impl<F, Fut> From<F> for RecoveryHandler
where
    F: Fn() -> Fut + Send + Sync + 'static,
    Fut: Future<Output: ObserverOutput> + Send + 'static,
{
    fn from(handle: F) -> Self {
        Self::new(handle)
    }
}

impl From<&RecoveryHandler> for RecoveryHandler {
    fn from(handler: &RecoveryHandler) -> Self {
        handler.clone()
    }
}

impl PartialEq for RecoveryHandler {
    /// Whether the two are the same handler.
    fn eq(&self, other: &Self) -> bool {
        self.id == other.id
    }
}

impl Eq for RecoveryHandler {}

impl fmt::Debug for RecoveryHandler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("RecoveryHandler").field(&self.id.0).finish()
    }
}
