//! Requests and certificates in their PEM form.
//!
//! Counterpart in Kubernetes: `ParseCSR` of `pkg/apis/certificates`, and `validateCertificate` beside the other rules. What is
//! wrong inside of a block is told in words of our own.

use x509_parser::certification_request::X509CertificationRequest;
use x509_parser::pem::Pem;
use x509_parser::prelude::FromDer;

const REQUEST: &str = "CERTIFICATE REQUEST";
const CERTIFICATE: &str = "CERTIFICATE";

/// Why the bytes are no signed request.
pub(super) fn request_problem(bytes: &[u8]) -> Option<String> {
    let not_a_request = || Some(format!("PEM block type must be {REQUEST}"));
    let Some(Ok(block)) = Pem::iter_from_buffer(bytes).next() else { return not_a_request() };
    if block.label != REQUEST {
        return not_a_request();
    }
    match X509CertificationRequest::from_der(&block.contents) {
        Err(error) => Some(format!("malformed certificate request: {error}")),
        Ok((_, request)) => request
            .verify_signature()
            .err()
            .map(|_| "the signature of the certificate request is not valid".to_owned()),
    }
}

/// Why the bytes are no chain of certificates; nothing at all is fine.
pub(super) fn certificate_problem(bytes: &[u8]) -> Option<String> {
    if bytes.is_empty() {
        return None;
    }
    let mut blocks = 0;
    for block in Pem::iter_from_buffer(bytes) {
        let Ok(block) = block else { break };
        if block.label != CERTIFICATE {
            let found = block.label;
            return Some(format!("only CERTIFICATE PEM blocks are allowed, found \"{found}\""));
        }
        if let Err(error) = block.parse_x509() {
            return Some(format!("malformed certificate: {error}"));
        }
        blocks += 1;
    }
    (blocks == 0).then(|| "must contain at least one CERTIFICATE PEM block".to_owned())
}
