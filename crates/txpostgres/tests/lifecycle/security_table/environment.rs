//! Passwords and files that the environment names: the same variables and the same home for libpq and for us.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::cell::{Check, QUESTION, Verdict, ours, verdict_of};
use super::server::{PASSWORD, Server, newer, standing};

/// Names the connection string that a process of ours is to try.
const CONNINFO: &str = "TXPOSTGRES_TEST_CONNINFO";
const ANSWER: &str = "the verdict is ";

const BY_TLS: Verdict = Verdict::Connected { encrypted: true };
const PLAIN: Verdict = Verdict::Connected { encrypted: false };

/// The other process: does nothing unless it is told to.
#[tokio::test]
async fn in_another_process() {
    if let Ok(conninfo) = std::env::var(CONNINFO) {
        println!("\n{ANSWER}{:?}", ours(&conninfo).await);
    }
}

/// A home of our own, removed with the server's folder.
struct Home {
    server: &'static Server,
    path: PathBuf,
    variables: Vec<(&'static str, String)>,
}

impl Home {
    fn new(server: &'static Server, name: &str) -> Self {
        let path = server.cluster.root_certificate().unwrap().with_file_name(name);
        fs::create_dir(&path).unwrap();
        Self { server, path, variables: Vec::new() }
    }

    fn variable(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.variables.push((name, value.into()));
        self
    }

    fn file(self, name: &str, text: &str, mode: u32) -> Self {
        let path = self.path.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        self
    }

    fn copy(self, name: &str, from: &Path, mode: u32) -> Self {
        let text = fs::read_to_string(from).unwrap();
        self.file(name, &text, mode)
    }

    fn command(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        command.env_clear().env("HOME", &self.path);
        command.envs(self.variables.iter().map(|(name, value)| (*name, value)));
        command
    }

