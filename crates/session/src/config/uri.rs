//! `postgresql://me@db/`: connection strings in the form of a URI (manual, section 34.1.1.2).

use core::net::Ipv6Addr;

use super::keyword_value::is_blank;
use super::keywords::{self, Target};
use super::origin::{Origin, Position};
use super::spelling;
use super::values;
use crate::error::{Error, ErrorKind, Result};

/// The text after `postgresql://` or `postgres://`, if it begins so. A string that is a URI of
/// another kind is an error, and is not read as keywords and values: it may hold a password.
pub(super) fn strip_scheme(text: &str) -> Result<Option<&str>> {
    // No part of a URI has blanks; those around it come from files and variables.
    let text = text.trim_matches(is_blank);
    for scheme in ["postgresql://", "postgres://"] {
        if let Some(rest) = text.strip_prefix(scheme) {
            return Ok(Some(rest));
        }
    }
    let first = text.split(|c| is_blank(c) || c == '=' || c == '\'').next();
    let Some((scheme, _)) = first.and_then(|word| word.split_once("://")) else {
        return Ok(None);
    };
    let shown = if Origin::only("", text).shows(scheme) {
        format!(" \"{scheme}://\"")
    } else {
        String::new()
    };
    Err(refused(format!(
        "the URI's beginning{shown} is not known: expected \"postgresql://\" or \"postgres://\""
    )))
}

/// Reads what follows the scheme.
pub(super) fn parse(text: &str, target: &mut Target<'_>) -> Result<()> {
    let mut rest = text;
    if let Some((userinfo, after)) = text
        .find(['@', '/'])
        .and_then(|end| text.split_at_checked(end))
        .and_then(|(before, after)| Some((before, after.strip_prefix('@')?)))
    {
        rest = after;
        let (user, password) = userinfo.split_once(':').unwrap_or((userinfo, ""));
        for (keyword, text) in [("user", user), ("password", password)] {
            if !text.is_empty() {
                target.set(keyword, &decode(text, keyword)?, Position::Only)?;
            }
        }
    }
    let (authority, path, query) = split(rest);
    parse_authority(authority, target).map_err(|error| {
        // Then the password may have ended up in the wrong place.
        if rest.len() == text.len() && rest.contains('@') {
            Error::new(
                ErrorKind::Config,
                format!("{error}; a \"/\" in a user name or password is written %2F"),
            )
        } else {
            error
        }
    })?;
    if !path.is_empty() {
        target.set("dbname", &decode(path, "dbname")?, Position::Only)?;
    }
    parse_query(query, target)
}

/// Into hosts and ports, database, parameters.
fn split(text: &str) -> (&str, &str, &str) {
    let (before, query) = text.split_once('?').unwrap_or((text, ""));
    let (authority, path) = before.split_once('/').unwrap_or((before, ""));
    (authority, path, query)
}

/// `host:port,[address]:port`. Neither hosts nor ports are shown in errors unless they are
/// addresses: a user name and password without the `@` would be read as these.
fn parse_authority(text: &str, target: &mut Target<'_>) -> Result<()> {
    if text.contains('@') {
        return Err(refused(
            "the host has an \"@\" in it; in a user name or password it is written %40",
        ));
    }
    let (mut hosts, mut ports) = (Vec::new(), Vec::new());
    let mut rest = text;
    loop {
        let host;
        if let Some(bracketed) = rest.strip_prefix('[') {
            let (address, after) = bracketed
                .split_once(']')
                .ok_or_else(|| refused("the IPv6 address has no closing \"]\""))?;
            if address.is_empty() {
                return Err(refused("the IPv6 address \"[]\" is empty"));
            }
            if !after.is_empty() && !after.starts_with([':', ',']) {
                let shown = match address.parse::<Ipv6Addr>() {
                    Ok(address) => format!(" \"[{address}]\""),
                    Err(_) => String::new(),
                };
                return Err(refused(format!(
                    "unexpected text after the IPv6 address{shown}: expected \":\" and a port, \"/\", \"?\" or \",\""
                )));
            }
            (host, rest) = (address, after);
        } else {
            let end = rest.find([':', ',']).unwrap_or(rest.len());
            (host, rest) = rest.split_at_checked(end).unwrap_or((rest, ""));
        }
        let end = rest.find(',').unwrap_or(rest.len());
        let (port, after) = rest.split_at_checked(end).unwrap_or((rest, ""));
        hosts.push(decode(host, "host")?);
        ports.push(read_port(port.strip_prefix(':').unwrap_or(port))?);
        match after.strip_prefix(',') {
            Some(after) => rest = after,
            None => break,
        }
    }
    for (keyword, values) in [("host", hosts), ("port", ports)] {
        let joined = values.join(",");
        if !joined.is_empty() {
            target.set(keyword, &joined, Position::Only)?;
        }
    }
    Ok(())
}

