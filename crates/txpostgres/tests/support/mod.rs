//! What tests of a connection have at hand: databases to connect to, bounds on waiting, and what must hold afterwards.

#![allow(
    dead_code,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "the helpers of tests fail as tests do, and no file of tests needs all of them"
)]

pub(crate) mod all;
pub(crate) mod around;
pub(crate) mod dice;
pub(crate) mod pair;
pub(crate) mod patience;
pub(crate) mod polls;
pub(crate) mod trickle;
pub(crate) mod warnings;

use std::future::Future;
use std::time::{Duration, Instant};

use tokio::net::{TcpListener, TcpSocket};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use txpostgres::config::{Config, Endpoint, Host, IntoConfig};
use txpostgres::types::{FromSql, ToSql};
use txpostgres::{ByteStream, Connection, Dial, DialFuture, Error, TransactionStatus};
use txpostgres_testkit::{Database, Proxy, ScriptedServer, shared};

/// What takes longer than this hangs: 20 s, since machines that run tests may be busy.
const HANG: Duration = Duration::from_secs(20);

/// How late a time limit may be on such a machine: 1 s.
pub(crate) const LATE: Duration = Duration::from_secs(1);

/// The outcome of this future, which must not hang.
pub(crate) async fn bounded<F: Future>(future: F) -> F::Output {
    tokio::time::timeout(HANG, future).await.expect("this hangs")
}

/// Waits until this is so.
pub(crate) async fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let end = Instant::now() + HANG;
    while !condition() {
        assert!(Instant::now() < end, "it never came about that {what}");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

/// A database of our own, and a connection to it.
pub(crate) async fn connected() -> (Database, Connection) {
    let database = shared().database().unwrap();
    let connection = bounded(Connection::open(database.dsn())).await.unwrap();
    (database, connection)
}

/// The same with a proxy between the two.
pub(crate) async fn connected_through_proxy() -> (Database, Proxy, Connection) {
    let database = shared().database().unwrap();
    let proxy = Proxy::to_port(database.server().port()).unwrap();
    let connection = bounded(Connection::open(through(&proxy, &database))).await.unwrap();
    (database, proxy, connection)
}

/// How to reach the database through the proxy.
pub(crate) fn through(proxy: &Proxy, database: &Database) -> String {
    format!("{} port={}", database.dsn(), proxy.port())
}

/// A connection that a scripted server has welcomed.
pub(crate) async fn welcomed(server: &ScriptedServer) -> Connection {
    bounded(Connection::open(server.dsn())).await.unwrap()
}

/// Why this server does not let us in.
pub(crate) async fn refusal(config: impl IntoConfig) -> Error {
    bounded(Connection::open(config)).await.expect_err("a refusal")
}

/// A configuration that gives up after this time.
pub(crate) fn impatient(dsn: &str, limit: Duration) -> Config {
    let mut config = Config::parse(dsn).unwrap();
    config.connect_timeout(limit);
    config
}

/// Sends a Rust value as this type and takes it back.
pub(crate) async fn same<T>(connection: &Connection, ty: &str, values: Vec<T>)
where
    T: ToSql + Sync + Send + PartialEq + for<'a> FromSql<'a>,
{
    let sql = format!("select $1::{ty}, $1::{ty}::text = $2, array[$1::{ty}, null]");
    let in_text = format!("select $1::{ty}::text");
    for value in values {
        let texts = connection.run_query_as::<(String,), _>(&in_text, (&value,)).await;
        let text = texts.unwrap_or_else(|error| panic!("{value:?}: {error}")).remove(0).0;
        let rows = connection.run_query(&sql, (&value, &text)).await.unwrap();
        let row = rows.first().unwrap();
        assert_eq!(row.get::<T>(0).unwrap(), value);
        assert!(row.get::<bool>(1).unwrap(), "{value:?} prints as {text}");
        assert_eq!(row.get::<Vec<Option<T>>>(2).unwrap(), [Some(value), None]);
    }
}

/// The connection answers, and no transaction is open.
pub(crate) async fn assert_works(connection: &Connection) {
    let rows = bounded(connection.run_query("select 'works'", ())).await.unwrap();
    assert_eq!(rows.first().unwrap().get::<&str>(0).unwrap(), "works");
    assert_eq!(connection.transaction_status(), Some(TransactionStatus::Idle));
}

/// An interaction of another task that keeps the connection for itself until it is told to leave.
pub(crate) struct Occupied {
    leave: oneshot::Sender<()>,
    task: JoinHandle<Result<(), Error>>,
}

pub(crate) async fn occupied(connection: &Connection) -> Occupied {
    let connection = connection.clone();
    let (leave, told) = oneshot::channel();
    let (enter, entered) = oneshot::channel();
    let task = tokio::spawn(async move {
        connection
            .run_interaction(async |cursor| {
                cursor.run_query("select 1", ()).await?;
                enter.send(()).unwrap();
                told.await.unwrap();
                Ok(())
            })
            .await
    });
    bounded(entered).await.unwrap();
    Occupied { leave, task }
}

impl Occupied {
    pub(crate) async fn leave(self) {
        self.leave.send(()).unwrap();
        bounded(self.task).await.unwrap().unwrap();
    }
}

/// One value of one row.
pub(crate) async fn count(connection: &Connection, sql: &str) -> i64 {
    let rows = bounded(connection.run_query(sql, ())).await.unwrap();
    rows.first().unwrap().get(0).unwrap()
}

/// How many sessions our users have in this database, in the server's eyes.
pub(crate) fn sessions(database: &Database) -> usize {
    let name = database.name();
    let sql = format!(
        "select count(*) from pg_stat_activity where datname = '{name}' and usename = 'postgres'"
    );
    database.server().sql(&sql).unwrap().parse().unwrap()
}

/// Waits until the server says this of the session: `state = 'active'`, for instance.
pub(crate) async fn until_session(database: &Database, pid: i32, is: &str) {
    let sql = format!("select count(*) from pg_stat_activity where pid = {pid} and {is}");
    eventually(is, || database.server().sql(&sql).unwrap() == "1").await;
}

/// Text of many megabytes.
pub(crate) fn megabytes(count: usize) -> String {
    "x".repeat(count * 1024 * 1024)
}

/// A port of 127.0.0.1 with nothing behind it.
pub(crate) async fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    listener.local_addr().unwrap().port()
}

/// Makes TCP sockets whose buffers are as small as the system lets them be, so that both sides soon wait for each other.
pub(crate) struct Tight;

impl Dial for Tight {
    fn dial<'a>(&'a self, endpoint: &'a Endpoint, _: &'a Config) -> DialFuture<'a> {
        Box::pin(async move {
            let Host::Addr { addr, .. } = endpoint.host else {
                panic!("not an address: {endpoint}");
            };
            let socket = TcpSocket::new_v4()?;
            socket.set_send_buffer_size(4096)?;
            socket.set_recv_buffer_size(4096)?;
            socket.set_nodelay(true)?;
            let stream = socket.connect((addr, endpoint.port).into()).await?;
            Ok(Box::new(stream) as Box<dyn ByteStream>)
        })
    }
}

/// A connection with such sockets.
pub(crate) async fn tight(dsn: &str) -> Connection {
    let connection = Connection::builder().connection_factory(Tight).build();
    bounded(connection.connect(dsn)).await.unwrap();
    connection
}
