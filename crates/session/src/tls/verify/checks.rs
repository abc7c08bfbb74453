//! What each certificate of a path must say and prove: uses, lengths, signatures, dates
//! (`check_extensions`, `check_auth_level` and `internal_verify` of OpenSSL 3.0).

use super::super::x509::{Certificate, KeyFamily, SignatureFault, netscape, usage};
use super::path::Path;
use super::refusal::{Refusal, date};

/// Refuses a certificate whose extensions do not allow its place in the path.
pub(super) fn check_extensions(path: &Path<'_, '_>) -> Result<(), Refusal> {
    let certificates = &path.certificates;
    // How many authorities stand below, those that issued themselves apart.
    let mut below = 0_u64;
    for (place, certificate) in certificates.iter().enumerate() {
        let is_last = place + 1 == certificates.len();
        let extensions = &certificate.extensions;
        let refuse =
            |what: String, hint: &'static str| Err(Refusal::of(certificate, place, what, hint));
        let again = "it must be made again";
        if let Some(fault) = &extensions.fault {
            return refuse(format!("has a field that cannot be read: {fault}"), again);
        }
        if let Some(name) = &extensions.unknown_critical {
            return refuse(format!("has a critical field that is not supported: {name}"), again);
        }
        if extensions.is_proxy || extensions.has_resources {
            let what =
                "is a proxy certificate, or one about network resources, which are not supported";
            return refuse(what.into(), again);
        }
        if place > 0 {
            check_authority(certificate, place, is_last)?;
        }
        if certificates.len() > 1 && certificate.key.has_explicit_curve() {
            let what = "spells out the elliptic curve of its key instead of naming it";
            return refuse(what.into(), again);
        }
        check_purpose(certificate, place)?;
        let path_length = extensions.basic.and_then(|basic| basic.path_length);
        if place > 1 && path_length.is_some_and(|length| below > length) {
            let length = path_length.unwrap_or_default();
            let what = format!(
                "allows {length} authorities below it (pathlen of its basicConstraints), and there are {below}"
            );
            return refuse(what, "an authority that was issued by it must not issue others");
        }
        if place > 0 && !certificate.is_self_issued() {
            below += 1;
        }
    }
    Ok(())
}

/// An authority between must say that it is one; the last may be of version 1.
fn check_authority(
    certificate: &Certificate<'_>,
    place: usize,
    is_last: bool,
) -> Result<(), Refusal> {
    let why = match certificate.check_authority() {
        Ok(says_so) if says_so || is_last => return Ok(()),
        Ok(_) => "it has no basicConstraints",
        Err(why) => why,
    };
    let what = format!("may not sign others: {why}");
    Err(Refusal::of(certificate, place, what, "an authority has CA:TRUE and keyCertSign"))
}

/// Whether it is for a TLS server, or for signing the certificates of such.
fn check_purpose(certificate: &Certificate<'_>, place: usize) -> Result<(), Refusal> {
    let extensions = &certificate.extensions;
    let refuse = |what: &str, hint: &'static str| {
        Err(Refusal::of(certificate, place, format!("is not for a TLS server: {what}"), hint))
    };
    if extensions.serves == Some(false) {
        let hint = "a server's certificate has the use serverAuth, or no extendedKeyUsage";
        return refuse("its extendedKeyUsage has no serverAuth", hint);
    }
    if place > 0 {
        return Ok(());
    }
    if extensions.netscape_type.is_some_and(|bits| bits & netscape::SSL_SERVER == 0) {
        return refuse("its nsCertType has no SSL Server", "it must be made again");
    }
    let uses = usage::DIGITAL_SIGNATURE | usage::KEY_ENCIPHERMENT | usage::KEY_AGREEMENT;
    if extensions.forbids(uses) {
        let hint = "a server's certificate has the use digitalSignature, or no keyUsage";
        return refuse(
            "its keyUsage has none of digitalSignature, keyEncipherment and keyAgreement",
            hint,
        );
    }
    Ok(())
}

