//! The cluster's certificates: one authority, and leaves for every identity.
//!
//! Counterpart in Kubernetes: `kubeadm init phase certs`.
//!
//! Invariants:
//! - Private keys are written with mode 0600 before anyone could open them wider, and never logged.
//! - A leaf is made anew when less than a third of its life is left, at the next start of its owner.
//! - Clocks may differ a little: certificates are valid from an hour ago.

use std::io::Write;
use std::net::IpAddr;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result, bail};
use apiserver::service_account::SigningKey;
use rcgen::{
    BasicConstraints, CertificateParams, CertificateSigningRequestParams, DistinguishedName,
    DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose, SanType,
};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

/// How long the authority is valid.
const CA_LIFE: Duration = Duration::from_secs(10 * 365 * 86_400);
/// How long a leaf is valid.
const LEAF_LIFE: Duration = Duration::from_secs(365 * 86_400);
/// How far back a certificate's validity begins.
const SKEW: Duration = Duration::from_secs(3600);

/// The authority, able to sign.
pub struct Authority {
    /// Its certificate in PEM.
    pub certificate: String,
    key: String,
}

/// A certificate with its key, in PEM.
#[derive(Clone)]
pub struct Identity {
    /// The certificate.
    pub certificate: String,
    /// The private key.
    pub key: String,
}

/// What a leaf is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subject {
    /// The common name: the user, for clients.
    pub name: String,
    /// The organizations: the groups, for clients.
    pub groups: Vec<String>,
    /// Names and addresses a server answers to; empty for a client.
    pub dns: Vec<String>,
    /// Addresses a server answers to.
    pub ips: Vec<IpAddr>,
}

impl Subject {
    /// A client of the API.
    pub fn client(name: &str, groups: &[&str]) -> Self {
        let groups = groups.iter().map(|group| (*group).to_owned()).collect();
        Self { name: name.to_owned(), groups, dns: vec![], ips: vec![] }
    }

    /// A server.
    pub fn server(name: &str, dns: Vec<String>, ips: Vec<IpAddr>) -> Self {
        Self { name: name.to_owned(), groups: vec![], dns, ips }
    }

    fn usage(&self) -> Vec<ExtendedKeyUsagePurpose> {
        match self.dns.is_empty() && self.ips.is_empty() {
            true => vec![ExtendedKeyUsagePurpose::ClientAuth],
            false => vec![ExtendedKeyUsagePurpose::ServerAuth],
        }
    }

    fn params(&self) -> Result<CertificateParams> {
        let mut params = CertificateParams::new(self.dns.clone())?;
        params.subject_alt_names.extend(self.ips.iter().copied().map(SanType::IpAddress));
        let mut name = DistinguishedName::new();
        for group in &self.groups {
            name.push(DnType::OrganizationName, group.as_str());
        }
        name.push(DnType::CommonName, self.name.as_str());
        params.distinguished_name = name;
        params.key_usages =
            vec![KeyUsagePurpose::DigitalSignature, KeyUsagePurpose::KeyEncipherment];
        params.extended_key_usages = self.usage();
        validity(&mut params, LEAF_LIFE);
        Ok(params)
    }
}

impl Authority {
    /// Reads the authority from a directory, or makes it there.
    ///
    /// # Errors
    /// When the files cannot be read or written.
    pub fn open(dir: &Path) -> Result<Self> {
        let (certificate, key) = (dir.join("ca.crt"), dir.join("ca.key"));
        if !certificate.exists() {
            let fresh = Self::generate()?;
            write_private(&key, &fresh.key)?;
            write_public(&certificate, &fresh.certificate)?;
        }
        Ok(Self { certificate: read(&certificate)?, key: read(&key)? })
    }

    fn generate() -> Result<Self> {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::DigitalSignature];
        let mut name = DistinguishedName::new();
        name.push(DnType::CommonName, "knarr-ca");
        params.distinguished_name = name;
        validity(&mut params, CA_LIFE);
        let key = KeyPair::generate()?;
        let certificate = params.self_signed(&key)?.pem();
        Ok(Self { certificate, key: key.serialize_pem() })
    }

    fn issuer(&self) -> Result<Issuer<'static, KeyPair>> {
        Ok(Issuer::from_ca_cert_pem(&self.certificate, KeyPair::from_pem(&self.key)?)?)
    }

    /// A new key and a certificate for it.
    ///
    /// # Errors
    /// When the subject cannot be expressed in a certificate.
    pub fn issue(&self, subject: &Subject) -> Result<Identity> {
        let key = KeyPair::generate()?;
        let certificate = subject.params()?.signed_by(&key, &self.issuer()?)?.pem();
        Ok(Identity { certificate, key: key.serialize_pem() })
    }

    /// A certificate for somebody else's key. Of the request only the key counts; the subject is ours to say.
    ///
    /// # Errors
    /// When the request is not well-formed or not signed by its key.
    pub fn sign(&self, request: &str, subject: &Subject) -> Result<String> {
        let mut request = CertificateSigningRequestParams::from_pem(request)?;
        request.params = subject.params()?;
        Ok(request.signed_by(&self.issuer()?)?.pem())
    }

    /// A leaf kept in `NAME.crt` and `NAME.key` of a directory: the one there if it still serves, else a new one.
    ///
    /// # Errors
    /// When the files cannot be read or written.
    pub fn leaf(&self, dir: &Path, name: &str, subject: &Subject) -> Result<Identity> {
        let paths = IdentityPaths::new(dir, name);
        if let Some(identity) = paths.read()?
            && serves(&identity, &self.certificate, subject, SystemTime::now())
        {
            return Ok(identity);
        }
        let identity = self.issue(subject)?;
        paths.write(&identity)?;
        Ok(identity)
    }

    /// What identifies the authority to those who only know a token: the SHA-256 of its certificate, in hex.
    ///
    /// # Errors
    /// When the certificate is damaged.
    pub fn fingerprint(&self) -> Result<String> {
        fingerprint(&self.certificate)
    }
}

