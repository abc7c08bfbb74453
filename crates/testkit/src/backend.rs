//! Messages of a server as bytes, for a [`Script`](crate::Script).
//!
//! Each function returns one message of "Message Formats" in the manual's chapter on the protocol.
//! They check nothing: a test may need a server that sends nonsense.

/// A message of any kind, with its length filled in.
pub fn message(tag: u8, body: &[u8]) -> Vec<u8> {
    let mut bytes = vec![tag];
    bytes.extend(length(body.len() + 4));
    bytes.extend_from_slice(body);
    bytes
}

/// A message with a wrong length.
pub fn message_claiming(tag: u8, length: i32, body: &[u8]) -> Vec<u8> {
    let mut bytes = vec![tag];
    bytes.extend(length.to_be_bytes());
    bytes.extend_from_slice(body);
    bytes
}

/// `AuthenticationOk`.
pub fn auth_ok() -> Vec<u8> {
    auth(0, b"")
}

/// `AuthenticationCleartextPassword`.
pub fn auth_cleartext() -> Vec<u8> {
    auth(3, b"")
}

/// `AuthenticationMD5Password`.
pub fn auth_md5(salt: [u8; 4]) -> Vec<u8> {
    auth(5, &salt)
}

/// `AuthenticationSASL`, offering these mechanisms.
pub fn auth_sasl(mechanisms: &[&str]) -> Vec<u8> {
    let mut body: Vec<u8> = mechanisms.iter().flat_map(|name| string(name)).collect();
    body.push(0);
    auth(10, &body)
}

/// `AuthenticationSASLContinue`.
pub fn auth_sasl_continue(data: &[u8]) -> Vec<u8> {
    auth(11, data)
}

/// `AuthenticationSASLFinal`.
pub fn auth_sasl_final(data: &[u8]) -> Vec<u8> {
    auth(12, data)
}

/// Any message of the authentication family.
pub fn auth(kind: i32, data: &[u8]) -> Vec<u8> {
    let mut body = kind.to_be_bytes().to_vec();
    body.extend_from_slice(data);
    message(b'R', &body)
}

/// `NegotiateProtocolVersion`: the newest minor version it speaks, and the options it does not
/// know.
pub fn negotiate_protocol_version(minor: i32, unknown: &[&str]) -> Vec<u8> {
    let mut body = minor.to_be_bytes().to_vec();
    body.extend(length(unknown.len()));
    body.extend(unknown.iter().flat_map(|name| string(name)));
    message(b'v', &body)
}

/// `ParameterStatus`.
pub fn parameter_status(name: &str, value: &str) -> Vec<u8> {
    message(b'S', &strings(&[name, value]))
}

/// `BackendKeyData`; the key has four bytes before protocol 3.2.
pub fn key_data(process: i32, key: &[u8]) -> Vec<u8> {
    let mut body = process.to_be_bytes().to_vec();
    body.extend_from_slice(key);
    message(b'K', &body)
}

/// `ReadyForQuery`, with the transaction status: `I`, `T` or `E`.
pub fn ready(status: u8) -> Vec<u8> {
    message(b'Z', &[status])
}

/// Everything from `AuthenticationOk` to the first `ReadyForQuery`, as PostgreSQL 15 has it for
/// process 4711.
pub fn welcome() -> Vec<u8> {
    [
        auth_ok(),
        parameter_status("server_version", "15.0"),
        parameter_status("server_encoding", "UTF8"),
        parameter_status("client_encoding", "UTF8"),
        parameter_status("DateStyle", "ISO, MDY"),
        parameter_status("integer_datetimes", "on"),
        parameter_status("standard_conforming_strings", "on"),
        parameter_status("in_hot_standby", "off"),
        key_data(4711, &[1, 2, 3, 4]),
        ready(b'I'),
    ]
    .concat()
}

/// `RowDescription` of columns with a name and a type's OID, in text (0) or binary (1).
pub fn row_description(columns: &[(&str, u32)], format: i16) -> Vec<u8> {
    let mut body = count(columns.len()).to_vec();
    for (name, oid) in columns {
        body.extend(string(name));
        body.extend(0_u32.to_be_bytes()); // table
        body.extend(0_i16.to_be_bytes()); // column
        body.extend(oid.to_be_bytes());
        body.extend((-1_i16).to_be_bytes()); // size
        body.extend((-1_i32).to_be_bytes()); // modifier
        body.extend(format.to_be_bytes());
    }
    message(b'T', &body)
}

/// `DataRow`; `None` is NULL.
pub fn data_row(values: &[Option<&[u8]>]) -> Vec<u8> {
    let mut body = count(values.len()).to_vec();
    for value in values {
        match value {
            None => body.extend((-1_i32).to_be_bytes()),
            Some(value) => {
                body.extend(length(value.len()));
                body.extend_from_slice(value);
            }
        }
    }
    message(b'D', &body)
}

