//! The SCRAM-SHA-256 conversation (RFC 5802 and 7677) as the client has it: two messages out, two
//! in.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use hmac::Mac as _;

use super::key::{DerivedKey, Hash, hmac, keyed};
use crate::limits;
use crate::{Error, ErrorKind, Result};

/// Bytes of randomness in our nonce; PostgreSQL uses as many (`SCRAM_RAW_NONCE_LEN`).
pub const NONCE_BYTES: usize = 18;

/// What the login is bound to: the `gs2-cbind-flag` of RFC 5802, section 7.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Binding {
    /// `n`: we cannot or shall not bind it.
    None,
    /// `y`: we could, but the server did not offer it. A server that did offer it sees by this that
    /// an attacker between us took the offer away, and refuses.
    NotOffered,
    /// `p`: to this hash of the server's certificate (`tls-server-end-point`, RFC 5929, section 4).
    EndPoint(Vec<u8>),
}

impl Binding {
    /// The header, followed by the hash: what `c=` must repeat.
    fn input(&self) -> Vec<u8> {
        match self {
            Self::None => b"n,,".to_vec(),
            Self::NotOffered => b"y,,".to_vec(),
            Self::EndPoint(hash) => [b"p=tls-server-end-point,,", hash.as_slice()].concat(),
        }
    }

    fn header(&self) -> &'static str {
        match self {
            Self::None => "n,,",
            Self::NotOffered => "y,,",
            Self::EndPoint(_) => "p=tls-server-end-point,,",
        }
    }
}

/// Our first message, and what is needed to judge the answer to it.
pub(super) struct ClientFirst {
    binding: Binding,
    nonce: String,
}

impl ClientFirst {
    pub(super) fn new(binding: Binding, nonce: [u8; NONCE_BYTES]) -> Self {
        Self { binding, nonce: BASE64.encode(nonce) }
    }

    /// The name is left empty: PostgreSQL takes it from the startup message (manual, section
    /// 54.3.1).
    fn bare(&self) -> String {
        format!("n=,r={}", self.nonce)
    }

    pub(super) fn message(&self) -> String {
        self.binding.header().to_owned() + &self.bare()
    }

    pub(super) fn is_bound(&self) -> bool {
        matches!(self.binding, Binding::EndPoint(_))
    }

    /// Reads `r=<nonce>,s=<salt>,i=<iterations>` and nothing else.
    pub(super) fn challenge(self, server_first: &[u8]) -> Result<Challenge> {
        let text = str::from_utf8(server_first).map_err(|_| malformed("is not text"))?;
        refusal(text)?;
        if text.starts_with("m=") {
            return Err(malformed("demands an extension"));
        }
        let mut fields = text.split(',');
        let mut field = |name: &str| fields.next().and_then(|field| field.strip_prefix(name));
        let nonce = field("r=").ok_or_else(|| malformed("has no nonce"))?;
        let salt = field("s=").ok_or_else(|| malformed("has no salt"))?;
        let iterations = field("i=").ok_or_else(|| malformed("has no iteration count"))?;
        if fields.next().is_some() {
            return Err(malformed("goes on after the iteration count"));
        }
        let nonce = self.extended(nonce)?;
        let salt = read_salt(salt)?;
        let iterations = read_iterations(iterations)?;

        let bound_to = BASE64.encode(self.binding.input());
        let without_proof = format!("c={bound_to},r={nonce}");
        Ok(Challenge {
            salt,
            iterations,
            signed: format!("{},{text},{without_proof}", self.bare()),
            without_proof,
            bound: self.is_bound(),
        })
    }

    /// The server's nonce must begin with ours and add to it: otherwise the answer may be one
    /// recorded earlier.
    fn extended<'a>(&self, nonce: &'a str) -> Result<&'a str> {
        if nonce.len() > limits::SCRAM_FIELD_BYTES {
            return Err(malformed("has a nonce that is too long"));
        }
        if !nonce.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(malformed("has a nonce with unprintable characters"));
        }
        match nonce.strip_prefix(self.nonce.as_str()) {
            Some(added) if !added.is_empty() => Ok(nonce),
            _ => Err(malformed("has a nonce that does not extend ours")),
        }
    }
}

