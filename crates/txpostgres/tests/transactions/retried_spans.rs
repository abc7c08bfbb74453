//! What `tracing` is told of an interaction that is tried again.

use std::fmt::{Debug, Write as _};
use std::sync::{Arc, Mutex};

use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};
use txpostgres::Error;

use crate::retried::{Attempts, raise};
use crate::support::connected;

/// Keeps the spans and their ends, and what is said in between.
#[derive(Clone, Default)]
struct Kept {
    lines: Arc<Mutex<Vec<String>>>,
    spans: Arc<Mutex<u64>>,
}

impl Kept {
    fn push(&self, line: String) {
        let mut lines = self.lines.lock().unwrap();
        // A span is entered for each poll.
        if lines.last() != Some(&line) {
            lines.push(line);
        }
    }
}

struct Text(String);

impl Visit for Text {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        if field.name() != "delay" {
            write!(self.0, " {}={value:?}", field.name()).unwrap();
        }
    }
}

impl Subscriber for Kept {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target().starts_with("txpostgres") || metadata.target() == "test"
    }

    fn new_span(&self, attributes: &Attributes<'_>) -> Id {
        let mut text = Text(attributes.metadata().name().to_owned());
        attributes.record(&mut text);
        self.push(text.0);
        let mut spans = self.spans.lock().unwrap();
        *spans += 1;
        Id::from_u64(*spans)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        let mut text = Text(event.metadata().level().to_string());
        event.record(&mut text);
        self.push(text.0);
    }

    fn enter(&self, id: &Id) {
        self.push(format!("in {}", id.into_u64()));
    }

    fn exit(&self, id: &Id) {
        self.push(format!("out {}", id.into_u64()));
    }
}

#[tokio::test]
async fn each_attempt_has_a_span_with_its_number() {
    let (_database, connection) = connected().await;
    let kept = Kept::default();
    let guard = tracing::subscriber::set_default(kept.clone());
    let attempts = Attempts::default();
    let retrying = connection.interaction().retries(5).run(async |cursor| {
        let attempt = attempts.next();
        tracing::info!(target: "test", attempt, "the closure");
        if attempt < 3 {
            raise(&cursor, "40001", "no").await?;
        }
        Ok::<_, Error>(())
    });
    retrying.await.unwrap();
    // Without a policy there is no span.
    connection.run_interaction(async |_| Ok::<_, Error>(())).await.unwrap();
    drop(guard);
    let lines = kept.lines.lock().unwrap().clone();
    let told = |line: &String| !line.starts_with("in ") && !line.starts_with("out ");
    let again = "DEBUG message=an interaction is tried again";
    let expected = [
        "interaction attempt=1".to_owned(),
        "INFO message=the closure attempt=1".to_owned(),
        format!("{again} attempt=1 reason=ERROR 40001: no"),
        "interaction attempt=2".to_owned(),
        "INFO message=the closure attempt=2".to_owned(),
        format!("{again} attempt=2 reason=ERROR 40001: no"),
        "interaction attempt=3".to_owned(),
        "INFO message=the closure attempt=3".to_owned(),
    ];
    assert_eq!(lines.iter().filter(|line| told(line)).cloned().collect::<Vec<_>>(), expected);
    // What the closure says is said within the span of its attempt.
    for (span, attempt) in [("in 1", 1), ("in 2", 2), ("in 3", 3)] {
        let said = format!("INFO message=the closure attempt={attempt}");
        let place = lines.iter().position(|line| *line == said).unwrap();
        assert_eq!(lines[place - 1], span);
    }
}
