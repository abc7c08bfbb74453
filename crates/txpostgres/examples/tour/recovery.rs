//! The server is restarted while the tour uses it, and the tour goes on.

use std::time::{Duration, Instant};

use tokio::io::AsyncReadExt as _;
use tokio::net::TcpStream;
use tokio::time::timeout;
use txpostgres::{Connection, NotifyEvent, Result};

use crate::screen::Guide;
use crate::{failed, variable};

/// How long the tour waits for its connection to come back.
const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) async fn restarted(guide: &Guide, connection: &Connection) -> Result<()> {
    let channel = format!("txpostgres tour {}", connection.backend_pid().unwrap_or_default());
    let mut news = connection.subscribe(&channel).await?;
    let process = connection.backend_pid().unwrap_or_default();
    guide.done(format!("listening, in process {process}"));
    let began = Instant::now();
    if let Some(address) = variable("TXPOSTGRES_TOUR_RESTART") {
        guide.say("The server is restarted now. A query is sent meanwhile, and waits.");
        // Whoever has started the tour restarts its server, and closes this connection then.
        let restart = tokio::spawn(async move {
            if let Ok(mut stream) = TcpStream::connect(address).await {
                let _ = stream.read_to_end(&mut Vec::new()).await;
            }
        });
        lost(&mut news).await?;
        guide.timed("the server went away", began.elapsed());
        let row = connection.run_query("select 'answered'", ()).wait_for_recovery(PATIENCE);
        let answer: String = row.one().await?.get(0)?;
        guide.timed(format!("the query was {answer}"), began.elapsed());
        restart.await.map_err(|error| failed("a task panicked").with_source(error))?;
    } else {
        guide.say("On a server of yours only this session is ended, not the server.");
        let end = "select pg_terminate_backend(pg_backend_pid())";
        drop(connection.run_query(end, ()).await);
        lost(&mut news).await?;
        guide.timed("the session was ended", began.elapsed());
    }
    match timeout(PATIENCE, news.next()).await {
        Ok(Some(NotifyEvent::Gap { generation })) => {
            guide.timed("the gap was told, and LISTEN is in force", began.elapsed());
            guide.fact("session", format!("the connection's number {generation}"));
        }
        other => return Err(failed(format!("heard {other:?} and not of a gap"))),
    }
    guide.fact("process", connection.backend_pid().unwrap_or_default());
    connection.notify(&channel, "hello again").await?;
    match timeout(PATIENCE, news.next()).await {
        Ok(Some(NotifyEvent::Notification(heard))) => {
            guide.timed("sent and heard after the gap", began.elapsed());
            guide.fact("payload", heard.payload());
        }
        other => return Err(failed(format!("heard {other:?}"))),
    }
    Ok(())
}

async fn lost(news: &mut txpostgres::Subscription) -> Result<()> {
    match timeout(PATIENCE, news.next()).await {
        Ok(Some(NotifyEvent::Disconnected)) => Ok(()),
        other => Err(failed(format!("heard {other:?} and not of a loss"))),
    }
}
