//! The path from the server's certificate to an authority: found as OpenSSL finds it, without
//! looking at a signature (`build_chain` in OpenSSL 3.0's `crypto/x509/x509_vfy.c`).

use super::super::x509::Certificate;
use super::refusal::Refusal;

/// Certificates of a path, its authority among them: OpenSSL's limit of 100 and one.
const LONGEST: usize = 101;

/// The server's certificate, those that signed one another, and the authority at the end.
pub(super) struct Path<'c, 'a> {
    pub(super) certificates: Vec<&'c Certificate<'a>>,
}

/// Looks for a path from the first of the certificates that the server `sent` to one of the
/// `anchors` that is self-signed. `root` names where the anchors are from.
///
/// ```text
///   an anchor has issued the last one ──▶ take it; from now on anchors only
///   else one that the server sent has ──▶ take it
///   the last one is an anchor and self-signed ──▶ found
///   neither ──▶ refused
/// ```
pub(super) fn find<'c, 'a>(
    sent: &'c [Certificate<'a>],
    anchors: &'c [Certificate<'a>],
    now: i64,
    root: &str,
) -> Result<Path<'c, 'a>, Refusal> {
    let mut path: Vec<&'c Certificate<'a>> = sent.iter().take(1).collect();
    // Since OpenSSL 1.1.0 anchors go before what the server sent, so that a short path is found.
    let mut may_be_sent = true;
    let mut left: Vec<&'c Certificate<'a>> = sent.iter().collect();
    while let Some(&last) = path.last() {
        let is_full = path.len() > LONGEST;
        let candidates = anchors.iter().filter(|anchor| anchor.may_have_issued(last));
        let anchor = if is_full { None } else { best(candidates, now) };
        match anchor {
            Some(anchor) if !last.is_self_signed() => {
                path.push(anchor);
                may_be_sent = false;
                if anchor.is_self_signed() {
                    return Ok(Path { certificates: path });
                }
                continue;
            }
            // Trusted as it is. One that only looks like an anchor is a mimic.
            Some(anchor) if anchor.bytes == last.bytes => return Ok(Path { certificates: path }),
            _ if !may_be_sent => break,
            _ => {}
        }
        let issuer = if last.is_self_signed() || is_full {
            None
        } else {
            let is_new = |one: &Certificate<'_>| path.iter().all(|known| known.bytes != one.bytes);
            let alone = path.len() == 1 && last.is_self_issued();
            let candidates = left.iter().copied();
            best(candidates.filter(|one| one.may_have_issued(last) && (alone || is_new(one))), now)
        };
        let Some(issuer) = issuer else { break };
        left.retain(|one| !std::ptr::eq(*one, issuer));
        path.push(issuer);
    }
    Err(not_found(&path, anchors, root))
}

/// The first that is valid now; else the one that was valid last.
fn best<'c, 'a>(
    candidates: impl Iterator<Item = &'c Certificate<'a>>,
    now: i64,
) -> Option<&'c Certificate<'a>>
where
    'a: 'c,
{
    let mut best: Option<&Certificate<'_>> = None;
    for one in candidates {
        let begun = one.not_before.is_some_and(|begin| begin <= now);
        if begun && one.not_after.is_some_and(|end| end > now) {
            return Some(one);
        }
        if best.is_none_or(|other| one.not_after > other.not_after) {
            best = Some(one);
        }
    }
    best
}

fn not_found(path: &[&Certificate<'_>], anchors: &[Certificate<'_>], root: &str) -> Refusal {
    let trust = "sslrootcert must name the certificate of the authority that signed it";
    let Some((place, &last)) = path.iter().enumerate().next_back() else {
        return Refusal {
            message: "the server sent no certificate".into(),
            hint: "it cannot be verified".into(),
        };
    };
    if path.len() > LONGEST {
        let what =
            format!("is the end of more than {LONGEST} certificates that signed one another");
        return Refusal::of(last, place, what, trust);
    }
    if last.is_self_signed() {
        let what = format!("is self-signed, and not one of {root}");
        let hint = if place == 0 { "sslrootcert may name the certificate itself" } else { trust };
        return Refusal::of(last, place, what, hint);
    }
    if let Some(fault) = &last.extensions.fault {
        return Refusal::of(
            last,
            place,
            format!("has a field that cannot be read: {fault}"),
            trust,
        );
    }
    if place == 0 && anchors.iter().any(|anchor| anchor.bytes == last.bytes) {
        let what = format!("is in {root}, and its authority ({}) is not", last.issuer);
        let hint = "only a self-signed certificate can stand for itself: sslrootcert must have its authority";
        return Refusal::of(last, place, what, hint);
    }
    let named = anchors.iter().find(|anchor| anchor.subject == last.issuer);
    let what = match named {
        None => {
            format!("is not signed by an authority of {root}: none there is named {}", last.issuer)
        }
        Some(anchor) if !last.signed.algorithm().fits(&anchor.key) => format!(
            "is not signed by an authority of {root}: that of this name has another kind of key than {}",
            last.signed.algorithm()
        ),
        Some(anchor) if !anchor.is_meant_by(&last.extensions.authority_key) => format!(
            "is not signed by an authority of {root}: its authorityKeyIdentifier means another one of the \
             name {}",
            last.issuer
        ),
        Some(_) => format!("is not signed by a self-signed authority of {root}"),
    };
    Refusal::of(last, place, what, trust)
}