/// Refuses keys and hashes below OpenSSL's security level 2. The last signature is not looked at: a
/// root is trusted for what it is.
pub(super) fn check_strength(path: &Path<'_, '_>) -> Result<(), Refusal> {
    let certificates = &path.certificates;
    for (place, certificate) in certificates.iter().enumerate() {
        let hint = "it must be made again with a stronger key";
        check_key(certificate, place, hint)?;
        let algorithm = certificate.signed.algorithm();
        if place + 1 < certificates.len() && !algorithm.is_strong() {
            let what = format!("is signed by {algorithm}, which is too weak");
            return Err(Refusal::of(certificate, place, what, "sign it with SHA-256"));
        }
    }
    Ok(())
}

/// Refuses a key that is too small.
pub(super) fn check_key(
    certificate: &Certificate<'_>,
    place: usize,
    hint: &'static str,
) -> Result<(), Refusal> {
    certificate
        .key
        .check_strength()
        .map_err(|why| Refusal::of(certificate, place, format!("is too weak: {why}"), hint))
}

/// Checks each signature but the root's own, and each date, from the root down.
pub(super) fn check_signatures_and_dates(path: &Path<'_, '_>, now: i64) -> Result<(), Refusal> {
    let mut issuer: Option<&Certificate<'_>> = None;
    for (place, certificate) in path.certificates.iter().enumerate().rev() {
        if let Some(issuer) = issuer {
            // It is refused as an authority before; here it is the rule of the signature itself
            // (RFC 5280, section 6.1.4, n).
            if issuer.extensions.forbids(usage::CERT_SIGN) {
                let what = "may not sign others: its keyUsage has no keyCertSign";
                return Err(Refusal::of(issuer, place + 1, what, "an authority has keyCertSign"));
            }
            certificate
                .signed
                .verify(&issuer.key)
                .map_err(|fault| wrong_signature(certificate, place, issuer, fault))?;
        }
        check_dates(certificate, place, now)?;
        issuer = Some(certificate);
    }
    Ok(())
}

fn wrong_signature(
    certificate: &Certificate<'_>,
    place: usize,
    issuer: &Certificate<'_>,
    fault: SignatureFault,
) -> Refusal {
    let algorithm = certificate.signed.algorithm();
    match fault {
        SignatureFault::Wrong => {
            let what = format!(
                "is not signed by an authority of sslrootcert: the key of the authority of its name ({}) did not \
                 make its signature",
                issuer.subject
            );
            let hint = "sslrootcert must name the certificate of the authority that signed it";
            Refusal::of(certificate, place, what, hint)
        }
        SignatureFault::Unsupported => {
            let what = format!("is signed by {algorithm}, which is not supported{}", by(issuer));
            let hint = "RSA and RSA-PSS of 2,048 to 8,192 bits, ECDSA on P-256, P-384 and P-521, each with \
                        SHA-256, SHA-384 or SHA-512, and Ed25519 are";
            Refusal::of(certificate, place, what, hint)
        }
    }
}

/// The kind of key, if it says more than the algorithm does.
fn by(issuer: &Certificate<'_>) -> &'static str {
    match issuer.key.family() {
        KeyFamily::Ec => " with the key's elliptic curve",
        _ => "",
    }
}

fn check_dates(certificate: &Certificate<'_>, place: usize, now: i64) -> Result<(), Refusal> {
    let whose =
        if place == 0 { "give the server a new one" } else { "the authority needs a new one" };
    match certificate.not_before {
        Some(begin) if begin <= now => {}
        Some(begin) => {
            let what = format!("is not valid before {}", date(begin));
            let hint = "one of the two clocks may be wrong";
            return Err(Refusal::of(certificate, place, what, hint));
        }
        None => {
            let what = "has a field that cannot be read: the date that it begins with";
            return Err(Refusal::of(certificate, place, what, whose));
        }
    }
    match certificate.not_after {
        Some(end) if end > now => Ok(()),
        Some(end) => {
            Err(Refusal::of(certificate, place, format!("expired on {}", date(end)), whose))
        }
        None => {
            let what = "has a field that cannot be read: the date that it ends with";
            Err(Refusal::of(certificate, place, what, whose))
        }
    }
}
