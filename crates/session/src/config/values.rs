//! How the values of connection strings are read, and written again.

use std::str::FromStr;
use std::time::Duration;

use super::defaults;
use super::options::{ProtocolVersion, RequireAuth, TlsVersion};

/// Why a value is not accepted.
pub(super) enum Refusal {
    /// The end of "expected …".
    Expected(&'static str),
    /// The words that would be.
    Words(&'static [&'static str]),
    /// The keyword itself is known, and not supported: what to do.
    Unsupported(&'static str),
}

pub(super) const PORTS: Refusal = Refusal::Expected("a port number from 1 to 65535");

/// An integer as libpq reads it: decimal, of 32 bits, with blanks around it.
pub(super) fn integer(text: &str) -> Result<i32, Refusal> {
    text.trim_ascii().parse().map_err(|_| Refusal::Expected("an integer"))
}

/// Negative numbers are as 0, as libpq has it.
pub(super) fn count(text: &str) -> Result<u32, Refusal> {
    Ok(integer(text)?.max(0).unsigned_abs())
}

pub(super) fn switch(text: &str) -> Result<bool, Refusal> {
    match text.trim_ascii() {
        "0" => Ok(false),
        "1" => Ok(true),
        _ => Err(Refusal::Expected("0 or 1")),
    }
}

pub(super) fn list<T, E>(text: &str, read: impl Fn(&str) -> Result<T, E>) -> Result<Vec<T>, E> {
    if text.is_empty() {
        return Ok(Vec::new());
    }
    text.split(',').map(read).collect()
}

/// No host has these in its name; what has them is a string that was put together wrongly, and may
/// show a password.
pub(super) fn read_host(text: &str) -> Result<String, Refusal> {
    let path = text.starts_with(['/', '@']);
    if !path && text.contains(|c: char| c == '=' || c == '@' || c.is_ascii_whitespace()) {
        return Err(Refusal::Expected(
            "host names, addresses, or paths that begin with \"/\" or \"@\"",
        ));
    }
    Ok(text.to_owned())
}

pub(super) fn read_port(text: &str) -> Option<u16> {
    match text.trim_ascii() {
        "" => Some(defaults::PORT),
        text => text.parse().ok().filter(|port| *port > 0),
    }
}

pub(super) fn word<T: FromStr>(text: &str, words: &'static [&'static str]) -> Result<T, Refusal> {
    text.parse().map_err(|_| Refusal::Words(words))
}

pub(super) fn protocol(text: &str) -> Result<ProtocolVersion, Refusal> {
    match text {
        "latest" => Ok(ProtocolVersion::V3_2),
        text => word(text, &["3.0", "3.2", "latest"]),
    }
}

pub(super) fn tls_version(text: &str) -> Option<TlsVersion> {
    TlsVersion::WORDS
        .iter()
        .find(|known| known.eq_ignore_ascii_case(text))
        .and_then(|known| known.parse().ok())
}

/// TLS 1.0 and 1.1 as the least are harmless: 1.2 is spoken then.
pub(super) fn least_tls_version(text: &str) -> Result<TlsVersion, Refusal> {
    let old = ["TLSv1", "TLSv1.1"];
    if old.iter().any(|known| known.eq_ignore_ascii_case(text)) {
        return Ok(TlsVersion::V1_2);
    }
    tls_version(text).ok_or(Refusal::Words(TlsVersion::WORDS))
}

pub(super) fn require_auth(text: &str) -> Result<RequireAuth, Refusal> {
    text.parse().map_err(|reason| match reason {
        "" => Refusal::Expected(
            "methods between commas, all or none after a \"!\": none, password, md5, scram-sha-256, gss, sspi",
        ),
        reason => Refusal::Expected(reason),
    })
}

/// The server's spelling rules: case and punctuation do not count.
pub(super) fn is_utf8(encoding: &str) -> bool {
    let letters: String = encoding
        .chars()
        .filter(char::is_ascii_alphanumeric)
        .map(|letter| letter.to_ascii_lowercase())
        .collect();
    letters == "utf8" || letters == "unicode" || encoding == "auto"
}

pub(super) fn seconds(value: &Duration) -> String {
    value.as_secs().to_string()
}

pub(super) fn read_seconds(text: &str) -> Result<Duration, Refusal> {
    Ok(Duration::from_secs(count(text)?.into()))
}

#[allow(clippy::trivially_copy_pass_by_ref)] // The table passes references.
pub(super) fn on(value: &bool) -> String {
    u8::from(*value).to_string()
}

pub(super) fn joined<T>(values: &[T], write: impl Fn(&T) -> String) -> String {
    let words: Vec<String> = values.iter().map(write).collect();
    words.join(",")
}
