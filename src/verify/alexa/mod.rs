//! Alexa: a certificate that the request names, and a signature that it checks.

mod chain;
mod chains;
mod url;

use std::fmt;
use std::time::Duration;

use http::StatusCode;
use rustls_pki_types::{CertificateDer, TrustAnchor};

use self::chain::Chain;
use self::chains::Chains;
use super::fetch::Fetcher;
use super::handshake::text;
use super::refusal::{Cause, Refusal};
use super::secrets::{from_base64, sha256};
use super::time;
use super::verifier::{Proof, SignedRequest, Verifier};
use crate::platform::Document;

/// The greatest age of a request, which is also how far it may be ahead of the clock here.
const TOLERANCE: Duration = Duration::from_secs(150);

/// The greatest age of a skill event
/// (<https://developer.amazon.com/en-US/docs/alexa/smapi/skill-events-in-alexa-skills.html>).
const EVENT_TOLERANCE: Duration = Duration::from_secs(3600);

const SKILL_EVENTS: [&str; 5] = [
    "AlexaSkillEvent.SkillEnabled",
    "AlexaSkillEvent.SkillDisabled",
    "AlexaSkillEvent.SkillPermissionChanged",
    "AlexaSkillEvent.SkillPermissionAccepted",
    "AlexaSkillEvent.SkillAccountLinked",
];

/// Checks Alexa's requests, as Amazon demands it of every skill that is a web service
/// ([documentation](https://developer.amazon.com/en-US/docs/alexa/custom-skills/host-a-custom-skill-as-a-web-service.html)).
///
/// * `SignatureCertChainUrl` is at Amazon: `https`, host `s3.amazonaws.com`, port 443, and a path
///   below `/echo.api/` once dots are resolved.
/// * The certificates there lead from one for `echo-api.amazon.com` to a root that Mozilla trusts,
///   and all are valid now. Revocation is not checked.
/// * `Signature-256` is the RSA signature (PKCS #1 v1.5, SHA-256) of the raw body.
/// * `request.timestamp` is at most 150 seconds old, for the five skill events 3,600, and at most
///   150 seconds ahead.
/// * The `applicationId`, in `context` and in `session`, is one of your skills'.
///
/// Certificates are kept by URL: at most 16, each for a day. What fails is answered with 400, as
/// Amazon asks for.
///
/// ```
/// # use tower_persistence::BoxError;
/// # use tower_persistence::verify::{Alexa, Fetched, Fetcher};
/// # struct MyClient;
/// # impl Fetcher for MyClient {
/// #     async fn fetch(&self, _: &str, _: usize) -> Result<Fetched, BoxError> {
/// #         Err("offline".into())
/// #     }
/// # }
/// let alexa = Alexa::new(["amzn1.ask.skill.1234"], MyClient);
/// ```
pub struct Alexa {
    skill_ids: Vec<String>,
    chains: Chains,
    roots: Vec<TrustAnchor<'static>>,
}

impl Alexa {
    /// Makes a check for the skills with these ids, whose certificates `fetcher` gets.
    ///
    /// ```
    /// # use tower_persistence::BoxError;
    /// # use tower_persistence::verify::{Alexa, Fetched, Fetcher};
    /// # struct MyClient;
    /// # impl Fetcher for MyClient {
    /// #     async fn fetch(&self, _: &str, _: usize) -> Result<Fetched, BoxError> {
    /// #         Err("offline".into())
    /// #     }
    /// # }
    /// let alexa = Alexa::new(["amzn1.ask.skill.1234", "amzn1.ask.skill.5678"], MyClient);
    /// ```
    #[must_use]
    pub fn new<I: Into<String>>(
        skill_ids: impl IntoIterator<Item = I>,
        fetcher: impl Fetcher,
    ) -> Self {
        let skill_ids = skill_ids.into_iter().map(Into::into).collect();
        let roots = webpki_roots::TLS_SERVER_ROOTS.to_vec();
        Self { skill_ids, chains: Chains::new(fetcher), roots }
    }

    /// Trusts this root certificate alone, in DER, in the place of Mozilla's: for tests with a
    /// certificate authority of their own. One that cannot be read leaves no root, so that all
    /// requests are refused.
    ///
    /// ```
    /// # use tower_persistence::BoxError;
    /// # use tower_persistence::verify::{Alexa, Fetched, Fetcher};
    /// # struct MyClient;
    /// # impl Fetcher for MyClient {
    /// #     async fn fetch(&self, _: &str, _: usize) -> Result<Fetched, BoxError> {
    /// #         Err("offline".into())
    /// #     }
    /// # }
    /// # fn example(der: &[u8]) {
    /// let alexa = Alexa::new(["amzn1.ask.skill.1234"], MyClient).root(der);
    /// # }
    /// ```
    #[must_use]
    pub fn root(self, der: &[u8]) -> Self {
        let der = CertificateDer::from(der);
        let root = webpki::anchor_from_trusted_cert(&der).map(|anchor| anchor.to_owned());
        Self { roots: root.into_iter().collect(), ..self }
    }

    async fn check(&self, request: SignedRequest<'_>) -> Result<Proof, Cause> {
        // In the order of their cost: a stranger's request should cause as little as possible.
        let url = request.header("signaturecertchainurl").ok_or(Cause::NoSignature)?;
        let url = url::normalised(url).ok_or(Cause::UnknownKey)?;
        let signature = request.header("signature-256").and_then(from_base64);
        let signature = signature.ok_or(Cause::NoSignature)?;
        let until = self.check_body(request)?;
        let chain = self.chains.get(&url, request.now).await?;
        chain.check(&self.roots, request.body, &signature, request.now)?;
        Ok(Proof::new().once(sha256(&[request.body]), until))
    }

    /// Checks that the request is recent and for one of the skills. Returns when it is too old.
    fn check_body(&self, request: SignedRequest<'_>) -> Result<std::time::SystemTime, Cause> {
        let document = Document::parse(request.body).ok_or(Cause::NoSignature)?;
        let at = |pointer| text(document.pointer(pointer));
        let stamp = at("/request/timestamp").and_then(|text| text.parse::<jiff::Timestamp>().ok());
        let stamp = stamp.ok_or(Cause::NoSignature)?.into();
        let kind = at("/request/type").unwrap_or_default();
        let age = if SKILL_EVENTS.contains(&&*kind) { EVENT_TOLERANCE } else { TOLERANCE };
        time::check(stamp, request.now, age, TOLERANCE)?;
        let ids =
            ["/context/System/application/applicationId", "/session/application/applicationId"];
        let mut ids = ids.into_iter().filter_map(at).peekable();
        let has_id = ids.peek().is_some();
        if !has_id || !ids.all(|id| self.skill_ids.contains(&id)) {
            return Err(Cause::WrongAudience);
        }
        Ok(time::end(stamp, age))
    }
}

impl Verifier for Alexa {
    async fn verify(&self, request: SignedRequest<'_>) -> Result<Proof, Refusal> {
        let checked = self.check(request).await;
        checked.map_err(|cause| Refusal::new(cause, StatusCode::BAD_REQUEST))
    }

    fn problem(&self) -> Option<&str> {
        if self.skill_ids.is_empty() || self.skill_ids.iter().any(|id| id.trim().is_empty()) {
            return Some("a skill id is missing: pass the one of the developer console");
        }
        self.roots.is_empty().then_some("the root certificate cannot be read")
    }
}

impl fmt::Debug for Alexa {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Alexa")
            .field("skill_ids", &self.skill_ids)
            .field("roots", &self.roots.len())
            .finish_non_exhaustive()
    }
}
