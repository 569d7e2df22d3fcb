//! The key under which a user is stored. Two users never share a key.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use crate::platform::{NamedPlatform, is_id};

/// The id of a user on a platform: the id alone, or a pair of scope and id if ids are unique only
/// within a scope, such as a Slack team.
///
/// ```
/// use tower_persistence::UserId;
///
/// let id = UserId::from("amzn1.account.AM3B");
/// assert_eq!((id.scope(), id.id()), (None, "amzn1.account.AM3B"));
/// let id = UserId::from(("T061EG9R6", "U2147483697"));
/// assert_eq!((id.scope(), id.id()), (Some("T061EG9R6"), "U2147483697"));
/// ```
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct UserId<'a> {
    scope: Option<Cow<'a, str>>,
    id: Cow<'a, str>,
}

impl<'a> UserId<'a> {
    pub(crate) fn new(scope: Option<Cow<'a, str>>, id: Cow<'a, str>) -> Self {
        Self { scope, id }
    }

    /// Returns the scope within which the id is unique, if the platform has scopes.
    ///
    /// ```
    /// use tower_persistence::UserId;
    ///
    /// assert_eq!(UserId::from(("T061EG9R6", "U2147483697")).scope(), Some("T061EG9R6"));
    /// ```
    #[must_use]
    pub fn scope(&self) -> Option<&str> {
        self.scope.as_deref()
    }

    /// Returns the id as the platform gives it.
    ///
    /// ```
    /// use tower_persistence::UserId;
    ///
    /// assert_eq!(UserId::from(("T061EG9R6", "U2147483697")).id(), "U2147483697");
    /// ```
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }
}

impl<'a> From<&'a str> for UserId<'a> {
    fn from(id: &'a str) -> Self {
        Self::new(None, id.into())
    }
}

impl<'a> From<&'a String> for UserId<'a> {
    fn from(id: &'a String) -> Self {
        Self::new(None, id.into())
    }
}

impl<'a> From<(&'a str, &'a str)> for UserId<'a> {
    fn from((scope, id): (&'a str, &'a str)) -> Self {
        Self::new(Some(scope.into()), id.into())
    }
}

/// Shows neither scope nor id.
impl fmt::Debug for UserId<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UserId").field("has_scope", &self.scope.is_some()).finish_non_exhaustive()
    }
}

/// Jovo's platforms. Their users are stored under bare ids, as Jovo stores them.
const JOVO: [&str; 10] = [
    "alexa",
    "core",
    "web",
    "googleassistant",
    "dialogflow-google",
    "dialogflow",
    "facebookmessenger",
    "instagram",
    "googlebusiness",
    "lex",
];

/// First parts of keys that do not belong to a platform.
const RESERVED: [&str; 2] = [IDENTITY, CONVERSATION];

const IDENTITY: &str = "identity";

const CONVERSATION: &str = "conversation";

/// A function of the app's own that makes keys from platform, scope and id.
pub(crate) type StorageKey = dyn Fn(&str, Option<&str>, &str) -> String + Send + Sync;

/// Makes the keys of users.
#[derive(Clone, Default)]
pub(crate) struct UserKeys {
    /// Set if every key begins with the platform.
    pub(crate) with_platform: bool,
    /// The app's own function, used instead of the default.
    pub(crate) own: Option<Arc<StorageKey>>,
}

impl UserKeys {
    /// Returns the key of user `id` on `platform`, one of the `platforms` in use; `None` if the id
    /// is not valid, or its key would be too long.
    pub(crate) fn key(
        &self,
        platforms: &[NamedPlatform],
        platform: &str,
        id: &UserId<'_>,
    ) -> Option<Arc<str>> {
        let key = match &self.own {
            _ if !is_id(id.id()) => return None,
            Some(own) => Cow::Owned(own(platform, id.scope(), id.id())),
            None => self.default_key(platforms, platform, id),
        };
        is_id(&key).then(|| key.into())
    }

    /// Returns the key of a user whom an authentication layer has identified as `subject`, on every
    /// platform; `None` if the subject is empty, or its key would be too long.
    pub(crate) fn identity_key(subject: &str) -> Option<Arc<str>> {
        let key = joined(&[Some(IDENTITY), Some(subject)]);
        (is_id(subject) && is_id(&key)).then(|| key.into())
    }

    /// Returns the key of conversation `id` on `platform`; `None` if the id is not valid, or its key
    /// would be too long.
    pub(crate) fn conversation_key(&self, platform: &str, id: &UserId<'_>) -> Option<Arc<str>> {
        let parts = [Some(CONVERSATION), Some(platform), id.scope(), Some(id.id())];
        let key = joined(&parts);
        (is_id(id.id()) && is_id(&key)).then(|| key.into())
    }

    fn default_key<'a>(
        &self,
        platforms: &[NamedPlatform],
        platform: &str,
        id: &'a UserId<'_>,
    ) -> Cow<'a, str> {
        let is_bare = !self.with_platform && JOVO.contains(&platform) && id.scope.is_none();
        if is_bare && !seems_prefixed(platforms, id.id()) {
            return id.id().into();
        }
        let parts = [id.scope(), Some(id.id())].into_iter().flatten().map(encoded);
        let parts: Vec<_> = std::iter::once(first_part(platform)).chain(parts).collect();
        parts.join(":").into()
    }
}

/// Returns the first part of the keys of a platform's users.
fn first_part(platform: &str) -> Cow<'_, str> {
    match platform {
        // A platform of the app's own may have a reserved name; its first letter is then encoded.
        IDENTITY => "%69dentity".into(),
        CONVERSATION => "%63onversation".into(),
        _ => encoded(platform),
    }
}

