//! The files that TLS needs: where they are by default, and which of them may be missing (manual,
//! section 34.19).

use std::fs::{self, File, Metadata};
use std::io::{ErrorKind as IoKind, Read};
use std::path::{Path, PathBuf};

use super::TlsSettings;
use super::options::{ClientCertificate, Root, TlsOptions};
use crate::config::{Config, Host, Password, SslCertMode, SslMode, SslRootCert, shown_path};
use crate::limits;
use crate::{Error, ErrorKind, Result};

/// Where the files are. Whatever is `None` is looked for in `folder`, and used if it is there.
#[derive(Debug, Clone, Default)]
pub struct TlsFiles {
    /// `sslrootcert`; the word `system` means the operating system's authorities.
    pub sslrootcert: Option<PathBuf>,
    /// `sslcert`.
    pub sslcert: Option<PathBuf>,
    /// `sslkey`.
    pub sslkey: Option<PathBuf>,
    /// `sslpassword`: what the key is encrypted with.
    pub sslpassword: Option<Password>,
    /// `sslcrl`.
    pub sslcrl: Option<PathBuf>,
    /// `sslcrldir`.
    pub sslcrldir: Option<PathBuf>,
    /// `~/.postgresql`, or `%APPDATA%\postgresql` on Windows.
    pub folder: Option<PathBuf>,
}

impl TlsSettings {
    /// TLS as a resolved configuration wants it. Reads the files it names, and none if no host of
    /// it is reached by TCP.
    pub fn from_config(settings: &Config) -> Result<Self> {
        let by_tcp = settings.endpoints()?.iter().any(|e| !matches!(e.host, Host::Unix(_)));
        let sslmode = if by_tcp { settings.get_sslmode() } else { SslMode::Disable };
        let options = TlsOptions {
            sslmode,
            negotiation: settings.get_sslnegotiation(),
            sni: settings.get_sslsni(),
            min_version: Some(settings.get_ssl_min_protocol_version()),
            max_version: settings.get_ssl_max_protocol_version(),
            client_required: settings.get_sslcertmode() == SslCertMode::Require,
            ..TlsOptions::default()
        };
        let shows = settings.get_sslcertmode() != SslCertMode::Disable;
        let files = TlsFiles {
            sslrootcert: settings.get_sslrootcert().map(|root| match root {
                SslRootCert::System => "system".into(),
                SslRootCert::File(path) => path.clone(),
            }),
            sslcert: settings.get_sslcert().filter(|_| shows).map(Path::to_owned),
            sslkey: settings.get_sslkey().map(Path::to_owned),
            sslpassword: settings.get_sslpassword().cloned(),
            sslcrl: settings.get_sslcrl().map(Path::to_owned),
            sslcrldir: settings.get_sslcrldir().map(Path::to_owned),
            // The configuration has found the default files already.
            folder: None,
        };
        let options = options.read(&files)?;
        if options.client_required && options.client.is_none() && sslmode != SslMode::Disable {
            return Err(config("sslcertmode=require needs a certificate".to_owned())
                .with_hint("name its file by sslcert"));
        }
        Self::build(&options)
    }
}

impl TlsFiles {
    /// The file that was named, or the default one.
    fn path(&self, named: Option<&PathBuf>, default: &str) -> Option<PathBuf> {
        match named {
            Some(path) if !path.as_os_str().is_empty() => Some(path.clone()),
            _ => self.folder.as_ref().map(|folder| folder.join(default)),
        }
    }
}

impl TlsOptions {
    /// The same options with `root` and `client` from files, by libpq's rules:
    ///
    /// * with `sslmode=disable` nothing is read;
    /// * a root file that does not exist is an error only if the certificate must be verified;
    /// * revocation lists are read only where there is a root; those that are named must be there,
    ///   which libpq does not mind;
    /// * a certificate of ours that does not exist is not used; one that does exist needs its key.
    ///
    /// It reads files and may block; call it only when TLS is going to be used, since a key that
    /// others can read is an error even if no server ever asks for it.
    pub fn read(mut self, files: &TlsFiles) -> Result<Self> {
        if self.sslmode == SslMode::Disable {
            return Ok(self);
        }
        self.root = read_root(self.sslmode, files)?;
        #[cfg(feature = "tls")]
        if self.root != Root::None {
            self.revocation = super::revocation_files::read(&self.root, files)?;
        }
        self.client = read_client(files)?;
        Ok(self)
    }
}