/// `CommandComplete`, with a tag such as `SELECT 1`.
pub fn command_complete(tag: &str) -> Vec<u8> {
    message(b'C', &string(tag))
}

/// `EmptyQueryResponse`.
pub fn empty_query() -> Vec<u8> {
    message(b'I', b"")
}

/// `ParseComplete`.
pub fn parse_complete() -> Vec<u8> {
    message(b'1', b"")
}

/// `BindComplete`.
pub fn bind_complete() -> Vec<u8> {
    message(b'2', b"")
}

/// `CloseComplete`.
pub fn close_complete() -> Vec<u8> {
    message(b'3', b"")
}

/// `NoData`.
pub fn no_data() -> Vec<u8> {
    message(b'n', b"")
}

/// `PortalSuspended`.
pub fn portal_suspended() -> Vec<u8> {
    message(b's', b"")
}

/// `ParameterDescription`.
pub fn parameter_description(oids: &[u32]) -> Vec<u8> {
    let mut body = count(oids.len()).to_vec();
    body.extend(oids.iter().flat_map(|oid| oid.to_be_bytes()));
    message(b't', &body)
}

/// `ErrorResponse` of severity ERROR.
pub fn error(sqlstate: &str, text: &str) -> Vec<u8> {
    report(b'E', "ERROR", sqlstate, text)
}

/// `ErrorResponse` of severity FATAL, after which a server closes the connection.
pub fn fatal(sqlstate: &str, text: &str) -> Vec<u8> {
    report(b'E', "FATAL", sqlstate, text)
}

/// `NoticeResponse`.
pub fn notice(text: &str) -> Vec<u8> {
    report(b'N', "NOTICE", "00000", text)
}

/// `ErrorResponse` (tag `E`) or `NoticeResponse` (tag `N`) with fields of your choice.
pub fn report_of(tag: u8, fields: &[(u8, &str)]) -> Vec<u8> {
    let mut body = Vec::new();
    for (code, value) in fields {
        body.push(*code);
        body.extend(string(value));
    }
    body.push(0);
    message(tag, &body)
}

fn report(tag: u8, severity: &str, sqlstate: &str, text: &str) -> Vec<u8> {
    report_of(tag, &[(b'S', severity), (b'V', severity), (b'C', sqlstate), (b'M', text)])
}

/// `NotificationResponse`.
pub fn notification(process: i32, channel: &str, payload: &str) -> Vec<u8> {
    let mut body = process.to_be_bytes().to_vec();
    body.extend(strings(&[channel, payload]));
    message(b'A', &body)
}

/// `CopyInResponse` for `n` columns, all in text (0) or binary (1).
pub fn copy_in(columns: usize, format: u8) -> Vec<u8> {
    copy_response(b'G', columns, format)
}

/// `CopyOutResponse` for `n` columns, all in text (0) or binary (1).
pub fn copy_out(columns: usize, format: u8) -> Vec<u8> {
    copy_response(b'H', columns, format)
}

/// `CopyData`.
pub fn copy_data(data: &[u8]) -> Vec<u8> {
    message(b'd', data)
}

/// `CopyDone`.
pub fn copy_done() -> Vec<u8> {
    message(b'c', b"")
}

fn copy_response(tag: u8, columns: usize, format: u8) -> Vec<u8> {
    let mut body = vec![format];
    body.extend(count(columns));
    for _ in 0..columns {
        body.extend([0, format]);
    }
    message(tag, &body)
}

fn string(text: &str) -> Vec<u8> {
    let mut bytes = text.as_bytes().to_vec();
    bytes.push(0);
    bytes
}

fn strings(texts: &[&str]) -> Vec<u8> {
    texts.iter().flat_map(|text| string(text)).collect()
}

fn length(length: usize) -> [u8; 4] {
    i32::try_from(length).unwrap_or(i32::MAX).to_be_bytes()
}

fn count(count: usize) -> [u8; 2] {
    u16::try_from(count).unwrap_or(u16::MAX).to_be_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_as_the_manual_writes_them() {
        assert_eq!(ready(b'I'), b"Z\0\0\0\x05I");
        assert_eq!(auth_ok(), b"R\0\0\0\x08\0\0\0\0");
        assert_eq!(command_complete("SELECT 1"), b"C\0\0\0\x0dSELECT 1\0");
        assert_eq!(data_row(&[None, Some(b"x")]), b"D\0\0\0\x0f\0\x02\xff\xff\xff\xff\0\0\0\x01x");
        assert_eq!(error("42P01", "no"), b"E\0\0\0\x1eSERROR\0VERROR\0C42P01\0Mno\0\0");
        assert_eq!(auth_sasl(&["A", "B"]), b"R\0\0\0\x0d\0\0\0\x0aA\0B\0\0");
    }
}
