//! Decides which platform a request belongs to: one function for every layer, so that a check and
//! the code behind it never disagree.

use super::{Document, Event, NamedPlatform};
use crate::error::{Error, Kind};

/// Finds the platform that recognises the request, and its events. The app's own platforms come
/// first.
///
/// # Errors
///
/// [`is_ambiguous`](Error::is_ambiguous) if two built-in platforms recognise it: a check in front
/// of the layer may have accepted it as one, and the layer would serve it as the other, with
/// another user.
pub(crate) fn claim<'a, 'd>(
    platforms: &'a [NamedPlatform],
    document: &Document<'d>,
) -> Result<Option<(&'a NamedPlatform, Vec<Event<'d>>)>, Error> {
    let mut claimed: Option<(&NamedPlatform, _)> = None;
    let own = platforms.iter().filter(|platform| !platform.is_built_in);
    let built_in = platforms.iter().filter(|platform| platform.is_built_in);
    for platform in own.chain(built_in) {
        let Some(events) = platform.platform.recognise(document) else { continue };
        if let Some((first, _)) = &claimed {
            let message = format!(
                "both {} and {} recognise this request, and may find different users in it, so it \
                 was refused: send the members of one platform only",
                first.name, platform.name
            );
            return Err(Error::new(Kind::Ambiguous, message));
        }
        claimed = Some((platform, events));
        if !platform.is_built_in {
            break;
        }
    }
    Ok(claimed)
}
