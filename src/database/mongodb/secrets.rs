//! Removes the secrets of a URI from the driver's message about it.

use percent_encoding::percent_decode_str;

/// Options whose values the driver repeats and that may hold a secret or a name.
const SECRETS: [&str; 5] =
    ["appname", "authmechanismproperties", "authsource", "proxypassword", "proxyusername"];

const MECHANISMS: [&str; 8] = [
    "GSSAPI",
    "MONGODB-AWS",
    "MONGODB-CR",
    "MONGODB-OIDC",
    "MONGODB-X509",
    "PLAIN",
    "SCRAM-SHA-1",
    "SCRAM-SHA-256",
];

/// Replaces parts of the URI in the driver's message by `…`, except option names and harmless
/// values.
pub(super) fn without_secrets(uri: &str, message: &str) -> String {
    let (scheme, rest) = uri.split_once("://").unwrap_or(("", uri));
    let (place, options) = rest.split_once('?').unwrap_or((rest, ""));
    // The rest of a password that contains a `?` would be taken for options.
    if options.contains('@') {
        return "an `@` follows the `?`".to_owned();
    }
    let mut secrets: Vec<&str> = place.split(['/', '@', ':', ',', '[', ']']).collect();
    secrets.push(place);
    secrets.extend(place.split(['/', '@', ',']));
    if !scheme.starts_with("mongodb") {
        secrets.push(scheme);
    }
    for option in options.split('&') {
        match option.split_once('=') {
            Some((name, _)) if !is_name(name) => secrets.push(name),
            Some((name, value)) if is_secret(&name.to_ascii_lowercase(), value) => {
                secrets.push(value);
                secrets.extend(value.split([',', ':']));
            }
            Some(_) => {}
            None => secrets.push(option),
        }
    }
    let decoded: Vec<_> =
        secrets.iter().map(|secret| percent_decode_str(secret).decode_utf8_lossy()).collect();
    let mut secrets: Vec<&str> =
        secrets.into_iter().chain(decoded.iter().map(AsRef::as_ref)).collect();
    secrets.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
    secrets
        .iter()
        .filter(|secret| !secret.is_empty())
        .fold(message.to_owned(), |text, secret| hide(&text, secret))
}

fn is_name(option: &str) -> bool {
    option.len() <= 40 && option.bytes().all(|byte| byte.is_ascii_alphanumeric())
}

fn is_secret(name: &str, value: &str) -> bool {
    match name {
        "authmechanism" => !MECHANISMS.contains(&value),
        name => SECRETS.contains(&name) || name.ends_with("password"),
    }
}

/// Replaces `secret` by `…` where it stands as a word of its own, regardless of case: a user
/// called `a` is not a reason to remove each `a`.
fn hide(text: &str, secret: &str) -> String {
    let (lower, secret) = (text.to_ascii_lowercase(), secret.to_ascii_lowercase());
    let mut shown = String::with_capacity(text.len());
    let mut rest = 0;
    for (at, _) in lower.match_indices(&secret) {
        let end = at + secret.len();
        let is_part = |next: Option<char>| next.is_some_and(char::is_alphanumeric);
        let begins =
            !secret.starts_with(char::is_alphanumeric) || !is_part(lower[..at].chars().next_back());
        let ends =
            !secret.ends_with(char::is_alphanumeric) || !is_part(lower[end..].chars().next());
        if begins && ends {
            shown.push_str(&text[rest..at]);
            shown.push('…');
            rest = end;
        }
    }
    shown.push_str(&text[rest..]);
    shown
}

#[cfg(test)]
mod tests {
    #![allow(clippy::expect_used)]

    use super::*;

    /// The driver detects some problems only when it creates the client.
    async fn text(uri: &str) -> String {
        let error = crate::database::MongoDb::connect(uri).await.expect_err(uri);
        assert!(error.is_configuration(), "{error:?}");
        format!("{error:?}")
    }

    #[tokio::test]
    async fn the_cause_is_named() {
        for (uri, cause) in [
            ("localhost:27017", "contains no scheme"),
            ("mongodb://h/?retryWritess=true", "retrywritess is an invalid option"),
            ("mongodb://h/?socketTimeoutMS=5", "does not support socketTimeoutMS"),
            ("mongodb://h/?connectTimeoutMS=soon", "`connecttimeoutms` option must be"),
            ("mongodb://h/?readPreference=next", "'next' is not a valid read preference"),
            ("mongodb://u:p@h/?authMechanism=MONGODB-AWS", "MONGODB-AWS auth is only supported"),
            (
                "mongodb://u:p@h/?authMechanism=MONGODB-CR",
                "does not support `authMechanism=MONGODB-CR`",
            ),
            ("mongodb://h,i/?directConnection=true", "multiple seeds with directConnection=true"),
            (
                "mongodb://h/?tlsCAFile=/no/such.pem",
                "`tlsCAFile`, /no/such.pem, cannot be read: No such file",
            ),
            (
                "mongodb://h/?tlsCertificateKeyFile=/no/key.pem",
                "`tlsCertificateKeyFile`, /no/key.pem,",
            ),
            ("mongodb://user:p@host:name", "the port must be an integer"),
            ("mongodb://u:p%zz@h", "password cannot contain unescaped %"),
        ] {
            let text = text(uri).await;
            assert!(text.contains(cause), "{uri}: {text}");
        }
    }

    #[tokio::test]
    async fn secrets_are_not_shown() {
        for uri in [
            "mongodb://SECRET:SECRET@h:99999/db",
            "mongodb://SECRET:SEC/RET@h/db",
            "mongodb://SECRET:SEC?RET=1@h/db",
            "mongodb://SECRET:1?SECRET=1@h/db",
            "mongodb://user:SECRET/db",
            "mongodb://user:SECRET",
            "SECRET://h",
            "SECRET",
            "mongodb://h/?SECRET",
            "mongodb://h/?SECRET-key=1",
            "mongodb://u:p@h/?authMechanism=SECRET",
            "mongodb://u:p@h/?authMechanism=PLAIN&authMechanismProperties=SECRET",
            "mongodb://u:p@h/?tlsCertificateKeyFilePassword=SECRET",
            "mongodb://h/?proxyPassword=SECRET",
            "mongodb://u%53ECRET:%53ECRET@h:x/",
        ] {
            let text = text(uri).await.to_ascii_lowercase();
            assert!(!text.contains("secret"), "{uri}: {text}");
        }
    }

    #[test]
    fn only_whole_words_are_hidden() {
        assert_eq!(hide("a host has a port: a", "a"), "… host has … port: …");
        assert_eq!(hide("for A:b, xa:by", "a:b"), "for …, xa:by");
    }
}
