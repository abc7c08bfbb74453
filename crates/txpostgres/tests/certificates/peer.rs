//! A server that shows any certificate, and then says just enough of PostgreSQL: a process of its
//! own for each chain would take minutes.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use txpostgres_testkit::backend;

use super::keys::Key;
use super::openssl_server::OpensslServer;

/// A read that takes longer than this has no peer any more.
const PATIENCE: Duration = Duration::from_secs(20);

/// What is shown: by rustls where it has such keys, else by `openssl s_server`.
#[derive(Debug, Clone)]
enum Shown {
    Rustls(Arc<ServerConfig>),
    Openssl(OpensslServer),
}

/// The server; it ends with the value.
#[derive(Debug)]
pub(super) struct Peer {
    port: u16,
    is_over: Arc<AtomicBool>,
    shown: Arc<Mutex<Option<Shown>>>,
    folder: PathBuf,
    thread: Option<JoinHandle<()>>,
}

impl Peer {
    /// `folder` is for the files of `openssl`.
    pub(super) fn start(folder: &Path) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let is_over = Arc::<AtomicBool>::default();
        let shown = Arc::<Mutex<Option<Shown>>>::default();
        let (over, now_shown) = (Arc::clone(&is_over), Arc::clone(&shown));
        let thread = thread::spawn(move || {
            while let Ok((stream, _)) = listener.accept() {
                if over.load(Ordering::Acquire) {
                    return;
                }
                let shown = now_shown.lock().unwrap().clone();
                // A client that hangs up early is one that has refused.
                thread::spawn(move || drop(serve(stream, shown)));
            }
        });
        Self { port, is_over, shown, folder: folder.to_owned(), thread: Some(thread) }
    }

    pub(super) fn port(&self) -> u16 {
        self.port
    }

    /// From now on it shows these certificates, in DER, with the key of the first.
    pub(super) fn show(&self, sent: &[Vec<u8>], key: &Key, only_tls12: bool) {
        let shown = match rustls_config(sent, &key.pem, only_tls12) {
            Some(config) => Shown::Rustls(Arc::new(config)),
            None => Shown::Openssl(OpensslServer::new(&self.folder, sent, &key.pem, only_tls12)),
        };
        *self.shown.lock().unwrap() = Some(shown);
    }
}

/// `None` if rustls has no such keys.
fn rustls_config(sent: &[Vec<u8>], key: &str, only_tls12: bool) -> Option<ServerConfig> {
    let chain = sent.iter().map(|der| CertificateDer::from(der.clone())).collect();
    let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap();
    let key = aws_lc_rs::sign::any_supported_type(&key).ok()?;
    let versions: &[_] = if only_tls12 { &[&rustls::version::TLS12] } else { rustls::ALL_VERSIONS };
    let certified = SingleCertAndKey::from(CertifiedKey::new(chain, key));
    let builder = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_protocol_versions(versions)
        .unwrap();
    Some(builder.with_no_client_auth().with_cert_resolver(Arc::new(certified)))
}

impl Drop for Peer {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Release);
        let _ = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port));
        let _ = self.thread.take().unwrap().join();
    }
}

/// `SSLRequest` (manual, section 54.7).
const SSL_REQUEST: [u8; 4] = [4, 210, 22, 47];

fn serve(mut stream: TcpStream, shown: Option<Shown>) -> io::Result<()> {
    stream.set_read_timeout(Some(PATIENCE))?;
    let first = untagged(&mut stream)?;
    if first != SSL_REQUEST {
        return talk(&mut stream, b"f");
    }
    stream.write_all(b"S")?;
    match shown {
        Some(Shown::Rustls(config)) => {
            let connection = ServerConnection::new(config).map_err(io::Error::other)?;
            let mut stream = StreamOwned::new(connection, stream);
            untagged(&mut stream)?;
            talk(&mut stream, b"t")
        }
        Some(Shown::Openssl(server)) => server.serve(&stream),
        None => Ok(()),
    }
}

/// A message without a tag: what follows its length.
pub(super) fn untagged(stream: &mut impl Read) -> io::Result<Vec<u8>> {
    let mut length = [0; 4];
    stream.read_exact(&mut length)?;
    let length = usize::try_from(u32::from_be_bytes(length)).unwrap_or(0);
    let mut body = vec![0; length.saturating_sub(4).min(10_000)];
    stream.read_exact(&mut body)?;
    Ok(body)
}

/// Lets the client in, and answers each simple query with whether it came by TLS.
pub(super) fn talk(stream: &mut (impl Read + Write), encrypted: &[u8]) -> io::Result<()> {
    stream.write_all(&backend::welcome())?;
    stream.flush()?;
    let mut tag = [0];
    loop {
        stream.read_exact(&mut tag)?;
        untagged(stream)?;
        if tag == *b"X" {
            return Ok(());
        }
        let answer = [
            backend::row_description(&[("ssl", 16)], 0),
            backend::data_row(&[Some(encrypted)]),
            backend::command_complete("SELECT 1"),
            backend::ready(b'I'),
        ];
        stream.write_all(&answer.concat())?;
        stream.flush()?;
    }
}