    /// Both must come to this verdict.
    #[track_caller]
    fn gives(&self, conninfo: &str, verdict: &Verdict) {
        let mut psql = self.command(&self.server.cluster.bin_dir().join("psql"));
        let output = psql.args(["-XAtw", "-c", QUESTION, "-d", conninfo]).output().unwrap();
        let name = self.path.display();
        assert_eq!(verdict_of(&output), *verdict, "psql in {name}");

        let mut ours = self.command(&std::env::current_exe().unwrap());
        ours.args(["--exact", "security_table::environment::in_another_process", "--nocapture"]);
        let output = ours.env(CONNINFO, conninfo).output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let said = text.lines().find_map(|line| line.strip_prefix(ANSWER));
        assert_eq!(said, Some(format!("{verdict:?}").as_str()), "ours in {name}: {output:?}");
    }
}

fn refused(check: Check) -> Verdict {
    Verdict::Refused(check)
}

fn wrong() -> Verdict {
    let text = "password authentication failed for user \"scram\"";
    refused(Check::Server(text.to_owned()))
}

#[test]
fn passwords_come_from_variables_and_files() {
    let server = standing();
    let home = |name: &str| Home::new(server, name);
    let conninfo = server.conninfo("scram");
    let line = format!("localhost:*:*:scram:{PASSWORD}\n");

    home("nothing").gives(&conninfo, &refused(Check::NoPassword));
    home("variable").variable("PGPASSWORD", PASSWORD).gives(&conninfo, &BY_TLS);
    let said = format!("{conninfo} password='{PASSWORD}'");
    home("both").variable("PGPASSWORD", "wrong").gives(&said, &BY_TLS);

    home("pgpass").file(".pgpass", &line, 0o600).gives(&conninfo, &BY_TLS);
    let open = home("open").file(".pgpass", &line, 0o644);
    open.gives(&conninfo, &refused(Check::NoPassword));
    let other = home("other").file(".pgpass", "elsewhere:*:*:*:wrong\n", 0o600);
    other.gives(&conninfo, &refused(Check::NoPassword));
    let lines = format!("# a comment\n*:1:*:*:wrong\n{line}*:*:*:*:wrong\n");
    home("first").file(".pgpass", &lines, 0o600).gives(&conninfo, &BY_TLS);
    let outvoted = home("outvoted").variable("PGPASSWORD", "wrong").file(".pgpass", &line, 0o600);
    outvoted.gives(&conninfo, &wrong());
    let named = home("named").file("elsewhere", &line, 0o600);
    let path = named.path.join("elsewhere").display().to_string();
    named.gives(&format!("{conninfo} passfile={path}"), &BY_TLS);
    named.variable("PGPASSFILE", path).gives(&conninfo, &BY_TLS);

    let service = format!(
        "[elsewhere]\npassword=wrong\n\n[ours]\nhost=localhost\nhostaddr=127.0.0.1\nport={}\n\
         user=scram\ndbname=postgres\nsslmode=disable\npassword={PASSWORD}\n",
        server.cluster.port()
    );
    let file = home("service").file(".pg_service.conf", &service, 0o644);
    file.gives("service=ours", &PLAIN);
    file.gives("service=ours sslmode=require", &BY_TLS);
    file.gives("service=ours password=wrong", &wrong());
    let file = file.variable("PGSERVICE", "ours").variable("PGPASSWORD", "wrong");
    file.gives("", &PLAIN);
    let file = home("servicefile").file("services", &service, 0o644);
    let path = file.path.join("services").display().to_string();
    file.variable("PGSERVICEFILE", path).gives("service=ours", &PLAIN);
}

#[test]
fn modes_and_certificates_come_from_variables_and_files() {
    let server = standing();
    let home = |name: &str| Home::new(server, name);
    let conninfo = server.conninfo("trust");
    for (variable, value, verdict) in [
        ("PGSSLMODE", "disable", PLAIN),
        ("PGSSLMODE", "require", BY_TLS),
        ("PGSSLMODE", "verify-full", refused(Check::NoRoot)),
        ("PGCHANNELBINDING", "require", refused(Check::Binding)),
        ("PGREQUIRESSL", "1", BY_TLS),
    ] {
        home(&format!("{variable}={value}")).variable(variable, value).gives(&conninfo, &verdict);
    }
    let root = server.cluster.root_certificate().unwrap();
    let verify = format!("{conninfo} sslmode=verify-full");
    let here = home("root").copy(".postgresql/root.crt", &root, 0o644);
    here.gives(&verify, &BY_TLS);
    let elsewhere = verify.replace("host=localhost", "host=elsewhere.example");
    here.gives(&elsewhere, &refused(Check::Name));
    let named = home("named root").variable("PGSSLROOTCERT", root.display().to_string());
    named.gives(&verify, &BY_TLS);

    let client = server.client_files();
    let conninfo = format!("{} sslmode=require", server.conninfo("cert"));
    let here = home("client").copy(".postgresql/postgresql.crt", &client.certificate, 0o644);
    here.gives(&conninfo, &refused(Check::Settings));
    let here = here.copy(".postgresql/postgresql.key", &client.key, 0o600);
    here.gives(&conninfo, &BY_TLS);
    let named = home("named client")
        .variable("PGSSLCERT", client.certificate.display().to_string())
        .variable("PGSSLKEY", client.key.display().to_string());
    named.gives(&conninfo, &BY_TLS);
}

#[test]
fn the_systems_authorities_may_be_named() {
    let Some(server) = newer() else { return };
    let root = server.cluster.root_certificate().unwrap().display().to_string();
    let conninfo = format!("{} sslrootcert=system", server.conninfo("trust"));
    let home = |name: &str| Home::new(server, name);
    // OpenSSL and the crate that finds them for us both go by this variable.
    let ours = home("ours").variable("SSL_CERT_FILE", root);
    ours.gives(&conninfo, &BY_TLS);
    let elsewhere = conninfo.replace("host=localhost", "host=elsewhere.example");
    ours.gives(&elsewhere, &refused(Check::Name));
    home("theirs").gives(&conninfo, &refused(Check::Certificate));
    home("method")
        .variable("PGREQUIREAUTH", "scram-sha-256")
        .gives(&server.conninfo("trust"), &refused(Check::Method));
}
