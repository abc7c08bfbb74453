//! The derive of `FromRow`.

use proc_macro2::TokenStream;
use quote::{format_ident, quote};
use syn::{Data, DeriveInput, Fields, Result};

use crate::attributes::{Borrowing, Container, Part};

pub(crate) fn from_row(input: &DeriveInput) -> Result<TokenStream> {
    let Data::Struct(data) = &input.data else {
        return Err(syn::Error::new_spanned(
            &input.ident,
            "`FromRow` can be derived for structs only",
        ));
    };
    let container = Container::read(input, "row")?;
    match &data.fields {
        Fields::Named(fields) => by_name(input, &container, fields),
        Fields::Unnamed(fields) => by_position(input, &container, fields),
        Fields::Unit => Err(syn::Error::new_spanned(&input.ident, "this struct has no fields")),
    }
}

/// The generated code for one field: its part of the layout, and how it is decoded.
struct Reading {
    bound: TokenStream,
    layout: TokenStream,
    find: TokenStream,
    read: TokenStream,
    /// Whether all its columns are NULL.
    is_null: TokenStream,
}

fn by_name(
    input: &DeriveInput,
    container: &Container,
    fields: &syn::FieldsNamed,
) -> Result<TokenStream> {
    let borrowing = Borrowing::of(input)?;
    let (home, lifetime) = (&container.home, &borrowing.lifetime);
    let mut readings = Vec::new();
    for (number, field) in fields.named.iter().enumerate() {
        let Some(ident) = &field.ident else { continue };
        let part = Part::of_row(&field.attrs)?;
        let (ty, number) = (&field.ty, syn::Index::from(number));
        let column = container.name_of(&part, ident);
        let reader = quote!(#home::value::derive::ColumnReader);
        let path = format!("{}.{ident}", input.ident);
        readings.push(if part.skip {
            Reading {
                bound: quote!(#ty: ::core::default::Default),
                layout: quote!(()),
                find: quote!(()),
                read: quote!(#ident: ::core::default::Default::default()),
                is_null: quote!(true),
            }
        } else if part.flatten {
            let shape = quote!(<#ty as #home::FromRow<#lifetime>>);
            Reading {
                bound: quote!(#ty: #home::FromRow<#lifetime>),
                layout: quote!(#shape::Layout),
                find: quote!(#shape::layout(columns)?),
                read: quote!(#ident: #shape::from_row(&layout.#number, row)?),
                is_null: quote!(#shape::is_null(&layout.#number, row)),
            }
        } else if part.default {
            Reading {
                bound: quote!(#ty: #home::types::FromSql<#lifetime> + ::core::default::Default),
                layout: quote!(::core::option::Option<#reader>),
                find: quote!(#home::value::derive::column_reader_if_any::<#ty>(columns, #column, #path)?),
                read: quote! {
                    #ident: match &layout.#number {
                        ::core::option::Option::Some(reader) => row.read(reader)?,
                        ::core::option::Option::None => ::core::default::Default::default(),
                    }
                },
                is_null: quote!(layout.#number.iter().all(|reader| row.is_null(reader))),
            }
        } else {
            Reading {
                bound: quote!(#ty: #home::types::FromSql<#lifetime>),
                layout: reader,
                find: quote!(#home::value::derive::column_reader::<#ty>(columns, #column, #path)?),
                read: quote!(#ident: row.read(&layout.#number)?),
                is_null: quote!(row.is_null(&layout.#number)),
            }
        });
    }
    let layouts = readings.iter().map(|reading| &reading.layout);
    let finds = readings.iter().map(|reading| &reading.find);
    let reads = readings.iter().map(|reading| &reading.read);
    let nulls = readings.iter().map(|reading| &reading.is_null);
    let bounds: Vec<TokenStream> = readings.iter().map(|reading| reading.bound.clone()).collect();
    let head = borrowing.head(&quote!(#home::FromRow<#lifetime>), &bounds);
    // Both functions must be instantiated in the same crate, so both are inlined: a column reader
    // recognizes its type only within one crate, and checks each value elsewhere.
    Ok(quote! {
        #[automatically_derived]
        #head {
            type Layout = (#(#layouts,)*);

            #[inline]
            fn layout(columns: &[#home::Column]) -> #home::Result<Self::Layout> {
                ::core::result::Result::Ok((#(#finds,)*))
            }

            #[inline]
            fn from_row(
                layout: &Self::Layout,
                row: #home::Row<#lifetime>,
            ) -> #home::Result<Self> {
                ::core::result::Result::Ok(Self { #(#reads,)* })
            }

            fn is_null(layout: &Self::Layout, row: #home::Row<#lifetime>) -> bool {
                #(#nulls)&&*
            }
        }
    })
}

/// A tuple struct is decoded as the tuple of its fields.
fn by_position(
    input: &DeriveInput,
    container: &Container,
    fields: &syn::FieldsUnnamed,
) -> Result<TokenStream> {
    let borrowing = Borrowing::of(input)?;
    let (home, lifetime) = (&container.home, &borrowing.lifetime);
    if let Some(field) = fields
        .unnamed
        .iter()
        .find(|field| field.attrs.iter().any(|attribute| attribute.path().is_ident("row")))
    {
        let message = "fields without a name are decoded by position, and take no attributes";
        return Err(syn::Error::new_spanned(field, message));
    }
    let types: Vec<&syn::Type> = fields.unnamed.iter().map(|field| &field.ty).collect();
    let names: Vec<_> = (0..types.len()).map(|number| format_ident!("field_{number}")).collect();
    let tuple = quote!(<(#(#types,)*) as #home::FromRow<#lifetime>>);
    let bounds: Vec<TokenStream> =
        types.iter().map(|ty| quote!(#ty: #home::types::FromSql<#lifetime>)).collect();
    let head = borrowing.head(&quote!(#home::FromRow<#lifetime>), &bounds);
    Ok(quote! {
        #[automatically_derived]
        #head {
            type Layout = #tuple::Layout;

            #[inline]
            fn layout(columns: &[#home::Column]) -> #home::Result<Self::Layout> {
                #tuple::layout(columns)
            }

            #[inline]
            fn from_row(
                layout: &Self::Layout,
                row: #home::Row<#lifetime>,
            ) -> #home::Result<Self> {
                let (#(#names,)*) = #tuple::from_row(layout, row)?;
                ::core::result::Result::Ok(Self(#(#names,)*))
            }

            fn is_null(layout: &Self::Layout, row: #home::Row<#lifetime>) -> bool {
                #tuple::is_null(layout, row)
            }
        }
    })
}
