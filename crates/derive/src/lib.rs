//! The derives of txpostgres. Use them through that crate, with its feature `derive`:
//! `txpostgres::FromRow`, `txpostgres::types::FromSql`, `txpostgres::types::ToSql`.
//!
//! The generated code refers to `::txpostgres`. If the crate has another name in your code, use
//! `#[row(crate = "path")]` or `#[postgres(crate = "path")]`.

mod attributes;
mod case;
mod row;
mod value;

use proc_macro::TokenStream;
use syn::{DeriveInput, parse_macro_input};

/// Decodes a row as a struct.
///
/// Each field is decoded from the column of its name. A tuple struct is decoded by position, as a
/// tuple.
///
/// | on a field | means |
/// |---|---|
/// | `#[row(rename = "name")]` | the column has this name |
/// | `#[row(default)]` | if there is no such column, the field is `Default::default()` |
/// | `#[row(flatten)]` | the field is a struct that is decoded from the same row |
/// | `#[row(skip)]` | the field has no column, and is `Default::default()` |
///
/// | on the struct | means |
/// |---|---|
/// | `#[row(rename_all = "camelCase")]` | columns have the names of the fields, in another case |
/// | `#[row(crate = "path")]` | the path of the crate txpostgres |
///
/// A field that may be NULL is an `Option`. A flattened `Option` is `None` if all its columns are
/// NULL. Fields may borrow from the row: the struct then has one lifetime.
#[proc_macro_derive(FromRow, attributes(row))]
pub fn derive_from_row(input: TokenStream) -> TokenStream {
    let input = parse_macro_input!(input as DeriveInput);
    row::from_row(&input).unwrap_or_else(syn::Error::into_compile_error).into()
}

/// Encodes an enum, a struct or a newtype as a parameter of an enum, a composite or a domain.
///
/// The attributes are those of `postgres-types`: `#[postgres(name = "…")]` on the type, a field or
/// a variant, `#[postgres(rename_all = "snake_case")]`, `#[postgres(transparent)]` on a newtype
/// that is encoded as its field, and `#[postgres(allow_mismatch)]` on an enum whose labels may
/// differ from those of the type. Without `name`, the name of the type is that of the struct, with
/// the same case.
#[proc_macro_derive(ToSql, attributes(postgres))]
pub fn derive_to_sql(input: TokenStream) -> TokenStream {
    let input = parse_macro_input!(input as DeriveInput);
    value::to_sql(&input).unwrap_or_else(syn::Error::into_compile_error).into()
}

/// Decodes an enum, a struct or a newtype from a column of an enum, a composite or a domain. The
/// attributes are those of `ToSql`.
#[proc_macro_derive(FromSql, attributes(postgres))]
pub fn derive_from_sql(input: TokenStream) -> TokenStream {
    let input = parse_macro_input!(input as DeriveInput);
    value::from_sql(&input).unwrap_or_else(syn::Error::into_compile_error).into()
}
