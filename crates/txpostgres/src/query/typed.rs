//! A connection or a cursor whose rows are all decoded as one type.

use std::fmt;
use std::marker::PhantomData;
use std::ops::Deref;

/// A [`Connection`](crate::Connection) or a [`Cursor`](crate::Cursor) whose `run_query` and
/// `query_stream` return each row as a `T`.
///
/// It wraps the handle that it was made from, and dereferences to it.
///
/// ```no_run
/// # async fn example(connection: txpostgres::Connection) -> txpostgres::Result<()> {
/// use std::collections::BTreeMap;
/// use txpostgres::value::Text;
///
/// let by_name = connection.with_rows_as::<BTreeMap<String, Option<Text>>>();
/// for row in by_name.run_query("select name, note from people", ()).await? {
///     println!("{:?}", row["name"]);
/// }
/// by_name.run_operation("delete from people", ()).await?;
/// # Ok(()) }
/// ```
pub struct Typed<H, T> {
    pub(crate) handle: H,
    shape: PhantomData<fn() -> T>,
}

impl<H, T> Typed<H, T> {
    pub(crate) fn new(handle: H) -> Self {
        Self { handle, shape: PhantomData }
    }

    /// The handle that it was made from.
    pub fn into_handle(self) -> H {
        self.handle
    }
}

impl<H, T> Deref for Typed<H, T> {
    type Target = H;

    fn deref(&self) -> &H {
        &self.handle
    }
}

impl<H: Clone, T> Clone for Typed<H, T> {
    fn clone(&self) -> Self {
        Self::new(self.handle.clone())
    }
}

impl<H: fmt::Debug, T> fmt::Debug for Typed<H, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Typed").field(&self.handle).finish()
    }
}
