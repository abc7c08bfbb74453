//! What a request is answered with: an answer's results, their rows, and the values in them.

pub(crate) mod answer;
pub(crate) mod column_reader;
mod refusal;
pub(crate) mod row;
pub(crate) mod rows;
pub(crate) mod shape;
pub(crate) mod stale_flag;
