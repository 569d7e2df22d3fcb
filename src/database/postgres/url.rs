//! Parses a URL, and adds what the client leaves open.

use std::path::PathBuf;
use std::time::Duration;

use percent_encoding::percent_decode_str;
use tokio_postgres::Config;
use tokio_postgres::config::{Host, SslMode, TargetSessionAttrs};

use super::tls::Tls;
use crate::error::Error;

const FORM: &str = "write it as postgres://user:password@host:5432/database?option=value, with \
                    special characters in user and password percent-encoded";

/// Less than the 2 seconds for which the layer waits by default, so that its error states the
/// cause rather than a time-out.
const CONNECT_TIMEOUT: Duration = Duration::from_millis(1500);

/// The client's own: two hours, in which a firewall may have forgotten the connection.
const KEEPALIVES_IDLE: Duration = Duration::from_secs(2 * 60 * 60);
const SHORTER: Duration = Duration::from_secs(60);

/// Parses a URL into the settings of the client and of TLS.
pub(super) fn parse(url: &str) -> Result<(Config, Tls), Error> {
    let is_ours = ["postgres://", "postgresql://"].iter().any(|scheme| url.starts_with(scheme));
    if !is_ours {
        return Err(refused("it begins with another scheme"));
    }
    let (address, options) = url.split_once('?').unwrap_or((url, ""));
    // The rest of a password that contains a `?` would be taken for options.
    if options.contains('@') {
        return Err(refused("an `@` follows the `?`"));
    }
    let (mut mode, mut roots, mut others) = (None, None, Vec::new());
    for option in options.split('&').filter(|option| !option.is_empty()) {
        let (name, value) = option.split_once('=').unwrap_or((option, ""));
        let value = || percent_decode_str(value).decode_utf8_lossy().into_owned();
        match name {
            "sslmode" => mode = Some(value()),
            "sslrootcert" => roots = Some(value()).filter(|path| path != "system"),
            "sslcert" | "sslkey" => {
                return Err(refused(&format!(
                    "`{name}` is not supported; hand in a pool with a client certificate"
                )));
            }
            name if !is_name(name) => return Err(refused("the name of an option is not a word")),
            _ => others.push(option),
        }
    }
    let mut config: Config = match others.is_empty() {
        true => address.parse(),
        false => format!("{address}?{}", others.join("&")).parse(),
    }
    .map_err(|error: tokio_postgres::Error| {
        // The client names an option, but no value.
        let why = std::error::Error::source(&error).map(ToString::to_string).unwrap_or_default();
        let is_about_option = ["unknown option", "invalid value for option"];
        let is_about_option = is_about_option.iter().any(|text| why.starts_with(text));
        refused(if is_about_option { &why } else { "it is not a URL of PostgreSQL" })
    })?;
    if config.get_hosts().is_empty() && config.get_hostaddrs().is_empty() {
        return Err(refused("it names no host"));
    }
    let tls = tls(&mut config, mode.as_deref(), roots.map(PathBuf::from))?;
    complete(&mut config);
    Ok((config, tls))
}

fn tls(config: &mut Config, mode: Option<&str>, roots: Option<PathBuf>) -> Result<Tls, Error> {
    let (mode, tls) = match mode {
        Some("disable") => (SslMode::Disable, Tls::Off),
        // A file of authorities is there to be used.
        None if roots.is_some() => (SslMode::Require, Tls::Verified(roots)),
        // An attacker who can change the server's answers can also claim that it has no TLS.
        None | Some("prefer") => (SslMode::Prefer, Tls::Unverified),
        Some("require" | "verify-ca" | "verify-full") => (SslMode::Require, Tls::Verified(roots)),
        Some(_) => {
            return Err(refused(
                "`sslmode` is none of `disable`, `prefer`, `require`, `verify-ca` and \
                 `verify-full`",
            ));
        }
    };
    config.ssl_mode(mode);
    Ok(tls)
}

