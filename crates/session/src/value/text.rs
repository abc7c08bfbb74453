//! A value in the form in which PostgreSQL prints and reads it.

use std::cell::Cell;
use std::error::Error;
use std::fmt;

use bytes::{BufMut, BytesMut};
use postgres_types::{Format, FromSql, IsNull, Kind, ToSql, Type, to_sql_checked};

type Cause = Box<dyn Error + Sync + Send>;

/// A value of any type in PostgreSQL's text form.
///
/// As a parameter it goes to a parameter of any type, which the server reads as it reads a literal.
/// Inside of an array, a range or a composite it goes to texts and enums only: write the whole in
/// text then.
///
/// As a column it reads whatever came as text: all columns of a call [in
/// text](crate::Query::set_results), those of types that have no binary form such as `aclitem`, and
/// texts and enums always.
///
/// ```
/// use txpostgres_session::value::Text;
///
/// let many = Text("{1,2,NULL}"); // for an int[], say
/// let owned: Text<String> = Text("1.50".to_owned());
/// assert_eq!(owned.to_string(), "1.50");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Text<S = String>(pub S);

impl<S: fmt::Display> fmt::Display for Text<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

thread_local! {
    /// Whether a parameter is being written as text. Set while one is, so that a [`Text`] within
    /// something binary can tell.
    static WRITES_TEXT: Cell<bool> = const { Cell::new(false) };
}

/// Writes a parameter whose format is text.
pub(crate) fn write_as_text<T>(write: impl FnOnce() -> T) -> T {
    /// Ends it, also when a user's `ToSql` panics.
    struct Writing;
    impl Drop for Writing {
        fn drop(&mut self) {
            WRITES_TEXT.set(false);
        }
    }
    WRITES_TEXT.set(true);
    let _writing = Writing;
    write()
}

/// Whether the binary form of the type is its text form.
pub(crate) fn is_text(ty: &Type) -> bool {
    let ty = super::base(ty);
    let is_built_in = matches!(
        *ty,
        Type::TEXT
            | Type::VARCHAR
            | Type::BPCHAR
            | Type::NAME
            | Type::UNKNOWN
            | Type::CSTRING
            | Type::REFCURSOR
            | Type::JSON
            | Type::XML
    );
    is_built_in || *ty.kind() == Kind::Simple && ty.name() == "citext" || is_enum(ty)
}

fn is_enum(ty: &Type) -> bool {
    matches!(ty.kind(), Kind::Enum(_))
}

impl<'a, S: From<&'a str>> FromSql<'a> for Text<S> {
    fn from_sql(_: &Type, raw: &'a [u8]) -> Result<Self, Cause> {
        Ok(Self(std::str::from_utf8(raw)?.into()))
    }

    fn accepts(ty: &Type) -> bool {
        is_text(ty)
    }
}

impl<S: AsRef<str> + fmt::Debug> ToSql for Text<S> {
    fn to_sql(&self, ty: &Type, out: &mut BytesMut) -> Result<IsNull, Cause> {
        if !WRITES_TEXT.get() && !is_text(ty) {
            let message = "a Text inside of an array, a range or a composite cannot be sent: \
                           write the whole as one Text";
            return Err(message.into());
        }
        out.put_slice(self.0.as_ref().as_bytes());
        Ok(IsNull::No)
    }

    fn accepts(_: &Type) -> bool {
        true
    }

    fn encode_format(&self, _: &Type) -> Format {
        Format::Text
    }

    to_sql_checked!();
}
