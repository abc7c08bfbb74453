//! The end of a session, as each request that is outstanding is told of it.

use crate::error::server_error::ServerError;
use crate::error::{Delivery, Error, ErrorKind};

/// Why everything outstanding ends, to be said to each.
pub(crate) struct Loss {
    kind: ErrorKind,
    message: String,
    server: Option<ServerError>,
}

impl Loss {
    pub(crate) fn from_error(error: &Error) -> Self {
        let message = match error.server() {
            Some(_) => "the server ended the session".to_owned(),
            None => error.to_string(),
        };
        Self { kind: error.kind(), message, server: error.server().cloned() }
    }

    pub(crate) fn closed() -> Self {
        Self {
            kind: ErrorKind::Closed,
            message: "the connection was closed before the answer came".to_owned(),
            server: None,
        }
    }

    /// Whether the peer broke the rules.
    pub(crate) fn is_violation(&self) -> bool {
        self.kind == ErrorKind::Protocol
    }

    pub(crate) fn error(&self, delivery: Delivery) -> Error {
        let error = Error::new(self.kind, self.message.clone()).with_delivery(delivery);
        match &self.server {
            Some(server) => error.with_server(server.clone()),
            None => error,
        }
    }
}
