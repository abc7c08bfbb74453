//! The choices a connection string offers, each as a type. Words and meanings are libpq's (manual,
//! section 34.1.2).

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

/// Declares an enum whose variants have libpq's words, with the parser that knows them all.
macro_rules! choice {
    ($(#[$meta:meta])* $name:ident { $($(#[$vmeta:meta])* $variant:ident = $word:literal,)+ }) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
        #[non_exhaustive]
        pub enum $name { $($(#[$vmeta])* $variant,)+ }

        impl $name {
            /// Every word that a connection string may use here.
            pub const WORDS: &'static [&'static str] = &[$($word),+];

            /// The word of a connection string.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word,)+ }
            }
        }

        impl FromStr for $name {
            type Err = ();

            fn from_str(word: &str) -> Result<Self, ()> {
                match word { $($word => Ok(Self::$variant),)+ _ => Err(()) }
            }
        }
    };
}

choice! {
    /// Whether to use TLS, and what the server's certificate must prove: the later, the stricter.
    #[derive(PartialOrd, Ord)]
    SslMode {
        /// Never TLS.
        Disable = "disable",
        /// Without TLS first; with it if the server refuses.
        Allow = "allow",
        /// With TLS if the server offers it, else without. libpq's default.
        #[default]
        Prefer = "prefer",
        /// Only with TLS; the certificate is checked only if a root certificate is at hand.
        Require = "require",
        /// Only with TLS and a certificate that a trusted authority signed.
        VerifyCa = "verify-ca",
        /// As `verify-ca`, and the certificate is for the host that was asked for.
        VerifyFull = "verify-full",
    }
}

choice! {
    /// How TLS begins.
    SslNegotiation {
        /// Ask first (`SSLRequest`), as every server understands.
        #[default]
        Postgres = "postgres",
        /// Begin with the TLS handshake at once (PostgreSQL 17 and later), saving a round trip.
        Direct = "direct",
    }
}

choice! {
    /// A version of TLS. Older ones are not spoken.
    #[derive(PartialOrd, Ord)]
    TlsVersion {
        /// TLS 1.2.
        #[default]
        V1_2 = "TLSv1.2",
        /// TLS 1.3.
        V1_3 = "TLSv1.3",
    }
}

choice! {
    /// Whether a client certificate is shown to the server.
    SslCertMode {
        /// Never, not even if one is at hand.
        Disable = "disable",
        /// If the server asks and one is at hand.
        #[default]
        Allow = "allow",
        /// The server must ask for one.
        Require = "require",
    }
}

choice! {
    /// Whether SCRAM must be bound to the TLS channel.
    ChannelBinding {
        /// Never.
        Disable = "disable",
        /// If the server offers it.
        #[default]
        Prefer = "prefer",
        /// Or the connection fails.
        Require = "require",
    }
}

choice! {
    /// Which role the server must have.
    TargetSessionAttrs {
        /// Any server that lets us in.
        #[default]
        Any = "any",
        /// One where transactions are read-write by default.
        ReadWrite = "read-write",
        /// One where they are read-only by default.
        ReadOnly = "read-only",
        /// A primary.
        Primary = "primary",
        /// A standby.
        Standby = "standby",
        /// A standby if there is one, else any.
        PreferStandby = "prefer-standby",
    }
}

choice! {
    /// In which order several hosts are tried.
    LoadBalanceHosts {
        /// As written.
        #[default]
        Disable = "disable",
        /// By chance.
        Random = "random",
    }
}

choice! {
    /// A version of the wire protocol.
    #[derive(PartialOrd, Ord)]
    ProtocolVersion {
        /// 3.0, of every server since 2003.
        #[default]
        V3_0 = "3.0",
        /// 3.2, of PostgreSQL 18: cancel keys of more than 4 bytes.
        V3_2 = "3.2",
    }
}

choice! {
    /// One way in which a server may ask who we are.
    AuthenticationMethod {
        /// It does not ask.
        #[default]
        None = "none",
        /// The password as it is.
        Password = "password",
        /// Its MD5 hash.
        Md5 = "md5",
        /// SCRAM-SHA-256, with or without channel binding.
        ScramSha256 = "scram-sha-256",
        /// Kerberos by GSSAPI. Not supported: a server that asks for it is refused.
        Gss = "gss",
        /// Kerberos by SSPI. Not supported: a server that asks for it is refused.
        Sspi = "sspi",
    }
}

/// Whose word a server's certificate is trusted on (`sslrootcert`).
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum SslRootCert {
    /// The authorities that the operating system trusts (the word `system`).
    System,
    /// Those of this PEM file.
    File(PathBuf),
}

impl From<&str> for SslRootCert {
    fn from(text: &str) -> Self {
        if text == "system" { Self::System } else { Self::File(text.into()) }
    }
}

impl From<PathBuf> for SslRootCert {
    fn from(path: PathBuf) -> Self {
        Self::File(path)
    }
}

impl fmt::Display for SslRootCert {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::System => f.write_str("system"),
            Self::File(path) => path.display().fmt(f),
        }
    }
}

/// Which ways of asking are accepted from the server (`require_auth`): all, only those listed, or
/// all but those listed.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RequireAuth {
    listed: Vec<AuthenticationMethod>,
    negated: bool,
}

impl RequireAuth {
    /// Only these.
    pub fn only(methods: impl IntoIterator<Item = AuthenticationMethod>) -> Self {
        Self { listed: methods.into_iter().collect(), negated: false }
    }

    /// All but these.
    pub fn all_but(methods: impl IntoIterator<Item = AuthenticationMethod>) -> Self {
        Self { listed: methods.into_iter().collect(), negated: true }
    }

    /// Whether a server may ask in this way.
    pub fn allows(&self, method: AuthenticationMethod) -> bool {
        if self.listed.is_empty() {
            return true;
        }
        self.listed.contains(&method) != self.negated
    }
}

impl fmt::Display for RequireAuth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, method) in self.listed.iter().enumerate() {
            let comma = if number > 0 { "," } else { "" };
            let not = if self.negated { "!" } else { "" };
            write!(f, "{comma}{not}{}", method.as_str())?;
        }
        Ok(())
    }
}

/// The list of a connection string: methods between commas, none or every one of them after a `!`.
/// The error says what is wrong with it.
impl FromStr for RequireAuth {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut list = Self::default();
        if text.is_empty() {
            return Ok(list);
        }
        for (number, word) in text.split(',').enumerate() {
            let (word, negated) = match word.strip_prefix('!') {
                Some(word) => (word, true),
                None => (word, false),
            };
            let method = word.parse().map_err(|()| "")?;
            if number > 0 && negated != list.negated {
                return Err("either every method has a \"!\", or none");
            }
            if list.listed.contains(&method) {
                return Err("each method at most once");
            }
            list.negated = negated;
            list.listed.push(method);
        }
        Ok(list)
    }
}
