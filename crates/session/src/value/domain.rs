//! Values of domains: the types of Rust go by what a domain is of.
//!
//! A parameter of a domain, an element of an array of one and the bound of a range of one have the
//! domain's number; the bytes of the value itself are those of the domain's base type
//! (`domain_recv` in `domains.c`). So a value that does not take the domain is written as the base
//! type. Only an array names the type of its elements, which is set right afterwards. The fields of
//! a composite are not touched here: derived types and `Record` read and write each by itself.

use std::error::Error;

use bytes::BytesMut;
use postgres_types::{IsNull, Kind, ToSql, Type};

type Cause = Box<dyn Error + Sync + Send>;

/// The type as decoders know it: with base types in place of domains. `None` if there are no
/// domains in it, or only in the fields of a composite.
pub(crate) fn without_domains(ty: &Type) -> Option<Type> {
    let of = |part: &Type, kind: fn(Type) -> Kind| {
        let kind = kind(without_domains(part)?);
        Some(Type::new(ty.name().to_owned(), ty.oid(), kind, ty.schema().to_owned()))
    };
    // An array of anonymous records, which the list of built-in types has as a pseudo-type.
    if *ty == Type::RECORD_ARRAY {
        let (name, schema) = (ty.name().to_owned(), ty.schema().to_owned());
        return Some(Type::new(name, ty.oid(), Kind::Array(Type::RECORD), schema));
    }
    match ty.kind() {
        Kind::Domain(base) => Some(without_domains(base).unwrap_or_else(|| base.clone())),
        Kind::Array(member) => of(member, Kind::Array),
        Kind::Range(bound) => of(bound, Kind::Range),
        Kind::Multirange(bound) => of(bound, Kind::Multirange),
        _ => None,
    }
}

/// Whether the type, or else the type without its domains, is one that `accepts`.
pub(crate) fn accepts(ty: &Type, accepts: impl Fn(&Type) -> bool) -> bool {
    accepts(ty) || without_domains(ty).is_some_and(|plain| accepts(&plain))
}

/// What writing a value comes to.
type Written = Result<IsNull, Cause>;

/// Writes a value as this type; where the value does not take the type's domains, as the types that
/// these are of.
///
/// # Errors
///
/// Those of the value's `ToSql`.
pub fn write(value: &(impl ToSql + ?Sized), ty: &Type, out: &mut BytesMut) -> Written {
    let written = super::to_sql_checked(value, ty, out);
    match written {
        Err(cause) => write_plain(ty, out, cause, &|ty, out| super::to_sql_checked(value, ty, out)),
        written => written,
    }
}

/// The value did not take the type, which may be for the domains in it: writes it without them.
/// `cause` is the outcome if that is not so. `out` is as it was before the value.
#[cold]
pub(crate) fn write_plain(
    ty: &Type,
    out: &mut BytesMut,
    cause: Cause,
    write: &dyn Fn(&Type, &mut BytesMut) -> Written,
) -> Written {
    if !cause.is::<postgres_types::WrongType>() {
        return Err(cause);
    }
    let Some(plain) = without_domains(ty) else {
        return Err(cause);
    };
    let at = out.len();
    match write(&plain, out) {
        Ok(IsNull::No) => {
            if let Some(value) = out.get_mut(at..) {
                name_members(ty, value);
            }
            Ok(IsNull::No)
        }
        Err(other) if other.is::<postgres_types::WrongType>() => Err(cause),
        written => written,
    }
}

