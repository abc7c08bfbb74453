//! A server that answers from memory, so that only the client's own work is left to measure.
//!
//! It is a process of its own (`bench fake-server`), with one blocking thread for each connection.
//! Every frontend message gets its usual reply; a statement that begins with `select` answers with
//! one int4, which is the parameter it was bound to, or 1, unless it names a table of `tables`. All
//! replies to what one read brought leave with one write. `PostgreSQL` itself flushes once for each
//! Sync.

mod conversation;
mod tables;

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use conversation::{Conversation, Next};

use crate::Failure;
use crate::target::Target;

/// What one read may bring.
const READ: usize = 64 * 1024;

/// The first word of the line by which the server says that clients may come.
const LISTENING: &str = "listening";

/// Serves connections at `socket` for ever; with `until_stdin_closes`, no longer than the process
/// that holds the other end of standard input.
pub(crate) fn serve(socket: &Path, until_stdin_closes: bool) -> Result<(), Failure> {
    let listener = UnixListener::bind(socket)
        .map_err(|failure| format!("cannot listen at {}: {failure}", socket.display()))?;
    println!("{LISTENING} at {}", socket.display());
    if until_stdin_closes {
        let socket = socket.to_owned();
        std::thread::spawn(move || {
            let _ = std::io::copy(&mut std::io::stdin(), &mut std::io::sink());
            let _ = std::fs::remove_file(socket);
            std::process::exit(0);
        });
    }
    for connection in listener.incoming() {
        let connection = connection?;
        std::thread::spawn(move || {
            if let Err(failure) = converse(connection) {
                eprintln!("fake server: {failure}");
            }
        });
    }
    Ok(())
}

fn converse(mut connection: UnixStream) -> Result<(), Failure> {
    let mut conversation = Conversation::default();
    let mut chunk = vec![0; READ];
    let mut input: Vec<u8> = Vec::new();
    let mut output: Vec<u8> = Vec::new();
    loop {
        let read = connection.read(&mut chunk)?;
        if read == 0 {
            return Ok(());
        }
        input.extend_from_slice(chunk.get(..read).unwrap_or_default());
        let mut rest = &input[..];
        let ended = loop {
            match conversation.answer(rest, &mut output)? {
                Next::Answered(after) => rest = after,
                Next::Wait => break false,
                Next::End => break true,
            }
        };
        let used = input.len() - rest.len();
        input.drain(..used);
        connection.write_all(&output)?;
        output.clear();
        if ended {
            return Ok(());
        }
    }
}

/// A fake server started by this process, which ends with it.
pub(crate) struct FakeServer {
    process: Child,
    directory: PathBuf,
    target: Target,
}

impl FakeServer {
    /// Starts one in a fresh directory; clients may come as soon as this returns.
    pub(crate) fn start() -> Result<FakeServer, Failure> {
        let directory = std::env::temp_dir().join(format!("txpostgres-{}", std::process::id()));
        std::fs::create_dir_all(&directory)?;
        let socket = directory.join(".s.PGSQL.5432");
        let _ = std::fs::remove_file(&socket);
        let mut process = Command::new(std::env::current_exe()?)
            .args(["fake-server", "--until-stdin-closes", "--socket"])
            .arg(&socket)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let mut line = String::new();
        if let Some(output) = process.stdout.take() {
            BufReader::new(output).read_line(&mut line)?;
        }
        let server = FakeServer { process, directory, target: Target::from_socket(&socket)? };
        if !line.starts_with(LISTENING) {
            return Err("the fake server did not start".into());
        }
        Ok(server)
    }

    pub(crate) fn target(&self) -> &Target {
        &self.target
    }
}

impl Drop for FakeServer {
    fn drop(&mut self) {
        drop(self.process.stdin.take());
        let _ = self.process.wait();
        let _ = std::fs::remove_dir(&self.directory);
    }
}
