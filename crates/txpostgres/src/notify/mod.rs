//! What hears notifications: streams, and observers with the work that calls them.

mod cooperator;
mod names;
mod observer;
mod observers;
mod stream;

pub use cooperator::{Cooperator, ObserverWork, SpawnObservers};
pub(crate) use names::{NOTIFY, channel_name, notification};
pub use observer::{NotifyObserver, ObserverId, ObserverOutput};
pub(crate) use observers::Observers;
pub use stream::{Notifications, Subscription};