fn read_salt(text: &str) -> Result<Vec<u8>> {
    if text.len() > limits::SCRAM_FIELD_BYTES {
        return Err(malformed("has a salt that is too long"));
    }
    let salt = BASE64.decode(text).map_err(|_| malformed("has a salt that is not base64"))?;
    if salt.is_empty() {
        return Err(malformed("has an empty salt"));
    }
    Ok(salt)
}

/// `posit-number` of RFC 5802, section 7. Below 4,096 is allowed: `scram_iterations` of PostgreSQL
/// 16 goes down to 1.
fn read_iterations(text: &str) -> Result<u32> {
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(malformed("has an iteration count that is not a number"));
    }
    match text.parse() {
        Ok(0) => Err(malformed("has an iteration count of 0")),
        Ok(_) if text.starts_with('0') => {
            Err(malformed("has an iteration count that begins with 0"))
        }
        Ok(count) if count <= limits::SCRAM_ITERATIONS => Ok(count),
        // More than a u32 holds is more than the limit.
        _ => Err(Error::new(
            ErrorKind::Authentication,
            format!("the server asks for more than {} SCRAM iterations", limits::SCRAM_ITERATIONS),
        )
        .with_hint("set the password again with a smaller scram_iterations on the server")),
    }
}

/// What the server asks us to prove: that we know the key for this salt and these iterations.
pub(super) struct Challenge {
    pub(super) salt: Vec<u8>,
    pub(super) iterations: u32,
    /// `AuthMessage` of RFC 5802, section 3: what both sides sign.
    signed: String,
    without_proof: String,
    bound: bool,
}

impl Challenge {
    /// Our last message, and what the server has to answer.
    pub(super) fn prove(self, key: &DerivedKey) -> (String, Expected) {
        let mut proof = hmac(&key.stored_key, self.signed.as_bytes());
        proof.iter_mut().zip(key.client_key).for_each(|(byte, key)| *byte ^= key);
        let message = format!("{},p={}", self.without_proof, BASE64.encode(proof));
        let expected =
            Expected { signed: self.signed, server_key: key.server_key, bound: self.bound };
        (message, expected)
    }
}

/// The signature by which the server proves that it knows the password, or at least what it keeps
/// of it.
pub(super) struct Expected {
    signed: String,
    server_key: Hash,
    bound: bool,
}

impl Expected {
    pub(super) fn is_bound(&self) -> bool {
        self.bound
    }

    /// Reads `v=<signature>` and nothing else.
    pub(super) fn check(&self, server_final: &[u8]) -> Result<()> {
        let text = str::from_utf8(server_final).map_err(|_| malformed("is not text"))?;
        refusal(text)?;
        let signature = text.strip_prefix("v=").ok_or_else(|| malformed("has no signature"))?;
        if signature.contains(',') {
            return Err(malformed("goes on after the signature"));
        }
        let signature = BASE64
            .decode(signature)
            .map_err(|_| malformed("has a signature that is not base64"))?;
        // Compares in constant time, and refuses any other length.
        keyed(&self.server_key).chain_update(&self.signed).verify_slice(&signature).map_err(|_| {
            Error::new(
                ErrorKind::Authentication,
                "the server could not prove that it knows the password",
            )
            .with_hint("it may not be the server it claims to be")
        })
    }
}

/// `e=<reason>`: a server may refuse in SCRAM's own words. PostgreSQL uses an `ErrorResponse`; some
/// poolers do not.
fn refusal(text: &str) -> Result<()> {
    let Some(reason) = text.strip_prefix("e=") else {
        return Ok(());
    };
    let reason: String =
        reason.chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '-').take(40).collect();
    Err(Error::new(
        ErrorKind::Authentication,
        format!("the server refused the login (SCRAM: {reason})"),
    ))
}

/// One sentence about a message that does not follow RFC 5802, section 7. Nothing of the message is
/// repeated.
fn malformed(what: &str) -> Error {
    Error::new(ErrorKind::Protocol, format!("the server's SCRAM message {what}"))
}
