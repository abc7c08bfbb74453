//! Where we differ from libpq on purpose, and why. Nothing else may differ, and each of these must be seen.

use super::cell::{Cell, Check, Verdict};
use super::server::Shown;

/// One difference.
pub(crate) struct Difference {
    pub(crate) why: &'static str,
    pub(crate) is: fn(&Cell, &Verdict, &Verdict) -> bool,
}

pub(crate) const DIFFERENCES: &[Difference] = &[
    Difference {
        why: "libpq fails when the certificate's signature names no hash; without channel_binding=require \
              a login that is not bound is as good as on a server that offers none",
        is: |cell, libpq, ours| {
            cell.shown == Shown::Ed25519
                && !cell.says("channel_binding=require")
                && *libpq == Verdict::Refused(Check::Binding)
                && *ours == Verdict::Connected { encrypted: true }
        },
    },
    Difference {
        why: "libpq asks again without TLS, or with it, when the password was wrong: the same password does not \
              get better by it, and with prefer it would be shown in plain text",
        is: |cell, libpq, ours| {
            cell.says("password=wrong")
                && matches!(libpq, Verdict::Connected { .. })
                && matches!(ours, Verdict::Refused(Check::Server(said))
                    if said.starts_with("password authentication failed"))
        },
    },
    Difference {
        why: "that there is nothing to verify the certificate by is said before a server is asked for one",
        is: |_, libpq, ours| {
            *ours == Verdict::Refused(Check::NoRoot) && *libpq == Verdict::Refused(Check::NoTls)
        },
    },
    Difference {
        why: "a file that was named and cannot be used is an error wherever TLS may be; libpq passes over it in \
              silence and in plain text with prefer, and finds it out with allow if it gets that far",
        is: |cell, libpq, ours| {
            (cell.says("sslmode=allow") || cell.says("sslmode=prefer"))
                && *ours == Verdict::Refused(Check::Settings)
                && matches!(
                    libpq,
                    Verdict::Connected { encrypted: false } | Verdict::Refused(Check::Server(_))
                )
        },
    },
    Difference {
        why: "that sslcertmode=require cannot be kept is said before a server is asked",
        is: |cell, libpq, ours| {
            cell.says("sslcertmode=require")
                && *ours == Verdict::Refused(Check::Settings)
                && matches!(libpq, Verdict::Refused(_))
        },
    },
    Difference {
        why: "with sslcertmode=require libpq's allow begins in plain text all the same, and refuses what it got; we \
              begin with TLS",
        is: |cell, libpq, ours| {
            cell.says("sslcertmode=require sslmode=allow")
                && *libpq == Verdict::Refused(Check::NotAsked)
                && *ours == Verdict::Connected { encrypted: true }
        },
    },
];
