//! What a session says, as text: its events, and the messages it sends.

use txpostgres_session::{Answer, Error, Event, Format, Result, ResultSet, Row, Session};

use super::words::quote;

/// An event as one line. Nothing in it depends on how rows were batched.
pub fn event(event: &Event, session: &Session) -> String {
    match event {
        Event::Warning(text) => format!("warn: {text}"),
        Event::DeriveKey(_) => "derive a key".to_owned(),
        Event::Opened => match session.cancel_key() {
            Some(key) => format!("opened by process {}", key.process_id()),
            None => "opened, without a cancel key".to_owned(),
        },
        Event::Settled { ticket, outcome, status } => {
            let status = char::from(status.as_byte());
            let effect = effect(outcome);
            format!("#{} {status}{effect} {}", ticket.number(), self::outcome(outcome))
        }
        Event::ListensLost { ticket } => format!("listens lost by #{}", ticket.number()),
        Event::Notification(notification) => format!(
            "notification by {}: {} {}",
            notification.process_id(),
            quote(notification.channel().as_bytes()),
            quote(notification.payload().as_bytes())
        ),
        Event::Notice(notice) => format!("notice {notice}"),
        Event::Parameter { name, value } => format!("parameter {name}={value}"),
        Event::CopyStarted { ticket, direction, layout } => format!(
            "copy {direction:?} of {} in {:?}, {} columns",
            ticket.number(),
            layout.format(),
            layout.columns()
        ),
        Event::Closed(None) => "closed".to_owned(),
        Event::Closed(Some(error)) => format!("closed by {}", self::error(error)),
        other => format!("{other:?}"),
    }
}

/// What the request did to the transaction, in braces if it did anything.
fn effect(outcome: &Result<Box<Answer>>) -> String {
    let effect = match outcome {
        Ok(answer) => answer.transaction_effect(),
        Err(error) => error.transaction_effect(),
    };
    let words = [
        (effect.began(), "began"),
        (effect.committed(), "committed"),
        (effect.rolled_back(), "rolled back"),
        (effect.ended(), "ended"),
        (effect.met_open(), "met open"),
    ];
    let told: Vec<_> = words.iter().filter(|(is, _)| *is).map(|(_, word)| *word).collect();
    if told.is_empty() { String::new() } else { format!(" {{{}}}", told.join(", ")) }
}

pub fn outcome(outcome: &Result<Box<Answer>>) -> String {
    match outcome {
        Ok(answer) => {
            let all = answer.as_ref().clone().take_results();
            // What was taken back must not be seen again.
            let tag = answer.tag().as_str();
            assert!(!all.is_empty() || tag.is_empty(), "{tag}, and no result");
            let mut results: Vec<_> = all.iter().map(result).collect();
            if answer.is_suspended() {
                assert!(all.is_empty(), "suspended, and a result");
                let rows = answer.as_ref().clone().take_rows();
                results.push(rows.iter().map(row).collect::<String>() + " and more");
            }
            if answer.items() > 0 {
                results.push(format!("{} items, {} rows", answer.items(), answer.row_count()));
            }
            format!("ok {}", results.join("; ")).trim_end().to_owned()
        }
        Err(error) => self::error(error),
    }
}

/// Kind, delivery and everything the error has to say.
pub fn error(error: &Error) -> String {
    let text = format!("{error:#}").replace('\n', " | ");
    let item = error.item().map_or(String::new(), |item| format!(" of item {item}"));
    format!("{:?} {:?}{item}: {text}", error.kind(), error.delivery())
}

fn result(result: &ResultSet) -> String {
    let columns: Vec<_> = result
        .rows()
        .columns()
        .iter()
        .map(|column| {
            let format = match column.format() {
                Format::Text => "",
                Format::Binary => "'",
            };
            format!("{} {}{format}", column.name(), column.type_())
        })
        .collect();
    let rows: Vec<_> = result.rows().iter().map(row).collect();
    assert_eq!(rows.len(), result.rows().len());
    if columns.is_empty() && rows.is_empty() {
        return format!("[{}]", result.tag());
    }
    format!("[{}] ({}) {}", result.tag(), columns.join(", "), rows.join(" "))
}

pub fn row(row: Row<'_>) -> String {
    let values: Vec<_> = (0..row.len())
        .map(|column| row.raw(column).unwrap().map_or("null".to_owned(), quote))
        .collect();
    format!("({})", values.join(", "))
}

/// One message of the client: as text, where it ends, and whether it is what ends a request.
pub struct Sent {
    pub text: String,
    pub tag: u8,
    pub end: usize,
}

/// The messages of the client in `bytes`, which has whole ones only. Those that open a session have no tag: they begin
/// with the first byte of their length, which is 0.
pub fn sent(bytes: &[u8]) -> Vec<Sent> {
    let mut all = Vec::new();
    let mut at = 0;
    while at < bytes.len() {
        let tag = bytes[at];
        if tag == 0x16 {
            // A TLS record of the kind "handshake".
            all.push(Sent { text: "ClientHello".to_owned(), tag, end: bytes.len() });
            return all;
        }
        let header = usize::from(tag != 0);
        let length = bytes[at + header..at + header + 4].try_into().unwrap();
        let end = at + header + usize::try_from(u32::from_be_bytes(length)).unwrap();
        let body = &bytes[at + header + 4..end];
        all.push(Sent { text: client_message(tag, body), tag, end });
        at = end;
    }
    all
}

fn client_message(tag: u8, body: &[u8]) -> String {
    let mut texts = body.split(|&byte| byte == 0).map(String::from_utf8_lossy);
    let mut text = || texts.next().unwrap_or_default().into_owned();
    match tag {
        0 if body == 80_877_103_u32.to_be_bytes() => "SSLRequest".to_owned(),
        0 => {
            let pairs = String::from_utf8_lossy(&body[4..]);
            let pairs = pairs.trim_end_matches('\0').replace('\0', " ");
            format!("Startup {}.{} {pairs}", body[1], body[3])
        }
        b'Q' => format!("Query \"{}\"", text()),
        b'P' => format!("Parse {}\"{}\"", named(text()), text()),
        b'B' => {
            let portal = text();
            let into = if portal.is_empty() { portal } else { format!("to {portal}") };
            format!("Bind {}{into}", named(text())).trim_end().to_owned()
        }
        b'D' | b'C' => {
            let what = text();
            let (what, name) = what.split_at(1);
            let verb = if tag == b'D' { "Describe" } else { "Close" };
            let what = if what == "S" { "statement" } else { "portal" };
            format!("{verb} {what} {}", named(name.to_owned())).trim_end().to_owned()
        }
        b'E' => match text() {
            portal if portal.is_empty() => "Execute".to_owned(),
            portal => {
                let rows = u32::from_be_bytes(body[portal.len() + 1..].try_into().unwrap());
                format!("Execute {portal} {rows}")
            }
        },
        b'd' => format!("CopyData {}", quote(body)),
        b'c' => "CopyDone".to_owned(),
        b'S' => "Sync".to_owned(),
        b'X' => "Terminate".to_owned(),
        b'f' => format!("CopyFail \"{}\"", text()),
        b'p' => format!("Password {}", quote(body)),
        other => panic!("the client sent {:?}", char::from(other)),
    }
}

fn named(name: String) -> String {
    if name.is_empty() { name } else { name + " " }
}
