//! Checks of the tokens of known issuers.

use std::time::Duration;

use serde_json::Value;

use super::claims::{BodyClaims, Issuer};
use super::{Jwt, Keys};
use crate::verify::fetch::Fetcher;

/// The account with which Google Chat signs.
const CHAT: &str = "chat@system.gserviceaccount.com";

impl Jwt {
    /// Makes a check of Google Chat whose app has the audience "HTTP endpoint URL": this URL
    /// ([documentation](https://developers.google.com/workspace/chat/verify-requests-from-chat)).
    ///
    /// ```
    /// # use tower_persistence::verify::{Fetcher, Jwt};
    /// # fn example(fetcher: impl Fetcher) {
    /// let check = Jwt::google_chat_url("https://bot.example.com/chat", fetcher);
    /// # }
    /// ```
    #[must_use]
    pub fn google_chat_url(url: impl Into<String>, fetcher: impl Fetcher) -> Self {
        Self::google(url, CHAT, fetcher)
    }

    /// Makes a check of Google Chat whose app has the audience "Project number"
    /// ([documentation](https://developers.google.com/workspace/chat/verify-requests-from-chat)).
    ///
    /// ```
    /// # use tower_persistence::verify::{Fetcher, Jwt};
    /// # fn example(fetcher: impl Fetcher) {
    /// let check = Jwt::google_chat_project("1234567890", fetcher);
    /// # }
    /// ```
    #[must_use]
    pub fn google_chat_project(number: impl Into<String>, fetcher: impl Fetcher) -> Self {
        let url = format!("https://www.googleapis.com/service_accounts/v1/jwk/{CHAT}");
        Self::new([CHAT], [number], Keys::jwks(url, fetcher)).algorithms(["RS256"])
    }

    /// Makes a check of Google's identity tokens for `audience`, of exactly this service account:
    /// that of a Pub/Sub subscription
    /// ([documentation](https://docs.cloud.google.com/pubsub/docs/authenticate-push-subscriptions)),
    /// or of one's own Workspace add-on. Never accept an account by a pattern: anyone can make
    /// an add-on.
    ///
    /// ```
    /// # use tower_persistence::verify::{Fetcher, Jwt};
    /// # fn example(fetcher: impl Fetcher) {
    /// let account = "push@my-project.iam.gserviceaccount.com";
    /// let check = Jwt::google("https://bot.example.com/pubsub", account, fetcher);
    /// # }
    /// ```
    #[must_use]
    pub fn google(
        audience: impl Into<String>,
        service_account: impl Into<String>,
        fetcher: impl Fetcher,
    ) -> Self {
        let issuers = ["https://accounts.google.com", "accounts.google.com"];
        let keys = Keys::jwks("https://www.googleapis.com/oauth2/v3/certs", fetcher);
        Self::new(issuers, [audience], keys)
            .algorithms(["RS256"])
            .claim("email", service_account.into())
            .claim("email_verified", Value::Bool(true))
    }

    /// Makes a check of the Bot Framework, for Teams and other channels: tokens of the connector
    /// for the app with this id, for the `serviceUrl` of the request, with a key that is endorsed
    /// for its `channelId`
    /// ([documentation](https://learn.microsoft.com/en-us/azure/bot-service/rest-api/bot-framework-rest-connector-authentication)).
    ///
    /// ```
    /// # use tower_persistence::verify::{Fetcher, Jwt};
    /// # fn example(fetcher: impl Fetcher) {
    /// let check = Jwt::bot_framework("00000000-0000-0000-0000-000000000000", fetcher);
    /// # }
    /// ```
    #[must_use]
    pub fn bot_framework(app_id: impl Into<String>, fetcher: impl Fetcher) -> Self {
        let url = "https://login.botframework.com/v1/.well-known/openidconfiguration";
        let keys = Keys::discovery(url, fetcher);
        let check = Self::new(["https://api.botframework.com"], [app_id], keys);
        Self { body: Some(BodyClaims), ..check }
            .algorithms(["RS256", "RS384", "RS512"])
            .leeway(Duration::from_secs(300))
    }

    /// Makes a check of tokens that Microsoft Entra has issued for `audience` in one of these
    /// tenants, by their ids
    /// ([documentation](https://learn.microsoft.com/en-us/entra/identity-platform/access-tokens#validate-tokens)).
    ///
    /// ```
    /// # use tower_persistence::verify::{Fetcher, Jwt};
    /// # fn example(fetcher: impl Fetcher) {
    /// let tenants = ["11111111-1111-1111-1111-111111111111"];
    /// let check = Jwt::entra("api://my-app", tenants, fetcher);
    /// # }
    /// ```
    #[must_use]
    pub fn entra<T: Into<String>>(
        audience: impl Into<String>,
        tenants: impl IntoIterator<Item = T>,
        fetcher: impl Fetcher,
    ) -> Self {
        let url = "https://login.microsoftonline.com/common/discovery/v2.0/keys";
        let check = Self::new([""; 0], [audience], Keys::jwks(url, fetcher));
        let tenants = tenants.into_iter().map(Into::into).collect();
        Self { issuer: Issuer::Entra(tenants), ..check }
            .algorithms(["RS256"])
            .leeway(Duration::from_secs(300))
    }

    /// Makes a check of tokens of an OpenID provider or OAuth server for `audience`, whose keys are
    /// found by its configuration, `…/.well-known/openid-configuration`
    /// ([OpenID Connect Discovery](https://openid.net/specs/openid-connect-discovery-1_0.html)).
    ///
    /// ```
    /// # use tower_persistence::verify::{Fetcher, Jwt};
    /// # fn example(fetcher: impl Fetcher) {
    /// let check = Jwt::oidc("https://login.example.com", "https://mcp.example.com", fetcher);
    /// # }
    /// ```
    #[must_use]
    pub fn oidc(
        issuer: impl Into<String>,
        audience: impl Into<String>,
        fetcher: impl Fetcher,
    ) -> Self {
        let issuer = issuer.into();
        let keys = Keys::of_issuer(&issuer, fetcher);
        Self::new([issuer], [audience], keys)
    }
}
