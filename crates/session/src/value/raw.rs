//! A value as it travels.

use std::error::Error;
use std::fmt;

use bytes::{BufMut, BytesMut};
use postgres_types::{FromSql, IsNull, ToSql, Type, to_sql_checked};

/// A value of any type, as its type and the bytes that the server sent.
///
/// It reads any column, and can be written to any parameter of the same type. The bytes are the
/// type's binary form; of a column that came as text they are the text, and the type is `text`.
///
/// ```
/// use txpostgres_session::types::Type;
/// use txpostgres_session::value::Raw;
///
/// let raw = Raw::new(Type::INT4, [0, 0, 0, 7]);
/// assert_eq!((raw.type_(), raw.bytes()), (&Type::INT4, &[0, 0, 0, 7][..]));
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct Raw<B = Vec<u8>> {
    ty: Type,
    bytes: B,
}

impl<B: AsRef<[u8]>> Raw<B> {
    /// A value of this type in its binary form.
    pub fn new(ty: Type, bytes: B) -> Self {
        Self { ty, bytes }
    }

    /// Its type.
    pub fn type_(&self) -> &Type {
        &self.ty
    }

    /// Its bytes.
    pub fn bytes(&self) -> &[u8] {
        self.bytes.as_ref()
    }

    /// The value read as a `T`, once it is known what it is.
    ///
    /// # Errors
    ///
    /// The type does not read as `T`, or the bytes are not a value of it.
    pub fn get<'a, T: FromSql<'a>>(&'a self) -> Result<T, Box<dyn Error + Sync + Send>> {
        if !super::derive::reads::<T>(&self.ty) {
            let rust = std::any::type_name::<T>();
            return Err(format!("{} does not read as {rust}", self.ty.name()).into());
        }
        super::verify(&self.ty, self.bytes())?;
        super::derive::read(&self.ty, self.bytes())
    }
}

/// The type and how many bytes there are; the value is not shown.
impl<B: AsRef<[u8]>> fmt::Debug for Raw<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Raw")
            .field("type", &format_args!("{}", self.ty))
            .field("bytes", &self.bytes.as_ref().len())
            .finish()
    }
}

impl<'a, B: From<&'a [u8]>> FromSql<'a> for Raw<B> {
    fn from_sql(ty: &Type, raw: &'a [u8]) -> Result<Self, Box<dyn Error + Sync + Send>> {
        Ok(Self { ty: ty.clone(), bytes: raw.into() })
    }

    fn accepts(_: &Type) -> bool {
        true
    }
}

impl<B: AsRef<[u8]>> ToSql for Raw<B> {
    fn to_sql(
        &self,
        ty: &Type,
        out: &mut BytesMut,
    ) -> Result<IsNull, Box<dyn Error + Sync + Send>> {
        if self.ty.oid() != ty.oid() {
            return Err(format!(
                "a raw value of type {} does not go to one of type {}",
                self.ty.name(),
                ty.name()
            )
            .into());
        }
        out.put_slice(self.bytes.as_ref());
        Ok(IsNull::No)
    }

    fn accepts(_: &Type) -> bool {
        true
    }

    to_sql_checked!();
}