/// Sets the types that the arrays in a value announce for their elements. A value that is not what
/// its type says is left as it is: the server refuses it.
fn name_members(ty: &Type, value: &mut [u8]) -> Option<()> {
    // `RANGE_*` in `rangetypes.h`.
    const EMPTY: u8 = 0x01;
    const INFINITE: [u8; 2] = [0x08, 0x10];

    if without_domains(ty).is_none() {
        return Some(());
    }
    match super::base(ty).kind() {
        // Dimensions, whether there are NULLs, the type; a length and a lower bound for each
        // dimension; the elements.
        Kind::Array(member) => {
            let (head, mut rest) = value.split_at_mut_checked(12)?;
            let (dimensions, announced) = (head.first_chunk::<4>()?, 8..12);
            let dimensions = usize::try_from(u32::from_be_bytes(*dimensions)).ok()?;
            head.get_mut(announced)?.copy_from_slice(&member.oid().to_be_bytes());
            rest = rest.get_mut(dimensions.checked_mul(8)?..)?;
            while !rest.is_empty() {
                rest = name_part(member, rest)?;
            }
        }
        Kind::Range(bound) => {
            let (flags, mut rest) = value.split_first_mut()?;
            let bounds = INFINITE.iter().filter(|&infinite| *flags & (infinite | EMPTY) == 0);
            for _ in bounds {
                rest = name_part(bound, rest)?;
            }
        }
        // Each of them is a range, with its length in front.
        Kind::Multirange(bound) => {
            let (_count, mut rest) = value.split_at_mut_checked(4)?;
            let range = Type::new(String::new(), 0, Kind::Range(bound.clone()), String::new());
            while !rest.is_empty() {
                rest = name_part(&range, rest)?;
            }
        }
        _ => {}
    }
    Some(())
}

/// The same for a part with its length in front, −1 for NULL. Gives what follows it.
fn name_part<'v>(ty: &Type, value: &'v mut [u8]) -> Option<&'v mut [u8]> {
    let (length, rest) = value.split_first_chunk_mut::<4>()?;
    let length = usize::try_from(i32::from_be_bytes(*length).max(0)).ok()?;
    let (part, rest) = rest.split_at_mut_checked(length)?;
    name_members(ty, part);
    Some(rest)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::value::Range;

    fn domain(oid: u32, of: Type) -> Type {
        Type::new(format!("d{oid}"), oid, Kind::Domain(of), "public".to_owned())
    }

    fn array(oid: u32, of: Type) -> Type {
        Type::new(format!("_d{oid}"), oid, Kind::Array(of), "public".to_owned())
    }

    fn written(value: &dyn ToSql, ty: &Type) -> Vec<u8> {
        let mut out = BytesMut::from(&b"before"[..]);
        write(value, ty, &mut out).unwrap();
        out[6..].to_vec()
    }

    #[test]
    fn arrays_announce_the_domain() {
        let small = domain(70_000, domain(70_001, Type::INT4));
        assert_eq!(written(&7_i32, &small), 7_i32.to_be_bytes());
        let smalls = array(70_002, small.clone());
        let one = b"\0\0\0\x01\0\0\0\0\0\x01\x11\x70\0\0\0\x01\0\0\0\x01\0\0\0\x04\0\0\0\x07";
        assert_eq!(written(&vec![7_i32], &smalls), one);
        assert_eq!(written(&vec![7_i32], &domain(70_003, smalls)), one);
        let lists = array(70_004, domain(70_005, Type::INT4_ARRAY));
        let lists = written(&vec![vec![7_i32]], &lists);
        assert_eq!(lists[8..12], 70_005_u32.to_be_bytes());
        assert_eq!(lists[32..36], Type::INT4.oid().to_be_bytes());
        let range = Type::new("r".into(), 70_006, Kind::Range(small), "public".into());
        assert_eq!(written(&Range::from(1..3), &range).len(), 17);
    }

    #[test]
    fn what_does_not_fit_says_so_of_the_domain() {
        let mut out = BytesMut::new();
        let error = write(&"x", &domain(70_000, Type::INT4), &mut out).err().unwrap();
        assert!(error.to_string().contains("d70000"), "{error}");
        assert!(out.is_empty());
    }

    /// Writes what is no array.
    #[derive(Debug)]
    struct Wild(Vec<u8>);

    impl ToSql for Wild {
        fn to_sql(&self, _: &Type, out: &mut BytesMut) -> Written {
            out.extend_from_slice(&self.0);
            Ok(IsNull::No)
        }
        fn accepts(ty: &Type) -> bool {
            !matches!(ty.kind(), Kind::Array(of) if matches!(of.kind(), Kind::Domain(_)))
        }
        postgres_types::to_sql_checked!();
    }

    #[test]
    fn a_value_that_is_none_is_left_alone() {
        let ty = array(70_002, domain(70_000, Type::INT4_ARRAY));
        for length in 0..40 {
            for byte in [0, 1, 0x7f, 0xff] {
                assert_eq!(written(&Wild(vec![byte; length]), &ty).len(), length);
            }
        }
    }
}
