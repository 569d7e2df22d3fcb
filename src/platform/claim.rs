//! Decides which platform's request it is. Every layer that asks gets the same answer.

use http::HeaderMap;

use super::{Event, NamedPlatform, PlatformRequest};
use crate::media_type::{content_type, is_form, is_json};

/// The platform whose request it is.
pub(crate) enum Claim<'p, 'a> {
    /// No platform recognises the request.
    None,
    /// One platform recognises it, with these events.
    One(&'p NamedPlatform, Vec<Event<'a>>),
    /// Two built-in platforms recognise it, and may find different users in it: a check in front of
    /// the layer may have accepted it as one, and the layer would serve it as the other.
    Ambiguous(&'p NamedPlatform, &'p NamedPlatform),
}

/// Finds the platform that recognises the request, and its events. The app's own platforms come
/// first, and the first of them that recognises it is the only one that counts.
pub(crate) fn claim<'p, 'a>(
    platforms: &'p [NamedPlatform],
    request: &PlatformRequest<'a>,
) -> Claim<'p, 'a> {
    let claims = |is_built_in: bool| {
        let asked = platforms.iter().filter(move |platform| {
            platform.is_built_in == is_built_in && may_claim(platform, request)
        });
        asked.filter_map(|platform| Some((platform, platform.platform.recognise(request)?)))
    };
    if let Some((platform, events)) = claims(false).next() {
        return Claim::One(platform, events);
    }
    let mut built_in = claims(true);
    match (built_in.next(), built_in.next()) {
        (None, _) => Claim::None,
        (Some((platform, events)), None) => Claim::One(platform, events),
        (Some((one, _)), Some((other, _))) => Claim::Ambiguous(one, other),
    }
}

/// Returns whether a look at the names of the members leaves open that `platform` recognises the
/// request. Most platforms are not called for the requests of others.
pub(super) fn may_claim(platform: &NamedPlatform, request: &PlatformRequest<'_>) -> bool {
    match (request.json(), platform.marks) {
        (None, _) => platform.reads_forms,
        (Some(_), None) => true,
        (Some(document), Some(marks)) => document.has_marks(marks),
    }
}

/// Returns whether a body with these headers is read for `platforms`: JSON, and a form if one of
/// them reads forms. `None` if the headers declare no content type.
pub(crate) fn reads(platforms: &[NamedPlatform], headers: &HeaderMap) -> Option<bool> {
    let content_type = content_type(headers)?;
    let reads_forms = || platforms.iter().any(|platform| platform.reads_forms);
    Some(is_json(content_type) || (is_form(content_type) && reads_forms()))
}
