//! Deserializing stored elements from Jovo's JSON.

use std::fmt;
use std::marker::PhantomData;
use std::time::Duration;

use serde::de::value::MapAccessDeserializer;
use serde::de::{Error as _, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};

use super::{HistoryElement, SessionElement, Setting, StoredElements};

impl<'de> Deserialize<'de> for StoredElements {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let json = Json::deserialize(deserializer)?;
        Ok(Self {
            user: json.user.0.is_some(),
            session: json.session.0,
            history: json.history.0,
            messages: json.messages.0.is_some(),
            history_budget: json.history_budget,
            created_at: json.created_at.0.is_some(),
            updated_at: json.updated_at.0.is_some(),
            meta_data: json.meta_data.0.is_some(),
        })
    }
}

#[derive(Deserialize)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
struct Json {
    user: Setting<()>,
    session: Setting<SessionElement>,
    history: Setting<HistoryElement>,
    messages: Setting<()>,
    #[serde(deserialize_with = "history_budget")]
    history_budget: usize,
    created_at: Setting<()>,
    updated_at: Setting<()>,
    meta_data: Setting<()>,
}

impl Default for Json {
    fn default() -> Self {
        let off = StoredElements::default();
        Self {
            user: off.user.into(),
            session: Setting(off.session),
            history: Setting(off.history),
            messages: off.messages.into(),
            history_budget: off.history_budget,
            created_at: off.created_at.into(),
            updated_at: off.updated_at.into(),
            meta_data: off.meta_data.into(),
        }
    }
}

/// An element with settings, which have their own JSON object.
trait FromSettings: Default {
    type Settings: for<'de> Deserialize<'de> + Into<Setting<Self>>;
}

impl<'de, T: FromSettings> Deserialize<'de> for Setting<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(SettingVisitor(PhantomData))
    }
}

struct SettingVisitor<T>(PhantomData<T>);

impl<'de, T: FromSettings> Visitor<'de> for SettingVisitor<T> {
    type Value = Setting<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a boolean or an object")
    }

    fn visit_bool<E>(self, on: bool) -> Result<Self::Value, E> {
        Ok(on.into())
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
        T::Settings::deserialize(MapAccessDeserializer::new(map)).map(Into::into)
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PlainSettings {
    #[serde(default = "on")]
    enabled: bool,
}

impl FromSettings for () {
    type Settings = PlainSettings;
}

impl From<PlainSettings> for Setting<()> {
    fn from(settings: PlainSettings) -> Self {
        settings.enabled.into()
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct SessionSettings {
    #[serde(default = "on")]
    enabled: bool,
    #[serde(default, deserialize_with = "expires_after_seconds")]
    expires_after_seconds: Option<Duration>,
    #[serde(default, deserialize_with = "sessions_kept")]
    sessions_kept: Option<usize>,
}

impl FromSettings for SessionElement {
    type Settings = SessionSettings;
}

impl From<SessionSettings> for Setting<SessionElement> {
    fn from(settings: SessionSettings) -> Self {
        let mut element = SessionElement::default();
        if let Some(expires_after) = settings.expires_after_seconds {
            element = element.expires_after(expires_after);
        }
        if let Some(sessions) = settings.sessions_kept {
            element = element.sessions_kept(sessions);
        }
        Self(settings.enabled.then_some(element))
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct HistorySettings {
    #[serde(default = "on")]
    enabled: bool,
    #[serde(default, deserialize_with = "size")]
    size: Option<usize>,
    #[serde(default)]
    input: bool,
    #[serde(default = "on")]
    nlu: bool,
    #[serde(default)]
    asr: bool,
    #[serde(default)]
    state: bool,
    #[serde(default = "on")]
    output: bool,
    #[serde(default)]
    request: bool,
    #[serde(default)]
    response: bool,
}

impl FromSettings for HistoryElement {
    type Settings = HistorySettings;
}

impl From<HistorySettings> for Setting<HistoryElement> {
    fn from(settings: HistorySettings) -> Self {
        let HistorySettings { enabled, size, input, nlu, asr, state, output, request, response } =
            settings;
        let size = size.unwrap_or(HistoryElement::default().size);
        let custom = Vec::new();
        let element =
            HistoryElement { size, input, nlu, asr, state, output, request, response, custom };
        Self(enabled.then_some(element))
    }
}

fn on() -> bool {
    true
}

fn expires_after_seconds<'de, D: Deserializer<'de>>(json: D) -> Result<Option<Duration>, D::Error> {
    let seconds = f64::deserialize(json)
        .map_err(|error| D::Error::custom(format_args!("`expiresAfterSeconds`: {error}")))?;
    match Duration::try_from_secs_f64(seconds) {
        Ok(duration) if !duration.is_zero() => Ok(Some(duration)),
        _ => {
            Err(D::Error::custom("`expiresAfterSeconds` is not more than 0; set it to more than 0"))
        }
    }
}

fn history_budget<'de, D: Deserializer<'de>>(json: D) -> Result<usize, D::Error> {
    // `count` returns no `None`.
    count(json, "historyBudget").map(Option::unwrap_or_default)
}

fn size<'de, D: Deserializer<'de>>(json: D) -> Result<Option<usize>, D::Error> {
    count(json, "size")
}

fn sessions_kept<'de, D: Deserializer<'de>>(json: D) -> Result<Option<usize>, D::Error> {
    count(json, "sessionsKept")
}

fn count<'de, D: Deserializer<'de>>(json: D, name: &str) -> Result<Option<usize>, D::Error> {
    let count = i64::deserialize(json)
        .map_err(|error| D::Error::custom(format_args!("`{name}`: {error}")))?;
    match usize::try_from(count) {
        Ok(count) if count > 0 => Ok(Some(count)),
        _ => {
            Err(D::Error::custom(format_args!("`{name}` is not more than 0; set it to 1 or more")))
        }
    }
}
