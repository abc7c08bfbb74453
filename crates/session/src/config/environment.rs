//! What a configuration may learn from the process and the machine: variables, files, who runs it.

use std::ffi::OsString;
use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use super::defaults;

/// The world around a configuration. [`SystemEnvironment`] is the real one, [`NoEnvironment`] is
/// empty; tests bring their own.
pub trait Environment {
    /// The variable of that name.
    fn var(&self, name: &str) -> Option<OsString>;

    /// The file's contents; `None` if there is no such file.
    fn read(&self, path: &Path) -> io::Result<Option<FileContents>>;

    /// Whether there is a file or directory of that name.
    fn exists(&self, path: &Path) -> bool;

    /// The directory of the user's own files. On Windows that is `%APPDATA%\postgresql`.
    fn home(&self) -> Option<PathBuf>;

    /// The operating system's name of the user who runs this.
    fn user_name(&self) -> Option<String>;
}

/// What was read of a file, and whether it may be trusted with secrets. Not printable: it may hold
/// passwords.
#[derive(Clone, Default)]
pub struct FileContents {
    /// The contents; empty if the file is not plain.
    pub bytes: Vec<u8>,
    /// The permission bits, on systems that have them.
    pub mode: Option<u32>,
    /// Whether it is a plain file: not a directory, device or pipe.
    pub plain: bool,
}

impl FileContents {
    /// Those of a plain file.
    pub fn new(bytes: impl Into<Vec<u8>>) -> Self {
        Self { bytes: bytes.into(), mode: None, plain: true }
    }

    /// The same, with permission bits.
    #[must_use]
    pub fn with_mode(mut self, mode: u32) -> Self {
        self.mode = Some(mode);
        self
    }
}

/// The process's variables and the machine's files.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemEnvironment;

impl Environment for SystemEnvironment {
    fn var(&self, name: &str) -> Option<OsString> {
        std::env::var_os(name)
    }

    fn read(&self, path: &Path) -> io::Result<Option<FileContents>> {
        let metadata = match fs::metadata(path) {
            Ok(metadata) => metadata,
            Err(error) => {
                let absent =
                    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory);
                return if absent { Ok(None) } else { Err(error) };
            }
        };
        let mut contents =
            FileContents { bytes: Vec::new(), mode: mode(&metadata), plain: metadata.is_file() };
        // Opening a pipe would wait for its writer.
        if contents.plain {
            let file = fs::File::open(path)?;
            file.take(defaults::FILE_BYTES + 1).read_to_end(&mut contents.bytes)?;
            if contents.bytes.len() as u64 > defaults::FILE_BYTES {
                return Err(io::Error::other("it is larger than 1 MiB"));
            }
        }
        Ok(Some(contents))
    }

    fn exists(&self, path: &Path) -> bool {
        path.exists()
    }

    fn home(&self) -> Option<PathBuf> {
        if cfg!(windows) {
            return Some(PathBuf::from(self.var("APPDATA")?).join("postgresql"));
        }
        match self.var("HOME") {
            Some(home) if !home.is_empty() => Some(home.into()),
            _ => Some(passwd_field(5)?.into()),
        }
    }

    fn user_name(&self) -> Option<String> {
        // libpq asks getpwuid(geteuid()). Without calling C: what /etc/passwd says, and for users
        // who are only in a directory service, or where there is no /proc, what the login said.
        passwd_field(0).or_else(|| {
            ["LOGNAME", "USER", "USERNAME"]
                .into_iter()
                .find_map(|name| self.var(name)?.into_string().ok())
                .filter(|name| !name.is_empty())
        })
    }
}

#[cfg(unix)]
#[allow(clippy::unnecessary_wraps)] // Other systems have none.
fn mode(metadata: &fs::Metadata) -> Option<u32> {
    use std::os::unix::fs::MetadataExt;
    Some(metadata.mode() & 0o7777)
}

#[cfg(not(unix))]
fn mode(_: &fs::Metadata) -> Option<u32> {
    None
}

/// A field of our own line in `/etc/passwd`, found by the effective user id that owns `/proc/self`.
#[cfg(unix)]
fn passwd_field(number: usize) -> Option<String> {
    use std::os::unix::fs::MetadataExt;
    let id = fs::metadata("/proc/self").ok()?.uid().to_string();
    let passwd = fs::read_to_string("/etc/passwd").ok()?;
    let line = passwd.lines().find(|line| line.split(':').nth(2) == Some(id.as_str()))?;
    line.split(':').nth(number).filter(|field| !field.is_empty()).map(str::to_owned)
}

#[cfg(not(unix))]
fn passwd_field(_: usize) -> Option<String> {
    None
}

/// No variables, no files, no user: only what the program says counts.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoEnvironment;

impl Environment for NoEnvironment {
    fn var(&self, _: &str) -> Option<OsString> {
        None
    }

    fn read(&self, _: &Path) -> io::Result<Option<FileContents>> {
        Ok(None)
    }

    fn exists(&self, _: &Path) -> bool {
        false
    }

    fn home(&self) -> Option<PathBuf> {
        None
    }

    fn user_name(&self) -> Option<String> {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_system_tells_who_we_are_and_reads_plain_files_only() {
        let system = SystemEnvironment;
        if cfg!(target_os = "linux") {
            assert!(system.user_name().is_some());
            assert!(system.read(Path::new("/dev/null")).unwrap().is_some_and(|f| !f.plain));
        }
        assert!(system.read(Path::new("/no/such/file")).unwrap().is_none());
        let here = Path::new(env!("CARGO_MANIFEST_DIR"));
        assert!(system.read(here).unwrap().is_some_and(|file| !file.plain));
        let file = system.read(&here.join("Cargo.toml")).unwrap().unwrap();
        assert!(file.plain && file.bytes.starts_with(b"[package]"));
    }
}
