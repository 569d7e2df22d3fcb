//! JSON Web Tokens: a token in `Authorization`, signed by an issuer whose keys are published.

mod algorithm;
mod claims;
mod jwks;
mod keys;
mod presets;
mod token;

use std::fmt;
use std::time::Duration;

use http::header::AUTHORIZATION;
use http::{HeaderValue, StatusCode};
use serde_json::{Map, Value};

use self::claims::{BodyClaims, Issuer};
pub use self::keys::Keys;
use self::token::Token;
use super::refusal::{Cause, Refusal};
use super::verifier::{Proof, SignedRequest, Verifier};

/// Checks a JSON Web Token in `Authorization: Bearer …`
/// ([RFC 7519](https://www.rfc-editor.org/rfc/rfc7519),
/// [RFC 8725](https://www.rfc-editor.org/rfc/rfc8725)).
///
/// A token passes if one of the issuer's [`Keys`] has signed it with an algorithm that this check
/// allows and that belongs to the key, it is valid now, and both issuer and audience are expected.
/// The algorithm is never the token's choice: one without a signature or with a shared secret
/// (`none`, `HS256`) is refused, and so is a token with critical headers.
///
/// There are ready checks for [Google Chat](Self::google_chat_url), [Pub/Sub](Self::google),
/// [Bot Framework](Self::bot_framework), [Entra](Self::entra) and any
/// [OpenID provider](Self::oidc).
///
/// ```
/// use tower_persistence::verify::{Jwt, Keys};
///
/// let keys = Keys::fixed(r#"{"keys":[]}"#);
/// let check = Jwt::new(["https://issuer.example.com"], ["my-app"], keys);
/// ```
pub struct Jwt {
    issuer: Issuer,
    audiences: Vec<String>,
    algorithms: Vec<String>,
    keys: Keys,
    leeway: Duration,
    required: Vec<(String, Value)>,
    body: Option<BodyClaims>,
    /// `None` does not look at `Origin`.
    origins: Option<Vec<String>>,
    resource_metadata: Option<String>,
}

impl Jwt {
    /// Makes a check of tokens of one of `issuers` for one of `audiences`, signed with `RS256` or
    /// `ES256`.
    ///
    /// ```
    /// use tower_persistence::verify::{Jwt, Keys};
    ///
    /// let check = Jwt::new(["https://issuer.example.com"], ["my-app"], Keys::fixed("{}"));
    /// ```
    #[must_use]
    pub fn new<I: Into<String>, A: Into<String>>(
        issuers: impl IntoIterator<Item = I>,
        audiences: impl IntoIterator<Item = A>,
        keys: Keys,
    ) -> Self {
        Self {
            issuer: Issuer::OneOf(issuers.into_iter().map(Into::into).collect()),
            audiences: audiences.into_iter().map(Into::into).collect(),
            algorithms: ["RS256", "ES256"].map(str::to_owned).to_vec(),
            keys,
            leeway: Duration::from_secs(60),
            required: Vec::new(),
            body: None,
            origins: None,
            resource_metadata: None,
        }
    }

    /// Allows these algorithms only: of `RS256`, `RS384`, `RS512`, `PS256`, `PS384`, `PS512`,
    /// `ES256`, `ES384` and `EdDSA` ([RFC 7518](https://www.rfc-editor.org/rfc/rfc7518)). Default:
    /// `RS256` and `ES256`.
    ///
    /// ```
    /// # use tower_persistence::verify::{Jwt, Keys};
    /// let check = Jwt::new(["https://issuer.example.com"], ["my-app"], Keys::fixed("{}"))
    ///     .algorithms(["EdDSA"]);
    /// ```
    #[must_use]
    pub fn algorithms<A: Into<String>>(self, algorithms: impl IntoIterator<Item = A>) -> Self {
        Self { algorithms: algorithms.into_iter().map(Into::into).collect(), ..self }
    }

    /// Requires that a claim has exactly this value, such as `scope`.
    ///
    /// ```
    /// # use tower_persistence::verify::{Jwt, Keys};
    /// let check = Jwt::new(["https://issuer.example.com"], ["my-app"], Keys::fixed("{}"))
    ///     .claim("azp", "my-client");
    /// ```
    #[must_use]
    pub fn claim(mut self, name: impl Into<String>, value: impl Into<Value>) -> Self {
        self.required.push((name.into(), value.into()));
        self
    }

    /// Sets by how much the clocks may differ. Default: 60 seconds.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use tower_persistence::verify::{Jwt, Keys};
    /// let check = Jwt::new(["https://issuer.example.com"], ["my-app"], Keys::fixed("{}"))
    ///     .leeway(Duration::from_secs(10));
    /// ```
    #[must_use]
    pub fn leeway(self, leeway: Duration) -> Self {
        Self { leeway, ..self }
    }

