//! Encrypted keys of ours, as `openssl` writes them; skipped where there is no `openssl`.

use std::io::Write as _;
use std::process::{Command, Stdio};

use super::*;
use crate::config::Password;

const PASSWORD: &str = "open sesame";

/// What `openssl` makes of a key; `None` if there is no such program.
fn openssl(key: &str, arguments: &str) -> Option<String> {
    let mut child = Command::new("openssl")
        .args(arguments.split(' '))
        .args(["-passout", &format!("pass:{PASSWORD}")])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .ok()?;
    child.stdin.take().unwrap().write_all(key.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "openssl {arguments}");
    Some(String::from_utf8(output.stdout).unwrap())
}

#[test]
fn encrypted_keys_are_read() {
    let ca = authority("ours");
    let site = ca.sign(params(&["localhost"], "x"));
    for algorithm in [
        &rcgen::PKCS_ECDSA_P256_SHA256,
        &rcgen::PKCS_ECDSA_P521_SHA512,
        &rcgen::PKCS_RSA_SHA256,
        &rcgen::PKCS_ECDSA_P384_SHA384,
    ] {
        let mine = ca.sign_by(params(&[], "me"), algorithm);
        for way in [
            "pkcs8 -topk8",
            "pkcs8 -topk8 -v2 aes128",
            "pkcs8 -topk8 -v2 aes-256-cbc -v2prf hmacWithSHA1",
            "pkcs8 -topk8 -v2 des3 -v2prf hmacWithSHA512",
            "pkcs8 -topk8 -scrypt",
            "pkey -aes256",
            "pkey -traditional -aes128",
            "pkey -traditional -aes192",
            "pkey -traditional -aes256",
            "pkey -traditional -des3",
        ] {
            let Some(key) = openssl(&mine.key.serialize_pem(), way) else {
                println!("skipped: there is no openssl");
                return;
            };
            assert!(key.contains("ENCRYPTED"), "{way}");
            let client = |password: Option<&str>| ClientCertificate {
                key: Password::from(key.clone()),
                key_password: password.map(Password::from),
                ..mine.client()
            };
            let mut verify = options(SslMode::VerifyFull, ca.root());
            let mut site = Site::new(&site);
            site.demands = Some(&ca);
            verify.client = Some(client(Some(PASSWORD)));
            connect(&verify, &site, "localhost").unwrap();
            for (password, text) in [
                (None, "is encrypted, and no password was given for it"),
                (Some("open says me"), "cannot be decrypted with sslpassword"),
            ] {
                verify.client = Some(client(password));
                let error = fails(TlsSettings::build(&verify), ErrorKind::Config, text, "");
                assert!(!format!("{error:#?}").contains("open says me"));
            }
        }
    }
}

#[test]
fn ciphers_that_are_not_supported_are_named() {
    let mine = authority("ours");
    let Some(key) = openssl(&mine.key.serialize_pem(), "pkey -traditional -camellia256") else {
        println!("skipped: there is no openssl");
        return;
    };
    let mut verify = options(SslMode::VerifyFull, mine.root());
    verify.client = Some(ClientCertificate {
        key: Password::from(key),
        key_password: Some(Password::from(PASSWORD)),
        ..mine.client()
    });
    let text =
        "private key file \"my.key\" is encrypted with CAMELLIA-256-CBC, which is not supported";
    fails(TlsSettings::build(&verify), ErrorKind::Config, text, "openssl pkey");
}
