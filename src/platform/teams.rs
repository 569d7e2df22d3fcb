//! Microsoft Teams, and the other channels of the Bot Framework.

use std::time::Duration;

use super::raw::{id, is, text};
use super::{Event, Input, Platform, PlatformRequest};

/// The time for which ids are kept: Teams repeats a message that was not answered within 15 seconds
/// (<https://learn.microsoft.com/en-us/microsoftteams/platform/bots/bot-basics>).
const REPEATS: Duration = Duration::from_secs(60 * 60);

/// Microsoft Teams, and the other channels of the Bot Framework, whose successors are the Microsoft
/// 365 Agents SDK and the Teams SDK ([activity schema]).
///
/// It has no client-side sessions: they must be [stored](crate::StoredElements::session).
///
/// | | |
/// | --- | --- |
/// | recognised by | `type`, `channelId`, `serviceUrl` and `conversation.id` |
/// | user id on Teams | `from.aadObjectId`, else `from.id` |
/// | user id on other channels | `from.id`, with the channel as the scope |
/// | conversation, session id | `conversation.id`, in a channel of a team with the thread's root: `…;messageid=…` |
/// | event id | `id`, unique in its conversation |
///
/// `aadObjectId` is the person in the directory of Microsoft Entra ID, the same for every app;
/// `from.id` of Teams is made for each bot. Ids of other channels, such as a web chat's, repeat
/// among channels, so there the channel is the [scope](Event::scope).
///
/// * A *turn*: the types `message`, `messageUpdate`, `invoke` and `event`.
/// * A [receipt](Event::is_receipt): every other type, such as `messageReaction`, `typing`,
///   `conversationUpdate` or `installationUpdate`. `deleteUserData` also [requests the
///   deletion](Event::deletion_requested) of the user's data.
/// * An event *without a user*: one from a bot (`from.role: "bot"`).
///
/// Only the reply to an `invoke` is read by the platform, and one with `deliveryMode:
/// "expectReplies"`.
///
/// [activity schema]: https://github.com/microsoft/Agents/blob/main/specs/activity/protocol-activity.md
#[derive(Clone, Copy, Debug, Default)]
pub struct Teams;

/// Types of an activity that are the user's steps in the conversation.
const TURNS: [&str; 4] = ["message", "messageUpdate", "invoke", "event"];

impl Platform for Teams {
    fn name(&self) -> &str {
        "msteams"
    }

    fn has_threads(&self) -> bool {
        true
    }

    fn recognise<'a>(&self, request: &PlatformRequest<'a>) -> Option<Vec<Event<'a>>> {
        let request = request.json()?;
        let kind = text(request.get("type"))?;
        let channel = id(request.get("channelId"))?;
        let [conversation] = request.members("conversation", ["id"]);
        let conversation = id(conversation)?;
        id(request.get("serviceUrl"))?;
        let [user, in_directory, role] = request.members("from", ["id", "aadObjectId", "role"]);
        let is_bot = is(role, "bot");
        // A channel within Teams, such as `msteams:Copilot`, has Teams' users.
        let is_teams = channel.split(':').next() == Some("msteams");
        let (user, scope) = match is_teams {
            true => (id(in_directory).or_else(|| id(user)), None),
            false => (id(user), Some(channel)),
        };
        let event = Event::default()
            .user_id(user.filter(|_| !is_bot))
            .scope(scope)
            .conversation(Some(conversation))
            .id(id(request.get("id")));
        Some(vec![match &*kind {
            "deleteUserData" => event.receipt().deletion_requested(),
            "message" => event.repeats(REPEATS),
            // An update or a deletion has the id of its message.
            kind if TURNS.contains(&kind) => event.shared_id(),
            _ => event.shared_id().receipt(),
        }])
    }

    fn input(&self, request: &PlatformRequest<'_>) -> Input {
        let said = request.json().and_then(|request| text(request.get("text")));
        match said.filter(|said| !said.is_empty()) {
            Some(said) => Input::of_type("TEXT").text(&said),
            None => Input::default(),
        }
    }
}
