//! The claims of a token: its audience, its issuer, and its times.

use std::time::{Duration, SystemTime};

use serde_json::{Map, Value};

use super::super::handshake::text;
use super::super::refusal::Cause;
use crate::platform::Document;

pub(super) type Claims = Map<String, Value>;

/// The issuers whose tokens pass.
#[derive(Debug)]
pub(super) enum Issuer {
    OneOf(Vec<String>),
    /// Microsoft Entra, for these tenants.
    Entra(Vec<String>),
}

impl Issuer {
    pub(super) fn is_blank(&self) -> bool {
        let (Self::OneOf(texts) | Self::Entra(texts)) = self;
        texts.is_empty() || texts.iter().any(|text| text.trim().is_empty())
    }

    /// Checks claim `iss`. `of_key` is the issuer that the key is published for, if it is not for
    /// all.
    pub(super) fn check(&self, claims: &Claims, of_key: Option<&str>) -> Result<(), Cause> {
        let issuer = claims.get("iss").and_then(Value::as_str).ok_or(Cause::WrongAudience)?;
        let is_expected = match self {
            Self::OneOf(issuers) => issuers.iter().any(|one| one == issuer),
            Self::Entra(tenants) => {
                let tenant =
                    claims.get("tid").and_then(Value::as_str).ok_or(Cause::WrongAudience)?;
                // Keys for all tenants have a placeholder in the place of the tenant.
                let is_keys = of_key.is_none_or(|of_key| {
                    of_key.contains("{tenantid}") || of_key.split('/').any(|part| part == tenant)
                });
                let issuers = [
                    format!("https://login.microsoftonline.com/{tenant}/v2.0"),
                    format!("https://sts.windows.net/{tenant}/"),
                ];
                tenants.iter().any(|one| one == tenant)
                    && is_keys
                    && issuers.iter().any(|one| one == issuer)
            }
        };
        if is_expected { Ok(()) } else { Err(Cause::WrongAudience) }
    }
}

/// The claims of Bot Framework that belong to the request's body
/// (<https://learn.microsoft.com/en-us/azure/bot-service/rest-api/bot-framework-rest-connector-authentication>).
#[derive(Debug)]
pub(super) struct BodyClaims;

impl BodyClaims {
    /// Checks that the token is for the URL to which the bot will answer, and that the key may
    /// speak for the channel.
    pub(super) fn check(
        &self,
        claims: &Claims,
        endorsements: &[String],
        body: &[u8],
    ) -> Result<(), Cause> {
        let document = Document::parse(body).ok_or(Cause::WrongAudience)?;
        let in_body = |name| text(document.get(name)).ok_or(Cause::WrongAudience);
        let service_url = claims.get("serviceurl").and_then(Value::as_str);
        let channel = in_body("channelId")?;
        let is_bodys = service_url == Some(&*in_body("serviceUrl")?);
        // A channel within Teams, such as `msteams:Copilot`, is Teams'.
        let main = channel.split(':').next().unwrap_or_default();
        if is_bodys && endorsements.iter().any(|one| *one == channel || one == main) {
            Ok(())
        } else {
            Err(Cause::WrongAudience)
        }
    }
}

/// Checks that the token is valid now: `exp` is required, `nbf` and `iat` are checked if they are
/// there.
pub(super) fn check_time(claims: &Claims, now: SystemTime, leeway: Duration) -> Result<(), Cause> {
    let now = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs_f64();
    let leeway = leeway.as_secs_f64();
    let time = |name| match claims.get(name) {
        None => Ok(None),
        Some(time) => time.as_f64().map(Some).ok_or(Cause::TooOld),
    };
    let end = time("exp")?.ok_or(Cause::TooOld)?;
    if now >= end + leeway {
        return Err(Cause::TooOld);
    }
    for name in ["nbf", "iat"] {
        if time(name)?.is_some_and(|begin| begin > now + leeway) {
            return Err(Cause::TooNew);
        }
    }
    Ok(())
}

/// Checks claim `aud`, a text or a list.
pub(super) fn check_audience(claims: &Claims, audiences: &[String]) -> Result<(), Cause> {
    let is_expected = |audience: &Value| {
        audience.as_str().is_some_and(|audience| audiences.iter().any(|one| one == audience))
    };
    let is_for_us = match claims.get("aud") {
        Some(Value::Array(list)) => list.iter().any(is_expected),
        Some(audience) => is_expected(audience),
        None => false,
    };
    if is_for_us { Ok(()) } else { Err(Cause::WrongAudience) }
}
