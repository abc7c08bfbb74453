//! Which types of Rust go with a type of the database: for the hint of an error that says that one
//! does not.

use std::error::Error;

use postgres_types::{Kind, Type, WasNull};

use super::base;

/// Types of Rust that go with a type, and the features that would bring others.
struct Fitting {
    rust: Vec<String>,
    features: &'static [&'static str],
}

/// Whether a feature is on, and what it has for a type.
type ByFeature = (bool, &'static str);

/// What is to be written instead of a type of Rust that does not go with this type. `reads`: as a
/// column, not as a parameter.
#[cold]
pub(crate) fn advice(ty: &Type, reads: bool) -> String {
    if !reads && matches!(*base(ty), Type::RECORD | Type::RECORD_ARRAY) {
        return NO_RECORD.to_owned();
    }
    let Fitting { rust, features } = fitting(ty);
    let text = if reads { "`Text` with `in_text()`" } else { "`Text`" };
    let name = name_of(ty);
    match (rust.as_slice(), features) {
        ([], []) => format!("{name} takes {text}"),
        ([], features) => {
            let the = if features.len() == 1 { "the feature " } else { "one of the features " };
            format!("{name} needs {the}{}, or {text}", features.join(", "))
        }
        // A type of an extension, which programs may not expect to be a text.
        (rust, _) if *ty.kind() == Kind::Simple && Type::from_oid(ty.oid()).is_none() => {
            format!("{name} takes {}, {text}", rust.join(", "))
        }
        (rust, _) => format!("{name} takes {}", rust.join(", ")),
    }
}

const NO_RECORD: &str = "PostgreSQL takes no anonymous record: name a composite type (`$1::item`), \
                         or send the fields (`row($1, $2)`)";

/// The name as SQL has it.
fn name_of(ty: &Type) -> String {
    match ty.kind() {
        Kind::Array(member) => format!("{}[]", name_of(member)),
        _ => ty.name().to_owned(),
    }
}

fn fitting(ty: &Type) -> Fitting {
    let ty = base(ty);
    match ty.kind() {
        Kind::Array(member) => fitting(member).within(&["Vec", "value::Array"]),
        Kind::Range(bound) => fitting(bound).within(&["value::Range"]),
        Kind::Multirange(bound) => fitting(bound).within(&["value::Multirange"]),
        Kind::Enum(_) => Fitting::of(&["an enum with `#[derive(ToSql, FromSql)]`", "`Text`"]),
        Kind::Composite(_) => {
            Fitting::of(&["a struct with `#[derive(ToSql, FromSql)]`", "`value::Record`"])
        }
        _ => built_in(ty),
    }
}

impl Fitting {
    fn of(rust: &[&str]) -> Self {
        Self { rust: rust.iter().map(|&rust| rust.to_owned()).collect(), features: &[] }
    }

    /// Those of features that are on; or, if there are none, which features there are.
    fn by_feature(
        known: &[&str],
        features: &'static [&'static str],
        by_feature: &[ByFeature],
    ) -> Self {
        let on = by_feature.iter().filter(|(is_on, _)| *is_on).map(|(_, rust)| *rust);
        let rust: Vec<&str> = known.iter().copied().chain(on).collect();
        Self { features, ..Self::of(&rust) }
    }

    fn within(self, outers: &[&str]) -> Self {
        // Not of words: "Vec<an enum …>".
        let names: Vec<&str> = self
            .rust
            .iter()
            .filter(|rust| !rust.contains(' '))
            .map(|rust| rust.trim_matches('`'))
            .collect();
        let of = |outer| names.iter().map(move |name| format!("{outer}<{name}>"));
        Self { rust: outers.iter().flat_map(of).collect(), features: self.features }
    }
}

fn built_in(ty: &Type) -> Fitting {
    const CHRONO: bool = cfg!(feature = "with-chrono-0_4");
    const JIFF: bool = cfg!(feature = "with-jiff-0_2");
    const TIME: bool = cfg!(feature = "with-time-0_3");
    const TIMES: &[&str] = &["with-chrono-0_4", "with-jiff-0_2", "with-time-0_3"];
    let times = |known: &[&str], chrono, jiff, time| {
        let by_feature = [(CHRONO, chrono), (JIFF, jiff), (TIME, time)];
        Fitting::by_feature(known, TIMES, &by_feature)
    };
    /// One feature, and what it has for a type.
    macro_rules! feature {
        ($feature:literal, $rust:literal $(, $known:literal)?) => {
            Fitting::by_feature(&[$($known)?], &[$feature], &[(cfg!(feature = $feature), $rust)])
        };
    }
    match *ty {
        Type::BOOL => Fitting::of(&["bool"]),
        Type::CHAR => Fitting::of(&["i8"]),
        Type::INT2 => Fitting::of(&["i16"]),
        Type::INT4 => Fitting::of(&["i32"]),
        Type::INT8 => Fitting::of(&["i64"]),
        Type::OID => Fitting::of(&["u32"]),
        Type::FLOAT4 => Fitting::of(&["f32"]),
        Type::FLOAT8 => Fitting::of(&["f64"]),
        Type::NUMERIC => Fitting::of(&["value::Numeric", "rust_decimal::Decimal"]),
        Type::TEXT | Type::VARCHAR | Type::BPCHAR | Type::NAME | Type::UNKNOWN => {
            Fitting::of(&["String", "&str"])
        }
        Type::BYTEA => Fitting::of(&["Vec<u8>", "&[u8]"]),
        Type::INTERVAL => Fitting::of(&["value::Interval"]),
        Type::RECORD => Fitting::of(&["value::Record<(…)>"]),
        Type::RECORD_ARRAY => Fitting::of(&["Vec<value::Record<(…)>>"]),
        Type::DATE => times(&[], "chrono::NaiveDate", "jiff::civil::Date", "time::Date"),
        Type::TIME => times(&[], "chrono::NaiveTime", "jiff::civil::Time", "time::Time"),
        Type::TIMESTAMP => times(
            &["SystemTime"],
            "chrono::NaiveDateTime",
            "jiff::civil::DateTime",
            "time::PrimitiveDateTime",
        ),
        Type::TIMESTAMPTZ => times(
            &["SystemTime"],
            "chrono::DateTime<Utc>",
            "jiff::Timestamp",
            "time::OffsetDateTime",
        ),
        Type::UUID => feature!("with-uuid-1", "uuid::Uuid"),
        Type::JSON | Type::JSONB => feature!("with-serde_json-1", "serde_json::Value"),
        Type::INET => feature!("with-cidr-0_3", "cidr::IpInet", "IpAddr"),
        Type::CIDR => feature!("with-cidr-0_3", "cidr::IpCidr"),
        Type::MACADDR => feature!("with-eui48-1", "eui48::MacAddress"),
        Type::BIT | Type::VARBIT => feature!("with-bit-vec-0_9", "bit_vec::BitVec"),
        Type::POINT => feature!("with-geo-types-0_7", "geo_types::Point"),
        Type::BOX => feature!("with-geo-types-0_7", "geo_types::Rect"),
        Type::PATH => feature!("with-geo-types-0_7", "geo_types::LineString"),
        _ => match ty.name() {
            "citext" | "ltree" | "lquery" | "ltxtquery" => Fitting::of(&["String", "&str"]),
            "hstore" => Fitting::of(&["HashMap<String, Option<String>>"]),
            _ => Fitting::of(&[]),
        },
    }
}

