//! What is left of TLS in a build without it: a clear answer.

use std::convert::Infallible;

use super::options::TlsOptions;
use crate::auth::Channel;
use crate::config::SslMode;
use crate::{Error, ErrorKind, Result};

/// Settings that offer no TLS, because this build has none.
#[derive(Debug, Clone)]
pub struct TlsSettings(());

impl TlsSettings {
    /// Accepts what can do without TLS.
    pub fn build(options: &TlsOptions) -> Result<Self> {
        match options.sslmode {
            SslMode::Disable | SslMode::Allow | SslMode::Prefer => Ok(Self(())),
            SslMode::Require | SslMode::VerifyCa | SslMode::VerifyFull => {
                Err(absent(options.sslmode.as_str()))
            }
        }
    }

    /// Whether a session may ask the server for TLS: never.
    pub fn offers_tls(&self) -> bool {
        false
    }
}

fn absent(sslmode: &str) -> Error {
    Error::new(
        ErrorKind::Config,
        format!("sslmode={sslmode} needs TLS, and this program was built without it"),
    )
    .with_hint("build with the feature \"tls\" of txpostgres")
}

/// The TLS of one connection, of which there is none.
#[derive(Debug)]
pub struct Tls(Infallible);

impl Tls {
    /// Refuses.
    pub fn new(_: &TlsSettings, _: &str) -> Result<Self> {
        Err(absent("prefer"))
    }

    /// Cannot be called.
    pub fn receive(&mut self, _: &[u8], _: &mut Vec<u8>) -> Result<()> {
        match self.0 {}
    }

    /// Cannot be called.
    pub fn send(&mut self, _: &[u8]) -> Result<()> {
        match self.0 {}
    }

    /// Cannot be called.
    pub fn output(&mut self, _: &mut impl std::io::Write) {
        match self.0 {}
    }

    /// Cannot be called.
    pub fn has_output(&self) -> bool {
        match self.0 {}
    }

    /// Cannot be called.
    pub fn is_handshaking(&self) -> bool {
        match self.0 {}
    }

    /// Cannot be called.
    pub fn is_closed(&self) -> bool {
        match self.0 {}
    }

    /// Cannot be called.
    pub fn channel(&self) -> Channel {
        match self.0 {}
    }

    /// Cannot be called.
    pub fn alpn_is_postgresql(&self) -> Option<bool> {
        match self.0 {}
    }

    /// Cannot be called.
    pub fn close(&mut self) {
        match self.0 {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_needs_tls_is_refused() {
        for (sslmode, ok) in [
            (SslMode::Disable, true),
            (SslMode::Allow, true),
            (SslMode::Prefer, true),
            (SslMode::Require, false),
            (SslMode::VerifyCa, false),
            (SslMode::VerifyFull, false),
        ] {
            let options = TlsOptions { sslmode, ..TlsOptions::default() };
            match TlsSettings::build(&options) {
                Ok(settings) => assert!(ok && !settings.offers_tls()),
                Err(error) => {
                    assert!(!ok);
                    assert_eq!(error.kind(), ErrorKind::Config);
                    assert!(error.to_string().contains("built without it"));
                }
            }
        }
    }
}
