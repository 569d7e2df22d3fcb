//! Shared tools: requests, a service around a handler, and a database that can be made to fail.

use std::future::Future;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use serde_json::{Value, json};
use tokio::sync::Notify;
use tower::util::BoxCloneSyncService;
use tower::{Layer, ServiceExt, service_fn};
use tower_persistence::{
    BoxError, Database, Error, Expected, History, Loaded, MemoryDb, PersistenceLayer, Record,
    ResponseBody, Saved, Session, User, VersionedRecord,
};

pub(crate) type HttpRequest = Request<Full<Bytes>>;
pub(crate) type HttpResponse = Response<Full<Bytes>>;
pub(crate) type App =
    BoxCloneSyncService<HttpRequest, Response<ResponseBody<Full<Bytes>>>, BoxError>;

/// Returns an Alexa request in a session that continues.
pub(crate) fn alexa(user: &str) -> Value {
    alexa_session(user, "session-1", false)
}

pub(crate) fn alexa_session(user: &str, session: &str, new: bool) -> Value {
    json!({
        "version": "1.0",
        "session": { "new": new, "sessionId": session, "user": { "userId": user } },
        "context": { "System": { "user": { "userId": user } } },
        "request": {
            "type": "IntentRequest",
            "requestId": "request-1",
            "intent": { "name": "OrderIntent", "slots": { "drink": { "name": "drink", "value": "tea" } } },
        },
    })
}

/// Returns Alexa's request about an audio stream, which is sessionless.
pub(crate) fn alexa_audio(user: &str) -> Value {
    json!({
        "version": "1.0",
        "context": { "System": { "user": { "userId": user } } },
        "request": { "type": "AudioPlayer.PlaybackStarted", "requestId": "request-1" },
    })
}

/// Returns a message of Google Business Messages, which has no client-side sessions, and whose
/// repeats are not recognised by default.
pub(crate) fn google_business(user: &str) -> Value {
    let message = json!({ "messageId": "message-1", "text": "hello" });
    json!({ "agent": "a", "conversationId": user, "requestId": "request-1", "message": message })
}

/// Returns a message on Messenger, which has no sessions of its own.
pub(crate) fn messenger(user: &str, mid: &str) -> Value {
    messenger_batch(&[(user, mid)])
}

/// Returns messages of these users with these ids, each in its own entry.
pub(crate) fn messenger_batch(messages: &[(&str, &str)]) -> Value {
    let entry = |(user, mid): &(&str, &str)| {
        let message = json!({ "mid": mid, "text": "hello" });
        let message = json!({ "sender": { "id": user }, "timestamp": 1_767_607_200_000_u64, "message": message });
        json!({ "id": "page-1", "time": 1_767_607_200_000_u64, "messaging": [message] })
    };
    json!({ "object": "page", "entry": messages.iter().map(entry).collect::<Vec<_>>() })
}

pub(crate) fn post(body: impl Into<Bytes>) -> HttpRequest {
    let request = Request::post("/").header("content-type", "application/json");
    request.body(Full::new(body.into())).unwrap()
}

/// Returns the three handles of a request.
pub(crate) fn handles(request: &HttpRequest) -> Option<(User, Session, History)> {
    let extensions = request.extensions();
    Some((
        extensions.get::<User>()?.clone(),
        extensions.get::<Session>()?.clone(),
        extensions.get::<History>()?.clone(),
    ))
}

pub(crate) fn reply(status: u16, body: &str) -> HttpResponse {
    let response = Response::builder().status(status).header("content-type", "application/json");
    response.body(Full::new(Bytes::from(body.to_owned()))).unwrap()
}

/// Returns a service of `layer` around a handler that takes the whole request.
pub(crate) fn serve<D, F>(
    layer: &PersistenceLayer<D>,
    handler: impl Fn(HttpRequest) -> F + Clone + Send + Sync + 'static,
) -> App
where
    D: Database,
    F: Future<Output = Result<HttpResponse, BoxError>> + Send + 'static,
{
    BoxCloneSyncService::new(layer.layer(service_fn(handler)))
}

/// Returns a service of `layer` around a handler that takes the handles, and answers with 200 or
/// with the status of the error.
pub(crate) fn app<D, F>(
    layer: &PersistenceLayer<D>,
    handler: impl Fn(User, Session, History) -> F + Clone + Send + Sync + 'static,
) -> App
where
    D: Database,
    F: Future<Output = Result<(), Error>> + Send + 'static,
{
    serve(layer, move |request| {
        let handled =
            handles(&request).map(|(user, session, history)| handler(user, session, history));
        async move {
            match handled.expect("a request with a user").await {
                Ok(()) => Ok(reply(200, r#"{"text":"hello"}"#)),
                Err(error) => {
                    Ok(reply(error.status().as_u16(), &format!("{:?}", error.to_string())))
                }
            }
        }
    })
}

/// Returns a handler of one line that does not wait.
pub(crate) fn sync_app<D: Database>(
    layer: &PersistenceLayer<D>,
    handler: impl Fn(&User, &Session, &History) -> Result<(), Error> + Clone + Send + Sync + 'static,
) -> App {
    app(layer, move |user, session, history| {
        let result = handler(&user, &session, &history);
        async move { result }
    })
}

pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) error: Option<Error>,
    pub(crate) body: Bytes,
}

impl Answer {
    pub(crate) fn assert_ok(&self) {
        assert_eq!(self.status, 200, "{:?} {:?}", self.error, self.body);
    }

    pub(crate) fn error(&self) -> &Error {
        self.error.as_ref().expect("an error in the response's extensions")
    }
}

