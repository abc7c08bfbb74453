//! A server's end by `openssl s_server`, for keys that rustls does not have.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};
use std::{fs, thread};

use super::der::pem;
use super::keys::certificates_pem;
use super::peer::{talk, untagged};

/// Has `openssl` show any key, however weak: it is the client that must refuse it.
const ANY_KEY: &str = "openssl_conf = all\n[all]\nssl_conf = tls\n[tls]\nsystem_default = any\n\
                       [any]\nCipherString = DEFAULT:@SECLEVEL=0\n";

/// What it shows; each connection has a process of its own.
#[derive(Debug, Clone)]
pub(super) struct OpensslServer {
    folder: PathBuf,
    arguments: Vec<String>,
}

/// The plain text of the connection.
struct Plain(ChildStdout, ChildStdin);

impl Read for Plain {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read(buffer)
    }
}

impl Write for Plain {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        self.1.write(buffer)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.1.flush()
    }
}

impl OpensslServer {
    pub(super) fn new(folder: &Path, sent: &[Vec<u8>], key: &str, only_tls12: bool) -> Self {
        let write = |name: &str, text: String| {
            let path = folder.join(name);
            fs::write(&path, text).unwrap();
            path.display().to_string()
        };
        let mut arguments = vec![
            "-cert".to_owned(),
            write("shown.crt", pem("CERTIFICATE", &sent[0])),
            "-key".to_owned(),
            write("shown.key", key.to_owned()),
        ];
        write("openssl.cnf", ANY_KEY.to_owned());
        if sent.len() > 1 {
            arguments.push("-cert_chain".to_owned());
            arguments.push(write("chain.crt", certificates_pem(&sent[1..])));
        }
        if only_tls12 {
            arguments.push("-tls1_2".to_owned());
        }
        Self { folder: folder.to_owned(), arguments }
    }

    /// Serves one connection that has been promised TLS.
    pub(super) fn serve(&self, stream: &TcpStream) -> io::Result<()> {
        // It tells its port only among much else, so a free one is chosen for it.
        let address = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?;
        let mut child = Command::new("openssl")
            .args(["s_server", "-quiet", "-naccept", "1", "-accept", &address.to_string()])
            .args(&self.arguments)
            .env("OPENSSL_CONF", self.folder.join("openssl.cnf"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()?;
        let (input, output) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        let result = connected(&mut child, address).and_then(|inside| {
            splice(stream, &inside)?;
            let mut plain = Plain(output, input);
            untagged(&mut plain)?;
            talk(&mut plain, b"t")
        });
        let _ = stream.shutdown(Shutdown::Both);
        let _ = child.kill();
        let _ = child.wait();
        result
    }
}

/// A connection to the process, once it listens.
fn connected(child: &mut Child, address: SocketAddr) -> io::Result<TcpStream> {
    let end = Instant::now() + Duration::from_secs(10);
    loop {
        match TcpStream::connect(address) {
            Err(_) if Instant::now() < end && child.try_wait()?.is_none() => {
                thread::sleep(Duration::from_millis(1));
            }
            other => return other,
        }
    }
}

/// Copies in both directions from now on.
fn splice(stream: &TcpStream, inside: &TcpStream) -> io::Result<()> {
    let (mut from, mut to) = (stream.try_clone()?, inside.try_clone()?);
    thread::spawn(move || {
        let _ = io::copy(&mut from, &mut to);
        let _ = to.shutdown(Shutdown::Both);
    });
    let (mut from, mut to) = (inside.try_clone()?, stream.try_clone()?);
    thread::spawn(move || {
        let _ = io::copy(&mut from, &mut to);
        let _ = to.shutdown(Shutdown::Both);
    });
    Ok(())
}
