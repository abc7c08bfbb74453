//! What is encrypted is taken from the session in parts, so that no task waits for the lock on it
//! while a large value is encrypted.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};

use txpostgres::config::{Config, Endpoint};
use txpostgres::{ByteStream, Connection, Dial, DialFuture, Sockets};
use txpostgres_testkit::{Cluster, TlsCertificates};

use crate::support::around::{Around, Wrapped};
use crate::support::{assert_works, bounded};

/// 256 KiB, and some for the records of TLS.
const PART: usize = 260 * 1024;

/// The largest number of bytes that there were to write at once.
#[derive(Clone, Default)]
struct Largest(Arc<AtomicUsize>);

struct Measured {
    stream: Box<dyn ByteStream>,
    largest: Largest,
}

impl Around for Measured {
    fn inside(&mut self) -> Pin<&mut dyn ByteStream> {
        Pin::new(&mut *self.stream)
    }

    fn write(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.largest.0.fetch_max(bytes.len(), Ordering::Relaxed);
        self.inside().poll_write(cx, bytes)
    }
}

impl Dial for Largest {
    fn dial<'a>(&'a self, endpoint: &'a Endpoint, config: &'a Config) -> DialFuture<'a> {
        Box::pin(async move {
            let stream = Sockets.dial(endpoint, config).await?;
            let measured = Measured { stream, largest: self.clone() };
            Ok(Box::new(Wrapped(measured)) as Box<dyn ByteStream>)
        })
    }
}

#[tokio::test]
async fn a_large_value_is_encrypted_in_parts() {
    let cluster = Cluster::builder().tls(TlsCertificates::good().unwrap()).start().unwrap();
    let largest = Largest::default();
    let connection = Connection::builder().connection_factory(largest.clone()).build();
    let dsn = format!("{} sslmode=require", cluster.dsn());
    bounded(connection.connect(&*dsn)).await.unwrap();
    // 4 MB, in which no two parts are the same.
    let values: Vec<i32> = (0..500_000).collect();
    let sql = "select $1 = (select array_agg(n) from generate_series(0, 499999) n)";
    let large = connection.run_query_as::<(bool,), _>(sql, (&values,)).one();
    let behind = connection.run_query_as::<(bool,), _>(sql, (&values,)).one();
    let (large, behind) = bounded(async { tokio::join!(large, behind) }).await;
    assert!(large.unwrap().0 && behind.unwrap().0);
    assert_works(&connection).await;
    let largest = largest.0.load(Ordering::Relaxed);
    assert!(largest <= PART, "{largest} bytes were encrypted at once");
}
