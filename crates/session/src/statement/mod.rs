//! Statements as the server described them.

pub(crate) mod cache;
pub(crate) mod catalog;
mod encoding;
mod lexer;
pub(crate) mod placeholder;
pub(crate) mod query;
pub(crate) mod text;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use postgres_types::Type;

use crate::protocol::encode::{ALL_BINARY, Binding, bind_head, result_formats};
use crate::result::row::{Column, Format};
use crate::result::stale_flag::StaleFlag;
use crate::statement::catalog::is_unresolved;
use crate::value::holds_moments;

/// A statement as the server described it.
#[derive(Debug)]
pub struct Statement {
    name: String,
    sql: Arc<str>,
    parameters: Vec<Type>,
    columns: Option<Arc<[Column]>>,
    /// The same columns, all of them in text; made when first asked for.
    text_columns: OnceLock<Option<Arc<[Column]>>>,
    bind_head: Vec<u8>,
    /// Which parameters can be given as text only; empty if none of them.
    text_only: Box<[bool]>,
    /// Whether a parameter is of a type of moments.
    has_moments: bool,
    /// How each `Bind` of it ends, unless all columns come in binary.
    result_formats: Option<Vec<u8>>,
    /// Of the types that were looked up for it.
    stale_flag: Option<StaleFlag>,
    /// The session's cache has it.
    is_cached: AtomicBool,
    /// It must not be run any more: the server no longer has it, or means something else by it.
    is_forgotten: AtomicBool,
}

impl Statement {
    /// `columns` are in the format to ask for.
    pub(crate) fn new(
        name: String,
        sql: Arc<str>,
        parameters: Vec<Type>,
        columns: Option<Arc<[Column]>>,
    ) -> Self {
        // The server has counted them in 16 bits.
        let bind_head = bind_head(&name, parameters.len()).unwrap_or_default();
        let has_moments = parameters.iter().any(holds_moments);
        let result_formats = columns
            .as_deref()
            .filter(|columns| columns.iter().any(|column| column.format() == Format::Text))
            .map(result_formats);
        Self {
            name,
            sql,
            parameters,
            columns,
            text_columns: OnceLock::new(),
            bind_head,
            text_only: Box::default(),
            has_moments,
            result_formats,
            stale_flag: None,
            is_cached: AtomicBool::new(false),
            is_forgotten: AtomicBool::new(false),
        }
    }

    /// The same statement, to be described anew when the types that it uses
    /// are stale.
    #[must_use]
    pub(crate) fn with_stale_flag(mut self, stale_flag: &StaleFlag) -> Self {
        let columns = self.columns().iter().map(Column::type_);
        let uses_others = self.parameters.iter().chain(columns).any(is_of_the_database);
        self.stale_flag = uses_others.then(|| stale_flag.clone());
        self
    }

    /// Whether it may be run as it is known.
    #[inline]
    pub(crate) fn is_current(&self) -> bool {
        !self.is_forgotten.load(Ordering::Relaxed) && !self.is_stale()
    }

    /// Whether a value was met that is not what its type is taken for.
    #[inline]
    pub(crate) fn is_stale(&self) -> bool {
        self.stale_flag.as_ref().is_some_and(StaleFlag::is_stale)
    }

    /// Whether it uses types that had to be looked up.
    pub(crate) fn uses_looked_up(&self) -> bool {
        self.stale_flag.is_some()
    }

    /// Its types are not what the server takes them for.
    pub(crate) fn mark_stale(&self) {
        if let Some(stale_flag) = &self.stale_flag {
            stale_flag.mark_stale();
        }
    }

    /// How each `Bind` of it ends: the formats of its columns.
    #[inline]
    pub(crate) fn result_formats(&self) -> &[u8] {
        self.result_formats.as_deref().unwrap_or(ALL_BINARY)
    }

    /// Whether all its parameters and columns go in binary: then a change of their number or types
    /// is no reason for the server to refuse the formats that were asked for.
    pub(crate) fn is_all_binary(&self) -> bool {
        self.text_only.is_empty() && self.result_formats.is_none()
    }

    pub(crate) fn text_columns(&self) -> Option<Arc<[Column]>> {
        let in_text = || {
            let columns = self.columns.as_ref()?;
            Some(columns.iter().map(|column| column.in_format(Format::Text)).collect())
        };
        self.text_columns.get_or_init(in_text).clone()
    }

    /// The same statement, some of whose parameters can be given as text only.
    #[must_use]
    pub(crate) fn with_text_only(mut self, text_only: Box<[bool]>) -> Self {
        self.text_only = text_only;
        self
    }

    /// What all `Bind`s of it have in common.
    #[inline]
    pub(crate) fn binding(&self) -> Binding<'_> {
        Binding {
            head: &self.bind_head,
            types: &self.parameters,
            text_only: &self.text_only,
            has_moments: self.has_moments,
            results: self.result_formats(),
        }
    }

    /// Its name on the server; empty when it is sent anew with each call.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its text.
    pub fn sql(&self) -> &str {
        &self.sql
    }

    /// The types of its parameters.
    pub fn parameters(&self) -> &[Type] {
        &self.parameters
    }

    /// The columns of its rows; empty if it returns none.
    pub fn columns(&self) -> &[Column] {
        self.columns.as_deref().unwrap_or(&[])
    }

    pub(crate) fn shared_columns(&self) -> Option<Arc<[Column]>> {
        self.columns.clone()
    }
}

/// Whether the type is one that had to be looked up.
fn is_of_the_database(ty: &Type) -> bool {
    !is_unresolved(ty) && Type::from_oid(ty.oid()).is_none()
}
