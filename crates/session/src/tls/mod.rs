//! TLS as bytes in and bytes out: what to trust, who we are, and one connection's record layer.

mod files;
mod options;

#[cfg(feature = "tls")]
mod explain;
#[cfg(feature = "tls")]
mod keys;
#[cfg(feature = "tls")]
mod revocation_files;
#[cfg(feature = "tls")]
mod settings;
#[cfg(feature = "tls")]
mod stream;
#[cfg(feature = "tls")]
mod verify;
#[cfg(not(feature = "tls"))]
mod without;
#[cfg(feature = "tls")]
mod x509;

#[cfg(feature = "tls")]
#[cfg(test)]
mod tests;

pub use files::TlsFiles;
pub use options::{ClientCertificate, RevocationLists, Root, TlsOptions};
#[cfg(feature = "tls")]
pub use settings::TlsSettings;
#[cfg(feature = "tls")]
pub use stream::Tls;
#[cfg(not(feature = "tls"))]
pub use without::{Tls, TlsSettings};
