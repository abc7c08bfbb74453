//! Listeners: streams of notifications, observers, and the work that calls observers.

mod cooperator;
mod names;
mod observer;
mod observers;
mod stream;

pub use cooperator::{Cooperator, ObserverWork, SpawnObservers};
pub(crate) use names::{channel_name, notify};
pub use observer::{NotifyObserver, ObserverId, ObserverOutput};
pub(crate) use observers::Observers;
pub use stream::{Notifications, Subscription};