/// The key that signs the tokens of ServiceAccounts: the one in the directory, or a new one. To make one takes a moment.
///
/// # Errors
/// When the file cannot be read or written, or is no key.
pub fn service_account_key(dir: &Path) -> Result<SigningKey> {
    let path = dir.join("sa.key");
    if !path.exists() {
        write_private(&path, &SigningKey::generate()?)?;
    }
    SigningKey::from_pem(&read(&path)?).with_context(|| format!("cannot use {}", path.display()))
}

/// The SHA-256 of a PEM certificate's DER form, in hex.
///
/// # Errors
/// When it is not a certificate.
pub fn fingerprint(pem: &str) -> Result<String> {
    let der = CertificateDer::from_pem_slice(pem.as_bytes()).context("not a certificate")?;
    let digest = ring::digest::digest(&ring::digest::SHA256, &der);
    Ok(hex(digest.as_ref()))
}

/// Bytes in lower-case hex.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A fresh key and a request for a certificate for it, both in PEM. The subject is the signer's to say.
///
/// # Errors
/// When no key can be made.
pub fn signing_request() -> Result<(String, String)> {
    let key = KeyPair::generate()?;
    let request = CertificateParams::default().serialize_request(&key)?.pem()?;
    Ok((key.serialize_pem(), request))
}

/// Where an identity is kept.
pub struct IdentityPaths {
    certificate: PathBuf,
    key: PathBuf,
}

impl IdentityPaths {
    /// `NAME.crt` and `NAME.key` in a directory.
    pub fn new(dir: &Path, name: &str) -> Self {
        let path = |suffix| dir.join(format!("{name}.{suffix}"));
        Self { certificate: path("crt"), key: path("key") }
    }

    /// The identity, if both files are there.
    ///
    /// # Errors
    /// When they cannot be read.
    pub fn read(&self) -> Result<Option<Identity>> {
        if !self.certificate.exists() || !self.key.exists() {
            return Ok(None);
        }
        Ok(Some(Identity { certificate: read(&self.certificate)?, key: read(&self.key)? }))
    }

    /// Writes both files, the key for its owner only.
    ///
    /// # Errors
    /// When they cannot be written.
    pub fn write(&self, identity: &Identity) -> Result<()> {
        write_private(&self.key, &identity.key)?;
        write_public(&self.certificate, &identity.certificate)
    }
}

impl Identity {
    /// The certificates in DER.
    ///
    /// # Errors
    /// When the PEM is damaged.
    pub fn certificates(&self) -> Result<Vec<CertificateDer<'static>>> {
        certificates(&self.certificate)
    }

    /// The key in DER.
    ///
    /// # Errors
    /// When the PEM is damaged.
    pub fn private_key(&self) -> Result<PrivateKeyDer<'static>> {
        PrivateKeyDer::from_pem_slice(self.key.as_bytes()).context("not a private key")
    }

    /// Whether more than a third of its life is left.
    pub fn is_fresh(&self, now: SystemTime) -> bool {
        let Ok(certificates) = self.certificates() else { return false };
        let parsed = certificates.first().map(|der| x509_parser::parse_x509_certificate(der));
        let Some(Ok((_, leaf))) = parsed else { return false };
        let now = now.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs());
        let (from, to) =
            (leaf.validity.not_before.timestamp(), leaf.validity.not_after.timestamp());
        (now as i64) < to - (to - from) / 3
    }
}

/// Certificates of a PEM text.
///
/// # Errors
/// When there is none, or one is damaged.
pub fn certificates(pem: &str) -> Result<Vec<CertificateDer<'static>>> {
    let found: Vec<_> = CertificateDer::pem_slice_iter(pem.as_bytes()).collect::<Result<_, _>>()?;
    match found.is_empty() {
        true => bail!("no certificate in the PEM text"),
        false => Ok(found),
    }
}

