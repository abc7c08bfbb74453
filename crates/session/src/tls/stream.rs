//! The TLS of one connection: ciphertext in, plaintext out, and back.

use std::fmt;
use std::io::{BufRead as _, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rustls::ClientConnection;
use rustls::pki_types::ServerName;

use super::explain::{explain, failed};
use super::settings::{ALPN, TlsSettings};
use super::x509::Certificate;
use crate::auth::Channel;
use crate::{Error, ErrorKind, Result};

/// One connection's TLS, without a socket.
///
/// Bytes that came go into [`receive`](Self::receive); after each call [`output`](Self::output) has
/// what must be sent, also after an error, when it is the alert that tells the server why.
pub struct Tls {
    connection: ClientConnection,
    settings: TlsSettings,
    host: String,
    /// Whether the server asked for our certificate, if it must.
    asked: Option<Arc<AtomicBool>>,
    closed: bool,
}

impl Tls {
    /// Begins the handshake: the first message waits in [`output`](Self::output).
    ///
    /// A host that is no name TLS knows, such as an empty one, is an error only if the name is
    /// going to be checked.
    pub fn new(settings: &TlsSettings, host: &str) -> Result<Self> {
        let name = match ServerName::try_from(host.to_owned()) {
            Ok(name) => name,
            Err(_) if settings.checks_name() => return Err(no_name(host)),
            // An address is never sent (RFC 6066, section 3), and never compared.
            Err(_) => ServerName::IpAddress(core::net::Ipv4Addr::UNSPECIFIED.into()),
        };
        let (config, asked) = settings.noting();
        let mut connection = ClientConnection::new(config, name)
            .map_err(|error| failed("TLS could not be started").with_source(error))?;
        // What may wait is bounded by the sender: see `limits::TLS_CHUNK_BYTES`.
        connection.set_buffer_limit(None);
        let (settings, host) = (settings.clone(), host.to_owned());
        Ok(Self { connection, settings, host, asked, closed: false })
    }

    /// Takes bytes as they came, cut anywhere, and appends what they say. What was appended before
    /// an error is genuine.
    pub fn receive(&mut self, mut ciphertext: &[u8], plaintext: &mut Vec<u8>) -> Result<()> {
        while !ciphertext.is_empty() {
            let taken = self
                .connection
                .read_tls(&mut ciphertext)
                .map_err(|_| failed("the server's TLS handshake is too long"))?;
            if taken == 0 {
                // After close_notify nothing counts (RFC 8446, section 6.1).
                break;
            }
            let result = self.connection.process_new_packets();
            self.take_plaintext(plaintext);
            match result {
                Ok(state) => self.closed |= state.peer_has_closed(),
                Err(error) => return Err(explain(&error, &self.settings, &self.host)),
            }
        }
        if self.settings.is_direct() && self.alpn_is_postgresql() == Some(false) {
            return Err(failed(
                "the server did not agree to speak PostgreSQL on a direct TLS connection (ALPN)",
            )
            .with_hint("sslnegotiation=direct needs PostgreSQL 17 or later; sslnegotiation=postgres works with all"));
        }
        let asked = self.asked.as_ref().is_none_or(|asked| asked.load(Ordering::Relaxed));
        if !asked && !self.is_handshaking() {
            return Err(failed("the server did not ask for a certificate of ours, and sslcertmode=require demands it")
                .with_hint("`ssl_ca_file` in the server's configuration makes it ask"));
        }
        Ok(())
    }

    fn take_plaintext(&mut self, plaintext: &mut Vec<u8>) {
        let mut reader = self.connection.reader();
        loop {
            let count = match reader.fill_buf() {
                Ok(bytes) if !bytes.is_empty() => {
                    plaintext.extend_from_slice(bytes);
                    bytes.len()
                }
                // Nothing more for now, or for good.
                _ => return,
            };
            reader.consume(count);
        }
    }

    /// Encrypts. What is given before the handshake has ended waits until then.
    pub fn send(&mut self, plaintext: &[u8]) -> Result<()> {
        self.connection
            .writer()
            .write_all(plaintext)
            .map_err(|error| failed("nothing more can be sent by TLS").with_source(error))
    }

    /// Appends what is to be sent.
    pub fn output(&mut self, ciphertext: &mut impl Write) {
        while self.connection.wants_write() {
            // Writing to memory does not fail.
            if self.connection.write_tls(ciphertext).is_err() {
                return;
            }
        }
    }

    /// Whether there is anything to send.
    pub fn has_output(&self) -> bool {
        self.connection.wants_write()
    }

    /// Whether the handshake has not ended.
    pub fn is_handshaking(&self) -> bool {
        self.connection.is_handshaking()
    }

    /// Whether the server has said that it sends nothing more. An end of the connection without it
    /// may be an attack.
    pub fn is_closed(&self) -> bool {
        self.closed
    }

    /// What a login can be bound to. Known once the handshake has ended.
    pub fn channel(&self) -> Channel {
        let certificate = self.connection.peer_certificates().and_then(|chain| chain.first());
        Channel::Tls {
            server_end_point: certificate.and_then(|bytes| Certificate::read(bytes)?.end_point()),
        }
    }

    /// Whether the server agreed to speak PostgreSQL; `None` before the handshake has ended.
    /// Servers before version 17 do not say.
    pub fn alpn_is_postgresql(&self) -> Option<bool> {
        (!self.is_handshaking()).then(|| self.connection.alpn_protocol() == Some(ALPN))
    }

    /// Says that we send nothing more.
    pub fn close(&mut self) {
        self.connection.send_close_notify();
    }
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls")
            .field("host", &self.host)
            .field("handshaking", &self.is_handshaking())
            .finish_non_exhaustive()
    }
}

fn no_name(host: &str) -> Error {
    let message = if host.is_empty() {
        "sslmode=verify-full needs a host name to compare with the certificate".into()
    } else {
        format!("\"{host}\" is no host name that a certificate could be for")
    };
    Error::new(ErrorKind::Tls, message).with_hint("sslmode=verify-ca does not check the name")
}
