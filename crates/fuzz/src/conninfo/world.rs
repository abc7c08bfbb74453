//! The world around a configuration: variables and files, made up.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};

use proptest::prelude::*;
use txpostgres_session::config::{Environment, FileContents};

use super::texts::{keyword, value};

/// Variables, and the files that the world has, by their names.
#[derive(Debug, Clone)]
pub(super) struct World {
    vars: BTreeMap<&'static str, String>,
    /// Contents and permission bits.
    files: BTreeMap<&'static str, (Vec<u8>, u32)>,
}

const HOME: &str = "/home/me";
const PASSFILE: &str = "/home/me/.pgpass";
const SERVICES: &str = "/home/me/.pg_service.conf";

const VARIABLES: [&str; 20] = [
    "PGHOST",
    "PGHOSTADDR",
    "PGPORT",
    "PGDATABASE",
    "PGUSER",
    "PGPASSWORD",
    "PGPASSFILE",
    "PGSERVICE",
    "PGSERVICEFILE",
    "PGSYSCONFDIR",
    "PGOPTIONS",
    "PGAPPNAME",
    "PGSSLMODE",
    "PGSSLROOTCERT",
    "PGCONNECT_TIMEOUT",
    "PGCLIENTENCODING",
    "PGTARGETSESSIONATTRS",
    "PGREQUIREAUTH",
    "PGCHANNELBINDING",
    "PGSSLMINPROTOCOLVERSION",
];

impl World {
    pub(super) fn size(&self) -> usize {
        let files = self.files.values().map(|(bytes, _)| bytes.len());
        files.chain(self.vars.values().map(String::len)).sum()
    }

    pub(super) fn has_service(&self) -> bool {
        self.files.contains_key(SERVICES)
    }
}

impl Environment for World {
    fn var(&self, name: &str) -> Option<OsString> {
        self.vars.get(name).map(OsString::from)
    }

    fn read(&self, path: &Path) -> io::Result<Option<FileContents>> {
        let found = path.to_str().and_then(|path| self.files.get(path));
        Ok(found.map(|(bytes, mode)| FileContents::new(bytes.clone()).with_mode(*mode)))
    }

    fn exists(&self, path: &Path) -> bool {
        path.to_str().is_some_and(|path| self.files.contains_key(path))
    }

    fn home(&self) -> Option<PathBuf> {
        Some(HOME.into())
    }

    fn user_name(&self) -> Option<String> {
        Some("me".to_owned())
    }
}

/// A password file of lines that may mean something, or of any bytes.
fn passfile() -> impl Strategy<Value = Vec<u8>> {
    let field = prop_oneof![Just("*".to_owned()), value(), "[a-z\\\\:*]{0,5}"];
    let line = prop::collection::vec(field, 0..7).prop_map(|fields| fields.join(":") + "\n");
    prop_oneof![
        Just(b"# all\n*:*:*:*:of-file\n".to_vec()),
        prop::collection::vec(line, 0..4).prop_map(|lines| lines.concat().into_bytes()),
        prop::collection::vec(any::<u8>(), 0..60),
    ]
}

fn services() -> impl Strategy<Value = Vec<u8>> {
    let line = prop_oneof![
        4 => (keyword(), value()).prop_map(|(keyword, value)| format!("{keyword}={value}\n")),
        1 => prop::sample::select(vec!["[here]\n", "[x]\n", "\n", "# a\n", "[here\n", "ldap:x\n"])
            .prop_map(str::to_owned),
        1 => "[a-z =\\[\\]]{0,9}\n",
    ];
    let lines = prop::collection::vec(line, 0..5)
        .prop_map(|lines| format!("[here]\nuser=of-service\n{}", lines.concat()).into_bytes());
    prop_oneof![
        Just(b"[here]\nuser=of-service\n".to_vec()),
        lines,
        prop::collection::vec(any::<u8>(), 0..60),
    ]
}

/// Some variables and some files.
pub(super) fn any_world() -> impl Strategy<Value = World> {
    let var = (prop::sample::select(VARIABLES.to_vec()), value());
    let here = prop::option::weighted(0.3, Just(("PGSERVICE", "here".to_owned())));
    let mode = || prop::sample::select(vec![0o600, 0o600, 0o644]);
    (
        prop::collection::vec(var, 0..3),
        here,
        prop::option::of((passfile(), mode())),
        prop::option::of((services(), mode())),
    )
        .prop_map(|(vars, here, passfile, services)| {
            let vars = vars.into_iter().chain(here).collect();
            let passfile = passfile.map(|file| (PASSFILE, file));
            let services = services.map(|file| (SERVICES, file));
            World { vars, files: passfile.into_iter().chain(services).collect() }
        })
}

/// A secret in the variable, the password file or the service file, one of them damaged at one
/// place.
pub(super) fn secretive() -> impl Strategy<Value = World> {
    let files = vec![
        ("PGPASSWORD", "", ""),
        ("", "h:5432:db:me:hunter2\n*:*:*:*:hunter2\n", ""),
        ("", "", "[here]\nhost=h\npassword=hunter2\nsslpassword=hunter2\nport=5\n"),
    ];
    let change = (any::<prop::sample::Index>(), 0..3_u8, any::<u8>());
    (
        prop::sample::select(files),
        prop::option::of(change),
        prop::sample::select(vec![0o600, 0o666]),
    )
        .prop_map(|((variable, passfile, services), change, mode)| {
            let mut vars = BTreeMap::from([("PGSERVICE", "here".to_owned())]);
            if services.is_empty() {
                vars.clear();
            }
            if !variable.is_empty() {
                vars.insert(variable, "hunter2".to_owned());
            }
            let mut files = BTreeMap::new();
            for (name, text) in [(PASSFILE, passfile), ("/pass", passfile), (SERVICES, services)] {
                let mut bytes = text.as_bytes().to_vec();
                if let Some((at, how, byte)) = change.as_ref().filter(|_| !bytes.is_empty()) {
                    let at = at.index(bytes.len());
                    match how {
                        0 => drop(bytes.remove(at)),
                        1 => bytes.insert(at, *byte),
                        _ => bytes[at] = *byte,
                    }
                }
                if !bytes.is_empty() {
                    files.insert(name, (bytes, mode));
                }
            }
            World { vars, files }
        })
}