/// Joins the parts of a key.
fn joined(parts: &[Option<&str>]) -> String {
    let parts: Vec<_> = parts.iter().flatten().map(|part| encoded(part)).collect();
    parts.join(":")
}

/// Returns whether a bare id looks like a key that begins with a platform.
fn seems_prefixed(platforms: &[NamedPlatform], id: &str) -> bool {
    let Some((first, _)) = id.split_once(':') else { return false };
    JOVO.iter().chain(&RESERVED).any(|name| *name == first)
        || platforms.iter().any(|platform| first_part(&platform.name) == first)
}

/// Returns a part of a key with `:` and `%` percent-encoded.
pub(crate) fn encoded(part: &str) -> Cow<'_, str> {
    if part.contains([':', '%']) {
        part.replace('%', "%25").replace(':', "%3A").into()
    } else {
        part.into()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::platform::{Alexa, JsonPlatform, Platform, Web};

    fn platforms() -> Vec<NamedPlatform> {
        let own = ["slack", "a:b", "identity", "conversation"].map(JsonPlatform::new);
        let own = own.map(|platform| Arc::new(platform) as Arc<dyn Platform>);
        let all = own.into_iter().chain([Arc::new(Alexa) as Arc<dyn Platform>, Arc::new(Web)]);
        all.map(NamedPlatform::from).collect()
    }

    fn key(keys: &UserKeys, platform: &str, scope: Option<&str>, id: &str) -> Option<Arc<str>> {
        let id = UserId::new(scope.map(Into::into), id.into());
        keys.key(&platforms(), platform, &id)
    }

    #[test]
    fn jovos_platforms_have_bare_keys_and_others_begin_with_their_name() {
        let keys = UserKeys::default();
        for (platform, scope, id, expected) in [
            ("alexa", None, "amzn1.account.A", "amzn1.account.A"),
            ("alexa", None, "a%b", "a%b"),
            ("web", None, "other:U1", "other:U1"),
            ("web", None, "slack:T1:U1", "web:slack%3AT1%3AU1"),
            ("web", None, "alexa:1", "web:alexa%3A1"),
            ("web", None, "identity:anna", "web:identity%3Aanna"),
            ("slack", None, "U1", "slack:U1"),
            ("slack", Some("T1"), "U1", "slack:T1:U1"),
            ("slack", Some("T:1"), "U%1", "slack:T%3A1:U%251"),
            ("a:b", None, "U1", "a%3Ab:U1"),
            ("identity", None, "U1", "%69dentity:U1"),
            ("web", None, "%69dentity:U1", "web:%2569dentity%3AU1"),
        ] {
            assert_eq!(key(&keys, platform, scope, id).as_deref(), Some(expected));
        }
        let keys = UserKeys { with_platform: true, own: None };
        assert_eq!(key(&keys, "alexa", None, "a").as_deref(), Some("alexa:a"));
    }

    #[test]
    fn conversations_and_identities_share_no_key_with_a_user() {
        let keys = UserKeys::default();
        let others = [
            UserKeys::identity_key("U1").unwrap(),
            keys.conversation_key("slack", &"U1".into()).unwrap(),
            keys.conversation_key("slack", &("T1", "U1").into()).unwrap(),
        ];
        assert_eq!(
            others.each_ref().map(|key| &**key),
            ["identity:U1", "conversation:slack:U1", "conversation:slack:T1:U1"]
        );
        for other in &others {
            for (platform, scope, id) in [
                ("web", None, &**other),
                ("identity", None, "U1"),
                ("conversation", Some("slack"), "U1"),
                ("conversation", Some("slack"), "T1:U1"),
            ] {
                assert_ne!(key(&keys, platform, scope, id).as_ref(), Some(other));
            }
        }
    }

    #[test]
    fn a_key_is_never_longer_than_a_key_may_be() {
        let id = "é".repeat(1024);
        assert!(key(&UserKeys::default(), "web", None, &id).is_some());
        assert_eq!(key(&UserKeys::default(), "slack", None, &id), None);
        let own: Arc<StorageKey> =
            Arc::new(|platform, scope, id| format!("{platform}{scope:?}{id}"));
        let keys = UserKeys { with_platform: false, own: Some(own) };
        assert_eq!(key(&keys, "web", None, &id), None);
        assert_eq!(key(&keys, "web", None, "").as_deref(), None);
        assert_eq!(key(&keys, "web", Some("s"), "u").as_deref(), Some(r#"webSome("s")u"#));
    }

    /// Generates ids that look like keys, of the characters that keys are made of.
    fn part() -> impl Strategy<Value = String> {
        prop_oneof!["(slack|web|alexa|identity|a:b|a%3Ab)?:?[ab:%2A5]{1,6}", ".{1,8}"]
    }

    proptest! {
        #[test]
        fn no_two_users_share_a_key(
            one in (0..5_usize, proptest::option::of(part()), part()),
            other in (0..5_usize, proptest::option::of(part()), part()),
            with_platform: bool,
        ) {
            const NAMES: [&str; 5] = ["slack", "a:b", "identity", "alexa", "web"];
            let keys = UserKeys { with_platform, own: None };
            let key = |(at, scope, id): &(usize, Option<String>, String)| {
                key(&keys, NAMES[*at], scope.as_deref(), id)
            };
            // Bare ids of Jovo's platforms are shared, as Jovo shares them.
            let is_bare = |(at, scope, _): &(usize, Option<String>, _)| {
                !with_platform && *at > 2 && scope.is_none()
            };
            let is_same_user =
                one == other || (is_bare(&one) && is_bare(&other) && one.2 == other.2);
            if !is_same_user {
                prop_assert_ne!(key(&one), key(&other));
            }
        }
    }
}
