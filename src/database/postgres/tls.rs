//! TLS, and whose certificates count.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use tokio_postgres_rustls::MakeRustlsConnect;

use crate::error::Error;

/// The trust that a URL asks for.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Tls {
    Off,
    /// Encrypts where the server does, and asks no authority.
    Unverified,
    /// Accepts certificates of the authorities in this file, or else of the system.
    Verified(Option<PathBuf>),
}

impl Tls {
    /// Reads the authorities, which blocks.
    pub(super) fn connector(&self, is_direct: bool) -> Result<MakeRustlsConnect, Error> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let verifier: Arc<dyn ServerCertVerifier> = match self {
            Self::Off | Self::Unverified => Arc::new(AnyCertificate(Arc::clone(&provider))),
            Self::Verified(file) => {
                let roots = Arc::new(roots(file.as_deref())?);
                WebPkiServerVerifier::builder_with_provider(roots, Arc::clone(&provider))
                    .build()
                    .map_err(unusable)?
            }
        };
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(unusable)?
            .dangerous()
            .with_custom_certificate_verifier(verifier)
            .with_no_client_auth();
        if is_direct {
            config.alpn_protocols.push(b"postgresql".to_vec());
        }
        Ok(MakeRustlsConnect::new(config))
    }
}

fn roots(file: Option<&Path>) -> Result<RootCertStore, Error> {
    let mut roots = RootCertStore::empty();
    match file {
        Some(path) => {
            let unreadable = |why: &str| {
                Error::configuration(format!(
                    "the file of `sslrootcert`, {}, cannot be used: {why}; name a file of \
                     certificates in PEM",
                    path.display()
                ))
            };
            let certificates = CertificateDer::pem_file_iter(path)
                .and_then(Iterator::collect::<Result<Vec<_>, _>>)
                .map_err(|error| unreadable(&error.to_string()))?;
            roots.add_parsable_certificates(certificates);
            if roots.is_empty() {
                return Err(unreadable("it holds no certificate"));
            }
        }
        None => {
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
            if roots.is_empty() {
                return Err(Error::configuration(
                    "the system has no certificates by which to trust PostgreSQL's: install them \
                     (Debian, Ubuntu: ca-certificates), or name a file with `sslrootcert`",
                ));
            }
        }
    }
    Ok(roots)
}

fn unusable(error: impl std::error::Error + Send + Sync + 'static) -> Error {
    Error::configuration("TLS for PostgreSQL cannot be set up: check the certificates")
        .with_source(error)
}

/// Accepts every certificate, as libpq does with `sslmode=prefer`: who can forge one can also say
/// that the server speaks no TLS. The handshake must be that of the certificate's owner.
#[derive(Debug)]
struct AnyCertificate(Arc<CryptoProvider>);

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(
            message,
            certificate,
            signed,
            &self.0.signature_verification_algorithms,
        )
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(
            message,
            certificate,
            signed,
            &self.0.signature_verification_algorithms,
        )
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
