//! Certificates and revocation lists as X.509 has them (RFC 5280): reading, comparing, and the
//! signatures. Whether one is to be trusted is `verify`'s matter.
//!
//! All versions are read, version 1 too: the manual's own recipe (section 18.9.5) makes such
//! certificates with OpenSSL 3.0.

mod algorithm;
mod certificate;
mod distribution;
mod extensions;
mod general_name;
mod host;
mod items;
mod name;
mod public_key;
mod revocation_list;

pub(super) use algorithm::KeyFamily;
pub(super) use certificate::Certificate;
pub(super) use distribution::{ALL_REASONS, DistributionPoint, Kinds};
pub(super) use extensions::{NameConstraints, Subtree, netscape, usage};
pub(super) use general_name::GeneralName;
pub(super) use name::{DistinguishedName, utf8};
pub(super) use public_key::{SignatureFault, handshake_pss};
pub(super) use revocation_list::{NextUpdate, RevocationList};