    /// Refuses with 403 a request with a header `Origin` that is none of these, such as
    /// `https://app.example.com`: MCP asks for it, so that a page of another site cannot call a
    /// server on the user's machine. Default: `Origin` is not looked at, but by
    /// [`mcp`](super::VerifyLayer::mcp), which allows none.
    ///
    /// ```
    /// # use tower_persistence::verify::{Jwt, Keys};
    /// let check = Jwt::new(["https://issuer.example.com"], ["my-app"], Keys::fixed("{}"))
    ///     .origins(["https://app.example.com"]);
    /// ```
    #[must_use]
    pub fn origins<O: Into<String>>(self, origins: impl IntoIterator<Item = O>) -> Self {
        Self { origins: Some(origins.into_iter().map(Into::into).collect()), ..self }
    }

    pub(super) fn guards_origin(self) -> Self {
        Self { origins: self.origins.or_else(|| Some(Vec::new())), ..self }
    }

    /// Names the metadata of the protected resource in the answer of a 401, from which a client
    /// learns where to get a token
    /// ([RFC 9728](https://www.rfc-editor.org/rfc/rfc9728#section-5.1)). Default: none.
    ///
    /// ```
    /// # use tower_persistence::verify::{Jwt, Keys};
    /// let check = Jwt::new(["https://issuer.example.com"], ["my-app"], Keys::fixed("{}"))
    ///     .resource_metadata("https://example.com/.well-known/oauth-protected-resource");
    /// ```
    #[must_use]
    pub fn resource_metadata(self, url: impl Into<String>) -> Self {
        Self { resource_metadata: Some(url.into()), ..self }
    }

    async fn check(&self, request: SignedRequest<'_>) -> Result<Map<String, Value>, Cause> {
        if let Some(allowed) = &self.origins
            && request.head.headers.contains_key("origin")
            && !request.header("origin").is_some_and(|it| allowed.iter().any(|one| one == it))
        {
            return Err(Cause::WrongOrigin);
        }
        let value = request.header(AUTHORIZATION.as_str()).ok_or(Cause::NoSignature)?;
        let token = value.split_once(' ').filter(|it| it.0.eq_ignore_ascii_case("bearer"));
        let token = Token::parse(token.ok_or(Cause::NoSignature)?.1).ok_or(Cause::NoSignature)?;
        if !self.algorithms.contains(&token.algorithm) {
            return Err(Cause::BadSignature);
        }
        let key = self.keys.find(token.key_id.as_deref(), request.now).await?;
        key.verify(&token)?;
        let claims = token.claims;
        claims::check_time(&claims, request.now, self.leeway)?;
        self.issuer.check(&claims, key.issuer.as_deref())?;
        claims::check_audience(&claims, &self.audiences)?;
        if !self.required.iter().all(|(name, value)| claims.get(name) == Some(value)) {
            return Err(Cause::WrongAudience);
        }
        if let Some(body) = &self.body {
            body.check(&claims, &key.endorsements, request.body)?;
        }
        Ok(claims)
    }

    /// Makes the refusal, with the challenge that a client expects of a 401
    /// (<https://www.rfc-editor.org/rfc/rfc6750#section-3>).
    fn refusal(&self, cause: Cause) -> Refusal {
        let mut refusal = Refusal::from(cause);
        if refusal.status() == StatusCode::UNAUTHORIZED {
            let mut challenge = "Bearer".to_owned();
            let mut parameters = Vec::new();
            if cause != Cause::NoSignature {
                parameters.push(r#"error="invalid_token""#.to_owned());
            }
            if let Some(url) = &self.resource_metadata {
                parameters.push(format!(r#"resource_metadata="{url}""#));
            }
            if !parameters.is_empty() {
                challenge = format!("{challenge} {}", parameters.join(", "));
            }
            refusal.challenge = HeaderValue::try_from(challenge).ok();
        }
        refusal
    }
}

impl Verifier for Jwt {
    async fn verify(&self, request: SignedRequest<'_>) -> Result<Proof, Refusal> {
        match self.check(request).await {
            Ok(claims) => Ok(Proof::new().claims(claims)),
            Err(cause) => Err(self.refusal(cause)),
        }
    }

    fn problem(&self) -> Option<&str> {
        let is_blank =
            |texts: &[String]| texts.is_empty() || texts.iter().any(|it| it.trim().is_empty());
        if is_blank(&self.audiences) {
            return Some("the audience is missing: a token for another app would pass");
        }
        if self.issuer.is_blank() {
            return Some("the issuer, or the list of tenants, is missing");
        }
        if is_blank(&self.algorithms) || !self.algorithms.iter().all(|it| algorithm::is_known(it)) {
            return Some("an algorithm is not known, or has no public key: use `RS256` or `ES256`");
        }
        if self.required.iter().any(|(_, value)| value.as_str().is_some_and(str::is_empty)) {
            return Some("the value of a required claim is empty");
        }
        self.keys.problem()
    }
}

impl fmt::Debug for Jwt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Jwt")
            .field("issuer", &self.issuer)
            .field("audiences", &self.audiences)
            .field("algorithms", &self.algorithms)
            .field("keys", &self.keys)
            .finish_non_exhaustive()
    }
}
