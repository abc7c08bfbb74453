//! Certificates, valid ones and such as a client must refuse.

use std::path::{Path, PathBuf};

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, PKCS_ED25519, SignatureAlgorithm,
    date_time_ymd,
};

use crate::account::Account;
use crate::places;
use crate::setup_error::{Doing, SetupError};

const AUTHORITY: &str = "testkit authority";
const GOOD_NAMES: [&str; 3] = ["localhost", "127.0.0.1", "::1"];

/// A certificate authority that clients must trust, and the server's certificate.
///
/// The server has the authority's certificate as `ssl_ca_file`, so it accepts [client
/// certificates](Self::write_client) that this authority has signed.
#[derive(Debug, Clone)]
pub struct TlsCertificates {
    authority: String,
    authority_key: String,
    server: String,
    server_key: String,
}

/// A client's certificate and key, in files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientFiles {
    /// For `sslcert`.
    pub certificate: PathBuf,
    /// For `sslkey`; readable by its owner alone.
    pub key: PathBuf,
}

/// A certificate in PEM, with its key.
struct Pair {
    name: String,
    certificate: String,
    key: String,
}

impl TlsCertificates {
    /// A server certificate that is valid for `localhost`, `127.0.0.1` and `::1`.
    pub fn good() -> Result<Self, SetupError> {
        Self::signed(|_| {}, &GOOD_NAMES)
    }

    /// A valid certificate, but for the host `elsewhere.example`.
    pub fn wrong_name() -> Result<Self, SetupError> {
        Self::signed(|_| {}, &["elsewhere.example"])
    }

    /// A certificate that expired in 2001.
    pub fn expired() -> Result<Self, SetupError> {
        let shorten = |params: &mut CertificateParams| {
            params.not_before = date_time_ymd(2000, 1, 1);
            params.not_after = date_time_ymd(2001, 1, 1);
        };
        Self::signed(shorten, &GOOD_NAMES)
    }

    /// A self-signed certificate.
    pub fn self_signed() -> Result<Self, SetupError> {
        let authority = authority(AUTHORITY)?;
        let server = leaf("localhost", &GOOD_NAMES, |_| {}, None)?;
        Ok(Self::of(authority, server))
    }

    /// A certificate of another authority than the trusted one.
    pub fn other_authority() -> Result<Self, SetupError> {
        let stranger = authority("stranger")?;
        let server = leaf("localhost", &GOOD_NAMES, |_| {}, Some(&stranger))?;
        Ok(Self::of(authority(AUTHORITY)?, server))
    }

    /// A valid certificate, but signed by Ed25519: such a signature has no hash for channel
    /// binding.
    pub fn ed25519() -> Result<Self, SetupError> {
        let authority = authority_with(AUTHORITY, &PKCS_ED25519)?;
        let server = leaf("testkit server", &GOOD_NAMES, |_| {}, Some(&authority))?;
        Ok(Self::of(authority, server))
    }

    /// The certificate of the authority that clients must trust, in PEM.
    pub fn root_pem(&self) -> &str {
        &self.authority
    }

    /// The server's certificate, in PEM.
    pub fn server_pem(&self) -> &str {
        &self.server
    }

    /// The server's key, in PEM.
    pub fn server_key_pem(&self) -> &str {
        &self.server_key
    }

    /// Creates a certificate for a client of this common name, and writes `<name>.crt` and
    /// `<name>.key` into a folder.
    pub fn write_client(
        &self,
        folder: &Path,
        common_name: &str,
    ) -> Result<ClientFiles, SetupError> {
        let authority = Pair {
            name: AUTHORITY.to_owned(),
            certificate: self.authority.clone(),
            key: self.authority_key.clone(),
        };
        let client = leaf(common_name, &[], |_| {}, Some(&authority))?;
        let files = ClientFiles {
            certificate: folder.join(format!("{common_name}.crt")),
            key: folder.join(format!("{common_name}.key")),
        };
        places::write(&files.certificate, &client.certificate, 0o644, None)?;
        places::write(&files.key, &client.key, 0o600, None)?;
        Ok(files)
    }

    pub(crate) fn write_server(&self, folder: &Path, account: Account) -> Result<(), SetupError> {
        places::write(&folder.join("root.crt"), &self.authority, 0o644, Some(account))?;
        places::write(&folder.join("server.crt"), &self.server, 0o644, Some(account))?;
        places::write(&folder.join("server.key"), &self.server_key, 0o600, Some(account))
    }

    fn signed(
        change: impl FnOnce(&mut CertificateParams),
        names: &[&str],
    ) -> Result<Self, SetupError> {
        let authority = authority(AUTHORITY)?;
        let server = leaf("testkit server", names, change, Some(&authority))?;
        Ok(Self::of(authority, server))
    }

    fn of(authority: Pair, server: Pair) -> Self {
        Self {
            authority: authority.certificate,
            authority_key: authority.key,
            server: server.certificate,
            server_key: server.key,
        }
    }
}

fn doing() -> String {
    "cannot make a certificate".to_owned()
}

fn named(common_name: &str, names: &[&str]) -> Result<CertificateParams, SetupError> {
    let names: Vec<_> = names.iter().map(|name| (*name).to_owned()).collect();
    let mut params = CertificateParams::new(names).doing(doing)?;
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, common_name);
    Ok(params)
}

fn authority(name: &str) -> Result<Pair, SetupError> {
    authority_with(name, &PKCS_ECDSA_P256_SHA256)
}

fn authority_with(name: &str, algorithm: &'static SignatureAlgorithm) -> Result<Pair, SetupError> {
    let mut params = named(name, &[])?;
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let key = KeyPair::generate_for(algorithm).doing(doing)?;
    let certificate = params.self_signed(&key).doing(doing)?;
    Ok(Pair { name: name.to_owned(), certificate: certificate.pem(), key: key.serialize_pem() })
}

/// A certificate for a server or a client, signed by itself if there is no authority.
fn leaf(
    common_name: &str,
    names: &[&str],
    change: impl FnOnce(&mut CertificateParams),
    authority: Option<&Pair>,
) -> Result<Pair, SetupError> {
    let mut params = named(common_name, names)?;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages =
        vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
    change(&mut params);
    let key = KeyPair::generate().doing(doing)?;
    let certificate = match authority {
        None => params.self_signed(&key),
        Some(authority) => {
            // Signing needs only the issuer's name and key identifier, and both follow from these.
            let mut issuer = named(&authority.name, &[])?;
            issuer.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
            issuer.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
            let issuer_key = KeyPair::from_pem(&authority.key).doing(doing)?;
            params.signed_by(&key, &Issuer::new(issuer, issuer_key))
        }
    };
    Ok(Pair {
        name: common_name.to_owned(),
        certificate: certificate.doing(doing)?.pem(),
        key: key.serialize_pem(),
    })
}
