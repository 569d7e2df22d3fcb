//! A certificate authority in Amazon's place, and a fetcher that has its files at hand.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{RSA_PKCS1_SHA256, RsaKeyPair};
use rcgen::{
    BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, PKCS_RSA_SHA256, date_time_ymd,
};
use tower_persistence::BoxError;
use tower_persistence::verify::{Fetched, Fetcher};

use super::common::base64;

/// A root, and an intermediate authority below it.
pub(crate) struct Authority {
    pub(crate) root: Vec<u8>,
    root_issuer: Issuer<'static, KeyPair>,
    intermediate: Vec<u8>,
    issuer: Issuer<'static, KeyPair>,
}

/// A leaf with its key, and the file in which it lies.
pub(crate) struct Leaf {
    pub(crate) pem: String,
    /// The leaf's certificate alone.
    pub(crate) alone: String,
    pub(crate) key: RsaKeyPair,
}

fn authority_params() -> CertificateParams {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.not_before = date_time_ymd(2010, 1, 1);
    params.not_after = date_time_ymd(2040, 1, 1);
    params
}

impl Authority {
    pub(crate) fn new() -> Self {
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap();
        let mut params = authority_params();
        params.distinguished_name.push(rcgen::DnType::CommonName, "root");
        let root = params.self_signed(&key).unwrap().der().to_vec();
        let root_issuer = Issuer::new(params, key);
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap();
        let mut params = authority_params();
        params.distinguished_name.push(rcgen::DnType::CommonName, "intermediate");
        let intermediate = params.signed_by(&key, &root_issuer).unwrap().der().to_vec();
        Self { root, root_issuer, intermediate, issuer: Issuer::new(params, key) }
    }

    /// Issues a certificate for this name, valid in 2018, the year of the tests.
    pub(crate) fn leaf(&self, name: &str) -> Leaf {
        self.leaf_with(name, 2018, |_| {})
    }

    pub(crate) fn leaf_with(
        &self,
        name: &str,
        year: i32,
        change: impl FnOnce(&mut CertificateParams),
    ) -> Leaf {
        let key = KeyPair::generate_for(&PKCS_RSA_SHA256).unwrap();
        let mut params = CertificateParams::new([name.to_owned()]).unwrap();
        params.not_before = date_time_ymd(year, 1, 1);
        params.not_after = date_time_ymd(year + 1, 1, 1);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        change(&mut params);
        let leaf = params.signed_by(&key, &self.issuer).unwrap().der().to_vec();
        Leaf {
            pem: pem(&[&leaf, &self.intermediate]),
            alone: pem(&[&leaf]),
            key: RsaKeyPair::from_pkcs8(&key.serialize_der()).unwrap(),
        }
    }

    /// Issues a certificate below one that is no authority.
    pub(crate) fn below_a_leaf(&self, name: &str) -> Leaf {
        let middle_key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap();
        let mut middle = CertificateParams::new(["middle.example.com".to_owned()]).unwrap();
        middle.not_before = date_time_ymd(2010, 1, 1);
        middle.not_after = date_time_ymd(2040, 1, 1);
        middle.is_ca = IsCa::ExplicitNoCa;
        let certificate = middle.signed_by(&middle_key, &self.root_issuer).unwrap().der().to_vec();
        let issuer = Issuer::new(middle, middle_key);
        let key = KeyPair::generate_for(&PKCS_RSA_SHA256).unwrap();
        let mut params = CertificateParams::new([name.to_owned()]).unwrap();
        params.not_before = date_time_ymd(2018, 1, 1);
        params.not_after = date_time_ymd(2019, 1, 1);
        let leaf = params.signed_by(&key, &issuer).unwrap().der().to_vec();
        Leaf {
            pem: pem(&[&leaf, &certificate]),
            alone: pem(&[&leaf]),
            key: RsaKeyPair::from_pkcs8(&key.serialize_der()).unwrap(),
        }
    }
}

pub(crate) fn rsa_sign(key: &RsaKeyPair, message: &[u8]) -> Vec<u8> {
    let mut signature = vec![0; key.public_modulus_len()];
    key.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), message, &mut signature).unwrap();
    signature
}

fn pem(certificates: &[&Vec<u8>]) -> String {
    let one = |der: &&Vec<u8>| {
        let text = base64(der);
        let lines: Vec<_> =
            text.as_bytes().chunks(64).map(|line| std::str::from_utf8(line).unwrap()).collect();
        format!("-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n", lines.join("\n"))
    };
    certificates.iter().map(one).collect()
}

/// Serves what the test puts under a URL, and counts.
#[derive(Clone, Default)]
pub(crate) struct Files(Arc<Mutex<Inner>>);

#[derive(Default)]
struct Inner {
    files: HashMap<String, String>,
    max_age: Option<Duration>,
    fetched: Vec<String>,
    hangs: bool,
}

impl Files {
    pub(crate) fn put(&self, url: &str, text: impl Into<String>) {
        self.0.lock().unwrap().files.insert(url.to_owned(), text.into());
    }

    pub(crate) fn remove(&self, url: &str) {
        self.0.lock().unwrap().files.remove(url);
    }

    pub(crate) fn max_age(&self, max_age: Duration) {
        self.0.lock().unwrap().max_age = Some(max_age);
    }

    pub(crate) fn hang(&self) {
        self.0.lock().unwrap().hangs = true;
    }

    /// Returns the URLs that were fetched, in their order.
    pub(crate) fn fetched(&self) -> Vec<String> {
        self.0.lock().unwrap().fetched.clone()
    }
}

impl Fetcher for Files {
    async fn fetch(&self, url: &str, limit: usize) -> Result<Fetched, BoxError> {
        let (file, max_age, hangs) = {
            let mut inner = self.0.lock().unwrap();
            inner.fetched.push(url.to_owned());
            (inner.files.get(url).cloned(), inner.max_age, inner.hangs)
        };
        // Others get their turn, as with a server.
        tokio::task::yield_now().await;
        if hangs {
            std::future::pending::<()>().await;
        }
        let file = file.ok_or("404")?;
        if file.len() > limit {
            return Err("over the limit".into());
        }
        Ok(Fetched::new(file).max_age(max_age))
    }
}
