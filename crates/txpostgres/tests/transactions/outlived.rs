//! A cursor that outlives its interaction in another task: what it sends must not be committed by itself.

use std::future::{Future, pending, poll_fn};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::task::Poll;

use txpostgres::{Connection, Cursor, Error, ErrorKind};
use txpostgres_testkit::shared;

/// Polls until the flag is up.
async fn poll_until<F: Future + ?Sized>(flag: &AtomicBool, mut future: Pin<&mut F>) {
    poll_fn(|cx| {
        assert!(future.as_mut().poll(cx).is_pending());
        if flag.load(Ordering::SeqCst) { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
}

#[tokio::test]
async fn after_commit_was_sent_a_nested_cursor_sends_nothing() {
    let database = shared().database().unwrap();
    let connection = Connection::open(database.dsn()).await.unwrap();
    connection.run_script("create table ledger (id int)").await.unwrap();
    let (committing, kept) = (&AtomicBool::new(false), Arc::new(Mutex::new(None)));
    let mut interaction = Box::pin(connection.run_interaction(async |cursor| {
        let (outer, keep) = (cursor.clone(), Arc::clone(&kept));
        let task = tokio::spawn(async move {
            let nested = outer.run_interaction(async |nested: Cursor| {
                keep.lock().unwrap().replace(nested);
                pending::<Result<(), Error>>().await
            });
            nested.await
        });
        while kept.lock().unwrap().is_none() {
            tokio::task::yield_now().await;
        }
        committing.store(true, Ordering::SeqCst);
        Ok::<_, Error>(task)
    }));
    poll_until(committing, interaction.as_mut()).await;
    // COMMIT is on its way.
    let nested = kept.lock().unwrap().take().unwrap();
    let error = nested.run_operation("insert into ledger values (1)", ()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InteractionEnded);
    interaction.await.unwrap().abort();
    let rows = connection.run_query("select count(*) from ledger", ()).await.unwrap();
    assert_eq!(rows.first().unwrap().get::<i64>(0).unwrap(), 0);
}
