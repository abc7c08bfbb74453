//! From requests to bytes: each message the client may send, written whole or not at all.
//!
//! Message formats: manual, section 54.7.

mod value;

use bytes::{BufMut, BytesMut};
use postgres_types::{ToSql, Type};

use crate::error::{Error, ErrorKind, Result};
use crate::limits;
use crate::result::row::{Column, Format};

pub(crate) use value::Written;
use value::is_text;

/// Messages being appended. Dropped before [`keep`](Self::keep), by an error or by a panic in a
/// user's `ToSql`, it leaves nothing behind.
pub(crate) struct Draft<'a> {
    out: &'a mut BytesMut,
    start: usize,
    kept: bool,
    /// Bytes on which the server acts, whatever follows; all of them, if nothing was said.
    acts_at: Option<usize>,
}

impl Drop for Draft<'_> {
    fn drop(&mut self) {
        if !self.kept {
            self.out.truncate(self.start);
        }
    }
}

fn request_error(message: String) -> Error {
    Error::new(ErrorKind::Request, message)
}

#[cold]
fn too_long(what: &str, length: usize) -> Error {
    let most = limits::REQUEST_BYTES;
    request_error(format!("{what} has {length} bytes; PostgreSQL takes {most} at most"))
}

impl<'a> Draft<'a> {
    pub(crate) fn new(out: &'a mut BytesMut) -> Self {
        let start = out.len();
        Self { out, start, kept: false, acts_at: None }
    }

    /// Everything written so far is to be sent. Says how much there is, with what lay before it.
    pub(crate) fn keep(mut self) -> usize {
        self.kept = true;
        self.out.len()
    }

    /// Bytes written so far.
    pub(crate) fn len(&self) -> usize {
        self.out.len().saturating_sub(self.start)
    }

    /// What was written so far.
    pub(crate) fn written(&self) -> &[u8] {
        self.out.get(self.start..).unwrap_or_default()
    }

    /// The server acts on what is written so far, whatever follows.
    pub(crate) fn acts(&mut self) {
        self.acts_at.get_or_insert(self.out.len().saturating_sub(self.start));
    }

    /// How many bytes make the server act.
    pub(crate) fn acts_at(&self) -> usize {
        self.acts_at.unwrap_or(self.len())
    }

    /// Writes a length word in front of what `write` writes; the length counts itself if
    /// `inclusive`.
    fn counted(
        &mut self,
        inclusive: bool,
        what: &str,
        write: impl FnOnce(&mut Self) -> Result<()>,
    ) -> Result<()> {
        let at = self.out.len();
        self.out.put_u32(0);
        write(self)?;
        self.write_length(at, inclusive, what)
    }

    /// Writes the length of what begins at `at` with its length word.
    #[inline]
    fn write_length(&mut self, at: usize, inclusive: bool, what: &str) -> Result<()> {
        let length = self.out.len().saturating_sub(at + if inclusive { 0 } else { 4 });
        let word = u32::try_from(length).ok().filter(|_| length <= limits::REQUEST_BYTES);
        let (Some(word), Some(place)) = (word, self.out.get_mut(at..at + 4)) else {
            return Err(too_long(what, length));
        };
        place.copy_from_slice(&word.to_be_bytes());
        Ok(())
    }

    fn message(
        &mut self,
        tag: u8,
        what: &str,
        write: impl FnOnce(&mut Self) -> Result<()>,
    ) -> Result<()> {
        self.out.put_u8(tag);
        self.counted(true, what, write)
    }

    /// A text ended by NUL, which therefore must not hold one.
    fn text(&mut self, text: &str, what: &str) -> Result<()> {
        if let Some(at) = text.bytes().position(|b| b == 0) {
            return Err(request_error(format!(
                "{what} has a NUL character at byte {at}; PostgreSQL takes none"
            )));
        }
        self.out.put_slice(text.as_bytes());
        self.out.put_u8(0);
        Ok(())
    }

    /// `SSLRequest`.
    pub(crate) fn ssl_request(&mut self) {
        self.out.put_u32(8);
        self.out.put_u32(80_877_103);
    }

    /// `CancelRequest`. The secret has 4 to 256 bytes: `CancelKey` sees to it.
    pub(crate) fn cancel_request(&mut self, process_id: i32, secret: &[u8]) -> Result<()> {
        self.counted(true, "the cancel request", |draft| {
            draft.out.put_u32(80_877_102);
            draft.out.put_i32(process_id);
            draft.out.put_slice(secret);
            Ok(())
        })
    }

