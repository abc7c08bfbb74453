//! Moves bytes while a session is not shared yet: during its login, and for a CancelRequest.

use bytes::BytesMut;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use txpostgres_session::{Error, ErrorKind, Session};

use super::ByteStream;

/// Sends the output of the session.
pub(crate) async fn send_output(
    session: &mut Session,
    stream: &mut dyn ByteStream,
    outgoing: &mut BytesMut,
) {
    let mut has_more = true;
    while has_more {
        has_more = session.take_output(outgoing);
        if outgoing.is_empty() {
            return;
        }
        let written = match stream.write_all(outgoing).await {
            Ok(()) => stream.flush().await,
            error => error,
        };
        match written {
            Ok(()) => session.sent(outgoing.len()),
            // If the server has sent something before it closed the connection, that explains more
            // than the failed write: read on.
            Err(_) if session.has_begun() => has_more = false,
            Err(error) => session.lost(broken(error)),
        }
        outgoing.clear();
    }
}

/// Waits for the next bytes from the server.
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