pub(crate) async fn send(app: &App, request: HttpRequest) -> Answer {
    try_send(app, request).await.expect("a response")
}

pub(crate) async fn try_send(app: &App, request: HttpRequest) -> Result<Answer, BoxError> {
    let response = app.clone().oneshot(request).await?;
    let error = response.extensions().get::<Error>().cloned();
    let status = response.status();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    Ok(Answer { status, error, body })
}

pub(crate) async fn send_json(app: &App, body: &Value) -> Answer {
    send(app, post(body.to_string())).await
}

/// Returns the stored record of a user.
pub(crate) async fn stored(database: &impl Database, user: &str) -> Option<Value> {
    let stored = database.load(user).await.unwrap()?;
    Some(serde_json::to_value(stored.record).unwrap())
}

/// Returns the ids of the handled events that a record holds, newest first.
pub(crate) fn handled(record: &Value) -> Vec<&str> {
    let events = record.get("handledEvents").and_then(Value::as_array);
    events.into_iter().flatten().map(|event| event["id"].as_str().unwrap()).collect()
}

/// Stores a record as another process would.
pub(crate) async fn store(database: &impl Database, user: &str, item: &Value) {
    let record: Record = serde_json::from_value(item.clone()).unwrap();
    let over = database.load(user).await.unwrap().map(|stored| stored.version);
    let saved = database.save(user, &record, Expected::from(over.as_ref())).await.unwrap();
    assert!(matches!(saved, Saved::Written(_)));
}

/// A clock that stands still until it is moved.
#[derive(Clone)]
pub(crate) struct Clock(Arc<Mutex<SystemTime>>);

impl Clock {
    /// Starts at `2026-01-01T00:00:00.000Z`.
    pub(crate) fn new() -> Self {
        Self(Arc::new(Mutex::new(SystemTime::UNIX_EPOCH + Duration::from_secs(1_767_225_600))))
    }

    pub(crate) fn advance(&self, by: Duration) {
        *self.0.lock().unwrap() += by;
    }

    pub(crate) fn reader(&self) -> impl Fn() -> SystemTime + Send + Sync + 'static {
        let clock = self.0.clone();
        move || *clock.lock().unwrap()
    }
}

/// A `MemoryDb` that counts its calls, and that can be made to fail or to wait.
#[derive(Clone, Debug, Default)]
pub(crate) struct TestDb {
    pub(crate) items: MemoryDb,
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    calls: Mutex<Calls>,
    on_ready: Mutex<Behaviour>,
    on_load: Mutex<Behaviour>,
    on_save: Mutex<Behaviour>,
    /// Notified to let waiting calls continue.
    go: Notify,
    /// Notified when a call waits.
    waits: Notify,
}

#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Calls {
    pub(crate) loads: usize,
    pub(crate) saves: usize,
    pub(crate) deletes: usize,
}

#[derive(Clone, Copy, Debug, Default)]
pub(crate) enum Behaviour {
    #[default]
    Works,
    Fails,
    Hangs,
    Waits,
}

impl TestDb {
    pub(crate) fn on_ready(&self, behaviour: Behaviour) {
        *self.shared.on_ready.lock().unwrap() = behaviour;
    }

    pub(crate) fn on_load(&self, behaviour: Behaviour) {
        *self.shared.on_load.lock().unwrap() = behaviour;
    }

    pub(crate) fn on_save(&self, behaviour: Behaviour) {
        *self.shared.on_save.lock().unwrap() = behaviour;
    }

    pub(crate) fn calls(&self) -> Calls {
        *self.shared.calls.lock().unwrap()
    }

    /// Waits until a call waits.
    pub(crate) async fn until_waiting(&self) {
        self.shared.waits.notified().await;
    }

    /// Lets the waiting call continue.
    pub(crate) fn go(&self) {
        self.shared.go.notify_one();
    }

    async fn behave(&self, behaviour: Behaviour) -> Result<(), Error> {
        match behaviour {
            Behaviour::Works => Ok(()),
            Behaviour::Fails => Err(Error::database("the disk is on fire")),
            Behaviour::Hangs => std::future::pending().await,
            Behaviour::Waits => {
                self.shared.waits.notify_one();
                self.shared.go.notified().await;
                Ok(())
            }
        }
    }
}

impl Database for TestDb {
    async fn ensure_ready(&self) -> Result<(), Error> {
        let behaviour = *self.shared.on_ready.lock().unwrap();
        self.behave(behaviour).await
    }

    async fn load(&self, id: &str) -> Result<Option<VersionedRecord>, Error> {
        self.load_for_update(id).await.map(Loaded::into_record)
    }

    async fn load_for_update(&self, id: &str) -> Result<Loaded, Error> {
        self.shared.calls.lock().unwrap().loads += 1;
        let behaviour = *self.shared.on_load.lock().unwrap();
        self.behave(behaviour).await?;
        self.items.load_for_update(id).await
    }

    async fn save(
        &self,
        id: &str,
        record: &Record,
        expected: Expected<'_>,
    ) -> Result<Saved, Error> {
        self.shared.calls.lock().unwrap().saves += 1;
        let behaviour = *self.shared.on_save.lock().unwrap();
        self.behave(behaviour).await?;
        self.items.save(id, record, expected).await
    }

    async fn delete(&self, id: &str) -> Result<(), Error> {
        self.shared.calls.lock().unwrap().deletes += 1;
        let behaviour = *self.shared.on_save.lock().unwrap();
        self.behave(behaviour).await?;
        self.items.delete(id).await
    }
}
