//! What a refusal says: its kind, its words, and the parameter that would change it.

use txpostgres::{Connection, ErrorKind, SqlState};
use txpostgres_testkit::{Cluster, TlsCertificates};

use super::server::{PASSWORD, Server, Shown, newer, standing};

/// It is of this kind and says this in one line without secrets; the hint names what to change, if there is one.
#[track_caller]
fn says(error: &txpostgres::Error, kind: ErrorKind, text: &str, hint: &str) {
    assert_eq!(error.kind(), kind, "{error:?}");
    let said = error.to_string();
    assert!(said.contains(text), "{text}\n{said}");
    assert!(!said.contains('\n') && !format!("{error:#?}").contains(PASSWORD));
    let hinted = error.hint().unwrap_or_default();
    assert!(hinted.contains(hint), "{hint}\n{hinted}");
    assert_eq!(hint.is_empty(), hinted.is_empty(), "{hinted}");
}

async fn refusal(server: &Server, user: &str, more: &str) -> txpostgres::Error {
    let conninfo = format!("{} {more}", server.conninfo(user));
    Connection::open(conninfo).await.unwrap_err()
}

#[tokio::test]
async fn a_certificate_that_is_refused_says_why() {
    let mut server = Server::start(Cluster::builder());
    for (shown, text, hint) in [
        (
            Shown::WrongName,
            "the server's certificate is not for \"localhost\" (it is for \"elsewhere.example\")",
            "hostaddr",
        ),
        (
            Shown::SelfSigned,
            "the server's certificate (CN=localhost) is self-signed, and not one of \"",
            "sslrootcert",
        ),
        (
            Shown::Expired,
            "the server's certificate (CN=testkit server) expired on 2001-01-01T00:00:00Z",
            "give the server a new one",
        ),
        // It has the name of the one that we know, and not its key.
        (
            Shown::OtherAuthority,
            "the server's certificate (CN=localhost) is not signed by an authority of \"",
            "sslrootcert",
        ),
        (Shown::Nothing, "the server does not offer TLS, and sslmode requires it", "ssl = on"),
    ] {
        server.show(shown);
        let more = format!("sslmode=verify-full {}", server.root());
        let error = refusal(&server, "trust", &more).await;
        says(&error, ErrorKind::Tls, text, hint);
    }
    server.show(Shown::Ed25519);
    let more = format!("password='{PASSWORD}' sslmode=require channel_binding=require");
    let error = refusal(&server, "scram", &more).await;
    let text = "channel_binding=require cannot be kept: the server's certificate is signed in a way that names no hash";
    says(&error, ErrorKind::Authentication, text, "TLS");
}

#[tokio::test]
async fn a_file_that_cannot_be_used_is_named() {
    let server = standing();
    let files = server.client_files();
    let (certificate, key) = (files.certificate.display(), files.key.display());
    for (more, text, hint) in [
        (
            "sslmode=verify-ca".to_owned(),
            "sslmode=verify-ca needs a root certificate",
            "sslrootcert",
        ),
        (
            "sslmode=verify-full sslrootcert=/nowhere/ca.crt".to_owned(),
            "root certificate file \"/nowhere/ca.crt\" does not exist, and sslmode=verify-full needs one",
            "sslrootcert=system",
        ),
        (
            format!("sslmode=require sslrootcert={key}"),
            &format!("root certificate file \"{key}\" has no certificate in it"),
            "PEM",
        ),
        (
            format!("sslmode=require sslcert={certificate}"),
            &format!("certificate \"{certificate}\" is present, but not its private key"),
            "sslkey",
        ),
        (
            "sslmode=require sslcertmode=require".to_owned(),
            "sslcertmode=require needs a certificate",
            "sslcert",
        ),
        (
            "sslmode=disable sslcertmode=require".to_owned(),
            "sslcertmode=require needs TLS, and localhost (127.0.0.1:",
            "",
        ),
        (
            "sslmode=require sslrootcert=system".to_owned(),
            "sslmode require is too weak for sslrootcert=system: only verify-full checks the host name",
            "",
        ),
        (
            "sslmode=prefer sslnegotiation=direct".to_owned(),
            "sslmode prefer is too weak for sslnegotiation=direct: at least require is needed",
            "",
        ),
    ] {
        says(&refusal(server, "trust", &more).await, ErrorKind::Config, text, hint);
    }
}

