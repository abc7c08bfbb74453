//! Parameter values as users write them.

use txpostgres_session::types::{ToSql, Type};
use txpostgres_session::{CopyEncoder, Parameters, Result};

mod sealed {
    pub trait Sealed {}
}

/// Parameters of a statement: `$1` is the first.
///
/// | write | for |
/// |---|---|
/// | `()` or `&[]` | none |
/// | `(1_i32, "text", Some(2.5_f64))` | up to 16 of different types; `(x,)` for one |
/// | `&[&a as &(dyn ToSql + Sync), &b]` | an array |
/// | `&list[..]` or `&list` where `list: Vec<&(dyn ToSql + Sync)>` | as many as are known at run time |
///
/// At most 65,535: their number travels in 16 bits.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be used as the parameters of a statement",
    note = "write a tuple: `(a, b)`, `(a,)` for one parameter, `()` for none; \
            or an array: `&[&a as &(dyn ToSql + Sync), &b]`"
)]
pub trait Params: sealed::Sealed + Send + Sync {
    /// Calls `f` with the values in order.
    fn with<R>(&self, f: impl FnOnce(Parameters<'_>) -> R) -> R;

    /// Writes the values as a row of a COPY.
    #[doc(hidden)]
    fn encode(&self, encoder: &mut CopyEncoder) -> Result<()> {
        self.with(|values| encoder.row(values))
    }
}

impl sealed::Sealed for () {}

impl Params for () {
    fn with<R>(&self, f: impl FnOnce(Parameters<'_>) -> R) -> R {
        f(&[])
    }
}

impl sealed::Sealed for &[&(dyn ToSql + Sync)] {}

impl Params for &[&(dyn ToSql + Sync)] {
    fn with<R>(&self, f: impl FnOnce(Parameters<'_>) -> R) -> R {
        f(self)
    }
}

impl<const N: usize> sealed::Sealed for &[&(dyn ToSql + Sync); N] {}

impl<const N: usize> Params for &[&(dyn ToSql + Sync); N] {
    fn with<R>(&self, f: impl FnOnce(Parameters<'_>) -> R) -> R {
        f(*self)
    }
}

impl sealed::Sealed for &Vec<&(dyn ToSql + Sync)> {}

impl Params for &Vec<&(dyn ToSql + Sync)> {
    fn with<R>(&self, f: impl FnOnce(Parameters<'_>) -> R) -> R {
        f(self)
    }
}

macro_rules! tuples {
    ($(($($name:ident $index:tt),+))+) => {$(
        impl<$($name: ToSql + Sync + Send),+> sealed::Sealed for ($($name,)+) {}

        impl<$($name: ToSql + Sync + Send),+> Params for ($($name,)+) {
            fn with<R>(&self, f: impl FnOnce(Parameters<'_>) -> R) -> R {
                f(&[$(&self.$index),+])
            }

            // Each by its own type, which spares two calls through a pointer for every value there is.
            fn encode(&self, encoder: &mut CopyEncoder) -> Result<()> {
                let accepts = |types: &[Type]| {
                    true $(&& types.get($index).is_some_and(<$name as ToSql>::accepts))+
                };
                let mut row = encoder.begin([$($index),+].len(), Some(accepts))?;
                $(row.value(&self.$index)?;)+
                row.keep();
                Ok(())
            }
        }
    )+};
}

tuples! {
    (A 0)
    (A 0, B 1)
    (A 0, B 1, C 2)
    (A 0, B 1, C 2, D 3)
    (A 0, B 1, C 2, D 3, E 4)
    (A 0, B 1, C 2, D 3, E 4, F 5)
    (A 0, B 1, C 2, D 3, E 4, F 5, G 6)
    (A 0, B 1, C 2, D 3, E 4, F 5, G 6, H 7)
    (A 0, B 1, C 2, D 3, E 4, F 5, G 6, H 7, I 8)
    (A 0, B 1, C 2, D 3, E 4, F 5, G 6, H 7, I 8, J 9)
    (A 0, B 1, C 2, D 3, E 4, F 5, G 6, H 7, I 8, J 9, K 10)
    (A 0, B 1, C 2, D 3, E 4, F 5, G 6, H 7, I 8, J 9, K 10, L 11)
    (A 0, B 1, C 2, D 3, E 4, F 5, G 6, H 7, I 8, J 9, K 10, L 11, M 12)
    (A 0, B 1, C 2, D 3, E 4, F 5, G 6, H 7, I 8, J 9, K 10, L 11, M 12, N 13)
    (A 0, B 1, C 2, D 3, E 4, F 5, G 6, H 7, I 8, J 9, K 10, L 11, M 12, N 13, O 14)
    (A 0, B 1, C 2, D 3, E 4, F 5, G 6, H 7, I 8, J 9, K 10, L 11, M 12, N 13, O 14, P 15)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn count<P: Params>(params: P) -> usize {
        let count = params.with(|values| values.len());
        drop(params);
        count
    }

    #[test]
    fn every_form_is_taken() {
        assert_eq!(count(()), 0);
        assert_eq!(count(&[]), 0);
        assert_eq!(count((1_i32,)), 1);
        assert_eq!(count((1_i32, "two", Some(3.0_f64), None::<String>)), 4);
        let two: [&(dyn ToSql + Sync); 2] = [&1_i32, &"two"];
        assert_eq!(count(&two), 2);
        assert_eq!(count(&two[..]), 2);
        assert_eq!(count(&two.to_vec()), 2);
        assert_eq!(count(&[&1_i32 as &(dyn ToSql + Sync), &"two"]), 2);
    }
}