    /// `StartupMessage`.
    pub(crate) fn startup<'p>(
        &mut self,
        version: u32,
        parameters: impl IntoIterator<Item = (&'p str, &'p str)>,
    ) -> Result<()> {
        self.counted(true, "the startup message", |draft| {
            draft.out.put_u32(version);
            for (name, value) in parameters {
                draft.text(name, "the name of a startup parameter")?;
                draft.text(value, &format!("the startup parameter {name}"))?;
            }
            draft.out.put_u8(0);
            Ok(())
        })
    }

    /// `PasswordMessage`, `SASLInitialResponse` and `SASLResponse` share a tag; the body comes from
    /// the method.
    pub(crate) fn authentication(&mut self, body: &[u8]) -> Result<()> {
        self.message(b'p', "the answer to an authentication request", |draft| {
            draft.out.put_slice(body);
            Ok(())
        })
    }

    /// `Query`.
    pub(crate) fn query(&mut self, sql: &str) -> Result<()> {
        self.message(b'Q', "the statement", |draft| draft.text(sql, "the statement"))
    }

    /// `Parse`. Types that are not given are left to the server.
    pub(crate) fn parse(&mut self, name: &str, sql: &str, types: &[Type]) -> Result<()> {
        self.parse_for(name, sql, types, &[])
    }

    /// `Parse` of a statement that runs with these parameters. The type of one that is given as
    /// text is left to the server.
    pub(crate) fn parse_for(
        &mut self,
        name: &str,
        sql: &str,
        types: &[Type],
        parameters: &[&(dyn ToSql + Sync)],
    ) -> Result<()> {
        let count = parameter_count(types.len())?;
        self.message(b'P', "the statement", |draft| {
            draft.text(name, "the name of a statement")?;
            draft.text(sql, "the statement")?;
            draft.out.put_u16(count);
            for (index, ty) in types.iter().enumerate() {
                let is_text = parameters.get(index).is_some_and(|value| is_text(*value, ty));
                draft.out.put_u32(if is_text { 0 } else { ty.oid() });
            }
            Ok(())
        })
    }

    /// `Describe` of a statement (`S`) or a portal (`P`).
    pub(crate) fn describe(&mut self, what: u8, name: &str) -> Result<()> {
        self.message(b'D', "Describe", |draft| {
            draft.out.put_u8(what);
            draft.text(name, "the name of a statement")
        })
    }

    /// `Bind`.
    pub(crate) fn bind(
        &mut self,
        binding: &Binding<'_>,
        parameters: &[&(dyn ToSql + Sync)],
    ) -> Result<()> {
        self.bind_here(binding, parameters)
    }

    /// `Bind`, as part of the function that calls this: on the way of every query.
    #[allow(clippy::inline_always)]
    #[inline(always)]
    pub(crate) fn bind_here(
        &mut self,
        binding: &Binding<'_>,
        parameters: &[&(dyn ToSql + Sync)],
    ) -> Result<()> {
        let &Binding { head, types, text_only, has_moments, results } = binding;
        if types.len() != parameters.len() {
            return Err(Error::new(
                ErrorKind::Parameter,
                format!(
                    "the statement takes {} parameters, and {} were given",
                    types.len(),
                    parameters.len()
                ),
            ));
        }
        let at = self.out.len() + 1;
        let is_mixed = !text_only.is_empty()
            || parameters.iter().zip(types).any(|(value, ty)| is_text(*value, ty));
        if is_mixed {
            self.put_mixed_head(binding, parameters);
        } else {
            self.out.put_slice(head);
        }
        for (index, (value, ty)) in parameters.iter().zip(types).enumerate() {
            let as_text = is_mixed && is_text(*value, ty);
            let is_null = self.parameter(index, *value, ty, as_text, has_moments)?;
            if !is_null && !as_text && text_only.get(index) == Some(&true) {
                let message =
                    format!("parameter ${} ({}) has no binary form", index + 1, ty.name());
                return Err(Error::new(ErrorKind::Parameter, message)
                    .with_hint("send it in text, as a `Text`"));
            }
        }
        self.out.put_slice(results);
        self.write_length(at, true, "the parameters together")
    }

    /// `Bind` of the unnamed statement, which has no parameters, to the unnamed portal.
    pub(crate) fn bind_nothing(&mut self) {
        self.out.put_slice(b"B\0\0\0\x10\0\0\0\x01\0\x01\0\0\0\x01\0\x01");
    }

    /// The same head, with a format for each parameter.
    #[cold]
    fn put_mixed_head(&mut self, binding: &Binding<'_>, parameters: &[&(dyn ToSql + Sync)]) {
        let (names, count) = binding.head.split_at(binding.head.len().saturating_sub(2));
        self.out.put_slice(names.strip_suffix(ALL_BINARY).unwrap_or(names));
        self.out.put_slice(count);
        for (index, (value, ty)) in parameters.iter().zip(binding.types).enumerate() {
            let is_text = is_text(*value, ty) || binding.text_only.get(index) == Some(&true);
            self.out.put_u16(u16::from(!is_text));
        }
        self.out.put_slice(count);
    }

    /// `Execute` of the unnamed portal, all rows.
    #[inline]
    pub(crate) fn execute(&mut self) {
        self.out.put_slice(b"E\0\0\0\x09\0\0\0\0\0");
    }

    /// `Execute` of this portal, so many rows; 0 for all.
    pub(crate) fn execute_portal(&mut self, portal: &str, rows: u32) -> Result<()> {
        let rows = i32::try_from(rows).unwrap_or(i32::MAX);
        self.message(b'E', "Execute", |draft| {
            draft.text(portal, "the name of a portal")?;
            draft.out.put_i32(rows);
            Ok(())
        })
    }

    /// `Close` of a statement (`S`) or a portal (`P`).
    pub(crate) fn close(&mut self, what: u8, name: &str) -> Result<()> {
        self.message(b'C', "Close", |draft| {
            draft.out.put_u8(what);
            draft.text(name, "the name of a statement or portal")
        })
    }

    /// `CopyData`.
    pub(crate) fn copy_data(&mut self, data: &[u8]) -> Result<()> {
        self.message(b'd', "one piece of COPY data", |draft| {
            draft.out.put_slice(data);
            Ok(())
        })
    }

    /// `CopyDone`.
    pub(crate) fn copy_done(&mut self) {
        self.out.put_slice(b"c\0\0\0\x04");
    }

    /// `Sync`.
    #[inline]
    pub(crate) fn sync(&mut self) {
        self.out.put_slice(b"S\0\0\0\x04");
    }

    /// `CopyFail`.
    pub(crate) fn copy_fail(&mut self, why: &str) -> Result<()> {
        self.message(b'f', "CopyFail", |draft| draft.text(why, "the reason"))
    }

    /// `Terminate`.
    pub(crate) fn terminate(&mut self) {
        self.out.put_slice(b"X\0\0\0\x04");
    }
}

