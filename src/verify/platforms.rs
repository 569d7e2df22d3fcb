//! The setters of the platforms' own checks.

use super::alexa::Alexa;
use super::checks::Assigned;
use super::ed25519::Discord;
use super::fetch::Fetcher;
use super::header::FixedHeader;
use super::hmac::Hmac;
#[cfg(feature = "verify-http")]
use super::http_fetcher::HttpFetcher;
use super::jwt::Jwt;
use super::layer::VerifyLayer;
use super::secrets::Secrets;
use super::twilio::Twilio;

/// The platforms of Meta, which sign alike.
const META: [&str; 3] = ["whatsapp", "facebookmessenger", "instagram"];

/// Platforms whose check is ready.
impl VerifyLayer {
    /// Checks WhatsApp, Messenger and Instagram with the app secret ([`Hmac::meta`]), and answers
    /// Meta's question for the verify token.
    ///
    /// ```
    /// use tower_persistence::VerifyLayer;
    ///
    /// let layer = VerifyLayer::new().meta("app secret", "verify token");
    /// ```
    #[must_use]
    pub fn meta(self, app_secrets: impl Into<Secrets>, verify_tokens: impl Into<Secrets>) -> Self {
        let (hmac, tokens) = (Hmac::meta(app_secrets), verify_tokens.into());
        let layer = META.iter().fold(self, |layer, name| layer.verifier(*name, hmac.clone()));
        match tokens.problem() {
            // An empty token would answer everybody.
            Some(problem) => {
                let problem = format!("the verify token is unusable: {problem}");
                layer.assign(META[0].into(), Assigned::Unusable(problem))
            }
            None => layer.with(|checks| checks.verify_tokens.push(tokens)),
        }
    }

    /// Checks Slack with the signing secret ([`Hmac::slack`]), and answers `url_verification`.
    ///
    /// ```
    /// use tower_persistence::VerifyLayer;
    ///
    /// let layer = VerifyLayer::new().slack(["new signing secret", "old signing secret"]);
    /// ```
    #[must_use]
    pub fn slack(self, signing_secrets: impl Into<Secrets>) -> Self {
        self.verifier("slack", Hmac::slack(signing_secrets))
    }

    /// Checks LINE with the channel secret ([`Hmac::line`]), and answers the check of the
    /// connection, which has no events.
    ///
    /// ```
    /// use tower_persistence::VerifyLayer;
    ///
    /// let layer = VerifyLayer::new().line("channel secret");
    /// ```
    #[must_use]
    pub fn line(self, channel_secrets: impl Into<Secrets>) -> Self {
        self.verifier("line", Hmac::line(channel_secrets))
    }

    /// Checks Telegram with the `secret_token` of `setWebhook` ([`FixedHeader::telegram`]).
    ///
    /// ```
    /// use tower_persistence::VerifyLayer;
    ///
    /// let layer = VerifyLayer::new().telegram("secret_token");
    /// ```
    #[must_use]
    pub fn telegram(self, secret_tokens: impl Into<Secrets>) -> Self {
        self.verifier("telegram", FixedHeader::telegram(secret_tokens))
    }

    /// Checks Discord with the public keys of the app ([`Discord`]), and answers PING.
    ///
    /// ```
    /// use tower_persistence::VerifyLayer;
    ///
    /// let key = "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a";
    /// let layer = VerifyLayer::new().discord([key]);
    /// ```
    #[must_use]
    pub fn discord<K: AsRef<str>>(self, public_keys: impl IntoIterator<Item = K>) -> Self {
        self.verifier("discord", Discord::new(public_keys))
    }

    /// Checks Twilio with the auth token, or with a [`Twilio`] that knows the public URL.
    ///
    /// ```
    /// use tower_persistence::VerifyLayer;
    /// use tower_persistence::verify::Twilio;
    ///
    /// let twilio = Twilio::new("auth token").public_url("https://bot.example.com");
    /// let layer = VerifyLayer::new().twilio(twilio);
    /// ```
    #[must_use]
    pub fn twilio(self, twilio: impl Into<Twilio>) -> Self {
        self.verifier("twilio", twilio.into())
    }

    /// Checks Alexa for the skills with these ids ([`Alexa`]), with an [`HttpFetcher`].
    ///
    /// ```
    /// use tower_persistence::VerifyLayer;
    ///
    /// let layer = VerifyLayer::new().alexa(["amzn1.ask.skill.1234"]);
    /// ```
    #[cfg(feature = "verify-http")]
    #[must_use]
    pub fn alexa<I: Into<String>>(self, skill_ids: impl IntoIterator<Item = I>) -> Self {
        self.alexa_with(skill_ids, HttpFetcher::new())
    }

    /// Checks Alexa for the skills with these ids ([`Alexa`]), with a fetcher of your own.
    ///
    /// ```
    /// # use tower_persistence::VerifyLayer;
    /// # use tower_persistence::verify::Fetcher;
    /// # fn example(fetcher: impl Fetcher) {
    /// let layer = VerifyLayer::new().alexa_with(["amzn1.ask.skill.1234"], fetcher);
    /// # }
    /// ```
    #[must_use]
    pub fn alexa_with<I: Into<String>>(
        self,
        skill_ids: impl IntoIterator<Item = I>,
        fetcher: impl Fetcher,
    ) -> Self {
        self.verifier("alexa", Alexa::new(skill_ids, fetcher))
    }

    /// Checks Google Chat by a token: [`Jwt::google_chat_url`], [`Jwt::google_chat_project`], or
    /// [`Jwt::google`] for Pub/Sub and add-ons. Called several times, each may let a request pass.
    ///
    /// ```
    /// # use tower_persistence::VerifyLayer;
    /// # use tower_persistence::verify::{Fetcher, Jwt};
    /// # fn example(fetcher: impl Fetcher) {
    /// let check = Jwt::google_chat_project("1234567890", fetcher);
    /// let layer = VerifyLayer::new().google_chat(check);
    /// # }
    /// ```
    #[must_use]
    pub fn google_chat(self, check: Jwt) -> Self {
        self.verifier("googlechat", check)
    }

    /// Checks Teams by a token: [`Jwt::bot_framework`], or [`Jwt::entra`].
    ///
    /// ```
    /// # use tower_persistence::VerifyLayer;
    /// # use tower_persistence::verify::{Fetcher, Jwt};
    /// # fn example(fetcher: impl Fetcher) {
    /// let check = Jwt::bot_framework("00000000-0000-0000-0000-000000000000", fetcher);
    /// let layer = VerifyLayer::new().teams(check);
    /// # }
    /// ```
    #[must_use]
    pub fn teams(self, check: Jwt) -> Self {
        self.verifier("msteams", check)
    }

    /// Checks MCP by a token whose audience is the server, and refuses with 403 a request with an
    /// `Origin` that the check does not [allow](Jwt::origins)
    /// ([specification](https://modelcontextprotocol.io/specification/draft/basic/transports)). GET
    /// requests pass unread; check those in the handler.
    ///
    /// ```
    /// # use tower_persistence::VerifyLayer;
    /// # use tower_persistence::verify::{Fetcher, Jwt};
    /// # fn example(fetcher: impl Fetcher) {
    /// let check = Jwt::oidc("https://login.example.com", "https://mcp.example.com", fetcher);
    /// let layer = VerifyLayer::new().mcp(check.origins(["https://app.example.com"]));
    /// # }
    /// ```
    #[must_use]
    pub fn mcp(self, check: Jwt) -> Self {
        self.verifier("mcp", check.guards_origin())
    }
}
