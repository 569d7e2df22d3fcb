//! The rules for the address of Amazon's certificates.

/// The longest URL that is looked at: Amazon's have some 60 characters.
const LONGEST: usize = 512;

/// Returns the URL in its one spelling, with the dots in its path resolved, if it is one of
/// Amazon's.
///
/// A query, a fragment, an escape and a backslash are refused: Amazon's URLs have none, and each
/// could make two programs disagree on the path.
pub(super) fn normalised(url: &str) -> Option<String> {
    let (scheme, rest) = url.split_once("://")?;
    let (authority, path) = rest.split_at(rest.find('/')?);
    let host = authority.strip_suffix(":443").unwrap_or(authority);
    let is_amazons = url.len() <= LONGEST
        && scheme.eq_ignore_ascii_case("https")
        && host.eq_ignore_ascii_case("s3.amazonaws.com");
    let is_plain = path.bytes().all(|it| it.is_ascii_alphanumeric() || b"/._-".contains(&it));
    if !is_amazons || !is_plain {
        return None;
    }
    let mut names = Vec::new();
    for name in path.split('/').skip(1) {
        match name {
            "." => {}
            // Above the root there is nothing: a URL that leads there is not Amazon's.
            ".." => drop(names.pop()?),
            name => names.push(name),
        }
    }
    let is_below =
        names.len() > 1 && names[0] == "echo.api" && names.iter().all(|it| !it.is_empty());
    is_below.then(|| format!("https://s3.amazonaws.com/{}", names.join("/")))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The examples of
    /// <https://developer.amazon.com/en-US/docs/alexa/custom-skills/host-a-custom-skill-as-a-web-service.html>,
    /// and their kin.
    #[test]
    fn only_amazons_urls_pass() {
        let amazons = "https://s3.amazonaws.com/echo.api/echo-api-cert.pem";
        for url in [
            amazons,
            "https://s3.amazonaws.com:443/echo.api/echo-api-cert.pem",
            "https://s3.amazonaws.com/echo.api/../echo.api/echo-api-cert.pem",
            "https://s3.amazonaws.com/echo.api/./echo-api-cert.pem",
            "HTTPS://S3.AmazonAWS.com/echo.api/echo-api-cert.pem",
        ] {
            assert_eq!(normalised(url).as_deref(), Some(amazons), "{url}");
        }
        for url in [
            "http://s3.amazonaws.com/echo.api/echo-api-cert.pem",
            "https://notamazon.com/echo.api/echo-api-cert.pem",
            "https://s3.amazonaws.com/EcHo.aPi/echo-api-cert.pem",
            "https://s3.amazonaws.com/invalid.path/echo-api-cert.pem",
            "https://s3.amazonaws.com:563/echo.api/echo-api-cert.pem",
            "https://s3.amazonaws.com/echo.api/../x.pem",
            "https://s3.amazonaws.com/echo.api/%2e%2e/x.pem",
            "https://s3.amazonaws.com/../echo.api/x.pem",
            "https://s3.amazonaws.com/echo.api\\..\\x.pem",
            "https://s3.amazonaws.com/echo.api/x.pem?versionId=1",
            "https://s3.amazonaws.com/echo.api/x.pem#y",
            "https://s3.amazonaws.com/x/echo.api/x.pem",
            "https://s3.amazonaws.com//echo.api/x.pem",
            "https://s3.amazonaws.com/echo.api//x.pem",
            "https://s3.amazonaws.com/echo.api/",
            "https://s3.amazonaws.com/echo.api",
            "https://s3.amazonaws.com/echo.apix/x.pem",
            "https://s3.amazonaws.com.example.com/echo.api/x.pem",
            "https://s3.amazonaws.com@example.com/echo.api/x.pem",
            "https://user@s3.amazonaws.com/echo.api/x.pem",
            "https://example.com:443:443/echo.api/x.pem",
            "https://s3.amazonaws.com:0443/echo.api/x.pem",
            "https:s3.amazonaws.com/echo.api/x.pem",
            "//s3.amazonaws.com/echo.api/x.pem",
            " https://s3.amazonaws.com/echo.api/x.pem",
            "",
        ] {
            assert_eq!(normalised(url), None, "{url}");
        }
        assert_eq!(normalised(&format!("{amazons}{}", "x".repeat(512))), None);
    }
}
