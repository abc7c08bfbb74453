//! Messages of the protocol from the server's side: the client's are read, the server's are
//! written.

/// One message of the client; the startup packet has no tag, and gets a NUL for one.
#[derive(Debug)]
pub(crate) struct Message {
    pub(crate) tag: u8,
    pub(crate) body: Vec<u8>,
}

/// Takes the first complete message from the front of what has arrived.
pub(crate) fn take_message(input: &mut Vec<u8>, is_startup: bool) -> Option<Message> {
    let head = usize::from(!is_startup);
    let length = input.get(head..)?.first_chunk::<4>()?;
    let end = head + usize::try_from(u32::from_be_bytes(*length)).ok()?;
    let body = input.get(head + 4..end)?.to_vec();
    let tag = if is_startup { 0 } else { *input.first()? };
    input.drain(..end);
    Some(Message { tag, body })
}

/// Reads the fields of a message; each is `None` when the message is too short for it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Fields<'a>(pub(crate) &'a [u8]);

impl<'a> Fields<'a> {
    pub(crate) fn byte(&mut self) -> Option<u8> {
        self.bytes(1)?.first().copied()
    }

    pub(crate) fn short(&mut self) -> Option<u16> {
        self.bytes(2)?.first_chunk().map(|bytes| u16::from_be_bytes(*bytes))
    }

    pub(crate) fn long(&mut self) -> Option<u32> {
        self.bytes(4)?.first_chunk().map(|bytes| u32::from_be_bytes(*bytes))
    }

    /// A value behind its length; NULL, whose length is -1, has no bytes here.
    pub(crate) fn value(&mut self) -> Option<&'a [u8]> {
        match self.long()? {
            u32::MAX => Some(&[]),
            length => self.bytes(usize::try_from(length).ok()?),
        }
    }

    pub(crate) fn bytes(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    /// A text ended by NUL.
    pub(crate) fn text(&mut self) -> Option<&'a str> {
        let end = self.0.iter().position(|&byte| byte == 0)?;
        let text = std::str::from_utf8(self.bytes(end)?).ok()?;
        self.byte()?;
        Some(text)
    }
}

/// Writes a message around what `write` writes.
pub(crate) fn put(out: &mut Vec<u8>, tag: u8, write: impl FnOnce(&mut Vec<u8>)) {
    out.push(tag);
    let at = out.len();
    put_long(out, 0);
    write(out);
    let length = u32::try_from(out.len() - at).unwrap_or(u32::MAX);
    if let Some(place) = out.get_mut(at..at + 4) {
        place.copy_from_slice(&length.to_be_bytes());
    }
}

pub(crate) fn put_short(out: &mut Vec<u8>, value: usize) {
    out.extend(u16::try_from(value).unwrap_or(u16::MAX).to_be_bytes());
}

pub(crate) fn put_long(out: &mut Vec<u8>, value: u32) {
    out.extend(value.to_be_bytes());
}

pub(crate) fn put_text(out: &mut Vec<u8>, text: &str) {
    out.extend(text.as_bytes());
    out.push(0);
}

/// A message without a body.
pub(crate) fn put_empty(out: &mut Vec<u8>, tag: u8) {
    put(out, tag, |_| {});
}

/// `ErrorResponse` (`E`) or `NoticeResponse` (`N`).
pub(crate) fn put_report(out: &mut Vec<u8>, tag: u8, report: &Report<'_>) {
    put(out, tag, |out| {
        for (field, text) in [
            (b'S', report.severity),
            (b'V', report.severity),
            (b'C', report.code),
            (b'M', report.message),
            (b'R', report.routine),
        ] {
            if !text.is_empty() {
                out.push(field);
                put_text(out, text);
            }
        }
        out.push(0);
    });
}

/// What an error or a notice says.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Report<'a> {
    pub(crate) severity: &'a str,
    pub(crate) code: &'a str,
    pub(crate) message: &'a str,
    pub(crate) routine: &'a str,
}

/// `AuthenticationOk`, parameters, the cancel key and the first `ReadyForQuery`.
pub(crate) fn put_welcome(out: &mut Vec<u8>, pid: u32, key: u32) {
    put(out, b'R', |out| put_long(out, 0));
    for (name, value) in [
        ("server_version", "15.0"),
        ("server_encoding", "UTF8"),
        ("client_encoding", "UTF8"),
        ("DateStyle", "ISO, MDY"),
        ("integer_datetimes", "on"),
        ("standard_conforming_strings", "on"),
        ("in_hot_standby", "off"),
    ] {
        put(out, b'S', |out| {
            put_text(out, name);
            put_text(out, value);
        });
    }
    put(out, b'K', |out| {
        put_long(out, pid);
        put_long(out, key);
    });
    put(out, b'Z', |out| out.push(b'I'));
}

/// The OID of `text`.
pub(crate) const TEXT: u32 = 25;
/// The OID of `int8`.
pub(crate) const INT8: u32 = 20;
/// The OID of `void`.
pub(crate) const VOID: u32 = 2278;

/// `RowDescription`; `formats` as in [`format_of`].
pub(crate) fn put_columns(out: &mut Vec<u8>, columns: &[(&str, u32)], formats: &[u16]) {
    put(out, b'T', |out| {
        put_short(out, columns.len());
        for (index, (name, oid)) in columns.iter().enumerate() {
            put_text(out, name);
            put_long(out, 0);
            put_short(out, 0);
            put_long(out, *oid);
            out.extend((-1_i16).to_be_bytes());
            out.extend((-1_i32).to_be_bytes());
            put_short(out, usize::from(format_of(formats, index)));
        }
    });
}

/// The format of a column: none given is text for all, one is for all, else one for each.
pub(crate) fn format_of(formats: &[u16], index: usize) -> u16 {
    match formats {
        [] => 0,
        [all] => *all,
        each => each.get(index).copied().unwrap_or(0),
    }
}
