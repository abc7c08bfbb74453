//! What is not said comes from a service file, from `PG*` variables, from the machine: in this
//! order.

use std::path::{Path, PathBuf};

use super::endpoint::{Endpoint, Host};
use super::environment::{Environment, SystemEnvironment};
use super::keywords::{self, KEYWORDS, SESSION_VARIABLES};
use super::options::{SslMode, SslRootCert};
use super::origin::{Origin, shown_path};
use super::passfile::PassFile;
use super::password::Password;
use super::{Config, defaults, service, values};
use crate::error::{Error, ErrorKind, Result};

/// What the environment said that is no keyword's value.
#[derive(Clone, PartialEq, Eq, Default)]
pub(super) struct Resolved {
    pub(super) user: Option<String>,
    socket_directory: Option<PathBuf>,
    passfile: PassFile,
    pub(super) sslrootcert: Option<SslRootCert>,
    pub(super) sslcert: Option<PathBuf>,
    pub(super) sslkey: Option<PathBuf>,
    pub(super) sslcrl: Option<PathBuf>,
    pub(super) warnings: Vec<String>,
}

const PASSFILE: &str = if cfg!(windows) { "pgpass.conf" } else { ".pgpass" };
const CERTIFICATES: &str = if cfg!(windows) { "." } else { ".postgresql" };

impl Config {
    /// The same configuration, completed. What is said already stays; the rest comes from
    ///
    /// 1. the service named by `service` or `PGSERVICE`, in `pg_service.conf`;
    /// 2. the `PG*` variables (an empty variable counts as none);
    /// 3. the machine: the operating system's user name, the Unix socket directory
    ///    (`/var/run/postgresql` if it exists, else `/tmp`), and the files `~/.pgpass`,
    ///    `~/.postgresql/root.crt`, `root.crl`, `postgresql.crt` and `postgresql.key`.
    ///
    /// The result is [validated](Self::validate). Files are read here, and not again: to see what
    /// they say later, resolve the original once more. [`NoEnvironment`](super::NoEnvironment)
    /// keeps the world out.
    ///
    /// ```
    /// use txpostgres_session::config::{Config, NoEnvironment};
    ///
    /// let config = Config::parse("host=db user=me")?.resolve(&NoEnvironment)?;
    /// assert!(config.is_resolved());
    /// assert_eq!(config.get_dbname(), Some("me"));
    /// # Ok::<(), txpostgres_session::Error>(())
    /// ```
    pub fn resolve(&self, env: &impl Environment) -> Result<Self> {
        let mut this = self.clone();
        let mut resolved = Resolved::default();
        // Which service, and where it is defined, must be known first.
        for name in ["service", "servicefile"] {
            this.apply_variable(name, env, &mut resolved.warnings)?;
        }
        service::apply(&mut this, env)?;
        let asked = this.sslmode;
        for keyword in KEYWORDS {
            this.apply_variable(keyword.name, env, &mut resolved.warnings)?;
        }
        if asked.is_none() && variable("PGSSLMODE", env)?.is_none() {
            let required = variable("PGREQUIRESSL", env)?;
            if required.is_some_and(|value| value.starts_with('1')) {
                this.sslmode = Some(SslMode::Require);
            }
        }
        for (name, parameter) in SESSION_VARIABLES {
            let value = variable(name, env)?;
            let value = value.filter(|value| !value.eq_ignore_ascii_case("default"));
            if let Some(value) = value
                && this.get_runtime_parameter(parameter).is_none()
            {
                this.runtime_parameter(parameter, value);
            }
        }
        resolved.user = env.user_name();
        if cfg!(unix) {
            let directories = defaults::SOCKET_DIRECTORIES.map(PathBuf::from);
            let [_, last] = &directories;
            let found = directories.iter().find(|path| env.exists(path));
            resolved.socket_directory = Some(found.unwrap_or(last).clone());
        }
        this.find_passwords(env, &mut resolved);
        Self::find_certificates(env, &mut resolved);
        this.resolved = Some(resolved);
        this.validate()?;
        Ok(this)
    }

    fn apply_variable(
        &mut self,
        name: &str,
        env: &impl Environment,
        warnings: &mut Vec<String>,
    ) -> Result<()> {
        let Some(keyword) = keywords::find(name).filter(|keyword| !keyword.is_set(self)) else {
            return Ok(());
        };
        let Some((variable_name, value)) = keyword
            .variable
            .and_then(|name| variable(name, env).transpose().map(|value| (name, value)))
        else {
            return Ok(());
        };
        let value = value?;
        // Set for other programs, and without effect on what ours receives.
        if name == "client_encoding" && !values::is_utf8(&value) {
            warnings.push(format!("{variable_name} is ignored: text is exchanged as UTF-8 only"));
            return Ok(());
        }
        keyword.apply(self, &value, &Origin::only(variable_name, &value))
    }

