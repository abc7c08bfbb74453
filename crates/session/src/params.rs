//! Parameter values as users write them.

use postgres_types::{ToSql, Type};

use crate::copy::rows::CopyEncoder;
use crate::error::Result;
use crate::request::Parameters;
use crate::value::is_looked_at;

mod sealed {
    pub trait Sealed {}
}

/// Parameters of a statement: `$1` is the first.
///
/// | write | for |
/// |---|---|
/// | `()` or `&[]` | none |
/// | `(1_i32, "text", Some(2.5_f64))` | up to 16 of different types; `(x,)` for one |
/// | `[&a as &(dyn ToSql + Sync), &b]` | an array |
/// | `list` where `list: Vec<&(dyn ToSql + Sync)>` | a number known at run time; also `+ Send` |
/// | `list` where `list: Vec<Box<dyn ToSql + Sync + Send>>` | a list that owns its values |
/// | a slice of these, or a reference to any of the above | the same |
///
/// At most 65,535, since the protocol has 16 bits for their number.
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

impl<P: Params + ?Sized> sealed::Sealed for &P {}

impl<P: Params + ?Sized> Params for &P {
    #[inline]
    fn with<R>(&self, f: impl FnOnce(Parameters<'_>) -> R) -> R {
        P::with(self, f)
    }

    #[inline]
    fn encode(&self, encoder: &mut CopyEncoder) -> Result<()> {
        P::encode(self, encoder)
    }
}

impl sealed::Sealed for () {}

impl Params for () {
    fn with<R>(&self, f: impl FnOnce(Parameters<'_>) -> R) -> R {
        f(&[])
    }
}

// Only this array impl, so that the element type of `&[]` can be inferred.
impl<const N: usize> sealed::Sealed for [&(dyn ToSql + Sync + '_); N] {}

impl<const N: usize> Params for [&(dyn ToSql + Sync + '_); N] {
    fn with<R>(&self, f: impl FnOnce(Parameters<'_>) -> R) -> R {
        f(self)
    }
}

/// Lists of values whose types and number are known when the program runs: `$value` is one, and
/// `$with` calls `f` with them.
macro_rules! lists {
    ($($value:ty, |$list:ident, $f:ident| $with:expr;)+) => {$(
        impl sealed::Sealed for [$value] {}

        impl Params for [$value] {
            fn with<R>(&self, $f: impl FnOnce(Parameters<'_>) -> R) -> R {
                let $list = self;
                $with
            }
        }

        impl sealed::Sealed for Vec<$value> {}

        impl Params for Vec<$value> {
            fn with<R>(&self, f: impl FnOnce(Parameters<'_>) -> R) -> R {
                self.as_slice().with(f)
            }
        }
    )+};
}

lists! {
    &(dyn ToSql + Sync + '_), |list, f| f(list);
    &(dyn ToSql + Sync + Send + '_), |list, f| f(&seen(list, |&value| value));
    Box<dyn ToSql + Sync + Send + '_>, |list, f| f(&seen(list, |value| &**value));
}

/// The values of a list as a statement sees them.
fn seen<T>(list: &[T], see: impl Fn(&T) -> &(dyn ToSql + Sync)) -> Vec<&(dyn ToSql + Sync)> {
    list.iter().map(see).collect()
}

macro_rules! tuples {
    ($(($($name:ident $index:tt),+))+) => {$(
        impl<$($name: ToSql + Sync + Send),+> sealed::Sealed for ($($name,)+) {}

        impl<$($name: ToSql + Sync + Send),+> Params for ($($name,)+) {
            fn with<R>(&self, f: impl FnOnce(Parameters<'_>) -> R) -> R {
                f(&[$(&self.$index),+])
            }

            // Each by its own type, which spares two calls through a pointer for every value there
            // is.
            fn encode(&self, encoder: &mut CopyEncoder) -> Result<()> {
                let accepts = |types: &[Type]| {
                    true $(&& !is_looked_at::<$name>()
                        && types.get($index).is_some_and(<$name as ToSql>::accepts))+
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
#[allow(
    clippy::needless_borrows_for_generic_args,
    reason = "that they may be borrowed is what is tested"
)]
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
        assert_eq!(count(two.to_vec()), 2);
        assert_eq!(count(two), 2);
    }

    #[test]
    fn lists_may_own_their_values_and_be_sent() {
        let boxed: Vec<Box<dyn ToSql + Sync + Send>> = vec![Box::new(1_i32), Box::new("two")];
        assert_eq!((count(&boxed), count(&boxed[..])), (2, 2));
        let seen: Vec<&(dyn ToSql + Sync + Send)> = vec![&1_i32, &"two", &None::<String>];
        assert_eq!((count(&seen), count(&seen[..]), count(seen)), (3, 3, 3));
        assert_eq!(count(boxed), 2);
    }

    #[test]
    fn a_reference_is_as_good() {
        let row = (1_i32, "two".to_owned());
        assert_eq!((count(&row), count(&&row), count(&())), (2, 2, 0));
    }
}
