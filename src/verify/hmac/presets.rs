//! The checks of known platforms.

use std::time::Duration;

use super::Hmac;
use crate::verify::secrets::{Secrets, from_base64};

/// Checks that are ready.
impl Hmac {
    /// Makes the check of Meta: `X-Hub-Signature-256: sha256=…` over the body, with the app secret
    /// ([documentation](https://developers.facebook.com/docs/messenger-platform/webhooks#validate-payloads)).
    ///
    /// ```
    /// use tower_persistence::verify::Hmac;
    ///
    /// let meta = Hmac::meta("app secret");
    /// ```
    #[must_use]
    pub fn meta(secrets: impl Into<Secrets>) -> Self {
        Self::new("x-hub-signature-256", secrets).prefix("sha256=")
    }

    /// Makes the check of Slack: `X-Slack-Signature`, with the signing secret, for 300 seconds
    /// ([documentation](https://docs.slack.dev/authentication/verifying-requests-from-slack)).
    ///
    /// ```
    /// use tower_persistence::verify::Hmac;
    ///
    /// let slack = Hmac::slack("signing secret");
    /// ```
    #[must_use]
    pub fn slack(secrets: impl Into<Secrets>) -> Self {
        Self::new("x-slack-signature", secrets)
            .prefix("v0=")
            .timestamp("x-slack-request-timestamp", Duration::from_secs(300))
            .signs("v0:{timestamp}:{body}")
    }

    /// Makes the check of LINE: `x-line-signature` over the body, with the channel secret
    /// ([documentation](https://developers.line.biz/en/docs/messaging-api/verify-webhook-signature/)).
    ///
    /// ```
    /// use tower_persistence::verify::Hmac;
    ///
    /// let line = Hmac::line("channel secret");
    /// ```
    #[must_use]
    pub fn line(secrets: impl Into<Secrets>) -> Self {
        Self::new("x-line-signature", secrets).base64()
    }

    /// Makes the check of [Standard Webhooks], as OpenAI signs: `webhook-signature`, with a secret
    /// in base64 behind `whsec_`, for 300 seconds.
    ///
    /// [Standard Webhooks]: https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md
    ///
    /// ```
    /// use tower_persistence::verify::Hmac;
    ///
    /// let openai = Hmac::standard_webhooks("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw");
    /// ```
    #[must_use]
    pub fn standard_webhooks(secrets: impl Into<Secrets>) -> Self {
        let secrets = secrets.into();
        let decoded: Option<Vec<_>> = secrets
            .iter()
            .map(|secret| from_base64(secret.strip_prefix("whsec_").unwrap_or(secret)))
            .map(|key| key.filter(|key| !key.is_empty()))
            .collect();
        let problem = match &decoded {
            _ if secrets.problem().is_some() => secrets.problem(),
            None => Some("a secret is not base64: pass it as the platform shows it, `whsec_…`"),
            Some(_) => None,
        };
        Self::with_keys(
            "webhook-signature",
            &decoded.unwrap_or_default(),
            problem.map(str::to_owned),
        )
        .base64()
        .prefix("v1,")
        .separator(' ')
        .timestamp("webhook-timestamp", Duration::from_secs(300))
        .signs("{webhook-id}.{timestamp}.{body}")
    }
}
