//! The files of certificate revocation lists: `sslcrl`, `sslcrldir`, and `root.crl` (manual,
//! section 34.19.4).

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use rustls::pki_types::CertificateRevocationListDer;
use rustls::pki_types::pem::PemObject as _;

use super::files::{TlsFiles, read_file};
use super::options::{RevocationLists, Root};
use super::x509::RevocationList;
use crate::config::shown_path;
use crate::limits;
use crate::{Error, ErrorKind, Result};

const BEGIN: &[u8] = b"-----BEGIN X509 CRL-----";

/// Reads the lists that were named, or the default ones if there are any. A list in the file of the
/// root certificates counts, too, once lists are asked for. With the operating system's authorities
/// only those count that were named: no file has lists for all of these.
pub(super) fn read(root: &Root, files: &TlsFiles) -> Result<Option<RevocationLists>> {
    let named = |path: &Option<std::path::PathBuf>| {
        path.clone().filter(|path| !path.as_os_str().is_empty())
    };
    let (file, folder) = (named(&files.sslcrl), named(&files.sslcrldir));
    let file = match (&file, &folder, &files.folder) {
        (None, None, Some(home)) if *root != Root::System => {
            Some(home.join("root.crl")).filter(|path| path.exists())
        }
        _ => file,
    };
    if file.is_none() && folder.is_none() {
        return Ok(None);
    }
    let mut found = RevocationLists::default();
    if let Root::Pem { pem, .. } = root {
        append_lists(&mut found.pem, pem);
    }
    if let Some(path) = &file {
        let pem = read_file("revocation list", path)?;
        if !contains(&pem, BEGIN) {
            return Err(refused(path, "revocation list file", "has no revocation list in it")
                .with_hint("it must be in PEM, with a line -----BEGIN X509 CRL-----"));
        }
        append_lists(&mut found.pem, &pem);
        found.name = shown_path(path);
    }
    if let Some(path) = &folder {
        read_folder(path, &mut found.pem)?;
        let between = if found.name.is_empty() { "" } else { "\" and \"" };
        found.name = format!("{}{between}{}", found.name, shown_path(path));
    }
    Ok(Some(found))
}

/// The lists of a folder: `9d66eef0.r0` and on, each named after the hash of its issuer's name. As
/// in OpenSSL the numbers are without a gap, and files that cannot be read are passed over: what
/// they would tell is missing, and a certificate that needs it is refused.
fn read_folder(folder: &Path, pem: &mut Vec<u8>) -> Result<()> {
    let entries = fs::read_dir(folder).map_err(|error| {
        refused(folder, "revocation list folder", "cannot be read").with_source(error)
    })?;
    let first = |name: &str| {
        let hash = name.strip_suffix(".r0")?;
        (hash.len() == 8).then(|| u32::from_str_radix(hash, 16).ok()).flatten()
    };
    let hashes: BTreeSet<u32> =
        entries.filter_map(|entry| first(entry.ok()?.file_name().to_str()?)).collect();
    for hash in hashes {
        for number in 0_u32.. {
            let path = folder.join(format!("{hash:08x}.r{number}"));
            if path.symlink_metadata().is_err() {
                break;
            }
            let Ok(text) = read_file("revocation list", &path) else { continue };
            if is_of(&text, hash) {
                append_lists(pem, &text);
            }
            if pem.len() > limits::REVOCATION_FOLDER_BYTES {
                let what = format!("has more than {} bytes", limits::REVOCATION_FOLDER_BYTES);
                return Err(refused(folder, "revocation list folder", &what));
            }
        }
    }
    Ok(())
}

/// Whether each list in the file can be read, and is of an issuer whose name has this hash.
fn is_of(pem: &[u8], hash: u32) -> bool {
    CertificateRevocationListDer::pem_slice_iter(pem).all(|list| {
        list.is_ok_and(|list| {
            RevocationList::read(&list).is_some_and(|list| list.name_hash() == hash)
        })
    })
}

/// Appends the text, with a line's end.
fn append_lists(all: &mut Vec<u8>, pem: &[u8]) {
    if contains(pem, BEGIN) {
        all.extend_from_slice(pem);
        all.push(b'\n');
    }
}

fn contains(text: &[u8], part: &[u8]) -> bool {
    text.windows(part.len()).any(|window| window == part)
}

fn refused(path: &Path, what: &str, why: &str) -> Error {
    Error::new(ErrorKind::Config, format!("{what} \"{}\" {why}", shown_path(path)))
}
