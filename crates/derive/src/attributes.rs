//! What is said in `#[row(…)]` and `#[postgres(…)]`, and what a struct's generics become.

use proc_macro2::TokenStream;
use quote::{ToTokens, quote};
use syn::meta::ParseNestedMeta;
use syn::{Attribute, DeriveInput, Ident, LitStr, Path, Result, parse_quote};

use crate::case::Case;

/// What is said of a struct or an enum.
pub(crate) struct Container {
    /// The path of txpostgres.
    pub(crate) home: Path,
    pub(crate) case: Option<Case>,
    pub(crate) name: Option<String>,
    pub(crate) transparent: bool,
    pub(crate) allow_mismatch: bool,
}

/// What is said of a field or a variant.
#[derive(Default)]
pub(crate) struct Part {
    pub(crate) name: Option<String>,
    pub(crate) flatten: bool,
    pub(crate) default: bool,
}

fn text(meta: &ParseNestedMeta<'_>) -> Result<LitStr> {
    meta.value()?.parse()
}

fn each(
    attributes: &[Attribute],
    of: &str,
    mut read: impl FnMut(&ParseNestedMeta<'_>, &str) -> Result<bool>,
) -> Result<()> {
    for attribute in attributes.iter().filter(|attribute| attribute.path().is_ident(of)) {
        attribute.parse_nested_meta(|meta| {
            let name = meta.path.get_ident().map(Ident::to_string).unwrap_or_default();
            if read(&meta, &name)? { Ok(()) } else { Err(meta.error("nothing is called so here")) }
        })?;
    }
    Ok(())
}

impl Container {
    /// Of `#[row(…)]` or `#[postgres(…)]`.
    pub(crate) fn read(input: &DeriveInput, of: &str) -> Result<Self> {
        let mut this = Self {
            home: parse_quote!(::txpostgres),
            case: None,
            name: None,
            transparent: false,
            allow_mismatch: false,
        };
        let of_values = of == "postgres";
        each(&input.attrs, of, |meta, name| {
            match name {
                "crate" => this.home = text(meta)?.parse()?,
                "rename_all" => {
                    let literal = text(meta)?;
                    let case = Case::parse(&literal.value());
                    this.case =
                        Some(case.map_err(|message| syn::Error::new(literal.span(), message))?);
                }
                "name" if of_values => this.name = Some(text(meta)?.value()),
                "transparent" if of_values => this.transparent = true,
                "allow_mismatch" if of_values => this.allow_mismatch = true,
                _ => return Ok(false),
            }
            Ok(true)
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
        each(attributes, "row", |meta, name| {
            match name {
                "rename" => this.name = Some(text(meta)?.value()),
                "flatten" => this.flatten = true,
                "default" => this.default = true,
                _ => return Ok(false),
            }
            if this.flatten && (this.default || this.name.is_some()) {
                return Err(meta.error("a shape of its own has neither a name nor a default"));
            }
            Ok(true)
        })?;
        Ok(this)
    }

    pub(crate) fn of_value(attributes: &[Attribute]) -> Result<Self> {
        let mut this = Self::default();
        each(attributes, "postgres", |meta, name| {
            if name == "name" {
                this.name = Some(text(meta)?.value());
            }
            Ok(name == "name")
        })?;
        Ok(this)
    }
}

/// The implementation of a trait that has a lifetime, as far as generics are concerned.
pub(crate) struct Borrowing {
    /// The lifetime of what is read.
    pub(crate) lifetime: TokenStream,
    generics: syn::Generics,
    ty: TokenStream,
}

impl Borrowing {
    /// A type that borrows has one lifetime, which is that of what is read.
    pub(crate) fn of(input: &DeriveInput) -> Result<Self> {
        let mut lifetimes = input.generics.lifetimes();
        let first = lifetimes.next().map(|parameter| parameter.lifetime.to_token_stream());
        if let Some(second) = lifetimes.next() {
            let message = "what is read borrows from one place: only one lifetime is possible";
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

/// Adds bounds to generics, if they have type parameters: without them the compiler knows by itself.
pub(crate) fn add_bounds(generics: &mut syn::Generics, bounds: &[TokenStream]) {
    if generics.type_params().next().is_some() {
        let clause = generics.make_where_clause();
        clause
            .predicates
            .extend(bounds.iter().map(|bound| -> syn::WherePredicate { parse_quote!(#bound) }));
    }
}
