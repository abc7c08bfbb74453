//! Warnings of the library, as a subscriber of `tracing` gets them.

use std::fmt::{Debug, Write as _};
use std::sync::{Arc, Mutex};

use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::subscriber::{DefaultGuard, Interest};
use tracing::{Event, Level, Metadata, Subscriber};

/// Keeps what is warned of in this thread, for as long as it lives.
pub(crate) struct Warnings {
    kept: Arc<Mutex<Vec<String>>>,
    _guard: DefaultGuard,
}

impl Warnings {
    pub(crate) fn listen() -> Self {
        Self::listen_to(&[Level::WARN])
    }

    /// Keeps what is said at these levels instead.
    pub(crate) fn listen_to(levels: &'static [Level]) -> Self {
        let kept = Arc::<Mutex<Vec<String>>>::default();
        // With a single subscriber in the process, `tracing` takes the thread that comes to an event
        // first for all: one without a subscriber would silence the event in this one.
        tracing::subscriber::set_global_default(Deaf).ok();
        let listener = Listener(Arc::clone(&kept), levels);
        Self { kept, _guard: tracing::subscriber::set_default(listener) }
    }

    /// The warnings since the last time, their fields included.
    pub(crate) fn take(&self) -> Vec<String> {
        std::mem::take(&mut *self.kept.lock().unwrap())
    }
}

struct Listener(Arc<Mutex<Vec<String>>>, &'static [Level]);

impl Subscriber for Listener {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        self.1.contains(metadata.level()) && metadata.target() == "txpostgres"
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        let mut text = Text::default();
        event.record(&mut text);
        self.0.lock().unwrap().push(text.0);
    }

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

/// Hears nothing, and lets others be asked about each event.
struct Deaf;

impl Subscriber for Deaf {
    fn register_callsite(&self, _: &'static Metadata<'static>) -> Interest {
        Interest::sometimes()
    }

    fn enabled(&self, _: &Metadata<'_>) -> bool {
        false
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, _: &Event<'_>) {}

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

#[derive(Default)]
struct Text(String);

impl Visit for Text {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        write!(self.0, " {}={value:?}", field.name()).unwrap();
    }
}
