//! How an error is printed: one line; and, in the alternate form, all that is known, with a caret
//! below the place in the statement.

use std::fmt;

use super::{Delivery, Error, ErrorKind};
use crate::error::escaped::{is_hidden, lines, one_line};
use crate::error::server_error::ServerError;

impl Error {
    fn write_statement(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(statement) = self.statement() else {
            return Ok(());
        };
        // A position counts characters of the whole statement; show the line it falls in.
        let position = self.server().and_then(ServerError::position).map(|p| p.max(1) as usize - 1);
        let mut start = 0;
        for (number, line) in statement.split('\n').enumerate() {
            let length = line.chars().count();
            let inside = position.map(|p| p.wrapping_sub(start)).filter(|&p| p <= length);
            if inside.is_some() || (position.is_none() && number == 0) {
                return write_excerpt(f, number + 1, line, inside);
            }
            start += length + 1;
        }
        Ok(())
    }
}

/// Characters of a statement's line that are shown around the position.
const EXCERPT: usize = 60;

/// One line of the statement as psql shows it, shortened, with a caret below the character at `at`.
fn write_excerpt(
    f: &mut fmt::Formatter<'_>,
    number: usize,
    line: &str,
    at: Option<usize>,
) -> fmt::Result {
    let label = format!("LINE {number}: ");
    let skip = at.unwrap_or(0).saturating_sub(EXCERPT);
    let shown: String = line
        .chars()
        .skip(skip)
        .take(2 * EXCERPT)
        .map(|c| if is_hidden(c) { ' ' } else { c })
        .collect();
    let before = if skip > 0 { "..." } else { "" };
    let after = if line.chars().count() > skip + 2 * EXCERPT { "..." } else { "" };
    write!(f, "\n{label}{before}{shown}{after}")?;
    if let Some(at) = at {
        let pad = label.chars().count() + before.len() + at - skip;
        write!(f, "\n{:pad$}^", "")?;
    }
    Ok(())
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.0.attempts, &self.0.server, self.kind()) {
            (Some(attempts), ..) => attempts.write(&self.0.message, f)?,
            (None, Some(server), ErrorKind::Server) => write!(f, "{server}")?,
            (None, server, _) => {
                one_line(f, &self.0.message)?;
                if let Some(server) = server {
                    write!(f, " (the server said: {server})")?;
                }
            }
        }
        if let Some(item) = self.0.item {
            write!(f, " (item {item})")?;
        }
        if let Some(original) = &self.0.original {
            f.write_str(": ")?;
            one_line(f, &original.to_string())?;
        }
        if let Some(source) = &self.0.source {
            f.write_str(": ")?;
            one_line(f, &source.to_string())?;
        }
        if self.delivery() == Delivery::CarriedOut {
            f.write_str(" (the statement was carried out)")?;
        } else if self.delivery() == Delivery::Unknown && self.kind() == ErrorKind::Decode {
            f.write_str(" (the statement may have been carried out)")?;
        } else if self.has_committed() && !self.is_of_replication() {
            f.write_str(" (a part of what was asked for had been committed before)")?;
        }
        if f.alternate() {
            self.write_statement(f)?;
            if let Some(server) = &self.0.server {
                let more = [
                    ("DETAIL", server.detail()),
                    ("HINT", server.hint()),
                    ("QUERY", server.internal_query()),
                    ("CONTEXT", server.context()),
                ];
                for (name, text) in more {
                    if let Some(text) = text {
                        lines(f, name, &text)?;
                    }
                }
            }
            if let Some(hint) = self.hint() {
                write!(f, "\nHINT: ")?;
                one_line(f, hint)?;
            }
        }
        Ok(())
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // What `unwrap()` prints: the kind and delivery for us, the alternate text for the reader.
        write!(f, "{:?}, {:?}: {self:#}", self.kind(), self.delivery())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn syntax_error(position: u32) -> Error {
        let body = format!("VERROR\0C42601\0Msyntax error\0Hread the manual\0P{position}\0\0");
        Error::from_server(ServerError::parse(body.as_bytes()))
    }

    #[test]
    fn one_line_and_many() {
        let error = syntax_error(8).with_statement("select ö !");
        assert_eq!(error.to_string(), "ERROR 42601: syntax error");
        assert_eq!(
            format!("{error:#}"),
            "ERROR 42601: syntax error\nLINE 1: select ö !\n               ^\nHINT: read the manual"
        );
    }

    #[test]
    fn the_caret_finds_its_line() {
        let error = syntax_error(10).with_statement("select\n  !\n  from t");
        let text = format!("{error:#}");
        assert!(text.contains("LINE 2:   !\n          ^\n"), "{text}");
    }

    #[test]
    fn long_lines_are_cut_around_the_caret() {
        let error =
            syntax_error(501).with_statement(format!("{}!{}", "x".repeat(500), "y".repeat(500)));
        let text = format!("{error:#}");
        let mut lines = text.lines().skip(1);
        let (line, caret) = (lines.next().unwrap(), lines.next().unwrap());
        assert!(line.len() < 200);
        assert_eq!(line.find('!'), caret.find('^'));
    }

    /// Six forms of a megabyte in every field that is printed, each character of it escaped.
    #[test]
    fn what_is_printed_is_bounded() {
        let long = "\u{1b}".repeat(1_000_000);
        let body = format!("VERROR\0CP0001\0M{long}\0D{long}\0H{long}\0q{long}\0W{long}\0\0");
        let server = ServerError::parse(body.as_bytes());
        let error = Error::from_server(server.clone());
        assert_eq!(error.server().unwrap().message().len(), 1_000_000);
        for shown in [
            error.to_string(),
            format!("{error:#}"),
            format!("{error:?}"),
            format!("{server}"),
            format!("{server:#}"),
            format!("{server:?}"),
            Error::new(ErrorKind::Request, long.clone()).to_string(),
            Error::new(ErrorKind::Request, "x").with_source(long.clone()).to_string(),
            format!("{:#}", Error::connection_dead(&error).with_hint(long.clone())),
        ] {
            assert!(shown.len() < 200_000, "{}", shown.len());
            assert!(!shown.contains('\u{1b}'));
        }
        assert!(error.to_string().contains("bytes more)"), "it says that it was cut");
    }

    #[test]
    fn the_statement_is_shown_without_what_is_hidden() {
        let text = format!("{:#}", syntax_error(1).with_statement("a\u{202e}b\u{2028}c\u{200b}"));
        assert!(text.contains("LINE 1: a b c \n"), "{text}");
    }

    #[test]
    fn a_position_outside_the_statement_is_harmless() {
        for position in [0, 7, 8, 1000, u32::MAX] {
            let _ = format!("{:#}", syntax_error(position).with_statement("select\n"));
        }
    }
}
