//! Every keyword there is: its name, its `PG*` variable, how its text is read and written. Both
//! forms of connection string, service files and the environment go by this table, and by nothing
//! else.

use std::time::Duration;

use super::Config;
use super::options::{SslRootCert, TlsVersion};
use super::origin::{Origin, Position, is_shown};
use super::password::Password;
use super::spelling::unknown;
use super::values::{
    PORTS, Refusal, count, integer, is_utf8, joined, least_tls_version, list, on, protocol,
    read_host, read_port, read_seconds, require_auth, seconds, switch, tls_version, word,
};
use crate::error::{Error, ErrorKind, Result};

/// A keyword of connection strings (manual, section 34.1.2).
pub(super) struct Keyword {
    pub(super) name: &'static str,
    /// The environment variable that is consulted when nothing else says it.
    pub(super) variable: Option<&'static str>,
    /// Its value never appears in errors nor in `Debug`.
    pub(super) secret: bool,
    set: fn(&mut Config, &str) -> Result<(), Refusal>,
    get: fn(&Config) -> Option<String>,
}

const VALUE_NOT_SHOWN: &str = "the value is not shown, because it may be part of a password";

impl Keyword {
    /// Whether the configuration says it.
    pub(super) fn is_set(&self, config: &Config) -> bool {
        (self.get)(config).is_some()
    }

    /// The value as a connection string would have it, secret or not.
    pub(super) fn get(&self, config: &Config) -> Option<String> {
        (self.get)(config)
    }

    /// Whether `Debug` shows its value.
    pub(super) fn is_shown(&self, config: &Config) -> bool {
        !self.secret && (self.get)(config).is_none_or(|value| is_shown(&value))
    }

    /// Reads the value.
    pub(super) fn apply(
        &self,
        config: &mut Config,
        value: &str,
        origin: &Origin<'_>,
    ) -> Result<()> {
        let name = self.name;
        let refused = |reason: String| {
            let error = Error::new(ErrorKind::Config, format!("{origin}{reason}"));
            let is_hidden = !self.secret && !value.is_empty() && !origin.shows(value);
            Err(if is_hidden { error.with_hint(VALUE_NOT_SHOWN) } else { error })
        };
        if value.contains('\0') {
            return refused(format!("the value of {name} has a NUL in it"));
        }
        let shown = if !self.secret && origin.shows(value) {
            format!("invalid value \"{value}\" for {name}")
        } else {
            format!("invalid value for {name}")
        };
        match (self.set)(config, value) {
            Ok(()) => Ok(()),
            Err(Refusal::Expected("")) => refused(shown),
            Err(Refusal::Expected(what)) => refused(format!("{shown}: expected {what}")),
            Err(Refusal::Words(words)) => {
                refused(format!("{shown}: expected {}", words.join(", ")))
            }
            Err(Refusal::Unsupported(advice)) => {
                refused(format!("{name} is not supported: {advice}"))
            }
        }
    }
}

/// The table's row of a keyword.
pub(super) fn find(name: &str) -> Option<&'static Keyword> {
    KEYWORDS.iter().find(|keyword| keyword.name == name)
}

// --- Rows of the table ---

/// `name, variable, |text| Result<value>, |value| text`, for a field of the same name.
macro_rules! row {
    ($field:ident, $variable:expr, $read:expr, $write:expr) => {
        Keyword {
            name: stringify!($field),
            variable: $variable,
            secret: false,
            set: |config, text| {
                config.$field = Some($read(text)?);
                Ok(())
            },
            get: |config| config.$field.as_ref().map($write),
        }
    };
}

macro_rules! text {
    ($field:ident, $variable:expr) => {
        row!($field, $variable, |text: &str| Ok::<_, Refusal>(text.into()), |value| value.clone())
    };
}

macro_rules! path {
    ($field:ident, $variable:expr) => {
        row!($field, $variable, |text: &str| Ok::<_, Refusal>(text.into()), |value| {
            value.display().to_string()
        })
    };
}

macro_rules! choice {
    ($field:ident, $variable:expr, $type:ident) => {
        row!($field, $variable, |text: &str| word(text, super::$type::WORDS), |value| {
            value.as_str().to_owned()
        })
    };
}

