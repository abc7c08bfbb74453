//! What each method makes of the password.

use std::fmt::Write as _;

use md5::{Digest, Md5};

use super::saslprep::saslprep;
use crate::config::Password;
use crate::{Error, ErrorKind, Result};

/// The password as it is, with the NUL that ends it.
pub(super) fn cleartext(password: &Password) -> Result<Vec<u8>> {
    let text = password.as_bytes();
    if text.contains(&0) {
        return Err(Error::new(
            ErrorKind::Authentication,
            "the password has a NUL in it and cannot be sent",
        ));
    }
    Ok([text, b"\0"].concat())
}

/// `md5` and the hash of the hash of password and user, and the salt (manual, section 54.2.1,
/// `AuthenticationMD5Password`).
pub(super) fn md5(user: &str, password: &Password, salt: [u8; 4]) -> Vec<u8> {
    let hex = |hash: &[u8]| {
        hash.iter().fold(String::with_capacity(35), |mut text, byte| {
            // Writing to a String does not fail.
            let _ = write!(text, "{byte:02x}");
            text
        })
    };
    let kept = hex(&Md5::new().chain_update(password.as_bytes()).chain_update(user).finalize());
    let sent = hex(&Md5::new().chain_update(kept).chain_update(salt).finalize());
    format!("md5{sent}\0").into_bytes()
}

/// The password as SCRAM hashes it: prepared, or as it is when that cannot be done, as the server
/// does when the password is set (`pg_be_scram_build_secret`).
pub(super) fn prepared(password: &Password) -> Vec<u8> {
    let bytes = password.as_bytes();
    match std::str::from_utf8(bytes).ok().and_then(saslprep) {
        Some(prepared) => prepared.into_bytes(),
        None => bytes.to_vec(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn md5_of_md5() {
        // echo -n "$(echo -n 'secretalice' | md5sum | head -c 32)" plus the salt 01 02 03 04,
        // hashed again.
        let body = md5("alice", &Password::from("secret"), [1, 2, 3, 4]);
        assert_eq!(body.len(), 36);
        assert_eq!(body, b"md598a0412b9c31436fc53776e863350083\0");
    }

    #[test]
    fn preparation_falls_back_to_the_bytes() {
        let not_utf8 = [0xc2, 0xad, 0xff];
        for (password, bytes) in [
            (&b"plain"[..], &b"plain"[..]),
            ("I\u{ad}X".as_bytes(), b"IX"),
            ("\u{ad}".as_bytes(), "\u{ad}".as_bytes()),
            ("pass\u{1f202}word".as_bytes(), "pass\u{1f202}word".as_bytes()),
            (&not_utf8, &not_utf8),
        ] {
            assert_eq!(prepared(&Password::from(password.to_vec())), bytes, "{password:?}");
        }
    }
}
