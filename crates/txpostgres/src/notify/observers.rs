//! The observers of a connection.

use std::sync::Arc;

use parking_lot::Mutex;
use tokio::runtime::Handle;
use txpostgres_multiplex::{Listeners, Queue};

use super::cooperator::{Cooperator, Starter};
use super::observer::{NotifyObserver, ObserverId};

/// The observers of a connection, each with the queue of its events.
pub(crate) struct Observers {
    listeners: Arc<Listeners>,
    cooperator: Arc<dyn Cooperator>,
    list: Mutex<Vec<(NotifyObserver, Arc<Queue>)>>,
    /// The runtime that the connection was opened on.
    runtime: Mutex<Option<Handle>>,
}

impl Observers {
    pub(crate) fn new(listeners: Arc<Listeners>, cooperator: Arc<dyn Cooperator>) -> Arc<Self> {
        Arc::new(Self { listeners, cooperator, list: Mutex::default(), runtime: Mutex::default() })
    }

    /// The connection is being opened on this runtime.
    pub(crate) fn set_runtime(&self, runtime: Handle) {
        *self.runtime.lock() = Some(runtime);
    }

    pub(super) fn runtime(&self) -> Option<Handle> {
        self.runtime.lock().clone()
    }

    pub(super) fn cooperator(&self) -> Arc<dyn Cooperator> {
        Arc::clone(&self.cooperator)
    }

    pub(crate) fn add(self: &Arc<Self>, observer: NotifyObserver) -> ObserverId {
        let id = observer.id();
        let mut list = self.list.lock();
        if !list.iter().any(|(known, _)| known.id() == id) {
            let queue = self.listeners.add_lasting();
            queue.register(Starter::waker(&observer, &queue, self));
            list.push((observer, queue));
        }
        id
    }

    pub(crate) fn remove(&self, id: ObserverId) {
        let mut list = self.list.lock();
        let at = list.iter().position(|(known, _)| known.id() == id);
        let removed = at.map(|at| list.remove(at));
        drop(list);
        if let Some((observer, queue)) = removed {
            self.listeners.remove_lasting(&queue);
            drop(observer);
        }
    }

    pub(crate) fn list(&self) -> Vec<NotifyObserver> {
        self.list.lock().iter().map(|(observer, _)| observer.clone()).collect()
    }

    /// The last handle of the connection is gone.
    pub(crate) fn clear(&self) {
        let list = std::mem::take(&mut *self.list.lock());
        drop(list);
    }
}