fn read_port(text: &str) -> Result<String> {
    let port = decode(text, "port")?;
    match values::read_port(&port) {
        Some(_) => Ok(port),
        None => Err(refused("invalid port: expected a number from 1 to 65535")),
    }
}

/// `keyword=value&keyword=value`.
fn parse_query(text: &str, target: &mut Target<'_>) -> Result<()> {
    let parameters = text.strip_suffix('&').unwrap_or(text).split('&');
    for (number, parameter) in (1..).zip(parameters) {
        if text.is_empty() {
            break;
        }
        let (name, value) = parameter
            .split_once('=')
            .ok_or_else(|| refused(format!("missing \"=\" in parameter {number}")))?;
        let name = decode_part(name)
            .map_err(|reason| refused(format!("{reason} in a parameter's name")))?;
        let known = keywords::find(&name);
        let position = Position::Parameter(number);
        let origin = Origin { place: "", position, text: target.text };
        let shown = match known {
            Some(keyword) => keyword.name.to_owned(),
            None if origin.shows(&name) => name.clone(),
            None => position.to_string(),
        };
        if value.contains('=') {
            return Err(refused(format!(
                "the value of {shown} has an \"=\" in it: it is written %3D"
            )));
        }
        let value = decode(value, &shown)?;
        match (name.as_str(), value.as_str()) {
            // As JDBC has it.
            ("ssl", "true") => target.set("sslmode", "require", position)?,
            _ if known.is_none() && name != "requiressl" => {
                return Err(spelling::unknown(&name, &origin));
            }
            _ => target.set(&name, &value, position)?,
        }
    }
    Ok(())
}

fn refused(message: impl Into<String>) -> Error {
    Error::new(ErrorKind::Config, format!("in the connection URI: {}", message.into()))
}

fn decode(text: &str, what: &str) -> Result<String> {
    decode_part(text).map_err(|reason| refused(format!("{reason} in {what}")))
}

/// Without percent-encoding. Spaces around are dropped, spaces inside refused, as libpq has it.
fn decode_part(text: &str) -> Result<String, &'static str> {
    let text = text.trim_matches(' ');
    if text.contains(is_blank) {
        return Err("a space (it is written %20)");
    }
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    loop {
        match rest {
            [] => break,
            [b'%', high, low, after @ ..] => {
                let (high, low) = hex(*high).zip(hex(*low)).ok_or(BROKEN)?;
                bytes.push(high << 4 | low);
                rest = after;
            }
            [b'%', ..] => return Err(BROKEN),
            [byte, after @ ..] => {
                bytes.push(*byte);
                rest = after;
            }
        }
    }
    if bytes.contains(&0) {
        return Err("a NUL (%00)");
    }
    String::from_utf8(bytes).map_err(|_| "a percent-encoded byte that is not UTF-8")
}

const BROKEN: &str = "a \"%\" without two hexadecimal digits (a percent sign is written %25)";

fn hex(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).and_then(|digit| u8::try_from(digit).ok())
}
