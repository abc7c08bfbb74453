//! Whether a server has the role that `target_session_attrs` asks for: by what the server reported
//! at the login, or else by a query, as libpq decides.

use txpostgres_session::config::TargetSessionAttrs;

/// What follows from what is known of a server's role.
///
/// ```text
///                    in_hot_standby, default_transaction_read_only
///   any              ───────────────────────────────────────────────────▶ Accept
///   read-write       both reported ─┐
///   read-only        else ──▶ Ask: show transaction_read_only ──────────┤
///   primary          the first one reported ─┐                          ├─▶ Accept or Refuse
///   standby          else ──▶ Ask: pg_is_in_recovery() ─────────────────┘
///   prefer-standby   as standby, but Accept or SecondChoice
/// ```
///
/// PostgreSQL reports both parameters from version 14 on; poolers may not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RoleVerdict {
    /// It has the role.
    Accept,
    /// It does not, and is taken if no other server does: a primary for `prefer-standby`.
    SecondChoice,
    /// It does not. The text continues "the server is".
    Refuse(&'static str),
    /// The server must be asked.
    Ask(RoleQuery),
}

/// A question about a server's role, for servers that do not report it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RoleQuery {
    /// Whether transactions are read-only unless they say otherwise.
    ReadOnly,
    /// Whether the server is a standby.
    Recovery,
}

const STANDBY: &str = "a standby";
const READ_ONLY: &str = "read only";

impl RoleVerdict {
    /// From what the server reported. `parameter` gives the value of a reported parameter.
    pub fn from_reported<'a>(
        wanted: TargetSessionAttrs,
        parameter: impl Fn(&str) -> Option<&'a str>,
    ) -> Self {
        let is_on = |name| match parameter(name) {
            Some("on") => Some(true),
            Some("off") => Some(false),
            _ => None,
        };
        let is_standby = is_on("in_hot_standby");
        match wanted {
            TargetSessionAttrs::Any => Self::Accept,
            TargetSessionAttrs::ReadWrite | TargetSessionAttrs::ReadOnly => {
                match (is_standby, is_on("default_transaction_read_only")) {
                    (Some(true), Some(_)) => Self::of_read_only(wanted, Some(STANDBY)),
                    (Some(false), Some(true)) => Self::of_read_only(wanted, Some(READ_ONLY)),
                    (Some(false), Some(false)) => Self::of_read_only(wanted, None),
                    _ => Self::Ask(RoleQuery::ReadOnly),
                }
            }
            _ => is_standby.map_or(Self::Ask(RoleQuery::Recovery), |is_standby| {
                Self::of_standby(wanted, is_standby)
            }),
        }
    }

    /// `read_only`: what makes its transactions read-only, if anything does.
    fn of_read_only(wanted: TargetSessionAttrs, read_only: Option<&'static str>) -> Self {
        match (wanted, read_only) {
            (TargetSessionAttrs::ReadWrite, Some(why)) => Self::Refuse(why),
            (TargetSessionAttrs::ReadOnly, None) => Self::Refuse("read-write"),
            _ => Self::Accept,
        }
    }

    fn of_standby(wanted: TargetSessionAttrs, is_standby: bool) -> Self {
        match (wanted, is_standby) {
            (TargetSessionAttrs::Primary, true) => Self::Refuse(STANDBY),
            (TargetSessionAttrs::Standby, false) => Self::Refuse("a primary"),
            (TargetSessionAttrs::PreferStandby, false) => Self::SecondChoice,
            _ => Self::Accept,
        }
    }
}

impl RoleQuery {
    /// Its text, which is libpq's.
    pub fn sql(self) -> &'static str {
        match self {
            Self::ReadOnly => "SHOW transaction_read_only",
            Self::Recovery => "SELECT pg_catalog.pg_is_in_recovery()",
        }
    }

    /// From the server's answer, one value as text. `None`: that is no answer to this question.
    pub fn answered(self, wanted: TargetSessionAttrs, answer: &str) -> Option<RoleVerdict> {
        Some(match (self, answer) {
            (Self::ReadOnly, "on") => RoleVerdict::of_read_only(wanted, Some(READ_ONLY)),
            (Self::ReadOnly, "off") => RoleVerdict::of_read_only(wanted, None),
            (Self::Recovery, "t") => RoleVerdict::of_standby(wanted, true),
            (Self::Recovery, "f") => RoleVerdict::of_standby(wanted, false),
            _ => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use TargetSessionAttrs::{Any, PreferStandby, Primary, ReadOnly, ReadWrite, Standby};

    use super::*;

    fn reported(wanted: TargetSessionAttrs, standby: &str, read_only: &str) -> RoleVerdict {
        RoleVerdict::from_reported(wanted, |name| {
            let value = match name {
                "in_hot_standby" => standby,
                "default_transaction_read_only" => read_only,
                _ => "",
            };
            // Only literals are given.
            Some(match value {
                "on" => "on",
                "off" => "off",
                "" => return None,
                _ => "perhaps",
            })
        })
    }

    #[test]
    fn what_is_reported_decides() {
        use RoleVerdict::{Accept, Refuse, SecondChoice};
        for (wanted, primary, standby, read_only_primary) in [
            (Any, Accept, Accept, Accept),
            (ReadWrite, Accept, Refuse("a standby"), Refuse("read only")),
            (ReadOnly, Refuse("read-write"), Accept, Accept),
            (Primary, Accept, Refuse("a standby"), Accept),
            (Standby, Refuse("a primary"), Accept, Refuse("a primary")),
            (PreferStandby, SecondChoice, Accept, SecondChoice),
        ] {
            assert_eq!(reported(wanted, "off", "off"), primary, "{wanted:?}");
            assert_eq!(reported(wanted, "on", "off"), standby, "{wanted:?}");
            assert_eq!(reported(wanted, "on", "on"), standby, "{wanted:?}");
            assert_eq!(reported(wanted, "off", "on"), read_only_primary, "{wanted:?}");
        }
    }

    #[test]
    fn what_is_not_reported_is_asked() {
        for (standby, read_only) in [("", ""), ("", "off"), ("on", ""), ("off", "x"), ("x", "on")] {
            assert_eq!(reported(Any, standby, read_only), RoleVerdict::Accept);
            for wanted in [ReadWrite, ReadOnly] {
                let verdict = reported(wanted, standby, read_only);
                assert_eq!(verdict, RoleVerdict::Ask(RoleQuery::ReadOnly));
            }
        }
        for wanted in [Primary, Standby, PreferStandby] {
            for unknown in ["", "x"] {
                let verdict = reported(wanted, unknown, "off");
                assert_eq!(verdict, RoleVerdict::Ask(RoleQuery::Recovery));
            }
        }
    }

    #[test]
    fn an_answer_decides_as_a_report_does() {
        for (wanted, report) in [("on", "on"), ("off", "off")] {
            for role in [ReadWrite, ReadOnly] {
                let asked = RoleQuery::ReadOnly.answered(role, wanted);
                assert_eq!(asked, Some(reported(role, "off", report)));
            }
        }
        for (answer, report) in [("t", "on"), ("f", "off")] {
            for role in [Primary, Standby, PreferStandby] {
                let asked = RoleQuery::Recovery.answered(role, answer);
                assert_eq!(asked, Some(reported(role, report, "off")));
            }
        }
        for answer in ["", "true", "ON", "1"] {
            assert_eq!(RoleQuery::ReadOnly.answered(ReadWrite, answer), None);
            assert_eq!(RoleQuery::Recovery.answered(Primary, answer), None);
        }
    }
}