fn read_root(sslmode: SslMode, files: &TlsFiles) -> Result<Root> {
    if files.sslrootcert.as_deref() == Some(Path::new("system")) {
        return Ok(Root::System);
    }
    let path = files.path(files.sslrootcert.as_ref(), "root.crt");
    if let Some(path) = &path
        && fs::metadata(path).is_ok()
    {
        let name = shown_path(path);
        let pem = read_file("root certificate", path)?;
        return Ok(Root::Pem { pem, name });
    }
    if !matches!(sslmode, SslMode::VerifyCa | SslMode::VerifyFull) {
        return Ok(Root::None);
    }
    let message = match &path {
        Some(path) => format!(
            "root certificate file \"{}\" does not exist, and sslmode={} needs one",
            shown_path(path),
            sslmode.as_str()
        ),
        None => format!("sslmode={} needs a root certificate", sslmode.as_str()),
    };
    Err(config(message).with_hint(
        "name a file by sslrootcert, or use sslrootcert=system; sslmode=require does not verify the certificate",
    ))
}

fn read_client(files: &TlsFiles) -> Result<Option<ClientCertificate>> {
    let Some(path) = files.path(files.sslcert.as_ref(), "postgresql.crt") else {
        return Ok(None);
    };
    match fs::metadata(&path) {
        Err(e) if matches!(e.kind(), IoKind::NotFound | IoKind::NotADirectory) => return Ok(None),
        _ => {}
    }
    let certificate = read_file("certificate", &path)?;
    let certificate_name = shown_path(&path);

    let missing = |key: &str| {
        config(format!(
            "certificate \"{certificate_name}\" is present, but not its private key{key}"
        ))
        .with_hint("name the key's file by sslkey")
    };
    let key_path =
        files.path(files.sslkey.as_ref(), "postgresql.key").ok_or_else(|| missing(""))?;
    let key_name = shown_path(&key_path);
    let metadata =
        fs::metadata(&key_path).map_err(|_| missing(&format!(" file \"{key_name}\"")))?;
    if !metadata.is_file() {
        return Err(config(format!("private key file \"{key_name}\" is not a regular file")));
    }
    check_access(&metadata, &key_name)?;
    let key = String::from_utf8(read_file("private key", &key_path)?).map_err(|_| {
        config(format!("private key file \"{key_name}\" is not in PEM"))
            .with_hint("openssl pkey -inform DER -in FILE -out FILE.pem makes PEM of it")
    })?;
    Ok(Some(ClientCertificate {
        certificate,
        certificate_name,
        key: Password::from(key),
        key_name,
        key_password: files.sslpassword.clone(),
    }))
}

/// A key that others can read is no secret. One that root owns may be read by its group, so that a
/// service can be let in.
#[cfg(unix)]
fn check_access(metadata: &Metadata, name: &str) -> Result<()> {
    use std::os::unix::fs::MetadataExt as _;
    let forbidden = if metadata.uid() == 0 { 0o037 } else { 0o077 };
    if metadata.mode() & forbidden == 0 {
        return Ok(());
    }
    Err(config(format!("private key file \"{name}\" has group or world access"))
        .with_hint("chmod 0600 if it is yours; 0640 at most if root owns it"))
}

#[cfg(not(unix))]
fn check_access(_: &Metadata, _: &str) -> Result<()> {
    Ok(())
}

pub(super) fn read_file(what: &str, path: &Path) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let read = File::open(path)
        .and_then(|file| file.take(limits::CERTIFICATE_FILE_BYTES + 1).read_to_end(&mut bytes));
    match read {
        Ok(count) if count as u64 <= limits::CERTIFICATE_FILE_BYTES => Ok(bytes),
        Ok(_) => Err(config(format!(
            "{what} file \"{}\" has more than {} bytes",
            shown_path(path),
            limits::CERTIFICATE_FILE_BYTES
        ))),
        Err(error) => Err(config(format!("{what} file \"{}\" cannot be read", shown_path(path)))
            .with_source(error)),
    }
}

