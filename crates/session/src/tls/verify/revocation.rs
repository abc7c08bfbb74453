//! Whether a certificate of the path has been revoked: each one, the root too, needs a list of its
//! issuer (`check_revocation` of OpenSSL 3.0 with `X509_V_FLAG_CRL_CHECK` and
//! `X509_V_FLAG_CRL_CHECK_ALL`, which libpq sets).

use super::super::x509::{
    ALL_REASONS, Certificate, DistributionPoint, Kinds, NextUpdate, RevocationList, SignatureFault,
    usage,
};
use super::path::Path;
use super::refusal::{Refusal, date};

/// How well a list fits a certificate, OpenSSL's score: whether it has no unknown critical field,
/// is about the certificate, is current, and is signed by the certificate's issuer and not by one
/// further up of the same name. The earlier ones weigh more.
type Fitness = [bool; 4];

/// A list that may be used for a certificate.
struct Candidate<'c, 'l> {
    list: &'c RevocationList<'l>,
    fitness: Fitness,
    is_about_it: bool,
    issuer: &'c Certificate<'c>,
    issuer_place: usize,
    /// The reasons of revocation that it covers.
    reasons: u16,
}

/// Refuses a path with a certificate that is revoked, or of which that cannot be known. `source`
/// names where the lists are from.
pub(super) fn check(
    path: &Path<'_, '_>,
    lists: &[RevocationList<'_>],
    now: i64,
    source: &str,
) -> Result<(), Refusal> {
    for (place, certificate) in path.certificates.iter().enumerate() {
        let mut reasons = 0;
        while reasons != ALL_REASONS {
            let Some(found) = best(path, place, certificate, lists, reasons, now) else {
                let what = format!(
                    "cannot be checked: {source} has no revocation list of its issuer ({})",
                    certificate.issuer
                );
                let hint = "each authority of the chain, the root among them, needs a list there";
                return Err(Refusal::of(certificate, place, what, hint));
            };
            check_list(&found, certificate, place, now, source)?;
            if found.list.revokes(&certificate.issuer, certificate.serial) {
                let what = format!("has been revoked by its authority, says {source}");
                let hint = "the server needs a new one";
                return Err(Refusal::of(certificate, place, what, hint));
            }
            // A list that covers some reasons only leaves the others to another one.
            reasons |= found.reasons;
        }
    }
    Ok(())
}

/// The list that fits best and covers a reason that no other has; the newest of equal ones.
fn best<'c, 'l>(
    path: &Path<'c, 'c>,
    place: usize,
    certificate: &Certificate<'_>,
    lists: &'c [RevocationList<'l>],
    known: u16,
    now: i64,
) -> Option<Candidate<'c, 'l>> {
    let mut best: Option<Candidate<'c, 'l>> = None;
    for list in lists.iter().filter(|list| list.issuer == certificate.issuer) {
        let Some(found) = candidate(path, place, certificate, list, known, now) else { continue };
        let is_better = best.as_ref().is_none_or(|best| {
            let newer = list.this_update > best.list.this_update;
            found.fitness > best.fitness || (found.fitness == best.fitness && newer)
        });
        if is_better {
            best = Some(found);
        }
    }
    best
}

fn candidate<'c, 'l>(
    path: &Path<'c, 'c>,
    place: usize,
    certificate: &Certificate<'_>,
    list: &'c RevocationList<'l>,
    known: u16,
    now: i64,
) -> Option<Candidate<'c, 'l>> {
    // Deltas, lists for other issuers' certificates and those of some reasons need more than libpq
    // asks OpenSSL for.
    if list.is_delta || list.scope.as_ref().is_some_and(|scope| scope.is_partial) {
        return None;
    }
    // The certificate above, or the root for itself; else one further up of the same name.
    let next = (place + 1).min(path.certificates.len().checked_sub(1)?);
    let mut above = path.certificates.iter().copied().enumerate().skip(next);
    let (issuer_place, issuer) = above.find(|(at, one)| {
        (*at == next || one.subject == list.issuer) && one.is_meant_by(&list.authority_key)
    })?;
    let covered = reasons(certificate, list);
    if covered.is_some_and(|covered| covered & !known == 0) {
        return None;
    }
    let is_about_it = covered.is_some();
    let is_current = check_dates(list, now).is_ok();
    let fitness = [list.unknown_critical.is_none(), is_about_it, is_current, issuer_place == next];
    let reasons = covered.unwrap_or(0);
    Some(Candidate { list, fitness, is_about_it, issuer, issuer_place, reasons })
}

