//! Reads a URI, and says why one cannot be used without repeating the secrets in it.

use std::fs::File;

use mongodb::error::{Error as DriverError, ErrorKind};
use mongodb::options::{AuthMechanism, ConnectionString, Tls};
use percent_encoding::percent_decode_str;

use crate::error::{Error, Kind};

const FORM: &str = "it has the form mongodb://user:password@host:27017/database?option=value, with special characters in \
                    user and password percent-encoded";

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

pub(super) fn parse(uri: &str) -> Result<ConnectionString, Error> {
    let parsed = ConnectionString::parse(uri).map_err(|error| unusable(uri, &error))?;
    if parsed.credential.as_ref().and_then(|it| it.mechanism.as_ref())
        == Some(&AuthMechanism::MongoDbCr)
    {
        return Err(refused("the driver does not support `authMechanism=MONGODB-CR`"));
    }
    // The driver's error for a missing client certificate does not name the file.
    if let Some(Tls::Enabled(tls)) = &parsed.tls {
        let files =
            [("tlsCAFile", &tls.ca_file_path), ("tlsCertificateKeyFile", &tls.cert_key_file_path)];
        for (option, path) in files {
            let Some(path) = path else { continue };
            File::open(path).map_err(|error| {
                refused(&format!(
                    "the file of `{option}`, {}, cannot be read: {error}",
                    path.display()
                ))
            })?;
        }
    }
    Ok(parsed)
}

/// Makes the error for a URI that the driver refuses, with the driver's reason.
pub(super) fn unusable(uri: &str, error: &DriverError) -> Error {
    match error.kind.as_ref() {
        ErrorKind::InvalidArgument { message, .. }
        | ErrorKind::InvalidTlsConfig { message, .. } => refused(&without_secrets(uri, message)),
        _ => refused(&super::failure::reason(error)),
    }
}

fn refused(why: &str) -> Error {
    Error::new(Kind::Configuration, format!("the URI of MongoDB cannot be used: {why}; {FORM}"))
}

/// Puts `…` into the driver's message for parts of the URI, except names of options and harmless
/// values.
fn without_secrets(uri: &str, message: &str) -> String {
    let (scheme, rest) = uri.split_once("://").unwrap_or(("", uri));
    let (place, options) = rest.split_once('?').unwrap_or((rest, ""));
    // The rest of a password with a `?` in it would be taken for options.
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

/// Puts `…` where `secret` stands as a word of its own, in capitals or not: a user called `a` is no
/// reason to take each `a` away.
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

    /// Some are found out only when the client is made.
    async fn text(uri: &str) -> String {
        let error = crate::MongoDb::connect(uri).await.expect_err(uri);
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
    async fn secrets_are_not() {
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
