//! `~/.pgpass`: passwords by host, port, database and user.

use std::path::Path;

use super::environment::Environment;
use super::origin::shown_path;
use super::password::Password;

/// The lines of a password file, in order: the first that matches counts.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct PassFile(Vec<Line>);

#[derive(Debug, Clone, PartialEq, Eq)]
struct Line {
    /// Host, port, database, user.
    patterns: [Pattern; 4],
    password: Password,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Pattern {
    Any,
    Exactly(Vec<u8>),
}

impl Pattern {
    fn matches(&self, names: &[&str]) -> bool {
        match self {
            Self::Any => true,
            Self::Exactly(pattern) => names.iter().any(|name| name.as_bytes() == pattern),
        }
    }
}

impl PassFile {
    /// Reads a password file if it is there. One that others could read or that is no plain file is
    /// ignored, with a warning, as libpq does (manual, section 34.16).
    pub(super) fn read(
        path: &Path,
        env: &impl Environment,
        warnings: &mut Vec<String>,
    ) -> Option<Self> {
        let path_shown = shown_path(path);
        let file = match env.read(path) {
            Ok(file) => file?,
            Err(error) => {
                warnings.push(format!("password file \"{path_shown}\" is ignored: {error}"));
                return Some(Self::default());
            }
        };
        if !file.plain {
            warnings
                .push(format!("password file \"{path_shown}\" is ignored: it is not a plain file"));
            return Some(Self::default());
        }
        if let Some(mode) = file.mode.filter(|mode| mode & 0o077 != 0) {
            warnings.push(format!(
                "password file \"{path_shown}\" is ignored: its permissions {mode:03o} let others in; \
                 they should be 600 (u=rw) or less"
            ));
            return Some(Self::default());
        }
        Some(Self::parse(&file.bytes))
    }

    fn parse(text: &[u8]) -> Self {
        Self(text.split(|&byte| byte == b'\n').filter_map(Line::parse).collect())
    }

    /// The password for a host (by any of its names), port, database and user.
    pub(super) fn find(
        &self,
        hosts: &[&str],
        port: u16,
        database: &str,
        user: &str,
    ) -> Option<&Password> {
        let port = port.to_string();
        let names: [&[&str]; 4] = [hosts, &[&port], &[database], &[user]];
        let line = self.0.iter().find(|line| {
            line.patterns.iter().zip(names).all(|(pattern, names)| pattern.matches(names))
        })?;
        Some(&line.password)
    }
}

impl Line {
    /// A line that is a comment, empty or too short is none.
    fn parse(line: &[u8]) -> Option<Self> {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if line.starts_with(b"#") {
            return None;
        }
        let mut rest = Some(line);
        let mut field = || {
            let (bytes, plain, after) = split_field(rest?);
            rest = after;
            Some((bytes, plain))
        };
        let mut pattern = || {
            let (bytes, plain) = field()?;
            Some(if plain && bytes == b"*" { Pattern::Any } else { Pattern::Exactly(bytes) })
        };
        let patterns = [pattern()?, pattern()?, pattern()?, pattern()?];
        // What follows a fifth colon is ignored, as libpq does.
        let (password, _) = field()?;
        Some(Self { patterns, password: password.into() })
    }
}

/// The bytes up to the next colon, whether there was no backslash in them, and what follows the
/// colon.
fn split_field(text: &[u8]) -> (Vec<u8>, bool, Option<&[u8]>) {
    let mut field = Vec::new();
    let mut plain = true;
    let mut rest = text;
    loop {
        match rest {
            [] => return (field, plain, None),
            [b':', after @ ..] => return (field, plain, Some(after)),
            [b'\\', byte, after @ ..] => {
                plain = false;
                field.push(*byte);
                rest = after;
            }
            [byte, after @ ..] => {
                field.push(*byte);
                rest = after;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn find(text: &str, host: &str, port: u16, database: &str, user: &str) -> Option<String> {
        PassFile::parse(text.as_bytes())
            .find(&[host], port, database, user)
            .map(|password| String::from_utf8_lossy(password.as_bytes()).into_owned())
    }

    #[test]
    fn lines() {
        let table: &[(&str, Option<&str>)] = &[
            ("h:1:d:u:secret", Some("secret")),
            ("*:*:*:*:secret", Some("secret")),
            ("h:1:d:u:secret\r\nx", Some("secret")),
            ("# comment\n\nh:1:d:u:secret", Some("secret")),
            ("#h:1:d:u:secret", None),
            ("h:1:d:x:no\nh:1:d:*:yes\nh:1:d:u:late", Some("yes")),
            (r"h:1:d:u:a\:b\\c", Some(r"a:b\c")),
            (r"h:1:d:u:a\b\", Some(r"ab\")),
            ("h:1:d:u:a:ignored", Some("a")),
            ("h:1:d:u:", Some("")),
            (r"\h:1:d:u:x", Some("x")),
            (r"\*:1:d:u:x", None),
            ("h*:1:d:u:x", None),
            ("h:1:d:u", None),
            (" h:1:d:u:x", None),
            ("h:01:d:u:x", None),
        ];
        for (text, password) in table {
            assert_eq!(find(text, "h", 1, "d", "u").as_deref(), *password, "{text:?}");
        }
        assert_eq!(find(r"a\:b:1:d:u:x", "a:b", 1, "d", "u").as_deref(), Some("x"));
        assert_eq!(find(r"\*:1:d:u:x", "*", 1, "d", "u").as_deref(), Some("x"));
    }

    #[test]
    fn bytes_that_are_no_text_are_kept() {
        let file = PassFile::parse(b"h:1:d:u:\xff\xfe");
        assert_eq!(file.find(&["h"], 1, "d", "u").unwrap().as_bytes(), b"\xff\xfe");
    }
}