/// What has room for a value that did not read as a `T` because there is a NULL in it, or because
/// it is an array of several dimensions, which a `Vec` refuses.
#[cold]
pub(crate) fn with_room<T>(
    ty: &Type,
    value: &[u8],
    cause: &(dyn Error + Sync + Send + 'static),
) -> Option<String> {
    let rust = std::any::type_name::<T>();
    if cause.is::<WasNull>() {
        return room_for_null(rust).map(|room| format!("NULL in it: `{room}`"));
    }
    let Kind::Array(member) = base(ty).kind() else {
        return None;
    };
    let dimensions = i32::from_be_bytes(*value.first_chunk::<4>()?);
    if dimensions < 2 || rust.contains("::Array<") {
        return None;
    }
    let rust = fitting(member).within(&["value::Array", "Vec<Vec"]).rust;
    let array = rust.first().map_or("value::Array", String::as_str);
    let rows = rust.iter().find(|rust| rust.starts_with("Vec<Vec")).filter(|_| dimensions == 2);
    let rows = rows.map(|rows| format!(", whose `into_rows()` are `{rows}>`"));
    Some(format!("{dimensions} dimensions: `{array}`{}", rows.unwrap_or_default()))
}

/// The type of Rust that has room for a NULL in it: `Vec<Option<i32>>` for `Vec<i32>`.
fn room_for_null(rust: &str) -> Option<String> {
    let short: String = rust
        .split_inclusive(|c: char| !(c.is_alphanumeric() || c == '_' || c == ':'))
        .map(|part| part.rsplit_once("::").map_or(part, |(_, name)| name))
        .collect();
    // The elements are what the first list is of, up to its end.
    let start = ["Vec<", "Array<", "["]
        .iter()
        .filter_map(|list| Some(short.find(list)? + list.len()))
        .min()?;
    let (before, tail) = short.split_at_checked(start)?;
    let mut depth = 0_i32;
    let end = tail.find(|c| {
        depth += i32::from(matches!(c, '<' | '[' | '(')) - i32::from(matches!(c, '>' | ']' | ')'));
        depth < 0 || depth == 0 && c == ';'
    })?;
    let (elements, after) = tail.split_at_checked(end)?;
    Some(format!("{before}Option<{elements}>{after}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_goes_with_a_type_is_named() {
        assert_eq!(advice(&Type::INT8, true), "int8 takes i64");
        assert_eq!(advice(&Type::INT8_ARRAY, false), "int8[] takes Vec<i64>, value::Array<i64>");
        assert_eq!(advice(&Type::INT4_RANGE, true), "int4range takes value::Range<i32>");
        let xml = "xml takes `Text` with `in_text()`";
        assert_eq!(advice(&Type::XML, true), xml);
        let uuid = advice(&Type::UUID, false);
        if cfg!(feature = "with-uuid-1") {
            assert_eq!(uuid, "uuid takes uuid::Uuid");
        } else {
            assert_eq!(uuid, "uuid needs the feature with-uuid-1, or `Text`");
        }
    }

    #[test]
    fn room_for_null_is_made_where_the_elements_are() {
        let room = |rust| room_for_null(rust).unwrap_or_default();
        assert_eq!(room(std::any::type_name::<Vec<i32>>()), "Vec<Option<i32>>");
        assert_eq!(room(std::any::type_name::<Box<[String]>>()), "Box<[Option<String>]>");
        assert_eq!(room(std::any::type_name::<Option<Vec<i64>>>()), "Option<Vec<Option<i64>>>");
        assert_eq!(room(std::any::type_name::<super::super::Array<i64>>()), "Array<Option<i64>>");
        assert_eq!(room("alloc::vec::Vec<a::B<c::D>>"), "Vec<Option<B<D>>>");
        assert_eq!(room_for_null("i32"), None);
    }
}
