//! Beside the table: passwords that are wrong, files that are missing or broken, names, versions, sockets.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use txpostgres::{Connection, ErrorKind};
use txpostgres_testkit::{Cluster, TlsCertificates};

use super::cell::{Cell, Tally};
use super::server::{PASSWORD, Server, Shown, standing};
use super::table::MODES;

/// The same words with each of the modes.
fn with_modes(server: &Server, conninfo: &str) -> Vec<Cell> {
    let cell = |mode| Cell {
        shown: server.shown,
        conninfo: format!("{conninfo} password='{PASSWORD}' sslmode={mode}"),
    };
    MODES.map(cell).into()
}

/// Files that are not what they should be, beside the good ones, which go away with the server.
struct Files {
    folder: PathBuf,
}

impl Files {
    fn of(server: &Server) -> Self {
        let root = server.cluster.root_certificate().unwrap();
        Self { folder: root.parent().unwrap().to_owned() }
    }

    fn write(&self, name: &str, text: &[u8], mode: u32) -> String {
        let path = self.folder.join(name);
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        path.display().to_string()
    }
}

#[test]
fn passwords_that_are_wrong_or_missing() {
    let server = standing();
    let mut cells = Vec::new();
    for user in ["trust", "scram", "md5", "password", "tls_asks", "plain_asks"] {
        for password in ["password=wrong", "password=''", ""] {
            for mode in MODES {
                let (start, root) = (server.conninfo(user), server.root());
                let conninfo = format!("{start} {password} sslmode={mode} {root}");
                cells.push(Cell { shown: server.shown, conninfo });
            }
        }
    }
    let mut tally = Tally::default();
    tally.try_all(&server.cluster, &cells);
    tally.finish("passwords");
    assert!(tally.deliberate[1] > 0);
}

#[test]
fn files_that_are_missing_or_broken() {
    let server = Server::start(Cluster::builder());
    let files = Files::of(&server);
    let client = server.client_files();
    let other = server.cluster.client_certificate("somebody").unwrap();
    let stranger = TlsCertificates::good().unwrap().write_client(&files.folder, "stranger");
    let stranger = stranger.unwrap();
    let alone = TlsCertificates::self_signed().unwrap();
    let alone_key = files.write("alone.key", alone.server_key_pem().as_bytes(), 0o600);
    let alone = files.write("alone.crt", alone.server_pem().as_bytes(), 0o644);
    let garbage = files.write("garbage", b"not PEM", 0o600);
    let empty = files.write("empty", b"", 0o600);
    let key = fs::read(&client.key).unwrap();
    let open_key = files.write("open.key", &key, 0o644);
    let (certificate, key) = (client.certificate.display(), client.key.display());
    let good = server.root();

    let mut cells = Vec::new();
    for root in ["/nowhere/root.crt".to_owned(), garbage.clone(), empty.clone()] {
        let conninfo = format!("{} sslrootcert={root}", server.conninfo("scram"));
        cells.extend(with_modes(&server, &conninfo));
    }
    for ours in [
        // Absent, and so not shown.
        "sslcert=/nowhere/my.crt sslkey=/nowhere/my.key".to_owned(),
        // The key absent, open to others, somebody else's, no key.
        format!("sslcert={certificate}"),
        format!("sslcert={certificate} sslkey=/nowhere/my.key"),
        format!("sslcert={certificate} sslkey={open_key}"),
        format!("sslcert={certificate} sslkey={}", other.key.display()),
        format!("sslcert={certificate} sslkey={garbage}"),
        format!("sslcert={garbage} sslkey={key}"),
        // For another user; from an authority that the server does not know, which has the name of the one that it knows;
        // from none.
        format!("sslcert={} sslkey={}", other.certificate.display(), other.key.display()),
        format!("sslcert={} sslkey={}", stranger.certificate.display(), stranger.key.display()),
        format!("sslcert={alone} sslkey={alone_key}"),
    ] {
        for user in ["trust", "cert"] {
            let conninfo = format!("{} {good} {ours}", server.conninfo(user));
            cells.extend(with_modes(&server, &conninfo));
        }
    }
    let mut tally = Tally::default();
    tally.try_all(&server.cluster, &cells);
    // TLS 1.2 judges our certificate within the handshake.
    server.cluster.set("ssl_max_protocol_version", "TLSv1.2").unwrap();
    server.cluster.reload().unwrap();
    tally.try_all(&server.cluster, &cells);
    tally.finish("files");
    assert!(tally.deliberate[3] > 0);
}

#[test]
fn names_addresses_and_sockets() {
    let mut server = Server::start(Cluster::builder());
    let mut tally = Tally::default();
    for shown in [Shown::Good, Shown::WrongName] {
        server.show(shown);
        let (port, root) = (server.cluster.port(), server.root());
        let socket = server.cluster.socket_dir().display().to_string();
        let mut cells = Vec::new();
        for host in [
            "host=localhost hostaddr=127.0.0.1",
            "host=LOCALHOST hostaddr=127.0.0.1",
            "host=127.0.0.1",
            "host=elsewhere.example hostaddr=127.0.0.1",
            "host=elsewhere.example.evil hostaddr=127.0.0.1",
            "host=127.0.0.2 hostaddr=127.0.0.1",
            "hostaddr=127.0.0.1",
            "host=localhost hostaddr=127.0.0.1 sslsni=0",
            &format!("host={socket}"),
            &format!("host={socket} channel_binding=require"),
        ] {
            let conninfo = format!("{host} port={port} dbname=postgres user=scram {root}");
            cells.extend(with_modes(&server, &conninfo));
            // Without sslmode, and without a root.
            let conninfo = format!("{conninfo} password='{PASSWORD}'");
            cells.push(Cell { shown, conninfo: conninfo.replace(&root, "") });
            cells.push(Cell { shown, conninfo });
        }
        tally.try_all(&server.cluster, &cells);
    }
    tally.finish("names");
}

#[test]
fn old_versions_of_tls() {
    let server = Server::start(Cluster::builder());
    server.cluster.set("ssl_max_protocol_version", "TLSv1.2").unwrap();
    server.cluster.reload().unwrap();
    let client = server.client();
    let mut cells = Vec::new();
    for more in [
        "",
        "ssl_min_protocol_version=TLSv1.3",
        "ssl_max_protocol_version=TLSv1.2",
        "channel_binding=require",
        &client,
    ] {
        for user in ["scram", "hostssl", "cert"] {
            let conninfo = format!("{} {} {more}", server.conninfo(user), server.root());
            cells.extend(with_modes(&server, &conninfo));
        }
    }
    let mut tally = Tally::default();
    tally.try_all(&server.cluster, &cells);
    tally.finish("TLS 1.2");
}

#[tokio::test]
async fn a_certificate_that_expires_stops_new_connections_only() {
    let mut server = Server::start(Cluster::builder());
    let conninfo = format!("{} sslmode=verify-full", server.conninfo("trust"));
    let connect = |root: String| Connection::open(format!("{conninfo} {root}"));
    let connection = connect(server.root()).await.unwrap();
    server.show(Shown::Expired);
    assert_eq!(connection.run_query("select 1", ()).await.unwrap().len(), 1);
    assert_eq!(connect(server.root()).await.unwrap_err().kind(), ErrorKind::Tls);
    server.show(Shown::Good);
    assert!(connect(server.root()).await.unwrap().is_encrypted());
    assert_eq!(connection.run_query("select 1", ()).await.unwrap().len(), 1);
}
