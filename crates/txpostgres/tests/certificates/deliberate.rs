//! Where we are stricter than libpq on purpose: each of these is in the guide, with its reason, and
//! must be seen.

/// A difference: which cells it is about, and why.
pub(super) struct Stricter {
    /// The beginnings of the names of its cells.
    pub(super) cells: &'static [&'static str],
    pub(super) why: &'static str,
}

impl Stricter {
    pub(super) fn is_about(&self, cell: &str) -> bool {
        self.cells.iter().any(|beginning| cell.starts_with(beginning))
    }
}

pub(super) const STRICTER: &[Stricter] = &[
    Stricter {
        cells: &["algorithm: P-256 with SHA-224", "algorithm: RSA with SHA-224"],
        why: "signatures with SHA-224 are not supported, except on P-521: aws-lc-rs has none",
    },
    Stricter {
        cells: &["algorithm: RSA of 1024 bits"],
        why: "RSA of fewer than 2,048 bits is not supported: aws-lc-rs has no such RSA-PSS; OpenSSL refuses \
              it too, where it checks certificates",
    },
    Stricter {
        cells: &["algorithm: RSA-PSS, salt 33"],
        why: "RSA-PSS has salts of a hash's length, the longest that fits, and a few others: aws-lc-rs wants \
              the length as a constant",
    },
    Stricter {
        cells: &[
            "algorithm: RSA-PSS key, intermediate, TLS 1.2",
            "algorithm: RSA-PSS key, salt 222, intermediate, TLS 1.2",
        ],
        why: "a server whose key is for RSA-PSS alone needs TLS 1.3: rustls has no such handshake in TLS 1.2",
    },
    Stricter {
        cells: &[
            "algorithm: P-224",
            "algorithm: brainpoolP256r1",
            "algorithm: DSA",
            "algorithm: Ed448",
        ],
        why: "keys on P-224 and Brainpool's curves, of DSA and Ed448 are not supported: aws-lc-rs has none",
    },
    Stricter {
        cells: &[
            "revocation: self-signed, list by SHA-1",
            "revocation: direct, list by SHA-1",
            "revocation: intermediate, list by SHA-1",
            "revocation: two intermediates, list by SHA-1",
        ],
        why: "a revocation list that is signed with SHA-1 is not believed: OpenSSL looks at no level here",
    },
    Stricter {
        cells: &["revocation: self-signed, no list", "revocation: direct, no list"],
        why: "a file that sslcrl names must have a list in it; libpq goes on without any check",
    },
    Stricter {
        cells: &[
            "revocation: self-signed, delta list alone",
            "revocation: direct, delta list alone",
            "revocation: intermediate, delta list alone",
            "revocation: two intermediates, delta list alone",
        ],
        why: "a delta list is none by itself; OpenSSL 3.0.19 takes it for a whole one, 3.0.22 no longer",
    },
];
