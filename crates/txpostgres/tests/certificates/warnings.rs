//! What the log says when `prefer` goes on in plain text.

use std::fmt::{Debug, Write as _};
use std::sync::{Arc, Mutex};

use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Metadata, Subscriber};
use txpostgres::Connection;

use super::chain::{Chain, PAST};
use super::folder::Folder;
use super::keys::certificates_pem;
use super::peer::Peer;

/// The warnings that were said.
#[derive(Clone, Default)]
struct Warnings(Arc<Mutex<Vec<String>>>);

struct Text(String);

impl Visit for Text {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        let _ = write!(self.0, "{field}={value:?} ");
    }
}

impl Subscriber for Warnings {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        *metadata.level() == Level::WARN
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        let mut text = Text(String::new());
        event.record(&mut text);
        self.0.lock().unwrap().push(text.0);
    }

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

/// The default mode against a server whose certificate has expired: libpq goes on in plain text and
/// says nothing; we say so. With a certificate that holds there is nothing to say.
#[test]
fn plain_text_after_a_handshake_that_failed_is_a_warning() {
    for (is_expired, by_tls) in [(true, false), (false, true)] {
        let folder = Folder::new(&format!("warnings{is_expired}"));
        let peer = Peer::start(folder.path());
        let mut chain = Chain::of(1);
        if is_expired {
            chain.leaf().dates = PAST;
        }
        peer.show(&[chain.certificate(0)], &chain.specs[0].key(), false);
        let root = folder.write("root.crt", certificates_pem(&[chain.certificate(1)]).as_bytes());
        let conninfo = format!(
            "host=localhost hostaddr=127.0.0.1 port={} user=me sslrootcert={root}",
            peer.port()
        );
        let warnings = Warnings::default();
        let encrypted = tracing::subscriber::with_default(warnings.clone(), || {
            let mut builder = tokio::runtime::Builder::new_current_thread();
            builder.enable_all().build().unwrap().block_on(async {
                let connection = Connection::open(conninfo).await.unwrap();
                let encrypted = connection.is_encrypted();
                connection.close().await;
                encrypted
            })
        });
        assert_eq!(encrypted, by_tls);
        let said = warnings.0.lock().unwrap().join("\n");
        let expected = "sslmode=prefer goes on without encryption";
        assert_eq!(said.contains(expected), is_expired, "{said}");
        assert_eq!(
            said.contains("(CN=server) expired on 2021-01-01T00:00:00Z"),
            is_expired,
            "{said}"
        );
    }
}
