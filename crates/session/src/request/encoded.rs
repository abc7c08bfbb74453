//! A request as bytes: written without a session at hand, so that a user's `ToSql` runs while no
//! session is borrowed.

use std::fmt;

use bytes::BytesMut;

use super::{Parameters, RUN, Request, Results, write_run};
use crate::error::{Error, ErrorKind, Result};
use crate::limits;
use crate::protocol::encode::Draft;
use crate::protocol::expect::Steps;
use crate::statement::Statement;

/// Where a request is written before it is submitted. It belongs to the caller and is reused:
/// submitting empties it, and leaves its memory or that of the empty send buffer.
#[derive(Default)]
pub struct EncodeBuffer {
    bytes: BytesMut,
    steps: Steps,
    /// How many of the bytes make the server act.
    acts_at: usize,
    /// It is a `Query`, which takes nothing along.
    is_simple: bool,
    /// What is sent together with it could be taken for the data of a COPY.
    is_exclusive: bool,
}

impl EncodeBuffer {
    /// An empty buffer, which takes memory when it is first written to.
    pub fn new() -> Self {
        Self::default()
    }

    /// Bytes that are in it: none, but for a request that was encoded and not submitted.
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Writes a request as a whole, its `Sync` included, in place of what there was. After an
    /// error, or a panic in a user's `ToSql`, the buffer is empty.
    // On the way of every request; as a call it would hand over its result in memory.
    #[allow(clippy::inline_always)]
    #[inline(always)]
    pub(crate) fn write(&mut self, begin: Option<&str>, request: Request<'_>) -> Result<()> {
        self.bytes.clear();
        self.is_simple = request.is_simple();
        let mut draft = Draft::new(&mut self.bytes);
        if let Some(begin) = begin {
            write_begin(&mut draft, begin, self.is_simple)?;
        }
        self.steps = request.write(&mut draft)?.after_begin(begin.is_some());
        self.is_exclusive = self.steps.hints().may_copy;
        self.acts_at = draft.acts_at();
        if !self.is_simple {
            draft.sync();
        }
        draft.keep();
        Ok(())
    }

    /// The same for a statement that the server keeps.
    #[allow(clippy::inline_always)]
    #[inline(always)]
    pub(crate) fn write_run(
        &mut self,
        begin: Option<&str>,
        statement: &Statement,
        parameters: Parameters<'_>,
        results: Results,
    ) -> Result<()> {
        self.bytes.clear();
        (self.is_simple, self.is_exclusive) = (false, false);
        let mut draft = Draft::new(&mut self.bytes);
        if let Some(begin) = begin {
            write_begin(&mut draft, begin, false)?;
        }
        write_run(&mut draft, statement, parameters, results)?;
        self.acts_at = draft.len();
        draft.sync();
        draft.keep();
        self.steps = Steps::new(RUN).after_begin(begin.is_some());
        Ok(())
    }

    /// The steps in which the request will be answered.
    #[inline]
    pub(crate) fn steps(&self) -> Steps {
        self.steps
    }

    #[inline]
    pub(crate) fn acts_at(&self) -> usize {
        self.acts_at
    }

    #[inline]
    pub(crate) fn is_exclusive(&self) -> bool {
        self.is_exclusive
    }

    /// Whether statements may be closed along with the request. A large one is handed over as it
    /// is.
    #[inline]
    pub(crate) fn takes_closes(&self) -> bool {
        !self.is_simple && self.bytes.len() < limits::LARGE_REQUEST_BYTES
    }

    /// The bytes, to be moved away.
    #[inline]
    pub(crate) fn bytes(&mut self) -> &mut BytesMut {
        &mut self.bytes
    }
}

impl fmt::Debug for EncodeBuffer {
    /// Its length only: values may be secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EncodeBuffer").field("len", &self.len()).finish_non_exhaustive()
    }
}

/// A transaction is opened in the same flight.
#[inline(never)]
fn write_begin(draft: &mut Draft<'_>, begin: &str, is_simple: bool) -> Result<()> {
    if is_simple {
        let what = "a script cannot open a transaction in the same flight";
        return Err(Error::new(ErrorKind::Request, what));
    }
    draft.parse("", begin, &[])?;
    draft.bind_nothing();
    draft.execute();
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::panic::{AssertUnwindSafe, catch_unwind};

    use postgres_types::{IsNull, ToSql, Type, to_sql_checked};

    use super::*;
    use crate::protocol::encode::Written;
    use crate::request::ResultFormats;

    /// A value that does something to the buffer, and then goes on in its way.
    #[derive(Debug)]
    enum Odd {
        Fails,
        Panics,
        Truncates,
    }

    impl ToSql for Odd {
        fn to_sql(&self, _: &Type, out: &mut BytesMut) -> Written {
            out.extend_from_slice(&[b'x'; 1000]);
            match self {
                Self::Fails => Err("no".into()),
                Self::Panics => panic!("no"),
                Self::Truncates => {
                    out.clear();
                    Ok(IsNull::No)
                }
            }
        }

        fn accepts(_: &Type) -> bool {
            true
        }

        to_sql_checked!();
    }

    fn write(buffer: &mut EncodeBuffer, value: &(dyn ToSql + Sync)) -> Result<usize> {
        let request = Request::PrepareAndRun {
            name: "",
            sql: "select $1",
            types: &[Type::TEXT],
            parameters: &[value],
            results: ResultFormats::Binary,
        };
        buffer.write(Some("begin"), request).map(|()| buffer.acts_at)
    }

    #[test]
    fn a_value_that_misbehaves_leaves_an_empty_buffer() {
        let mut buffer = EncodeBuffer::new();
        let good = write(&mut buffer, &"good").unwrap();
        assert_eq!(buffer.len(), good + 5);
        for value in [Odd::Fails, Odd::Truncates] {
            assert_eq!(write(&mut buffer, &value).unwrap_err().kind(), ErrorKind::Parameter);
            assert!(buffer.is_empty());
        }
        assert!(catch_unwind(AssertUnwindSafe(|| write(&mut buffer, &Odd::Panics))).is_err());
        assert!(buffer.is_empty());
        assert_eq!(write(&mut buffer, &"good").unwrap(), good);
    }
}