macro_rules! secret {
    ($field:ident, $variable:expr) => {
        Keyword {
            secret: true,
            ..row!(
                $field,
                $variable,
                |text: &str| Ok::<_, Refusal>(Password::from(text)),
                |value| { String::from_utf8_lossy(value.as_bytes()).into_owned() }
            )
        }
    };
}

/// Accepted, and without effect, as libpq has it when built without the feature.
const fn ignored(name: &'static str) -> Keyword {
    Keyword { name, variable: None, secret: false, set: |_, _| Ok(()), get: |_| None }
}

/// Refused: leaving it out silently would be worse.
macro_rules! unsupported {
    ($name:literal, $variable:expr, $advice:literal) => {
        Keyword {
            name: $name,
            variable: $variable,
            secret: true,
            set: |_, text| match text {
                "" => Ok(()),
                _ => Err(Refusal::Unsupported($advice)),
            },
            get: |_| None,
        }
    };
}

/// The table.
pub(super) static KEYWORDS: &[Keyword] = &[
    text!(service, Some("PGSERVICE")),
    path!(servicefile, Some("PGSERVICEFILE")),
    row!(host, Some("PGHOST"), |text| list(text, read_host), |hosts| hosts.join(",")),
    row!(
        hostaddr,
        Some("PGHOSTADDR"),
        // Blanks belong to it, as libpq has it.
        |text| list(text, |addr| match addr {
            "" => Ok(None),
            addr => addr
                .parse()
                .map(Some)
                .map_err(|_| Refusal::Expected("IP addresses; names go to host")),
        }),
        |addrs| joined(addrs, |addr| addr.map_or(String::new(), |addr| addr.to_string()))
    ),
    row!(port, Some("PGPORT"), |text| list(text, |port| read_port(port).ok_or(PORTS)), |ports| {
        joined(ports, ToString::to_string)
    }),
    text!(dbname, Some("PGDATABASE")),
    text!(user, Some("PGUSER")),
    secret!(password, Some("PGPASSWORD")),
    path!(passfile, Some("PGPASSFILE")),
    text!(options, Some("PGOPTIONS")),
    text!(application_name, Some("PGAPPNAME")),
    text!(fallback_application_name, None),
    row!(
        client_encoding,
        Some("PGCLIENTENCODING"),
        |text: &str| {
            (text.is_empty() || is_utf8(text))
                .then(|| text.to_owned())
                .ok_or(Refusal::Expected("UTF8: text is exchanged as UTF-8 only"))
        },
        String::clone
    ),
    row!(connect_timeout, Some("PGCONNECT_TIMEOUT"), read_seconds, seconds),
    row!(keepalives, None, |text| Ok::<_, Refusal>(integer(text)? != 0), on),
    row!(keepalives_idle, None, read_seconds, seconds),
    row!(keepalives_interval, None, read_seconds, seconds),
    row!(keepalives_count, None, count, ToString::to_string),
    row!(
        tcp_user_timeout,
        None,
        |text| Ok::<_, Refusal>(Duration::from_millis(count(text)?.into())),
        |value| value.as_millis().to_string()
    ),
    choice!(sslmode, Some("PGSSLMODE"), SslMode),
    choice!(sslnegotiation, Some("PGSSLNEGOTIATION"), SslNegotiation),
    row!(
        sslrootcert,
        Some("PGSSLROOTCERT"),
        |text: &str| Ok::<_, Refusal>(SslRootCert::from(text)),
        ToString::to_string
    ),
    path!(sslcert, Some("PGSSLCERT")),
    path!(sslkey, Some("PGSSLKEY")),
    secret!(sslpassword, None),
    path!(sslcrl, Some("PGSSLCRL")),
    path!(sslcrldir, Some("PGSSLCRLDIR")),
    choice!(sslcertmode, Some("PGSSLCERTMODE"), SslCertMode),
    row!(sslsni, Some("PGSSLSNI"), switch, on),
    row!(ssl_min_protocol_version, Some("PGSSLMINPROTOCOLVERSION"), least_tls_version, |version| {
        version.as_str().to_owned()
    }),
    row!(
        ssl_max_protocol_version,
        Some("PGSSLMAXPROTOCOLVERSION"),
        |text| tls_version(text).ok_or(Refusal::Words(TlsVersion::WORDS)),
        |version| version.as_str().to_owned()
    ),
    text!(requirepeer, Some("PGREQUIREPEER")),
    choice!(channel_binding, Some("PGCHANNELBINDING"), ChannelBinding),
    row!(require_auth, Some("PGREQUIREAUTH"), require_auth, ToString::to_string),
    row!(
        min_scram_iterations,
        None,
        |text: &str| text
            .trim_ascii()
            .parse()
            .map_err(|_| Refusal::Expected("a number of iterations")),
        ToString::to_string
    ),
    choice!(target_session_attrs, Some("PGTARGETSESSIONATTRS"), TargetSessionAttrs),
    choice!(load_balance_hosts, Some("PGLOADBALANCEHOSTS"), LoadBalanceHosts),
    row!(min_protocol_version, Some("PGMINPROTOCOLVERSION"), protocol, |version| {
        version.as_str().to_owned()
    }),
    row!(max_protocol_version, Some("PGMAXPROTOCOLVERSION"), protocol, |version| {
        version.as_str().to_owned()
    }),
    row!(
        statement_cache_size,
        None,
        |text: &str| text
            .trim_ascii()
            .parse()
            .map_err(|_| Refusal::Expected("a number of statements")),
        ToString::to_string
    ),
    row!(pipelining, None, switch, on),
    row!(
        max_answer_bytes,
        None,
        |text: &str| text.trim_ascii().parse().map_err(|_| Refusal::Expected("a number of bytes")),
        ToString::to_string
    ),
    Keyword {
        name: "gssencmode",
        variable: Some("PGGSSENCMODE"),
        secret: false,
        set: |_, text| match text {
            "disable" | "prefer" => Ok(()),
            "require" => {
                Err(Refusal::Unsupported("there is no GSSAPI here, so it cannot be required"))
            }
            _ => Err(Refusal::Words(&["disable", "prefer"])),
        },
        get: |_| None,
    },
    Keyword {
        name: "replication",
        variable: None,
        secret: false,
        set: |_, text| match text {
            "" | "0" | "false" | "off" | "no" => Ok(()),
            _ => Err(Refusal::Unsupported("replication connections take another protocol")),
        },
        get: |_| None,
    },
    ignored("krbsrvname"),
    ignored("gsslib"),
    ignored("gssdelegation"),
    ignored("sslcompression"),
    unsupported!("sslkeylogfile", None, "the keys of TLS sessions are not written down"),
    unsupported!("scram_client_key", None, "give the password"),
    unsupported!("scram_server_key", None, "give the password"),
    unsupported!("oauth_issuer", None, "there is no OAuth here"),
    unsupported!("oauth_client_id", None, "there is no OAuth here"),
    unsupported!("oauth_client_secret", None, "there is no OAuth here"),
    unsupported!("oauth_scope", None, "there is no OAuth here"),
];

