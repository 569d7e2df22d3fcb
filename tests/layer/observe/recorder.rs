//! A subscriber that records everything.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::{Arc, Mutex, OnceLock};

use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::subscriber::DefaultGuard;
use tracing::{Dispatch, Event, Subscriber};
use tracing_subscriber::layer::{Context, SubscriberExt};
use tracing_subscriber::registry::{LookupSpan, Registry};
use tracing_subscriber::util::SubscriberInitExt;

use super::DATA;

pub(super) type Fields = BTreeMap<&'static str, String>;

#[derive(Clone, Default)]
pub(super) struct Recorder(Arc<Mutex<Recorded>>);

#[derive(Default)]
struct Recorded {
    spans: Vec<Span>,
    /// Level and fields.
    events: Vec<(String, Fields)>,
}

#[derive(Clone, Debug, Default)]
pub(super) struct Span {
    id: u64,
    name: &'static str,
    pub(super) parent: Option<&'static str>,
    pub(super) fields: Fields,
}

impl Span {
    #[track_caller]
    pub(super) fn assert(&self, field: &str, value: &str) {
        assert_eq!(self.fields.get(field).map(String::as_str), Some(value), "{field} of {self:?}");
    }

    pub(super) fn number(&self, field: &str) -> f64 {
        self.fields[field].parse().unwrap()
    }
}

struct Text<'a>(&'a mut Fields);

impl Visit for Text<'_> {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.0.insert(field.name(), value.to_owned());
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.0.insert(field.name(), format!("{value:?}"));
    }
}

impl<S: Subscriber + for<'a> LookupSpan<'a>> tracing_subscriber::Layer<S> for Recorder {
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let mut fields = Fields::new();
        attributes.record(&mut Text(&mut fields));
        let span = context.span(id).unwrap();
        let parent = span.parent().map(|parent| parent.name());
        let span = Span { id: id.into_u64(), name: span.name(), parent, fields };
        self.0.lock().unwrap().spans.push(span);
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, _: Context<'_, S>) {
        let mut recorded = self.0.lock().unwrap();
        // An id is reused once its span is closed.
        let span = recorded.spans.iter_mut().rfind(|span| span.id == id.into_u64());
        values.record(&mut Text(&mut span.unwrap().fields));
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let mut fields = Fields::new();
        event.record(&mut Text(&mut fields));
        if let Some(span) = context.event_span(event) {
            fields.insert("in", span.name().to_owned());
        }
        self.0.lock().unwrap().events.push((event.metadata().level().to_string(), fields));
    }
}

impl Recorder {
    pub(super) fn start() -> (Self, DefaultGuard) {
        // As long as there is only one subscriber, tracing asks that of the current thread, which a
        // thread of another test does not have.
        static SECOND: OnceLock<Dispatch> = OnceLock::new();
        SECOND.get_or_init(|| Dispatch::new(Registry::default()));
        let recorder = Self::default();
        let guard = Registry::default().with(recorder.clone()).set_default();
        (recorder, guard)
    }

    /// Returns the last span of that name.
    #[track_caller]
    pub(super) fn span(&self, name: &str) -> Span {
        let recorded = self.0.lock().unwrap();
        recorded.spans.iter().rfind(|span| span.name == name).expect(name).clone()
    }

    /// Returns the outcomes of all spans since the last call.
    pub(super) fn outcomes(&self) -> String {
        let spans = std::mem::take(&mut self.0.lock().unwrap().spans);
        assert_discreet(&spans);
        let outcomes = spans.iter().map(|span| {
            let outcome = span.fields.get("outcome").expect("an outcome");
            format!("{} {outcome}", span.name)
        });
        outcomes.collect::<Vec<_>>().join(", ")
    }

    /// Returns the events since the last call.
    pub(super) fn events(&self) -> Vec<(String, Fields)> {
        let events = std::mem::take(&mut self.0.lock().unwrap().events);
        assert_discreet(&events);
        events
    }
}

/// Checks that no user id and no user data is recorded.
pub(super) fn assert_discreet(recorded: &impl Debug) {
    let text = format!("{recorded:?}");
    for secret in ["IDOFANNA", "IDOFSESSION", DATA, "OrderIntent"] {
        assert!(!text.contains(secret), "{secret} in {text}");
    }
}
