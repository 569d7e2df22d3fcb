//! A chain of certificates, and what it proves.

use std::time::{Duration, SystemTime};

use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{
    CertificateDer, ServerName, SignatureVerificationAlgorithm, TrustAnchor, UnixTime,
};
use webpki::aws_lc_rs::{
    ECDSA_P256_SHA256, ECDSA_P256_SHA384, ECDSA_P384_SHA256, ECDSA_P384_SHA384,
    RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_2048_8192_SHA384, RSA_PKCS1_2048_8192_SHA512,
};
use webpki::{EndEntityCert, KeyUsage};

use super::super::refusal::Cause;

/// The most certificates in a chain: Amazon sends four.
const LONGEST: usize = 8;

/// The name in the certificate of Alexa's signatures.
const NAME: &str = "echo-api.amazon.com";

/// The algorithms with which certificate authorities sign certificates.
const ALGORITHMS: &[&dyn SignatureVerificationAlgorithm] = &[
    RSA_PKCS1_2048_8192_SHA256,
    RSA_PKCS1_2048_8192_SHA384,
    RSA_PKCS1_2048_8192_SHA512,
    ECDSA_P256_SHA256,
    ECDSA_P256_SHA384,
    ECDSA_P384_SHA256,
    ECDSA_P384_SHA384,
];

/// Certificates as they were fetched, the leaf first.
#[derive(Debug)]
pub(super) struct Chain {
    leaf: CertificateDer<'static>,
    above: Vec<CertificateDer<'static>>,
}

impl Chain {
    /// Reads the certificates in a PEM file.
    pub(super) fn parse(pem: &[u8]) -> Option<Self> {
        let read = CertificateDer::pem_slice_iter(pem).take(LONGEST + 1);
        let mut certificates = read.collect::<Result<Vec<_>, _>>().ok()?;
        if certificates.is_empty() || certificates.len() > LONGEST {
            return None;
        }
        let leaf = certificates.remove(0);
        Some(Self { leaf, above: certificates })
    }

    /// Checks that the chain leads from Alexa's certificate to one of `roots` and is valid at
    /// `now`.
    pub(super) fn check_itself(
        &self,
        roots: &[TrustAnchor<'_>],
        now: SystemTime,
    ) -> Result<EndEntityCert<'_>, Cause> {
        let since = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or(Duration::ZERO);
        let now = UnixTime::since_unix_epoch(since);
        let leaf = EndEntityCert::try_from(&self.leaf).map_err(|_| Cause::UnknownKey)?;
        leaf.verify_for_usage(
            ALGORITHMS,
            roots,
            &self.above,
            now,
            KeyUsage::server_auth(),
            None,
            None,
        )
        .map_err(|error| cause(&error))?;
        let name = ServerName::try_from(NAME).map_err(|_| Cause::UnknownKey)?;
        leaf.verify_is_valid_for_subject_name(&name).map_err(|_| Cause::UnknownKey)?;
        Ok(leaf)
    }

    /// Checks the chain, and that its leaf has signed `message`.
    pub(super) fn check(
        &self,
        roots: &[TrustAnchor<'_>],
        message: &[u8],
        signature: &[u8],
        now: SystemTime,
    ) -> Result<(), Cause> {
        let leaf = self.check_itself(roots, now)?;
        let verified = leaf.verify_signature(RSA_PKCS1_2048_8192_SHA256, message, signature);
        verified.map_err(|_| Cause::BadSignature)
    }
}

fn cause(error: &webpki::Error) -> Cause {
    match error {
        webpki::Error::CertExpired { .. } => Cause::TooOld,
        webpki::Error::CertNotValidYet { .. } => Cause::TooNew,
        _ => Cause::UnknownKey,
    }
}
