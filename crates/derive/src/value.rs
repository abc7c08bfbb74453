//! The derives of `ToSql` and `FromSql`: enums, structs and newtypes for enums, composites and
//! domains of the database.

use proc_macro2::TokenStream;
use quote::quote;
use syn::{Data, DeriveInput, Fields, Ident, Result, Type};

use crate::attributes::{Borrowing, Container, Part, add_bounds};

/// The kind of database type that a Rust type maps to.
enum Kind<'a> {
    /// The type of its only field.
    Transparent(Newtype<'a>),
    Domain(Newtype<'a>),
    /// Variants and their labels.
    Enum(Vec<(&'a Ident, String)>),
    /// Fields, their types and their names.
    Composite(Vec<(&'a Ident, &'a Type, String)>),
}

/// The only field of a struct.
struct Newtype<'a> {
    ty: &'a Type,
    member: syn::Member,
}

struct Described<'a> {
    container: Container,
    /// The name of the database's type.
    name: String,
    /// The name of the type of Rust.
    rust: String,
    kind: Kind<'a>,
}

impl<'a> Described<'a> {
    fn read(input: &'a DeriveInput) -> Result<Self> {
        let container = Container::read(input, "postgres")?;
        let refuse = |message: &str| Err(syn::Error::new_spanned(&input.ident, message));
        let kind = match &input.data {
            Data::Union(_) => return refuse("a union has no counterpart in PostgreSQL"),
            Data::Enum(_) if container.transparent => {
                return refuse("only a struct with one field is transparent");
            }
            Data::Enum(data) => {
                let mut variants = Vec::new();
                for variant in &data.variants {
                    if !matches!(variant.fields, Fields::Unit) {
                        let message = "the variants of an enum must not have fields";
                        return Err(syn::Error::new_spanned(variant, message));
                    }
                    let part = Part::of_value(&variant.attrs)?;
                    variants.push((&variant.ident, container.name_of(&part, &variant.ident)));
                }
                Kind::Enum(variants)
            }
            Data::Struct(data) => {
                let mut fields = data.fields.iter();
                let newtype = fields.next().filter(|_| data.fields.len() == 1).map(|field| {
                    let member = field
                        .ident
                        .clone()
                        .map_or_else(|| syn::Member::Unnamed(0.into()), syn::Member::Named);
                    Newtype { ty: &field.ty, member }
                });
                match (&data.fields, newtype) {
                    (_, Some(newtype)) if container.transparent => Kind::Transparent(newtype),
                    _ if container.transparent => {
                        return refuse("only a struct with one field is transparent");
                    }
                    (Fields::Unnamed(_), Some(newtype)) => Kind::Domain(newtype),
                    (Fields::Named(fields), _) => {
                        let mut parts = Vec::new();
                        for field in &fields.named {
                            let Some(ident) = &field.ident else { continue };
                            let part = Part::of_value(&field.attrs)?;
                            parts.push((ident, &field.ty, container.name_of(&part, ident)));
                        }
                        Kind::Composite(parts)
                    }
                    _ => {
                        return refuse(
                            "a composite needs named fields, and a domain one field without a name",
                        );
                    }
                }
            }
        };
        if container.allow_mismatch && !matches!(kind, Kind::Enum(_)) {
            return refuse("`allow_mismatch` is for enums only");
        }
        let rust = input.ident.to_string();
        let name = container.name.clone().unwrap_or_else(|| rust.clone());
        Ok(Self { container, name, rust, kind })
    }

    /// `accepts` by `of`, which is `ToSql` or `FromSql`. A field's type goes with its own if
    /// `fits`.
    fn accepts(&self, of: &TokenStream, fits: &TokenStream) -> TokenStream {
        let (home, name, rust) = (&self.container.home, &self.name, &self.rust);
        match &self.kind {
            Kind::Transparent(Newtype { ty: inner, .. }) => quote!(<#inner as #of>::accepts(ty)),
            Kind::Domain(Newtype { ty: inner, .. }) => quote! {
                // Columns and parameters of a domain have its base type.
                <#inner as #of>::accepts(ty)
                    || ty.name() == #name
                        && ::core::matches!(
                            ty.kind(),
                            #home::types::Kind::Domain(_)
                                if <#inner as #of>::accepts(#home::value::derive::base(ty))
                        )
            },
            Kind::Enum(variants) => {
                let labels = variants.iter().map(|(_, label)| label);
                let is_enum = if self.container.allow_mismatch {
                    quote!(is_enum_of_some)
                } else {
                    quote!(is_enum)
                };
                quote! {
                #home::value::derive::#is_enum(ty, #name, #rust, &[#(#labels),*])
                }
            }
            Kind::Composite(fields) => {
                let names = fields.iter().map(|(_, _, name)| name);
                let arms = fields.iter().map(|(_, ty, name)| {
                    quote! {
                        #name => ::core::option::Option::Some((
                            #fits::<#ty>(field.type_()),
                            ::core::any::type_name::<#ty>(),
                        ))
                    }
                });
                quote! {
                    #home::value::derive::is_composite(
                        ty,
                        #name,
                        #rust,
                        &[#(#names),*],
                        |field: &#home::types::Field| match field.name() {
                            #(#arms,)*
                            _ => ::core::option::Option::None,
                        },
                    )
                }
            }
        }
    }

    /// The bounds under which the type implements `of`.
    fn bounds(&self, of: &TokenStream) -> Vec<TokenStream> {
        match &self.kind {
            Kind::Transparent(Newtype { ty, .. }) | Kind::Domain(Newtype { ty, .. }) => {
                vec![quote!(#ty: #of)]
            }
            Kind::Enum(_) => Vec::new(),
            Kind::Composite(fields) => fields.iter().map(|(_, ty, _)| quote!(#ty: #of)).collect(),
        }
    }
}

pub(crate) fn from_sql(input: &DeriveInput) -> Result<TokenStream> {
    let described = Described::read(input)?;
    let borrowing = Borrowing::of(input)?;
    let (home, lifetime) = (&described.container.home, &borrowing.lifetime);
    let of = quote!(#home::types::FromSql<#lifetime>);
    let name = &described.name;
    let body = match &described.kind {
        Kind::Transparent(Newtype { ty: inner, member }) => quote! {
            ::core::result::Result::Ok(Self {
                #member: #home::value::derive::read::<#inner>(ty, raw)?,
            })
        },
        Kind::Domain(Newtype { ty: inner, member }) => quote! {
            let ty = #home::value::derive::base(ty);
            ::core::result::Result::Ok(Self {
                #member: #home::value::derive::read::<#inner>(ty, raw)?,
            })
        },
        Kind::Enum(variants) => {
            let arms = variants.iter().map(|(variant, label)| {
                let label = syn::LitByteStr::new(label.as_bytes(), variant.span());
                quote!(#label => ::core::result::Result::Ok(Self::#variant))
            });
            quote! {
                match raw {
                    #(#arms,)*
                    _ => ::core::result::Result::Err(#home::value::derive::unknown_label(#name)),
                }
            }
        }
        Kind::Composite(fields) => {
            let slots: Vec<Ident> =
                (0..fields.len()).map(|number| quote::format_ident!("field_{number}")).collect();
            let arms = fields.iter().zip(&slots).map(|((_, ty, name), slot)| {
                quote! {
                    #name => #slot = ::core::option::Option::Some(
                        #home::value::derive::read_field::<#ty>(field, value)?,
                    )
                }
            });
            let builds = fields.iter().zip(&slots).map(|((ident, _, name), slot)| {
                quote! {
                    #ident: #slot.ok_or_else(|| #home::value::derive::missing_field(#name))?
                }
            });
            quote! {
                #(let mut #slots = ::core::option::Option::None;)*
                let mut fields = #home::value::derive::Fields::read(ty, raw)?;
                while let ::core::option::Option::Some((field, value)) = fields.next_field()? {
                    match field.name() {
                        #(#arms,)*
                        other => {
                            return ::core::result::Result::Err(
                                #home::value::derive::unknown_field(other),
                            );
                        }
                    }
                }
                ::core::result::Result::Ok(Self { #(#builds,)* })
            }
        }
    };
    let accepts = described.accepts(&of, &quote!(#home::value::derive::reads));
    let head = borrowing.head(&of, &described.bounds(&of));
    let null = null_of(&described, home, &of);
    Ok(quote! {
        #[automatically_derived]
        #head {
            fn from_sql(
                ty: &#home::types::Type,
                raw: &#lifetime [u8],
            ) -> ::core::result::Result<Self, #home::value::derive::Cause> {
                #body
            }

            #null

            fn accepts(ty: &#home::types::Type) -> bool {
                #accepts
            }
        }
    })
}

/// A transparent newtype of an `Option` can be NULL.
fn null_of(described: &Described<'_>, home: &syn::Path, of: &TokenStream) -> TokenStream {
    let Kind::Transparent(Newtype { ty: inner, member }) = &described.kind else {
        return TokenStream::new();
    };
    quote! {
        fn from_sql_null(
            ty: &#home::types::Type,
        ) -> ::core::result::Result<Self, #home::value::derive::Cause> {
            ::core::result::Result::Ok(Self { #member: <#inner as #of>::from_sql_null(ty)? })
        }
    }
}

pub(crate) fn to_sql(input: &DeriveInput) -> Result<TokenStream> {
    let described = Described::read(input)?;
    let home = &described.container.home;
    let of = quote!(#home::types::ToSql);
    let no = quote!(::core::result::Result::Ok(#home::types::IsNull::No));
    let mut format = TokenStream::new();
    let body = match &described.kind {
        Kind::Transparent(Newtype { member, .. }) => {
            format = quote! {
                fn encode_format(&self, ty: &#home::types::Type) -> #home::types::Format {
                    #of::encode_format(&self.#member, ty)
                }
            };
            quote!(#of::to_sql(&self.#member, ty, out))
        }
        Kind::Domain(Newtype { member, .. }) => {
            quote!(#of::to_sql(&self.#member, #home::value::derive::base(ty), out))
        }
        Kind::Enum(variants) => {
            let arms = variants.iter().map(|(variant, label)| quote!(Self::#variant => #label));
            quote! {
                let label: &str = match *self { #(#arms,)* };
                out.extend_from_slice(label.as_bytes());
                #no
            }
        }
        Kind::Composite(fields) => {
            let arms = fields.iter().map(|(ident, _, name)| {
                quote!(#name => #home::value::derive::write_field(&self.#ident, field, out)?)
            });
            quote! {
                for field in #home::value::derive::begin_fields(ty, out)? {
                    match field.name() {
                        #(#arms,)*
                        other => {
                            return ::core::result::Result::Err(
                                #home::value::derive::unknown_field(other),
                            );
                        }
                    }
                }
                #no
            }
        }
    };
    let accepts = described.accepts(&of, &quote!(#home::value::derive::writes));
    let mut generics = input.generics.clone();
    let mut bounds = described.bounds(&of);
    // A supertrait of `ToSql`.
    bounds.push(quote!(Self: ::core::fmt::Debug));
    add_bounds(&mut generics, &bounds);
    let (impl_generics, _, clause) = generics.split_for_impl();
    let (_, ty_generics, _) = input.generics.split_for_impl();
    let ident = &input.ident;
    Ok(quote! {
        #[automatically_derived]
        impl #impl_generics #of for #ident #ty_generics #clause {
            fn to_sql(
                &self,
                ty: &#home::types::Type,
                out: &mut #home::value::derive::BytesMut,
            ) -> ::core::result::Result<#home::types::IsNull, #home::value::derive::Cause> {
                #body
            }

            fn accepts(ty: &#home::types::Type) -> bool {
                #accepts
            }

            #format

            #home::types::to_sql_checked!();
        }
    })
}