/// Variables that become parameters of the session, unless they say `default` (manual, section
/// 34.15).
pub(super) const SESSION_VARIABLES: [(&str, &str); 3] =
    [("PGDATESTYLE", "datestyle"), ("PGTZ", "timezone"), ("PGGEQO", "geqo")];

/// A configuration that is being read from a string, with the keywords that the string may use.
pub(super) struct Target<'a> {
    pub(super) config: Config,
    pub(super) allowed: Option<&'a [&'a str]>,
    /// The string.
    pub(super) text: &'a str,
}

impl Target<'_> {
    /// Takes a keyword and its value.
    pub(super) fn set(&mut self, name: &str, value: &str, position: Position) -> Result<()> {
        // As libpq: what was a keyword before PostgreSQL 7.4 still works.
        let (name, value) = match (name, value.starts_with('1')) {
            ("requiressl", true) => ("sslmode", "require"),
            ("requiressl", false) => ("sslmode", "prefer"),
            _ => (name, value),
        };
        let origin = Origin { place: "", position, text: self.text };
        let keyword = find(name).ok_or_else(|| unknown(name, &origin))?;
        if let Some(allowed) = self.allowed.filter(|allowed| !allowed.contains(&name)) {
            return Err(Error::new(
                ErrorKind::Config,
                format!("keyword \"{name}\" is not allowed here: only {}", allowed.join(", ")),
            ));
        }
        keyword.apply(&mut self.config, value, &origin)
    }
}