fn complete(config: &mut Config) {
    if config.get_connect_timeout().is_none() {
        config.connect_timeout(CONNECT_TIMEOUT);
    }
    if config.get_keepalives_idle() == KEEPALIVES_IDLE {
        config.keepalives_idle(SHORTER);
    }
    if config.get_application_name().is_none() {
        config.application_name("tower-persistence");
    }
    // Of several hosts, one is the primary.
    let hosts = config.get_hosts().len().max(config.get_hostaddrs().len());
    if hosts > 1 && config.get_target_session_attrs() == TargetSessionAttrs::Any {
        config.target_session_attrs(TargetSessionAttrs::ReadWrite);
    }
}

/// Returns whether each host is a directory with the socket of a server.
pub(super) fn is_local(config: &Config) -> bool {
    config.get_hosts().iter().all(|host| match host {
        #[cfg(unix)]
        Host::Unix(_) => true,
        _ => false,
    })
}

fn is_name(option: &str) -> bool {
    option.len() <= 40 && option.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

fn refused(why: &str) -> Error {
    Error::configuration(format!("the URL of PostgreSQL cannot be used: {why}; {FORM}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_the_clients_with_more_about_tls() {
        for (url, mode, verified) in [
            ("postgres://h/db", SslMode::Prefer, None),
            ("postgresql://h/db?sslmode=disable", SslMode::Disable, None),
            ("postgres://h/db?sslmode=prefer&connect_timeout=5", SslMode::Prefer, None),
            ("postgres://h/db?sslmode=require", SslMode::Require, Some(None)),
            (
                "postgres://h/db?sslmode=verify-full&sslrootcert=system",
                SslMode::Require,
                Some(None),
            ),
            ("postgres://h/?sslrootcert=%2Fca.pem", SslMode::Require, Some(Some("/ca.pem"))),
        ] {
            let (config, tls) = parse(url).unwrap();
            assert_eq!(config.get_ssl_mode(), mode, "{url}");
            let roots = match &tls {
                Tls::Verified(roots) => Some(roots.as_deref().and_then(std::path::Path::to_str)),
                _ => None,
            };
            assert_eq!(roots, verified, "{url}");
        }
    }

    #[test]
    fn what_a_url_leaves_open_is_set() {
        let (config, _) = parse("postgres://u:p%40@h/db").unwrap();
        assert_eq!(config.get_password(), Some(&b"p@"[..]));
        assert_eq!(config.get_connect_timeout(), Some(&CONNECT_TIMEOUT));
        assert_eq!(config.get_keepalives_idle(), SHORTER);
        assert_eq!(config.get_target_session_attrs(), TargetSessionAttrs::Any);
        assert!(!is_local(&config));

        let url = "postgres://h1,h2:6432/db?keepalives_idle=9&connect_timeout=7&application_name=a";
        let (config, _) = parse(url).unwrap();
        assert_eq!(config.get_target_session_attrs(), TargetSessionAttrs::ReadWrite);
        assert_eq!(config.get_connect_timeout(), Some(&Duration::from_secs(7)));
        assert_eq!(config.get_keepalives_idle(), Duration::from_secs(9));
        assert_eq!(config.get_application_name(), Some("a"));
        let (config, _) = parse("postgres://%2Fvar%2Frun/db").unwrap();
        assert!(is_local(&config));
    }

    #[test]
    fn a_wrong_url_is_named_without_what_may_be_secret() {
        for (url, why) in [
            ("mysql://u:SECRET@h/db", "another scheme"),
            ("postgres://u:SECRET@h:SECRET/db", "`port`"),
            ("postgres://u:SEC?RET=1@h/db", "an `@` follows"),
            ("postgres://u:SECRET@h/db?sslmode=SECRET", "`sslmode`"),
            ("postgres://u:SECRET@h/db?tabel=SECRET", "unknown option `tabel`"),
            ("postgres://u:SECRET@h/db?SECRET!=1", "not a word"),
            ("postgres://u:SECRET@h/db?connect_timeout=SECRET", "`connect_timeout`"),
            ("postgres://u:SECRET@h/db?sslcert=SECRET", "`sslcert` is not supported"),
            ("postgres://u:SECRET@/db", "no host"),
            ("postgres://u:SECRET@[h/db", "`host`"),
        ] {
            let error = parse(url).unwrap_err();
            let text = format!("{error:?}");
            assert!(error.is_configuration() && text.contains(why), "{url}: {text}");
            assert!(!text.contains("SECRET"), "{url}: {text}");
        }
    }
}
