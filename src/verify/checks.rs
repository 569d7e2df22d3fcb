//! The values of the layer's options, and the check of one request.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::request::Parts;
use http::{HeaderMap, Method, Response, Uri};
use http_body::Body;
use tokio::time::timeout;

use super::handshake::{self, Handshake};
use super::observe;
use super::refusal::{Cause, Refusal};
use super::replay::Seen;
use super::secrets::Secrets;
use super::verifier::{DynVerifier, Proof, SignedRequest};
use crate::body;
use crate::error::{Error, Kind};
use crate::platform::{self, Claim, NamedPlatform, PlatformRequest, claim};
use crate::verified::Verified;

type Clock = dyn Fn() -> SystemTime + Send + Sync;

#[derive(Clone)]
pub(super) struct Checks {
    pub(super) platforms: Vec<NamedPlatform>,
    /// By the name of the platform. Each of several may let a request pass.
    pub(super) verifiers: HashMap<Arc<str>, Vec<Assigned>>,
    pub(super) trusted: HashSet<Arc<str>>,
    /// The verify tokens of Meta.
    pub(super) verify_tokens: Vec<Secrets>,
    pub(super) body_limit: usize,
    pub(super) body_timeout: Duration,
    pub(super) verify_timeout: Duration,
    pub(super) seen: Option<Arc<Seen>>,
    pub(super) clock: Arc<Clock>,
}

/// A verifier that is in charge of a platform.
#[derive(Clone)]
pub(super) enum Assigned {
    Usable(Arc<dyn DynVerifier>),
    /// Its settings are unusable, for this reason.
    Unusable(String),
}

/// The name of the platform whose verifier is due, and its handshake if the request is one.
type Due = (Arc<str>, Option<Handshake>);

/// The outcome of a check that refused nothing.
pub(super) enum Outcome {
    /// No platform recognises the request.
    Unclaimed,
    Verified(Verified),
    /// The request was a handshake.
    Answered(Response<Bytes>),
}

/// A request that is refused.
pub(super) struct Refused {
    pub(super) refusal: Refusal,
    pub(super) error: Error,
}

impl Checks {
    pub(super) fn new() -> Self {
        observe::describe();
        Self {
            platforms: platform::all().into_iter().map(NamedPlatform::from).collect(),
            verifiers: HashMap::new(),
            trusted: HashSet::new(),
            verify_tokens: Vec::new(),
            body_limit: 1024 * 1024,
            body_timeout: Duration::from_secs(10),
            verify_timeout: Duration::from_secs(5),
            seen: None,
            clock: Arc::new(SystemTime::now),
        }
    }

    /// Answers a question that a platform asks by GET.
    pub(super) fn question(&self, uri: &Uri) -> Option<Response<Bytes>> {
        let answers = self.verify_tokens.iter().filter_map(|tokens| handshake::meta(uri, tokens));
        // Of several apps, the one whose token it is answers.
        answers.min_by_key(Response::status)
    }

    /// Checks a request. `body` holds the raw bytes.
    pub(super) async fn check(&self, head: &Parts, body: &[u8]) -> Result<Outcome, Box<Refused>> {
        let Some((platform, handshake)) = self.due(head, body)? else {
            return Ok(Outcome::Unclaimed);
        };
        let proof = match self.verifiers.get(&*platform) {
            None if self.trusted.contains(&*platform) => {
                return Ok(Outcome::Verified(Verified::new(platform).trusted()));
            }
            None => Err(Cause::NoVerifier.into()),
            Some(verifiers) => self.verify(&platform, verifiers, head, body).await,
        };
        let proof = match proof {
            Ok(proof) => proof,
            Err(refusal) => return Err(Refused::new(&platform, refusal)),
        };
        if let Some(handshake) = handshake {
            observe::passed(&platform, "handshake");
            return Ok(Outcome::Answered(handshake.answer()));
        }
        observe::passed(&platform, "passed");
        let verified = Verified::new(platform);
        Ok(Outcome::Verified(match proof.claims {
            Some(claims) => verified.claims(claims),
            None => verified,
        }))
    }

