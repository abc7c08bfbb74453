//! Parses `#[row(…)]` and `#[postgres(…)]`, and derives the generics of an implementation.

use std::fmt::Write as _;

use proc_macro2::TokenStream;
use quote::{ToTokens, quote};
use syn::meta::ParseNestedMeta;
use syn::{Attribute, DeriveInput, Ident, LitStr, Path, Result, parse_quote};

use crate::case::Case;

/// The attributes of a struct or an enum.
pub(crate) struct Container {
    /// The path of the crate txpostgres.
    pub(crate) home: Path,
    pub(crate) case: Option<Case>,
    pub(crate) name: Option<String>,
    pub(crate) transparent: bool,
    pub(crate) allow_mismatch: bool,
}

/// The attributes of a field or a variant.
#[derive(Default)]
pub(crate) struct Part {
    pub(crate) name: Option<String>,
    pub(crate) flatten: bool,
    pub(crate) default: bool,
    pub(crate) skip: bool,
}

fn text(meta: &ParseNestedMeta<'_>) -> Result<LitStr> {
    meta.value()?.parse()
}

/// Calls `read` for each entry of the attributes `of` this name. `known` are the names that are
/// allowed.
fn each(
    attributes: &[Attribute],
    of: &str,
    known: &[&str],
    mut read: impl FnMut(&ParseNestedMeta<'_>, &str) -> Result<()>,
) -> Result<()> {
    for attribute in attributes.iter().filter(|attribute| attribute.path().is_ident(of)) {
        attribute.parse_nested_meta(|meta| {
            let name = meta.path.get_ident().map(Ident::to_string).unwrap_or_default();
            if known.contains(&name.as_str()) {
                read(&meta, &name)
            } else {
                Err(meta.error(unknown(&name, known)))
            }
        })?;
    }
    Ok(())
}

/// The message for an unknown name. Rows and values follow different conventions for the same
/// thing, `rename` and `name`, so the other one is suggested.
fn unknown(name: &str, known: &[&str]) -> String {
    let meant = match name {
        "name" | "column" => Some("rename"),
        "rename" | "label" => Some("name"),
        "rename_all_fields" => Some("rename_all"),
        _ => None,
    };
    let mut message = format!("unknown attribute; expected one of: {}", known.join(", "));
    if let Some(meant) = meant.filter(|meant| known.contains(meant)) {
        let _ = write!(message, " (did you mean `{meant}`?)");
    }
    message
}

impl Container {
    /// Parses `#[row(…)]` or `#[postgres(…)]`.
    pub(crate) fn read(input: &DeriveInput, of: &str) -> Result<Self> {
        let mut this = Self {
            home: parse_quote!(::txpostgres),
            case: None,
            name: None,
            transparent: false,
            allow_mismatch: false,
        };
        let known: &[&str] = if of == "postgres" {
            &["name", "rename_all", "transparent", "allow_mismatch", "crate"]
        } else {
            &["rename_all", "crate"]
        };
        each(&input.attrs, of, known, |meta, name| {
            match name {
                "crate" => this.home = text(meta)?.parse()?,
                "rename_all" => {
                    let literal = text(meta)?;
                    let case = Case::parse(&literal.value());
                    this.case =
                        Some(case.map_err(|message| syn::Error::new(literal.span(), message))?);
                }
                "name" => this.name = Some(text(meta)?.value()),
                "transparent" => this.transparent = true,
                "allow_mismatch" => this.allow_mismatch = true,
                _ => {}
            }
            Ok(())
        })?;
        Ok(this)
    }

    /// The name of a field or a variant in the database.
    pub(crate) fn name_of(&self, part: &Part, ident: &Ident) -> String {
        let plain = || {
            let name = ident.to_string();
            name.strip_prefix("r#").unwrap_or(&name).to_owned()
        };
        match (&part.name, self.case) {
            (Some(name), _) => name.clone(),
            (None, Some(case)) => case.apply(&plain()),
            (None, None) => plain(),
        }
    }
}

impl Part {
    pub(crate) fn of_row(attributes: &[Attribute]) -> Result<Self> {
        let mut this = Self::default();
        each(attributes, "row", &["rename", "default", "flatten", "skip"], |meta, name| {
            match name {
                "rename" => this.name = Some(text(meta)?.value()),
                "flatten" => this.flatten = true,
                "default" => this.default = true,
                "skip" => this.skip = true,
                _ => {}
            }
            if this.flatten && (this.default || this.name.is_some()) {
                return Err(meta.error("a flattened field has neither a name nor a default"));
            }
            if this.skip && (this.flatten || this.default || this.name.is_some()) {
                return Err(meta.error("a skipped field takes no other attribute"));
            }
            Ok(())
        })?;
        Ok(this)
    }

    pub(crate) fn of_value(attributes: &[Attribute]) -> Result<Self> {
        let mut this = Self::default();
        each(attributes, "postgres", &["name"], |meta, _| {
            this.name = Some(text(meta)?.value());
            Ok(())
        })?;
        Ok(this)
    }
}

/// The generics of an implementation of a trait with a lifetime.
pub(crate) struct Borrowing {
    /// The lifetime of the data that is decoded.
    pub(crate) lifetime: TokenStream,
    generics: syn::Generics,
    ty: TokenStream,
}

impl Borrowing {
    /// A type that borrows has one lifetime: that of the data.
    pub(crate) fn of(input: &DeriveInput) -> Result<Self> {
        let mut lifetimes = input.generics.lifetimes();
        let first = lifetimes.next().map(|parameter| parameter.lifetime.to_token_stream());
        if let Some(second) = lifetimes.next() {
            let message = "a decoded value borrows from one buffer: only one lifetime is possible";
            return Err(syn::Error::new_spanned(second, message));
        }
        let (_, ty_generics, _) = input.generics.split_for_impl();
        let name = &input.ident;
        let ty = quote!(#name #ty_generics);
        let mut generics = input.generics.clone();
        let lifetime = first.unwrap_or_else(|| {
            generics.params.insert(0, parse_quote!('from));
            quote!('from)
        });
        Ok(Self { lifetime, generics, ty })
    }

    /// The head of the implementation. `bounds` are needed if there are type parameters.
    pub(crate) fn head(&self, of: &TokenStream, bounds: &[TokenStream]) -> TokenStream {
        let mut generics = self.generics.clone();
        add_bounds(&mut generics, bounds);
        let (impl_generics, _, clause) = generics.split_for_impl();
        let ty = &self.ty;
        quote!(impl #impl_generics #of for #ty #clause)
    }
}

/// Adds bounds to generics, if there are type parameters: without any, the compiler needs none.
pub(crate) fn add_bounds(generics: &mut syn::Generics, bounds: &[TokenStream]) {
    if generics.type_params().next().is_some() {
        let clause = generics.make_where_clause();
        clause
            .predicates
            .extend(bounds.iter().map(|bound| -> syn::WherePredicate { parse_quote!(#bound) }));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said<T>(outcome: Result<T>) -> String {
        outcome.err().map_or_else(String::new, |error| error.to_string())
    }

    #[test]
    fn an_unknown_name_is_told_with_the_known_ones() {
        let row: DeriveInput = parse_quote! {
            struct Person { #[row(name = "full name")] name: String }
        };
        assert_eq!(
            said(crate::row::from_row(&row)),
            "unknown attribute; expected one of: rename, default, flatten, skip (did you mean `rename`?)"
        );
        let row: DeriveInput = parse_quote!(
            struct Person {
                #[row(rune)]
                name: String,
            }
        );
        assert_eq!(
            said(crate::row::from_row(&row)),
            "unknown attribute; expected one of: rename, default, flatten, skip"
        );
        let row: DeriveInput = parse_quote!(
            #[row(transparent)]
            struct Person {
                name: String,
            }
        );
        assert_eq!(
            said(crate::row::from_row(&row)),
            "unknown attribute; expected one of: rename_all, crate"
        );
        let row: DeriveInput = parse_quote!(
            struct Person {
                #[row(skip, default)]
                name: String,
            }
        );
        assert_eq!(said(crate::row::from_row(&row)), "a skipped field takes no other attribute");
        let value: DeriveInput = parse_quote!(
            enum Mood {
                #[postgres(rename = "sad")]
                Sad,
            }
        );
        let expected = "unknown attribute; expected one of: name (did you mean `name`?)";
        assert_eq!(said(crate::value::from_sql(&value)), expected);
        assert_eq!(said(crate::value::to_sql(&value)), expected);
        let value: DeriveInput = parse_quote!(
            #[postgres(rename = "mood")]
            enum Mood {
                Sad,
            }
        );
        assert_eq!(
            said(crate::value::to_sql(&value)),
            "unknown attribute; expected one of: name, rename_all, transparent, allow_mismatch, crate \
             (did you mean `name`?)"
        );
    }
}
