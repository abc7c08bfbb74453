//! The table: sslmode × server × channel binding × root certificate × client certificate × authentication.

use txpostgres_testkit::Cluster;

use super::cell::{Cell, Tally};
use super::server::{PASSWORD, Server, Shown};

pub(crate) const MODES: [&str; 6] =
    ["disable", "allow", "prefer", "require", "verify-ca", "verify-full"];
/// `disable` differs from `prefer` only in what SCRAM says when all else is well: one user stands for that.
const BINDINGS: [&str; 2] = ["prefer", "require"];
const USERS: [&str; 8] =
    ["trust", "scram", "md5", "password", "hostssl", "hostnossl", "clientcert", "cert"];

/// Every combination of these, with each of the modes.
fn cells(server: &Server, users: &[&str], bindings: &[&str], files: &[String]) -> Vec<Cell> {
    let mut cells = Vec::new();
    for user in users {
        let start = format!("{} password='{PASSWORD}'", server.conninfo(user));
        for mode in MODES {
            for binding in bindings {
                for files in files {
                    let conninfo =
                        format!("{start} sslmode={mode} channel_binding={binding} {files}");
                    cells.push(Cell { shown: server.shown, conninfo });
                }
            }
        }
    }
    cells
}

#[test]
fn every_cell_agrees_with_psql() {
    let mut server = Server::start(Cluster::builder());
    let mut tally = Tally::default();

    // A good certificate and none at all: everything can matter.
    for shown in [Shown::Good, Shown::Nothing] {
        server.show(shown);
        let (root, client) = (server.root(), server.client());
        let root_only = [String::new(), root.clone()];
        let both = [client.clone(), format!("{root} {client}")];
        tally.try_all(&server.cluster, &cells(&server, &USERS, &BINDINGS, &root_only));
        tally.try_all(&server.cluster, &cells(&server, &["scram"], &["disable"], &root_only));
        // Our certificate matters only to a server that asks for it; `scram` stands for the others.
        let asking = ["clientcert", "cert", "scram"];
        tally.try_all(&server.cluster, &cells(&server, &asking, &BINDINGS, &both));
    }

    // A bad certificate is judged before anybody logs in, so the method cannot matter beyond whether there is one, and
    // whether the server insists on TLS or on none; and where nobody judges it, a login can be bound to it like to any.
    for shown in Shown::BAD {
        server.show(shown);
        let root = [String::new(), server.root()];
        let users = ["trust", "scram", "hostssl", "hostnossl"];
        tally.try_all(&server.cluster, &cells(&server, &users, &BINDINGS, &root));
    }

    // Good, but not for channel binding: SCRAM alone asks for that.
    server.show(Shown::Ed25519);
    let root = [String::new(), server.root()];
    tally.try_all(&server.cluster, &cells(&server, &["scram", "md5"], &BINDINGS, &root));
    tally.try_all(&server.cluster, &cells(&server, &["scram"], &["disable"], &root));

    tally.finish("the table");
    assert!(tally.deliberate[0] > 0 && tally.deliberate[2] > 0);
}
