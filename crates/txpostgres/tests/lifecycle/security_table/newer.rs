//! What only newer releases can express: direct TLS, the system's authorities, `require_auth`, protocol 3.2.

use super::cell::{Cell, Tally};
use super::server::{PASSWORD, Shown, newer, newer_of_our_own, standing};
use super::table::MODES;

#[test]
fn direct_tls() {
    let Some(mut server) = newer_of_our_own() else { return };
    let older = standing();
    let mut tally = Tally::default();
    for shown in [Shown::Good, Shown::WrongName, Shown::OtherAuthority, Shown::Nothing] {
        server.show(shown);
        let mut cells = Vec::new();
        for user in ["scram", "hostnossl"] {
            for root in [String::new(), server.root()] {
                for binding in ["prefer", "require"] {
                    for mode in MODES {
                        let start = server.conninfo(user);
                        let conninfo = format!(
                            "{start} password='{PASSWORD}' sslmode={mode} channel_binding={binding} \
                             sslnegotiation=direct {root}"
                        );
                        cells.push(Cell { shown, conninfo });
                    }
                }
            }
        }
        tally.try_all(&server.cluster, &cells);
    }
    if older.cluster.major() < 17 {
        let start = format!("{} password='{PASSWORD}'", older.conninfo("scram"));
        let cells = MODES.map(|mode| Cell {
            shown: older.shown,
            conninfo: format!("{start} sslmode={mode} sslnegotiation=direct {}", older.root()),
        });
        tally.try_all(&server.cluster, &cells);
    }
    tally.finish("direct TLS");
}

#[test]
fn authorities_of_the_system() {
    let Some(server) = newer() else { return };
    let start = format!("{} password='{PASSWORD}' sslrootcert=system", server.conninfo("scram"));
    let shown = server.shown;
    let mut cells: Vec<_> =
        MODES.map(|mode| Cell { shown, conninfo: format!("{start} sslmode={mode}") }).into();
    cells.push(Cell { shown, conninfo: start });
    let mut tally = Tally::default();
    tally.try_all(&server.cluster, &cells);
    tally.finish("sslrootcert=system");
}

#[test]
fn methods_that_are_required() {
    let Some(server) = newer() else { return };
    let mut cells = Vec::new();
    for user in ["trust", "scram", "md5", "password", "cert"] {
        for methods in [
            "none",
            "password",
            "md5",
            "scram-sha-256",
            "gss",
            "scram-sha-256,md5",
            "none,password",
            "!none",
            "!password",
            "!md5",
            "!scram-sha-256",
            "!password,!md5,!none",
            "!scram-sha-256,!none",
        ] {
            for more in
                ["sslmode=disable", "sslmode=require", "sslmode=require channel_binding=require"]
            {
                let start = server.conninfo(user);
                let client = if user == "cert" { server.client() } else { String::new() };
                let conninfo =
                    format!("{start} password='{PASSWORD}' require_auth={methods} {more} {client}");
                cells.push(Cell { shown: server.shown, conninfo });
            }
        }
    }
    let mut tally = Tally::default();
    tally.try_all(&server.cluster, &cells);
    tally.finish("require_auth");
}

#[test]
fn certificates_that_are_kept_back() {
    let Some(server) = newer_of_our_own() else { return };
    let mut cells = Vec::new();
    for user in ["scram", "clientcert", "cert"] {
        for files in [String::new(), server.client()] {
            for certmode in ["disable", "allow", "require"] {
                for mode in MODES {
                    let (start, root) = (server.conninfo(user), server.root());
                    let conninfo = format!(
                        "{start} password='{PASSWORD}' sslmode={mode} sslcertmode={certmode} {root} {files}"
                    );
                    cells.push(Cell { shown: server.shown, conninfo });
                }
            }
        }
    }
    let socket = server.cluster.socket_dir().display().to_string();
    let (port, client) = (server.cluster.port(), server.client());
    let conninfo = format!(
        "host={socket} port={port} user=trust dbname=postgres sslcertmode=require {client}"
    );
    cells.push(Cell { shown: server.shown, conninfo });
    let mut tally = Tally::default();
    tally.try_all(&server.cluster, &cells);
    // A server that never asks.
    server.cluster.set("ssl_ca_file", "").unwrap();
    server.cluster.reload().unwrap();
    cells.retain(|cell| cell.conninfo.contains("user=scram"));
    tally.try_all(&server.cluster, &cells);
    tally.finish("sslcertmode");
    assert!(tally.deliberate[4] > 0 && tally.deliberate[5] > 0);
}

#[test]
fn versions_of_the_protocol() {
    let Some(server) = newer() else { return };
    let older = standing();
    let mut cells = Vec::new();
    for server in [server, older] {
        for versions in [
            "",
            "max_protocol_version=3.0",
            "max_protocol_version=3.2",
            "max_protocol_version=latest",
            "min_protocol_version=3.2 max_protocol_version=3.2",
            "min_protocol_version=3.2 max_protocol_version=latest",
            "min_protocol_version=3.2 max_protocol_version=3.0",
            "min_protocol_version=3.1 max_protocol_version=3.2",
            "max_protocol_version=4.0",
        ] {
            for mode in ["disable", "require"] {
                let start = server.conninfo("scram");
                let conninfo = format!("{start} password='{PASSWORD}' sslmode={mode} {versions}");
                cells.push(Cell { shown: server.shown, conninfo });
            }
        }
    }
    let mut tally = Tally::default();
    tally.try_all(&server.cluster, &cells);
    tally.finish("protocol versions");
}
