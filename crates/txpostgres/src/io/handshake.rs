//! Moving bytes while a session is not shared yet: during its login, and for a CancelRequest.

use bytes::BytesMut;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use txpostgres_session::{Error, ErrorKind, Session};

use super::ByteStream;

/// Sends what the session has to say.
pub(crate) async fn send_output(
    session: &mut Session,
    stream: &mut dyn ByteStream,
    outgoing: &mut BytesMut,
) {
    session.take_output(outgoing);
    if outgoing.is_empty() {
        return;
    }
    let written = match stream.write_all(outgoing).await {
        Ok(()) => stream.flush().await,
        error => error,
    };
    match written {
        Ok(()) => session.sent(outgoing.len()),
        // What the server said before it hung up is the better reason: read on.
        Err(_) if session.has_begun() => {}
        Err(error) => session.lost(broken(error)),
    }
    outgoing.clear();
}

/// Waits for what comes next.
pub(crate) async fn receive_input(
    session: &mut Session,
    stream: &mut dyn ByteStream,
    received: &mut [u8],
) {
    match stream.read(received).await {
        Ok(0) => session.receive_end(),
        Ok(count) => session.receive(received.get(..count).unwrap_or_default()),
        Err(error) => session.lost(broken(error)),
    }
}

fn broken(error: std::io::Error) -> Error {
    Error::new(ErrorKind::Connect, "the connection broke during the login").with_source(error)
}