/// Whether a leaf is from this authority, for this subject, and not near its end.
fn serves(identity: &Identity, ca: &str, subject: &Subject, now: SystemTime) -> bool {
    let check = || -> Result<bool> {
        let (leaf, ca) = (identity.certificates()?, certificates(ca)?);
        let (_, leaf) = x509_parser::parse_x509_certificate(&leaf[0])?;
        let (_, ca) = x509_parser::parse_x509_certificate(&ca[0])?;
        let common = leaf.subject().iter_common_name().filter_map(|name| name.as_str().ok());
        let named = common.eq([subject.name.as_str()]);
        let alternatives = leaf.subject_alternative_name()?;
        let names = alternatives.map(|names| &names.value.general_names[..]).unwrap_or_default();
        let covers = |ip: &IpAddr| {
            let octets = match ip {
                IpAddr::V4(ip) => ip.octets().to_vec(),
                IpAddr::V6(ip) => ip.octets().to_vec(),
            };
            let name = x509_parser::extensions::GeneralName::IPAddress(&octets);
            names.contains(&name)
        };
        let same =
            names.len() == subject.dns.len() + subject.ips.len() && subject.ips.iter().all(covers);
        Ok(named && same && leaf.verify_signature(Some(ca.public_key())).is_ok())
    };
    identity.is_fresh(now) && check().unwrap_or(false)
}

fn validity(params: &mut CertificateParams, life: Duration) {
    let now = SystemTime::now();
    params.not_before = (now - SKEW).into();
    params.not_after = (now + life).into();
}

fn read(path: &Path) -> Result<String> {
    std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))
}

/// Writes a secret so that only its owner can ever read it, all at once.
///
/// # Errors
/// When the directory cannot be written.
pub fn write_private(path: &Path, text: &str) -> Result<()> {
    write_with_mode(path, text, 0o600)
}

fn write_public(path: &Path, text: &str) -> Result<()> {
    write_with_mode(path, text, 0o644)
}

/// Writes a file under another name first, so that a reader or a crash never sees half of it.
fn write_with_mode(path: &Path, text: &str, mode: u32) -> Result<()> {
    let context = || format!("cannot write {}", path.display());
    if let Some(dir) = path.parent() {
        std::fs::create_dir_all(dir).with_context(context)?;
    }
    let temporary = path.with_extension(format!("{}.tmp", std::process::id()));
    let _ = std::fs::remove_file(&temporary);
    let mut options = std::fs::OpenOptions::new();
    let file = options.write(true).create_new(true).mode(mode).open(&temporary);
    let mut file = file.with_context(context)?;
    file.write_all(text.as_bytes()).with_context(context)?;
    file.sync_all().with_context(context)?;
    std::fs::rename(&temporary, path).with_context(context)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn server() -> Subject {
        Subject::server("a", vec!["localhost".into()], vec!["127.0.0.1".parse().unwrap()])
    }

    #[test]
    fn leaf_is_kept_until_its_subject_or_authority_changes_or_it_ages() {
        let dir = tempfile::tempdir().unwrap();
        let ca = Authority::open(dir.path()).unwrap();
        assert_eq!(Authority::open(dir.path()).unwrap().certificate, ca.certificate);
        let first = ca.leaf(dir.path(), "a", &server()).unwrap();
        assert_eq!(ca.leaf(dir.path(), "a", &server()).unwrap().certificate, first.certificate);
        let mut moved = server();
        moved.ips[0] = "127.0.0.2".parse().unwrap();
        assert_ne!(ca.leaf(dir.path(), "a", &moved).unwrap().certificate, first.certificate);
        let other = Authority::generate().unwrap();
        assert!(serves(&first, &ca.certificate, &server(), SystemTime::now()));
        assert!(!serves(&first, &other.certificate, &server(), SystemTime::now()));
        assert!(!first.is_fresh(SystemTime::now() + LEAF_LIFE * 3 / 4));
    }

    #[test]
    fn keys_are_for_their_owner_only() {
        let dir = tempfile::tempdir().unwrap();
        Authority::open(dir.path()).unwrap();
        let first = service_account_key(dir.path()).unwrap();
        assert_eq!(format!("{:?}", service_account_key(dir.path()).unwrap()), format!("{first:?}"));
        for key in ["ca.key", "sa.key"] {
            let mode = std::fs::metadata(dir.path().join(key)).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600, "{key}");
        }
    }

    #[test]
    fn signed_request_has_our_subject_not_the_requested_one() {
        let ca = Authority::generate().unwrap();
        let (_, request) = signing_request().unwrap();
        let subject = Subject::client("system:node:n1", &["system:nodes"]);
        let certificate = ca.sign(&request, &subject).unwrap();
        let der = certificates(&certificate).unwrap();
        let (_, leaf) = x509_parser::parse_x509_certificate(&der[0]).unwrap();
        assert_eq!(leaf.subject().to_string(), "O=system:nodes, CN=system:node:n1");
        assert!(ca.sign("nonsense", &subject).is_err());
    }
}
