//! What a server can ask for in an `R` message, read with nothing left over (manual, section 54.7,
//! `Authentication…`).

use crate::config::AuthenticationMethod as Method;
use crate::{Error, ErrorKind, Result};

pub(super) const SCRAM: &[u8] = b"SCRAM-SHA-256";
pub(super) const SCRAM_PLUS: &[u8] = b"SCRAM-SHA-256-PLUS";

/// One `R` message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Asked<'a> {
    /// `AuthenticationOk`: nothing, or nothing more.
    Nothing,
    Cleartext,
    Md5([u8; 4]),
    Sasl(Mechanisms),
    SaslContinue(&'a [u8]),
    SaslFinal(&'a [u8]),
    Unsupported(Unsupported),
}

/// Which of the mechanisms that we know a server offers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Mechanisms {
    pub(super) plain: bool,
    pub(super) plus: bool,
}

/// Methods that we know by name only.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unsupported {
    Kerberos,
    Crypt,
    Scm,
    Gss,
    Sspi,
    Code(u32),
}

impl<'a> Asked<'a> {
    pub(super) fn read(body: &'a [u8]) -> Result<Self> {
        let Some((code, rest)) = body.split_first_chunk() else {
            return Err(malformed());
        };
        let asked = match u32::from_be_bytes(*code) {
            0 => Self::Nothing,
            3 => Self::Cleartext,
            5 => return rest.try_into().map(Self::Md5).map_err(|_| malformed()),
            10 => return Mechanisms::read(rest).map(Self::Sasl),
            11 => return Ok(Self::SaslContinue(rest)),
            12 => return Ok(Self::SaslFinal(rest)),
            code => return Ok(Self::Unsupported(Unsupported::from_code(code))),
        };
        if rest.is_empty() { Ok(asked) } else { Err(malformed()) }
    }

    /// Its word in `require_auth`, if it has one.
    pub(super) fn method(&self) -> Option<Method> {
        match self {
            Self::Nothing => Some(Method::None),
            Self::Cleartext => Some(Method::Password),
            Self::Md5(_) => Some(Method::Md5),
            Self::Sasl(_) | Self::SaslContinue(_) | Self::SaslFinal(_) => Some(Method::ScramSha256),
            Self::Unsupported(Unsupported::Gss) => Some(Method::Gss),
            Self::Unsupported(Unsupported::Sspi) => Some(Method::Sspi),
            Self::Unsupported(_) => None,
        }
    }

    /// What the server does, as a sentence to which more can be added.
    pub(super) fn sentence(&self) -> String {
        match self {
            Self::Nothing => "the server lets us in without asking for anything".into(),
            Self::Cleartext => "the server asks for the password in clear text".into(),
            Self::Md5(_) => "the server asks for an MD5 hash of the password".into(),
            Self::Sasl(_) | Self::SaslContinue(_) | Self::SaslFinal(_) => {
                "the server asks for SASL authentication".into()
            }
            Self::Unsupported(method) => format!("the server asks for {method}"),
        }
    }

    pub(super) fn unsupported(&self) -> Error {
        Error::new(
            ErrorKind::Authentication,
            format!("{}, which is not supported", self.sentence()),
        )
        .with_hint(
            "these methods of pg_hba.conf work: scram-sha-256, md5, password, trust, peer, ident, cert, ldap, radius, pam, bsd",
        )
    }
}

impl Mechanisms {
    /// Names that each end in a NUL, and an empty one after the last.
    fn read(list: &[u8]) -> Result<Self> {
        let mut this = Self::default();
        let mut names = list.split(|&byte| byte == 0);
        for name in names.by_ref().take_while(|name| !name.is_empty()) {
            this.plain |= name == SCRAM;
            this.plus |= name == SCRAM_PLUS;
        }
        // After the NUL of the empty name there is one more piece, which is empty, and the end.
        if names.next() == Some(&[][..]) && names.next().is_none() {
            Ok(this)
        } else {
            Err(malformed())
        }
    }
}

impl Unsupported {
    fn from_code(code: u32) -> Self {
        match code {
            1 | 2 => Self::Kerberos,
            4 => Self::Crypt,
            6 => Self::Scm,
            7 | 8 => Self::Gss,
            9 => Self::Sspi,
            code => Self::Code(code),
        }
    }
}

impl std::fmt::Display for Unsupported {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Kerberos => f.write_str("Kerberos authentication"),
            Self::Crypt => f.write_str("a crypt() hash of the password"),
            Self::Scm => f.write_str("SCM credentials"),
            Self::Gss => f.write_str("GSSAPI authentication"),
            Self::Sspi => f.write_str("SSPI authentication"),
            Self::Code(code) => write!(f, "an unknown kind of authentication (code {code})"),
        }
    }
}

fn malformed() -> Error {
    Error::new(ErrorKind::Protocol, "the server sent an authentication request of a wrong length")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_end_where_they_say() {
        let both = Mechanisms { plain: true, plus: true };
        let read = |list: &[u8]| Mechanisms::read(list).ok();
        assert_eq!(read(b"SCRAM-SHA-256-PLUS\0SCRAM-SHA-256\0\0"), Some(both));
        assert_eq!(read(b"OTHER\0\0"), Some(Mechanisms::default()));
        assert_eq!(read(b"\0"), Some(Mechanisms::default()));
        for bad in [
            &b""[..],
            b"SCRAM-SHA-256",
            b"SCRAM-SHA-256\0",
            b"SCRAM-SHA-256\0\0\0",
            b"SCRAM-SHA-256\0\0x",
            b"\0SCRAM-SHA-256\0",
        ] {
            assert_eq!(read(bad), None, "{bad:?}");
        }
    }
}
