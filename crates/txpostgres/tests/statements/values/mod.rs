//! Values of every type, out and back: PostgreSQL's own, those of a database, and those of other
//! crates.

mod advice;
mod any_value;
#[cfg(feature = "derive")]
mod derived;
mod domains;
mod encoding;
mod every_type;
mod lossless;
#[cfg(feature = "derive")]
mod misfits;
mod nested;
mod other_crates;
mod types;