    /// Returns whether the layer reads this body.
    pub(super) fn reads(&self, method: &Method, headers: &HeaderMap, body: &impl Body) -> bool {
        // Without a limit: a layer behind this one may read a longer body, so it must not pass.
        let is_read_type = platform::reads(&self.platforms, headers);
        body::is_read(method, headers, body, usize::MAX, is_read_type)
    }

    /// Returns the platform whose verifier is due, and its handshake if the request is one.
    fn due(&self, head: &Parts, body: &[u8]) -> Result<Option<Due>, Box<Refused>> {
        let Some(request) = PlatformRequest::parse(head, body) else { return Ok(None) };
        let handshake = request.json().and_then(Handshake::of);
        Ok(match (claim(&self.platforms, &request), handshake) {
            (Claim::One(platform, _), handshake) => {
                let name = Arc::clone(&platform.name);
                let handshake = handshake.filter(|handshake| *handshake.platform() == *name);
                Some((name, handshake))
            }
            (Claim::Ambiguous(one, other), _) => return Err(Refused::ambiguous(one, other)),
            // Platforms need not recognise a request without a user.
            (Claim::None, Some(handshake)) => {
                let assigned = self.verifiers.get_key_value(handshake.platform());
                assigned.map(|(name, _)| (Arc::clone(name), Some(handshake)))
            }
            (Claim::None, None) => None,
        })
    }

    async fn verify(
        &self,
        platform: &Arc<str>,
        verifiers: &[Assigned],
        head: &Parts,
        body: &[u8],
    ) -> Result<Proof, Refusal> {
        let now = (self.clock)();
        let request = SignedRequest::new(head, body, now);
        let mut first = None;
        for verifier in verifiers {
            let refusal = match verifier {
                Assigned::Unusable(_) => Cause::Misconfigured.into(),
                Assigned::Usable(verifier) => {
                    match timeout(self.verify_timeout, verifier.verify(request)).await {
                        Ok(Ok(proof)) => return self.only_once(platform, proof, now),
                        Ok(Err(refusal)) => refusal,
                        Err(_) => Cause::KeysUnavailable.into(),
                    }
                }
            };
            first.get_or_insert(refusal);
        }
        Err(first.unwrap_or_else(|| Cause::NoVerifier.into()))
    }

    fn only_once(&self, platform: &str, proof: Proof, now: SystemTime) -> Result<Proof, Refusal> {
        match (&self.seen, &proof.once) {
            (Some(seen), Some(once)) if !seen.is_first(platform, once, now) => {
                Err(Cause::Replayed.into())
            }
            _ => Ok(proof),
        }
    }
}

impl Refused {
    fn ambiguous(one: &NamedPlatform, other: &NamedPlatform) -> Box<Self> {
        let refusal = Refusal::from(Cause::Ambiguous);
        observe::refused(None, &refusal);
        let message = format!(
            "both {} and {} recognise this request, so it was refused: send the members of one \
             platform only",
            one.name, other.name
        );
        Box::new(Self { refusal, error: Error::new(Kind::Ambiguous, message) })
    }

    fn new(platform: &Arc<str>, refusal: Refusal) -> Box<Self> {
        observe::refused(Some(platform), &refusal);
        let message = match refusal.cause() {
            Cause::NoVerifier => {
                "the request was not verified: no verifier is set for its platform; add one, or \
                 `trust` the platform"
                    .to_owned()
            }
            cause => format!("the request was not verified: {}", cause.as_str()),
        };
        let error = Error::new(Kind::Unverified, message).with_platform(Arc::clone(platform));
        Box::new(Self { refusal, error })
    }
}

/// Shows the names of platforms, and no settings of verifiers.
impl fmt::Debug for Checks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let platforms: Vec<_> = self.platforms.iter().map(|platform| &platform.name).collect();
        f.debug_struct("Checks")
            .field("platforms", &platforms)
            .field("verifiers", &self.verifiers.keys())
            .field("trusted", &self.trusted)
            .field("body_limit", &self.body_limit)
            .field("body_timeout", &self.body_timeout)
            .field("verify_timeout", &self.verify_timeout)
            .field("seen", &self.seen)
            .finish_non_exhaustive()
    }
}
