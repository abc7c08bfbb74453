//! The choice of TLS and protocol version: the first attempt to connect to a server, and the next
//! one after a refusal.

use txpostgres_session::config::{ProtocolVersion, SslMode};
use txpostgres_session::{Error, ErrorKind, SqlState};

/// Settings of one attempt to connect to a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Approach {
    /// Whether to request TLS, and whether to go on without it.
    pub tls: Tls,
    /// The newest protocol version to request.
    pub version: ProtocolVersion,
}

/// Whether to encrypt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tls {
    /// No TLS.
    No,
    /// TLS if the server supports it.
    IfOffered,
    /// TLS, or no connection.
    Yes,
}

/// The attempts to connect to one server, in order: the next one depends on how the last one was
/// refused.
///
/// ```text
///   disable                       No
///   allow                         No ───refused by the server───▶ IfOffered
///   prefer                        IfOffered ──no handshake, or refused by pg_hba.conf──▶ No
///                                 IfOffered ──bytes that are not TLS──▶ (an error)
///   require, verify-ca, -full     Yes
///   any, over a Unix socket       No
/// ```
///
/// A server that refuses an unknown protocol version, instead of negotiating an older one, is tried
/// again with 3.0.
#[derive(Debug)]
pub struct Approaches {
    mode: SslMode,
    oldest: ProtocolVersion,
    last: Approach,
}

impl Approaches {
    /// `encryptable`: whether TLS may be used on this connection; not over a Unix socket.
    pub fn new(
        mode: SslMode,
        encryptable: bool,
        oldest: ProtocolVersion,
        newest: ProtocolVersion,
    ) -> Self {
        let mode = if encryptable { mode } else { SslMode::Disable };
        let tls = match mode {
            SslMode::Disable | SslMode::Allow => Tls::No,
            SslMode::Prefer => Tls::IfOffered,
            _ => Tls::Yes,
        };
        Self { mode, oldest, last: Approach { tls, version: newest } }
    }

    /// The first attempt, or the one that `after` chose.
    pub fn current(&self) -> Approach {
        self.last
    }

    /// Whether to try again after this refusal, and how. `encrypted`: whether it came after the TLS
    /// handshake.
    pub fn after(&mut self, refusal: &Error, encrypted: bool) -> Option<Approach> {
        let by_server = refusal.kind() == ErrorKind::Server;
        let tls = match (self.mode, self.last.tls) {
            // libpq tries with TLS after any refusal. That is of no use for some, such as a wrong
            // password.
            (SslMode::Allow, Tls::No) if by_server && !is_final(refusal) => Some(Tls::IfOffered),
            // A TLS error after the handshake means that the server rejects our certificate (TLS
            // 1.3 reports that only then).
            (SslMode::Prefer, Tls::IfOffered)
                if (refusal.kind() == ErrorKind::Tls && !encrypted)
                    || refusal.sqlstate()
                        == Some(SqlState::INVALID_AUTHORIZATION_SPECIFICATION) =>
            {
                Some(Tls::No)
            }
            _ => None,
        };
        if let Some(tls) = tls {
            self.last.tls = tls;
            return Some(self.last);
        }
        // PostgreSQL before 9.3 and some poolers refuse 3.2 instead of offering 3.0; Pgpool-II
        // calls that an internal error.
        let unknown_version = matches!(
            refusal.sqlstate(),
            Some(
                SqlState::FEATURE_NOT_SUPPORTED
                    | SqlState::PROTOCOL_VIOLATION
                    | SqlState::INTERNAL_ERROR
            )
        );
        if by_server
            && unknown_version
            && self.last.version != ProtocolVersion::V3_0
            && self.oldest == ProtocolVersion::V3_0
        {
            self.last.version = ProtocolVersion::V3_0;
            return Some(self.last);
        }
        None
    }
}

/// Whether the server would refuse every other attempt as well.
fn is_final(refusal: &Error) -> bool {
    matches!(
        refusal.sqlstate(),
        Some(
            SqlState::INVALID_PASSWORD
                | SqlState::INVALID_CATALOG_NAME
                | SqlState::TOO_MANY_CONNECTIONS
                | SqlState::CANNOT_CONNECT_NOW
        )
    )
}

#[cfg(test)]
mod tests {
    use txpostgres_session::ServerError;

    use super::*;

    fn refusal(code: &str) -> Error {
        let body = format!("VFATAL\0C{code}\0Mno\0\0");
        Error::from_server(ServerError::parse(body.as_bytes()))
    }

    fn approaches(mode: SslMode) -> Approaches {
        Approaches::new(mode, true, ProtocolVersion::V3_0, ProtocolVersion::V3_2)
    }

    #[test]
    fn each_mode_goes_its_way() {
        let tls = |mode, error: &Error| {
            let mut approaches = approaches(mode);
            (approaches.current().tls, approaches.after(error, false).map(|next| next.tls))
        };
        let hba = refusal("28000");
        assert_eq!(tls(SslMode::Disable, &hba), (Tls::No, None));
        assert_eq!(tls(SslMode::Allow, &hba), (Tls::No, Some(Tls::IfOffered)));
        assert_eq!(tls(SslMode::Prefer, &hba), (Tls::IfOffered, Some(Tls::No)));
        assert_eq!(tls(SslMode::Require, &hba), (Tls::Yes, None));
        assert_eq!(tls(SslMode::VerifyFull, &hba), (Tls::Yes, None));
        let wrong = refusal("28P01");
        assert_eq!(tls(SslMode::Allow, &wrong), (Tls::No, None));
        assert_eq!(tls(SslMode::Prefer, &wrong), (Tls::IfOffered, None));
        let handshake = Error::new(ErrorKind::Tls, "bad");
        assert_eq!(tls(SslMode::Prefer, &handshake), (Tls::IfOffered, Some(Tls::No)));
        assert_eq!(tls(SslMode::VerifyCa, &handshake), (Tls::Yes, None));
        assert_eq!(approaches(SslMode::Prefer).after(&handshake, true), None);
        // Bytes that were put into the handshake.
        let stuffed = Error::new(ErrorKind::Protocol, "bad");
        assert_eq!(tls(SslMode::Prefer, &stuffed), (Tls::IfOffered, None));
    }

    #[test]
    fn no_approach_is_made_twice() {
        for mode in SslMode::WORDS.iter().filter_map(|word| word.parse().ok()) {
            for code in ["28000", "0A000", "08P01", "XX000"] {
                let mut approaches = approaches(mode);
                let mut made = vec![approaches.current()];
                while let Some(next) = approaches.after(&refusal(code), false) {
                    assert!(!made.contains(&next), "{mode:?} {code}");
                    made.push(next);
                }
            }
        }
    }

    #[test]
    fn an_old_protocol_is_tried_if_it_may_be() {
        for code in ["0A000", "08P01", "XX000"] {
            let mut any = approaches(SslMode::Disable);
            assert_eq!(
                any.after(&refusal(code), false).map(|next| next.version),
                Some(ProtocolVersion::V3_0)
            );
            assert_eq!(any.after(&refusal(code), false), None);
        }
        let new = ProtocolVersion::V3_2;
        let mut strict = Approaches::new(SslMode::Disable, true, new, new);
        assert_eq!(strict.after(&refusal("0A000"), false), None);
    }

    #[test]
    fn a_unix_socket_needs_no_tls() {
        let new = ProtocolVersion::V3_2;
        let approaches = Approaches::new(SslMode::VerifyFull, false, new, new);
        assert_eq!(approaches.current().tls, Tls::No);
    }
}
