//! The media types of bodies that are read: JSON and forms.

use http::{HeaderMap, HeaderValue, header};

const JSON: &str = "application/json";

const FORM: &str = "application/x-www-form-urlencoded";

/// Returns the content type, unless it is empty.
pub(crate) fn content_type(headers: &HeaderMap) -> Option<&HeaderValue> {
    let content_type = headers.get(header::CONTENT_TYPE)?;
    (!content_type.as_bytes().trim_ascii().is_empty()).then_some(content_type)
}

/// Returns whether a content type is JSON: `application/json`, `text/json` or `…+json`, with or
/// without parameters, in any case and spacing. Types that wrap JSON in a framing of their own are
/// not: gRPC, Connect, and streams of many values.
pub(crate) fn is_json(content_type: &HeaderValue) -> bool {
    if content_type == JSON {
        return true;
    }
    const FRAMED: [&[u8]; 5] = [b"grpc", b"grpc-web", b"grpc-web-text", b"connect", b"stream"];
    let Some((kind, subtype)) = essence(content_type) else { return false };
    if subtype.eq_ignore_ascii_case(b"json") {
        return [&b"application"[..], b"text"].iter().any(|known| kind.eq_ignore_ascii_case(known));
    }
    subtype.split_at_checked(subtype.len().saturating_sub(5)).is_some_and(|(name, suffix)| {
        suffix.eq_ignore_ascii_case(b"+json")
            && !FRAMED.iter().any(|framed| name.eq_ignore_ascii_case(framed))
    })
}

/// Returns whether a content type is `application/x-www-form-urlencoded`, with or without
/// parameters, in any case and spacing.
pub(crate) fn is_form(content_type: &HeaderValue) -> bool {
    // Tells most bodies apart by a look at the length.
    content_type.len() >= FORM.len()
        && essence(content_type).is_some_and(|(kind, subtype)| {
            kind.eq_ignore_ascii_case(b"application")
                && subtype.eq_ignore_ascii_case(b"x-www-form-urlencoded")
        })
}

/// Returns type and subtype, without parameters and spaces.
fn essence(content_type: &HeaderValue) -> Option<(&[u8], &[u8])> {
    // Clients often separate parameters by a comma instead of a semicolon.
    let mut parts = content_type.as_bytes().split(|byte| matches!(byte, b';' | b','));
    let essence = parts.next()?;
    let slash = essence.iter().position(|byte| *byte == b'/')?;
    Some((essence[..slash].trim_ascii(), essence[slash + 1..].trim_ascii()))
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::{is_form, is_json};

    #[test]
    fn forms_and_json_are_told_apart() {
        for (content_type, json, form) in [
            ("application/json", true, false),
            ("application/x-www-form-urlencoded", false, true),
            ("Application/X-WWW-Form-Urlencoded; charset=utf-8", false, true),
            (" application / x-www-form-urlencoded ,x", false, true),
            ("application/x-www-form-urlencoded+json", true, false),
            ("text/x-www-form-urlencoded", false, false),
            ("application/x-www-form", false, false),
            ("multipart/form-data; boundary=x", false, false),
            ("application", false, false),
        ] {
            let value = HeaderValue::from_static(content_type);
            assert_eq!((is_json(&value), is_form(&value)), (json, form), "{content_type}");
        }
    }
}
