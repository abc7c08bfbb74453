//! The derives of txpostgres. Use them from there, with its feature `derive`: `txpostgres::FromRow`,
//! `txpostgres::types::FromSql` and so on.
//!
//! What they make names `::txpostgres`; if the crate has another name where you are, say `#[row(crate = "path")]` or
//! `#[postgres(crate = "path")]`.

mod attributes;
mod case;
mod row;
mod value;

use proc_macro::TokenStream;
use syn::{DeriveInput, parse_macro_input};

/// Reads a row as a struct.
///
/// Each field is read from the column of its name. A tuple struct is read as a tuple is, by position.
///
/// | on a field | means |
/// |---|---|
/// | `#[row(rename = "name")]` | the column is called so |
/// | `#[row(default)]` | if there is no such column, the field is `Default::default()` |
/// | `#[row(flatten)]` | the field is a shape of its own, read from the same row; an `Option` of one is `None` if all its columns are NULL |
/// | `#[row(skip)]` | the field has no column, and is `Default::default()` |
///
/// | on the struct | means |
/// |---|---|
/// | `#[row(rename_all = "camelCase")]` | columns are called as the fields, in another case |
/// | `#[row(crate = "path")]` | where txpostgres is to be found |
///
/// A field that may be NULL is an `Option`. Fields may borrow from the row: the struct has one lifetime then.
#[proc_macro_derive(FromRow, attributes(row))]
pub fn derive_from_row(input: TokenStream) -> TokenStream {
    let input = parse_macro_input!(input as DeriveInput);
    row::from_row(&input).unwrap_or_else(syn::Error::into_compile_error).into()
}

/// Writes an enum, a struct or a newtype to a parameter of an enum, a composite or a domain.
///
/// The attributes are those of `postgres-types`: `#[postgres(name = "…")]` on the type, a field or a variant,
/// `#[postgres(rename_all = "snake_case")]`, `#[postgres(transparent)]` on a newtype that is written as what it holds, and
/// `#[postgres(allow_mismatch)]` on an enum that need not have all labels. The type's name is that of the struct, letter for
/// letter, unless it is said.
#[proc_macro_derive(ToSql, attributes(postgres))]
pub fn derive_to_sql(input: TokenStream) -> TokenStream {
    let input = parse_macro_input!(input as DeriveInput);
    value::to_sql(&input).unwrap_or_else(syn::Error::into_compile_error).into()
}

/// Reads an enum, a struct or a newtype from a column of an enum, a composite or a domain. The attributes are those of
/// `ToSql`.
#[proc_macro_derive(FromSql, attributes(postgres))]
pub fn derive_from_sql(input: TokenStream) -> TokenStream {
    let input = parse_macro_input!(input as DeriveInput);
    value::from_sql(&input).unwrap_or_else(syn::Error::into_compile_error).into()
}
