//! Certificates that libpq accepts, and such as it refuses for the reason they were made for.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "the helpers of tests fail as tests do"
)]

use txpostgres_testkit::{Cluster, TlsCertificates};

fn verdict(certificates: TlsCertificates) -> String {
    let cluster = Cluster::builder().tls(certificates).start().unwrap();
    let root = cluster.root_certificate().unwrap();
    let dsn = cluster.dsn_of("localhost", "postgres", "postgres");
    let dsn = format!("{dsn} sslmode=verify-full sslrootcert={}", root.display());
    let output =
        cluster.psql(&dsn, "select ssl from pg_stat_ssl where pid = pg_backend_pid()").unwrap();
    let text = [output.stdout, output.stderr].concat();
    String::from_utf8_lossy(&text).into_owned()
}

#[test]
fn good_ones_are_good_and_bad_ones_bad() {
    assert_eq!(verdict(TlsCertificates::good().unwrap()), "t\n");
    for (certificates, reason) in [
        (TlsCertificates::wrong_name(), "does not match host name"),
        (TlsCertificates::expired(), "certificate verify failed"),
        (TlsCertificates::self_signed(), "certificate verify failed"),
        (TlsCertificates::other_authority(), "certificate verify failed"),
    ] {
        let verdict = verdict(certificates.unwrap());
        assert!(verdict.contains(reason), "{reason}: {verdict}");
    }
}

#[test]
fn a_client_certificate_is_asked_for_and_accepted() {
    let cluster =
        Cluster::builder().tls(TlsCertificates::good().unwrap()).auth("cert").start().unwrap();
    cluster.sql("create role alice login").unwrap();
    let client = cluster.client_certificate("alice").unwrap();
    let root = cluster.root_certificate().unwrap();
    let dsn = cluster.dsn_of("127.0.0.1", "alice", "postgres");
    let dsn = format!("{dsn} sslmode=verify-full sslrootcert={}", root.display());
    let output = cluster.psql(&dsn, "select 1").unwrap();
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(complaint.contains("requires a valid client certificate"), "{complaint}");
    let files = format!("sslcert={} sslkey={}", client.certificate.display(), client.key.display());
    let output = cluster.psql(&format!("{dsn} {files}"), "select current_user").unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout), "alice\n", "{output:?}");
}
