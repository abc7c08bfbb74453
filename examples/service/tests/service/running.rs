//! The service as a process, on a server of its own.

use std::collections::HashMap;
use std::process::{ExitStatus, Stdio};
use std::sync::{Arc, Mutex};

use rustix::process::{Pid, Signal, kill_process};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};
use txpostgres::Connection;
use txpostgres_testkit::Cluster;

use crate::client::Client;
use crate::{ACQUIRE, bounded};

/// See the module's text. Killed when it is dropped.
pub(crate) struct Running {
    pub(crate) cluster: Arc<Cluster>,
    pub(crate) client: Client,
    process: Child,
    log: Arc<Mutex<String>>,
}

impl Running {
    /// A service whose pool has up to this many connections.
    pub(crate) async fn start(pool_max: usize) -> Self {
        // What is committed must outlast a crash of the server, so that rows can be counted.
        let cluster = Cluster::builder().setting("synchronous_commit", "on").start().unwrap();
        let mut process = Command::new(env!("CARGO_BIN_EXE_service"))
            .env("DATABASE_URL", cluster.dsn())
            .env("LISTEN", "127.0.0.1:0")
            .env("POOL_MAX", pool_max.to_string())
            .env("ACQUIRE_SECONDS", ACQUIRE.as_secs().to_string())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
        let line = bounded(lines.next_line()).await.unwrap().expect("it has ended");
        let address = line.strip_prefix("listening on ").unwrap();
        let client = Client::new(address);
        let log = Arc::new(Mutex::new(String::new()));
        let (mut lines, told) =
            (BufReader::new(process.stderr.take().unwrap()).lines(), log.clone());
        tokio::spawn(async move {
            while let Ok(Some(line)) = lines.next_line().await {
                told.lock().unwrap().extend([line.as_str(), "\n"]);
            }
        });
        Self { cluster: Arc::new(cluster), client, process, log }
    }

    /// A connection beside the service, to see what is in the tables.
    pub(crate) async fn connection(&self) -> Connection {
        bounded(Connection::open(self.cluster.dsn())).await.unwrap()
    }

    /// Asks the service to stop.
    pub(crate) fn stop(&self) {
        let id = i32::try_from(self.process.id().expect("it has ended")).unwrap();
        kill_process(Pid::from_raw(id).unwrap(), Signal::TERM).unwrap();
    }

    /// Waits for its end.
    pub(crate) async fn ended(&mut self) -> ExitStatus {
        bounded(self.process.wait()).await.unwrap()
    }

    /// How many accounts each owner has.
    pub(crate) async fn owners(&self) -> HashMap<String, i64> {
        let connection = self.connection().await;
        let sql = "select owner, count(*) from account group by owner";
        bounded(connection.run_query_as::<(String, i64), _>(sql, ()))
            .await
            .unwrap()
            .into_iter()
            .collect()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("--- the log of the service:\n{}", self.log.lock().unwrap());
        }
    }
}
