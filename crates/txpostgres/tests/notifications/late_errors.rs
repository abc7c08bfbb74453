//! A call of `listen` or `unlisten` that fails leaves what is listened to as it was, however late
//! its error is fetched.

use std::pin::pin;

use txpostgres::{Connection, ErrorKind};
use txpostgres_testkit::Direction;

use crate::support::polls::begin;
use crate::support::{bounded, connected, connected_through_proxy, eventually, through};

/// The channels that the server listens to for this session.
async fn channels(connection: &Connection) -> Vec<String> {
    let sql = "select pg_listening_channels() order by 1";
    let rows = bounded(connection.run_query(sql, ())).await.unwrap();
    rows.iter().map(|row| row.get(0).unwrap()).collect()
}

#[tokio::test]
async fn a_listen_that_was_lost_does_not_undo_a_later_one() {
    let (database, proxy, connection) = connected_through_proxy().await;
    proxy.stall(Direction::ToServer);
    let mut lost = pin!(connection.listen("news"));
    assert!(begin(lost.as_mut()).await.is_pending());
    proxy.cut();
    eventually("the session is over", || connection.is_closed()).await;
    proxy.flow(Direction::ToServer);
    bounded(connection.connect(through(&proxy, &database))).await.unwrap();
    bounded(connection.listen("news")).await.unwrap();
    bounded(lost).await.unwrap_err();
    assert_eq!(channels(&connection).await, ["news"]);
}

#[tokio::test]
async fn of_several_listens_that_were_lost_none_is_wanted_afterwards() {
    for first_comes_first in [true, false] {
        let (database, proxy, connection) = connected_through_proxy().await;
        proxy.stall(Direction::ToServer);
        let mut first = Box::pin(connection.listen("news"));
        let mut second = Box::pin(connection.listen("news"));
        assert!(begin(first.as_mut()).await.is_pending());
        assert!(begin(second.as_mut()).await.is_pending());
        if !first_comes_first {
            std::mem::swap(&mut first, &mut second);
        }
        proxy.cut();
        bounded(first).await.unwrap_err();
        bounded(second).await.unwrap_err();
        proxy.flow(Direction::ToServer);
        bounded(connection.connect(through(&proxy, &database))).await.unwrap();
        assert!(channels(&connection).await.is_empty());
    }
}

#[tokio::test]
async fn what_is_refused_behind_the_own_stream_changes_nothing() {
    let (_database, connection) = connected().await;
    bounded(connection.listen("news")).await.unwrap();
    let mut stream = connection.query_stream("select generate_series(1, 1000000)", ());
    bounded(stream.next_rows()).await.unwrap();
    for refused in [connection.unlisten("news").await, connection.unlisten_all().await] {
        assert_eq!(refused.unwrap_err().kind(), ErrorKind::Request);
    }
    assert_eq!(connection.listen("others").await.unwrap_err().kind(), ErrorKind::Request);
    drop(stream);
    bounded(connection.listen("more")).await.unwrap();
    assert_eq!(channels(&connection).await, ["more", "news"]);
}