/// The reasons for which the list is about this certificate; `None` if it is about others.
fn reasons(certificate: &Certificate<'_>, list: &RevocationList<'_>) -> Option<u16> {
    let is_authority = certificate.extensions.basic.is_some_and(|basic| basic.is_authority);
    let is_outside = list.scope.as_ref().is_some_and(|scope| match scope.kinds {
        Kinds::All => false,
        Kinds::Users => is_authority,
        Kinds::Authorities => !is_authority,
        Kinds::Attributes => true,
    });
    if is_outside {
        return None;
    }
    let is_there = |point: &&DistributionPoint<'_>| {
        let is_by = point.list_issuer.as_ref().is_none_or(|names| {
            names.iter().filter_map(|name| name.directory()).any(|name| *name == list.issuer)
        });
        let ours = point.name.as_ref();
        let theirs = list.scope.as_ref().and_then(|scope| scope.name.as_ref());
        let is_named = match (ours, theirs) {
            (Some(ours), Some(theirs)) => {
                ours.is_same(point.base(&certificate.issuer), theirs, &list.issuer)
            }
            _ => true,
        };
        is_by && is_named
    };
    match certificate.extensions.distribution_points.iter().find(is_there) {
        Some(point) => Some(point.reasons),
        None if list.scope.as_ref().is_some_and(|scope| scope.name.is_some()) => None,
        None => Some(ALL_REASONS),
    }
}

/// Refuses a list that may not be used after all.
fn check_list(
    found: &Candidate<'_, '_>,
    certificate: &Certificate<'_>,
    place: usize,
    now: i64,
    source: &str,
) -> Result<(), Refusal> {
    let Candidate { list, is_about_it, issuer, issuer_place, .. } = found;
    let of = format!("the revocation list of {} in {source}", list.issuer);
    let refuse = |why: String, hint: &'static str| {
        let what = format!("cannot be checked: {of} {why}");
        Err(Refusal::of(certificate, place, what, hint))
    };
    let again = "the authority must make a new list";
    if issuer.extensions.forbids(usage::CRL_SIGN) {
        let what = "may not sign revocation lists: its keyUsage has no cRLSign";
        return Err(Refusal::of(
            issuer,
            *issuer_place,
            what,
            "the authority needs a new certificate",
        ));
    }
    if !is_about_it {
        return refuse("is not about this certificate (issuingDistributionPoint)".into(), again);
    }
    if let Err(why) = check_dates(list, now) {
        return refuse(why, again);
    }
    match list.signed.verify(&issuer.key) {
        Ok(()) => {}
        Err(SignatureFault::Wrong) => {
            return refuse("is not signed by that authority's key".into(), again);
        }
        Err(SignatureFault::Unsupported) => {
            let algorithm = list.signed.algorithm();
            return refuse(format!("is signed by {algorithm}, which is not supported"), again);
        }
    }
    if let Some(name) = &list.unknown_critical {
        return refuse(format!("has a critical field that is not supported: {name}"), again);
    }
    Ok(())
}

fn check_dates(list: &RevocationList<'_>, now: i64) -> Result<(), String> {
    match list.this_update {
        Some(begin) if begin <= now => {}
        Some(begin) => return Err(format!("is not valid before {}", date(begin))),
        None => return Err("has no date that can be read".into()),
    }
    match list.next_update {
        NextUpdate::Never => Ok(()),
        NextUpdate::At(end) if end > now => Ok(()),
        NextUpdate::At(end) => Err(format!("expired on {}", date(end))),
        NextUpdate::Unreadable => Err("has no date that can be read".into()),
    }
}