fn config(message: String) -> Error {
    Error::new(ErrorKind::Config, message)
}

// Two attributes, so that clippy sees that these are tests.
#[cfg(unix)]
#[cfg(test)]
mod tests {
    use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    /// A folder that is removed at the end.
    struct Folder(PathBuf);

    impl Folder {
        fn new() -> Self {
            static NUMBER: AtomicU32 = AtomicU32::new(0);
            let number = NUMBER.fetch_add(1, Ordering::Relaxed);
            let name = format!("txpostgres-tls-{}-{number}", std::process::id());
            let path = std::env::temp_dir().join(name);
            fs::create_dir(&path).unwrap();
            Self(path)
        }

        fn write(&self, name: &str, text: &str, mode: u32) -> PathBuf {
            let path = self.0.join(name);
            fs::write(&path, text).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            path
        }

        fn files(&self) -> TlsFiles {
            TlsFiles { folder: Some(self.0.clone()), ..TlsFiles::default() }
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    fn read(sslmode: SslMode, files: &TlsFiles) -> Result<TlsOptions> {
        let options = TlsOptions { sslmode, ..TlsOptions::default() };
        options.read(files)
    }

    #[track_caller]
    fn fails(result: Result<TlsOptions>, text: &str) {
        let error = result.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Config);
        assert!(error.to_string().contains(text), "{error}");
    }

    #[test]
    fn a_root_is_needed_only_to_verify() {
        let folder = Folder::new();
        let files = folder.files();
        assert_eq!(read(SslMode::Require, &files).unwrap().root, Root::None);
        for mode in [SslMode::VerifyCa, SslMode::VerifyFull] {
            fails(read(mode, &files), "root.crt\" does not exist");
            let nowhere = TlsFiles::default();
            fails(read(mode, &nowhere), "needs a root certificate");
            let hint = read(mode, &nowhere).unwrap_err();
            assert!(hint.hint().unwrap().contains("sslrootcert"));
        }
        folder.write("root.crt", "text", 0o644);
        for mode in [SslMode::Require, SslMode::VerifyFull] {
            let root = read(mode, &files).unwrap().root;
            assert!(matches!(root, Root::Pem { pem, .. } if pem == b"text"));
        }
        let system = TlsFiles { sslrootcert: Some("system".into()), ..files };
        assert_eq!(read(SslMode::VerifyFull, &system).unwrap().root, Root::System);
    }

    #[test]
    fn a_certificate_needs_a_key_that_nobody_else_can_read() {
        let folder = Folder::new();
        let mut files = folder.files();
        assert!(read(SslMode::Prefer, &files).unwrap().client.is_none());
        files.sslcert = Some(folder.0.join("absent.crt"));
        assert!(read(SslMode::Prefer, &files).unwrap().client.is_none());
        files.sslcert = Some(folder.write("my.crt", "certificate", 0o644));
        fails(read(SslMode::Prefer, &files), "postgresql.key\"");
        let key = folder.write("postgresql.key", "key", 0o600);
        assert!(read(SslMode::Prefer, &files).unwrap().client.is_some());
        fs::set_permissions(&key, fs::Permissions::from_mode(0o644)).unwrap();
        fails(read(SslMode::Prefer, &files), "group or world access");
        assert!(read(SslMode::Disable, &files).unwrap().client.is_none());

        fs::set_permissions(&key, fs::Permissions::from_mode(0o640)).unwrap();
        let of_root = fs::metadata(&key).unwrap().uid() == 0;
        assert_eq!(read(SslMode::Prefer, &files).is_ok(), of_root);

        files.sslkey = Some(folder.0.clone());
        fails(read(SslMode::Prefer, &files), "not a regular file");
    }

    #[test]
    fn endless_files_end() {
        let files = TlsFiles { sslrootcert: Some("/dev/zero".into()), ..TlsFiles::default() };
        fails(read(SslMode::Require, &files), "has more than");
    }
}