/// The names of the statements that a request closes before anything else.
pub(crate) fn closed_names(mut bytes: &[u8]) -> impl Iterator<Item = &str> {
    std::iter::from_fn(move || {
        // The tag, the length that counts itself, what is closed, its name, NUL.
        let (b'C', rest) = bytes.split_first()? else {
            return None;
        };
        let length = u32::from_be_bytes(*rest.first_chunk()?);
        let (message, rest) = rest.split_at_checked(usize::try_from(length).ok()?)?;
        bytes = rest;
        let name = message.get(4..)?.strip_prefix(b"S")?.strip_suffix(b"\0")?;
        std::str::from_utf8(name).ok()
    })
}

/// What the `Bind`s of a statement have in common.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Binding<'a> {
    /// How they begin: [`bind_head`]'s.
    pub(crate) head: &'a [u8],
    /// The types of the parameters.
    pub(crate) types: &'a [Type],
    /// Which parameters the server takes as text only; empty if none of them.
    pub(crate) text_only: &'a [bool],
    /// Whether one of the types is of moments, which are looked at before they are written.
    pub(crate) has_moments: bool,
    /// How they end: the formats of the columns.
    pub(crate) results: &'a [u8],
}

/// One format code, for all there are: binary.
pub(crate) const ALL_BINARY: &[u8] = b"\0\x01\0\x01";

/// One format code, for all there are: text.
pub(crate) const ALL_TEXT: &[u8] = b"\0\x01\0\0";

/// A format code for each of these columns, as `Bind` ends with them.
pub(crate) fn result_formats(columns: &[Column]) -> Vec<u8> {
    // The server has counted them in 16 bits.
    let count = u16::try_from(columns.len()).unwrap_or(u16::MAX);
    let mut formats = count.to_be_bytes().to_vec();
    for column in columns {
        formats.put_u16(u16::from(column.format() == Format::Binary));
    }
    formats
}

/// The beginning of a `Bind` to the unnamed portal, up to the first parameter: the same each time,
/// but for its length word.
pub(crate) fn bind_head(statement: &str, parameters: usize) -> Result<Vec<u8>> {
    bind_head_of_portal("", statement, parameters)
}