    fn find_passwords(&self, env: &impl Environment, resolved: &mut Resolved) {
        if self.password.as_ref().is_some_and(|password| !password.is_empty()) {
            return;
        }
        let explicit = self.passfile.as_deref().filter(|path| !path.as_os_str().is_empty());
        let path = match explicit {
            Some(path) => Some(path.to_owned()),
            None => env.home().map(|home| home.join(PASSFILE)),
        };
        let Some(path) = path else { return };
        match PassFile::read(&path, env, &mut resolved.warnings) {
            Some(file) => resolved.passfile = file,
            None if explicit.is_some() => resolved.warnings.push(format!(
                "password file \"{}\" is ignored: it does not exist",
                shown_path(&path)
            )),
            None => {}
        }
    }

    fn find_certificates(env: &impl Environment, resolved: &mut Resolved) {
        let Some(directory) = env.home().map(|home| home.join(CERTIFICATES)) else {
            return;
        };
        let existing = |name: &str| Some(directory.join(name)).filter(|path| env.exists(path));
        resolved.sslrootcert = existing("root.crt").map(SslRootCert::File);
        resolved.sslcert = existing("postgresql.crt");
        resolved.sslkey = existing("postgresql.key");
        resolved.sslcrl = existing("root.crl");
    }

    /// Whether the environment has been asked.
    pub fn is_resolved(&self) -> bool {
        self.resolved.is_some()
    }

    /// What was found and ignored while resolving, one sentence each: a password file that others
    /// can read, for one.
    pub fn warnings(&self) -> &[String] {
        self.resolved.as_ref().map_or(&[], |resolved| &resolved.warnings)
    }

    /// The password for a server: what was said, else what the password file says for its host,
    /// port, database and user.
    ///
    /// ```
    /// # use txpostgres_session::config::Config;
    /// let config = Config::parse("host=db user=me password=hunter2")?;
    /// let endpoint = config.endpoints()?.remove(0);
    /// assert_eq!(config.password_for(&endpoint).unwrap().as_bytes(), b"hunter2");
    /// # Ok::<(), txpostgres_session::Error>(())
    /// ```
    pub fn password_for(&self, endpoint: &Endpoint) -> Option<Password> {
        if let Some(password) = self.password.clone().filter(|password| !password.is_empty()) {
            return Some(password);
        }
        let names = endpoint.passfile_names();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        self.resolved
            .as_ref()?
            .passfile
            .find(&names, endpoint.port, self.get_dbname()?, self.get_user()?)
            .filter(|password| !password.is_empty())
            .cloned()
    }

    pub(super) fn default_host(&self) -> Host {
        if !cfg!(unix) {
            return Host::Tcp("localhost".to_owned());
        }
        let [first, _] = defaults::SOCKET_DIRECTORIES;
        let found =
            self.resolved.as_ref().and_then(|resolved| resolved.socket_directory.as_deref());
        Host::Unix(found.unwrap_or(Path::new(first)).to_owned())
    }
}

/// A variable's text; an empty one is none.
fn variable(name: &str, env: &impl Environment) -> Result<Option<String>> {
    let Some(value) = env.var(name).filter(|value| !value.is_empty()) else {
        return Ok(None);
    };
    let value = value
        .into_string()
        .map_err(|_| Error::new(ErrorKind::Config, format!("{name} is not UTF-8")))?;
    Ok(Some(value))
}

/// What `connect` takes: a connection string, or a [`Config`].
///
/// Strings are parsed and then [resolved](Config::resolve) with the [`SystemEnvironment`]; so is a
/// `Config` that has not been resolved yet. One that has been is only
/// [validated](Config::validate).
pub trait IntoConfig {
    /// The configuration to connect with.
    fn into_config(self) -> Result<Config>;
}

impl IntoConfig for Config {
    fn into_config(self) -> Result<Config> {
        if self.is_resolved() {
            self.validate()?;
            Ok(self)
        } else {
            self.resolve(&SystemEnvironment)
        }
    }
}

impl IntoConfig for &Config {
    fn into_config(self) -> Result<Config> {
        self.clone().into_config()
    }
}

impl IntoConfig for &str {
    fn into_config(self) -> Result<Config> {
        Config::parse(self)?.into_config()
    }
}

impl IntoConfig for String {
    fn into_config(self) -> Result<Config> {
        self.as_str().into_config()
    }
}

impl IntoConfig for &String {
    fn into_config(self) -> Result<Config> {
        self.as_str().into_config()
    }
}
