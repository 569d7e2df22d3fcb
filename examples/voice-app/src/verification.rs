//! Secrets from the environment, and the layer that checks requests with them.

use std::env;

use tower_persistence::VerifyLayer;
use tower_persistence::verify::{HttpFetcher, Jwt, Twilio};

/// Makes the layer of the secrets that are set. Several of one kind are separated by commas.
///
/// Without any secret, every platform is trusted, so that the app can be tried with curl alone. With one, what has
/// none is refused.
pub(crate) fn layer() -> Result<VerifyLayer, String> {
    let mut layer = VerifyLayer::new();
    let fetcher = HttpFetcher::new();
    if let Some(ids) = list("ALEXA_SKILL_IDS")? {
        layer = layer.alexa_with(ids, fetcher.clone());
    }
    if let Some(secrets) = list("META_APP_SECRET")? {
        let tokens = list("META_VERIFY_TOKEN")?
            .ok_or("META_APP_SECRET needs META_VERIFY_TOKEN beside it")?;
        layer = layer.meta(secrets, tokens);
    }
    if let Some(secrets) = list("SLACK_SIGNING_SECRET")? {
        layer = layer.slack(secrets);
    }
    if let Some(secrets) = list("LINE_CHANNEL_SECRET")? {
        layer = layer.line(secrets);
    }
    if let Some(secrets) = list("TELEGRAM_SECRET_TOKEN")? {
        layer = layer.telegram(secrets);
    }
    if let Some(keys) = list("DISCORD_PUBLIC_KEY")? {
        layer = layer.discord(keys);
    }
    if let Some(tokens) = list("TWILIO_AUTH_TOKEN")? {
        let twilio = Twilio::new(tokens);
        layer = layer.twilio(match variable("PUBLIC_URL")? {
            Some(url) => twilio.public_url(&url),
            None => twilio,
        });
    }
    if let Some(audience) = variable("GOOGLE_CHAT_AUDIENCE")? {
        layer = layer.google_chat(if audience.starts_with("https://") {
            Jwt::google_chat_url(audience, fetcher.clone())
        } else {
            Jwt::google_chat_project(audience, fetcher.clone())
        });
    }
    if let Some(id) = variable("BOT_FRAMEWORK_APP_ID")? {
        layer = layer.teams(Jwt::bot_framework(id, fetcher.clone()));
    }
    if let Some(issuer) = variable("MCP_ISSUER")? {
        let audience =
            variable("MCP_AUDIENCE")?.ok_or("MCP_ISSUER needs MCP_AUDIENCE beside it")?;
        layer = layer.mcp(Jwt::oidc(issuer, audience, fetcher));
    }
    layer.check_settings().map_err(|error| error.to_string())?;
    if layer.verified().is_empty() {
        let names: Vec<String> = layer.refused().into_iter().map(str::to_owned).collect();
        layer = names.into_iter().fold(layer, VerifyLayer::trust);
    }
    Ok(layer)
}

/// Says which platforms are verified, and warns of the others.
pub(crate) fn report(layer: &VerifyLayer) -> String {
    let mut lines = Vec::new();
    if !layer.verified().is_empty() {
        lines.push(format!("Verified: {}", layer.verified().join(", ")));
    }
    if !layer.trusted().is_empty() {
        lines.push(format!(
            "WARNING: not verified, so anyone who reaches this address can claim to be any user of: {}",
            layer.trusted().join(", ")
        ));
    }
    if !layer.refused().is_empty() {
        lines.push(format!(
            "WARNING: refused, since no secret is set for: {}",
            layer.refused().join(", ")
        ));
    }
    lines.join("\n")
}

fn list(name: &str) -> Result<Option<Vec<String>>, String> {
    let value = variable(name)?;
    Ok(value.map(|value| value.split(',').map(|it| it.trim().to_owned()).collect()))
}

/// Reads a variable. One that is set and empty is a mistake, not a choice.
fn variable(name: &str) -> Result<Option<String>, String> {
    match env::var(name) {
        Ok(value) if value.trim().is_empty() => {
            Err(format!("{name} is empty: set it, or unset it"))
        }
        Ok(value) => Ok(Some(value)),
        Err(env::VarError::NotPresent) => Ok(None),
        Err(env::VarError::NotUnicode(_)) => Err(format!("{name} is not valid UTF-8")),
    }
}