/// The same for a portal with a name.
pub(crate) fn bind_head_of_portal(
    portal: &str,
    statement: &str,
    parameters: usize,
) -> Result<Vec<u8>> {
    let count = parameter_count(parameters)?;
    let names = [portal.as_bytes(), b"\0", statement.as_bytes(), b"\0"];
    Ok([b"B\0\0\0\0", &*names.concat(), ALL_BINARY, &count.to_be_bytes()].concat())
}

/// As many parameters as there may be.
pub(crate) fn parameter_count(count: usize) -> Result<u16> {
    u16::try_from(count).map_err(|_| {
        Error::new(
            ErrorKind::Parameter,
            format!(
                "{count} parameters were given; a statement takes {} at most",
                limits::PARAMETERS
            ),
        )
        .with_hint("send arrays, such as `unnest($1::int[])`, or several statements")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug)]
    struct Failing;

    impl ToSql for Failing {
        fn to_sql(&self, _: &Type, out: &mut BytesMut) -> Written {
            out.put_slice(b"half a value");
            Err("no".into())
        }
        fn accepts(_: &Type) -> bool {
            true
        }
        postgres_types::to_sql_checked!();
    }

    fn bind(
        draft: &mut Draft<'_>,
        name: &str,
        types: &[Type],
        parameters: &[&(dyn ToSql + Sync)],
    ) -> Result<()> {
        let head = bind_head(name, types.len())?;
        let has_moments = true;
        let binding =
            Binding { head: &head, types, text_only: &[], has_moments, results: ALL_BINARY };
        draft.bind(&binding, parameters)
    }

    fn after(write: impl FnOnce(&mut Draft<'_>) -> Result<()>) -> (Result<()>, BytesMut) {
        let mut out = BytesMut::from(&b"before"[..]);
        let mut draft = Draft::new(&mut out);
        let result = write(&mut draft);
        if result.is_ok() {
            draft.keep();
        } else {
            drop(draft);
        }
        (result, out)
    }

    #[test]
    fn what_fails_leaves_nothing() {
        // postgres-protocol 0.6.12 leaves 25 bytes of half a Bind, and 5 of a Query with a NUL.
        let (result, out) = after(|d| bind(d, "s", &[Type::INT4, Type::TEXT], &[&1_i32, &Failing]));
        assert_eq!(result.unwrap_err().to_string(), "parameter $2 (text) cannot be sent: no");
        assert_eq!(out, &b"before"[..]);
        let (result, out) = after(|d| d.query("a\0b"));
        assert_eq!(
            result.unwrap_err().to_string(),
            "the statement has a NUL character at byte 1; PostgreSQL takes none"
        );
        assert_eq!(out, &b"before"[..]);
        for (name, value) in [("user", "x\0user\0admin"), ("us\0er", "x")] {
            let (result, out) = after(|d| d.startup(196_608, [(name, value)]));
            assert_eq!(result.unwrap_err().kind(), ErrorKind::Request);
            assert_eq!(out, &b"before"[..]);
        }
    }

    #[test]
    fn writes_what_the_manual_says() {
        let (result, out) = after(|d| {
            bind(d, "s", &[Type::INT4, Type::TEXT], &[&258_i32, &None::<&str>])?;
            d.execute();
            d.sync();
            Ok(())
        });
        result.unwrap();
        assert_eq!(
            out,
            &b"beforeB\0\0\0\x1d\0s\0\0\x01\0\x01\0\x02\0\0\0\x04\0\0\x01\x02\xff\xff\xff\xff\0\x01\0\x01\
               E\0\0\0\x09\0\0\0\0\0S\0\0\0\x04"[..]
        );
    }

    #[test]
    fn counts_parameters() {
        let one: &(dyn ToSql + Sync) = &1_i32;
        let (result, out) = after(|d| bind(d, "", &vec![Type::INT4; 65_535], &vec![one; 65_535]));
        result.unwrap();
        assert!(out.len() > 65_535 * 8);
        let (result, out) = after(|d| bind(d, "", &vec![Type::INT4; 65_536], &vec![one; 65_536]));
        assert_eq!(
            result.unwrap_err().to_string(),
            "65536 parameters were given; a statement takes 65535 at most"
        );
        assert_eq!(out, &b"before"[..]);
        let (result, _) = after(|d| bind(d, "", &[Type::INT4], &[]));
        assert_eq!(
            result.unwrap_err().to_string(),
            "the statement takes 1 parameters, and 0 were given"
        );
    }

    #[test]
    fn a_type_that_does_not_fit_is_named() {
        let (result, _) = after(|d| bind(d, "", &[Type::INT4], &[&"text"]));
        let text = result.unwrap_err().to_string();
        assert!(text.starts_with("parameter $1 (int4) cannot be sent: cannot convert"), "{text}");
    }
}