#[tokio::test]
async fn a_method_that_is_not_allowed_is_named() {
    let server = standing();
    for (user, more, text, hint) in [
        (
            "trust",
            "require_auth=scram-sha-256",
            "the server lets us in without asking for anything, which require_auth does not allow",
            "\"none\"",
        ),
        (
            "password",
            "require_auth=scram-sha-256",
            "the server asks for the password in clear text, which require_auth does not allow",
            "\"password\"",
        ),
        (
            "md5",
            "require_auth=!md5",
            "the server asks for an MD5 hash of the password, which require_auth does not allow",
            "\"md5\"",
        ),
        (
            "scram",
            "require_auth=none,password",
            "the server asks for SASL authentication, which require_auth does not allow",
            "\"scram-sha-256\"",
        ),
        (
            "trust",
            "channel_binding=require",
            "channel_binding=require cannot be kept: the server lets us in without asking for anything",
            "scram-sha-256",
        ),
        (
            "scram",
            "channel_binding=require sslmode=disable",
            "channel_binding=require cannot be kept: the connection does not use TLS",
            "TLS",
        ),
        ("scram", "password=''", "the server asks for a password and none was given", "PGPASSWORD"),
    ] {
        let more = format!("password='{PASSWORD}' {more}");
        says(&refusal(server, user, &more).await, ErrorKind::Authentication, text, hint);
    }
}

#[tokio::test]
async fn the_servers_own_words_are_kept() {
    let server = standing();
    for (user, more, text, code) in [
        (
            "scram",
            "password=wrong",
            "FATAL 28P01: password authentication failed for user \"scram\"",
            SqlState::INVALID_PASSWORD,
        ),
        (
            "hostssl",
            "sslmode=disable",
            "FATAL 28000: no pg_hba.conf entry for host \"127.0.0.1\", user \"hostssl\"",
            SqlState::INVALID_AUTHORIZATION_SPECIFICATION,
        ),
        (
            "hostnossl",
            "sslmode=require",
            "FATAL 28000: no pg_hba.conf entry for host \"127.0.0.1\", user \"hostnossl\"",
            SqlState::INVALID_AUTHORIZATION_SPECIFICATION,
        ),
        (
            "cert",
            "sslmode=require",
            "FATAL 28000: connection requires a valid client certificate",
            SqlState::INVALID_AUTHORIZATION_SPECIFICATION,
        ),
        (
            "trust",
            "dbname=absent",
            "FATAL 3D000: database \"absent\" does not exist",
            SqlState::INVALID_CATALOG_NAME,
        ),
    ] {
        let error = refusal(server, user, more).await;
        says(&error, ErrorKind::Server, text, "");
        assert_eq!(error.sqlstate(), Some(code));
    }
}

#[tokio::test]
async fn our_certificate_and_direct_tls() {
    let mut server = Server::start(Cluster::builder());
    let root = server.cluster.root_certificate().unwrap();
    let folder = root.parent().unwrap();
    let stranger = TlsCertificates::good().unwrap().write_client(folder, "cert2").unwrap();
    let (certificate, key) = (stranger.certificate.display(), stranger.key.display());
    let more = format!("sslmode=require sslcert={certificate} sslkey={key}");
    let error = refusal(&server, "cert", &more).await;
    let text = "the server found a wrong signature on our certificate";
    says(&error, ErrorKind::Tls, text, "sslcert");

    server.cluster.set("ssl_ca_file", "").unwrap();
    server.cluster.reload().unwrap();
    let more = format!("sslmode=require sslcertmode=require {}", server.client());
    let error = refusal(&server, "trust", &more).await;
    says(&error, ErrorKind::Tls, "the server did not ask for a certificate of ours", "ssl_ca_file");

    server.show(Shown::Nothing);
    let error = refusal(&server, "trust", "sslmode=require sslnegotiation=direct").await;
    let text = "the server closed the connection during the TLS handshake";
    says(&error, ErrorKind::Tls, text, "sslnegotiation=postgres");
    if server.cluster.major() < 18 && newer().is_some() {
        let error = refusal(&server, "trust", "min_protocol_version=3.2").await;
        let text = "the server speaks protocol 3.0 only, and min_protocol_version asks for 3.2";
        says(&error, ErrorKind::Connect, text, "");
    }
}
