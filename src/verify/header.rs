//! A secret in a header: no signature, but all that some platforms offer.

use std::future::{Future, ready};

use super::refusal::{Cause, Refusal};
use super::secrets::{Secrets, to_base64};
use super::verifier::{Proof, SignedRequest, Verifier};

/// Checks that a header holds a secret, in constant time.
///
/// The secret does not depend on the body, so anyone who has seen one request can make others: let
/// it travel through TLS only.
///
/// ```
/// use tower_persistence::verify::FixedHeader;
///
/// let vapi = FixedHeader::new("x-vapi-secret", "secret");
/// let dialogflow = FixedHeader::basic("user", "password");
/// ```
#[derive(Clone, Debug)]
pub struct FixedHeader {
    header: String,
    secrets: Secrets,
    problem: Option<&'static str>,
}

impl FixedHeader {
    /// Makes a check that the header `name` is one of `secrets`.
    ///
    /// ```
    /// use tower_persistence::verify::FixedHeader;
    ///
    /// let check = FixedHeader::new("x-secret", ["new secret", "old secret"]);
    /// ```
    #[must_use]
    pub fn new(name: impl Into<String>, secrets: impl Into<Secrets>) -> Self {
        let secrets = secrets.into();
        let problem = secrets.problem();
        Self { header: name.into(), secrets, problem }
    }

    /// Makes a check of basic authentication
    /// ([RFC 7617](https://www.rfc-editor.org/rfc/rfc7617)) with `user` and one of `passwords`, as
    /// Dialogflow's fulfillment sends it.
    ///
    /// ```
    /// use tower_persistence::verify::FixedHeader;
    ///
    /// let check = FixedHeader::basic("user", "password");
    /// ```
    #[must_use]
    pub fn basic(user: &str, passwords: impl Into<Secrets>) -> Self {
        let passwords = passwords.into();
        let value =
            |password| format!("Basic {}", to_base64(format!("{user}:{password}").as_bytes()));
        let secrets: Vec<String> = passwords.iter().map(value).collect();
        Self {
            header: "authorization".to_owned(),
            secrets: secrets.into(),
            problem: passwords.problem(),
        }
    }

    /// Makes the check of Telegram: `X-Telegram-Bot-Api-Secret-Token` is the `secret_token` of
    /// `setWebhook`, 1 to 256 of `A-Z a-z 0-9 _ -`
    /// ([documentation](https://core.telegram.org/bots/api#setwebhook)).
    ///
    /// ```
    /// use tower_persistence::verify::FixedHeader;
    ///
    /// let telegram = FixedHeader::telegram("secret_token");
    /// ```
    #[must_use]
    pub fn telegram(secrets: impl Into<Secrets>) -> Self {
        let mut check = Self::new("x-telegram-bot-api-secret-token", secrets);
        let is_possible = |secret: &str| {
            let mut bytes = secret.bytes();
            secret.len() <= 256 && bytes.all(|it| it.is_ascii_alphanumeric() || b"_-".contains(&it))
        };
        if check.problem.is_none() && !check.secrets.iter().all(is_possible) {
            check.problem = Some(
                "Telegram's secret token has 1 to 256 of `A-Z a-z 0-9 _ -`: pass the one of \
                 `setWebhook`, not the bot's token",
            );
        }
        check
    }
}

impl Verifier for FixedHeader {
    fn verify(
        &self,
        request: SignedRequest<'_>,
    ) -> impl Future<Output = Result<Proof, Refusal>> + Send {
        ready(match request.header(&self.header) {
            None => Err(Cause::NoSignature.into()),
            Some(value) if self.secrets.contain(value.as_bytes()) => Ok(Proof::new()),
            Some(_) => Err(Cause::BadSignature.into()),
        })
    }

    fn problem(&self) -> Option<&str> {
        self.problem
    }
}
