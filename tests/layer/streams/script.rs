//! Replies that are streamed by a script, and a client that reads them frame by frame.

use std::sync::{Arc, Mutex};

use bytes::Bytes;
use futures_util::{Stream, stream};
use http::{HeaderMap, Response, StatusCode};
use http_body::Frame;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use serde_json::Value;
use tokio::sync::Notify;
use tower::util::BoxCloneSyncService;
use tower::{Layer, ServiceExt, service_fn};
use tower_persistence::{
    BoxError, Database, Error, PersistenceLayer, ResponseBody, StreamedTurn, TurnEnd, User,
};

use crate::common::{HttpRequest, alexa, handles, post, stored};

pub(super) type Body = UnsyncBoxBody<Bytes, BoxError>;
pub(super) type Answered = Response<ResponseBody<Body>>;
pub(super) type App = BoxCloneSyncService<HttpRequest, Answered, BoxError>;

/// One step of a handler's stream.
#[derive(Clone, Debug)]
pub(super) enum Step {
    /// Yields a frame.
    Say(&'static str),
    /// Appends to the user's `said`.
    Write(&'static str),
    /// Yields trailers.
    Trailers,
    /// Ends the turn.
    Finish,
    /// Yields an error.
    Fail,
    Hang,
    Panic,
    /// Waits until [`Scene::go`].
    Wait,
}

use Step::*;

/// A frame for a word, which is written as well.
pub(super) fn words(words: &[&'static str]) -> Vec<Step> {
    words.iter().flat_map(|word| [Write(word), Say(word)]).collect()
}

/// A handler that streams, and what became of its turns.
#[derive(Clone)]
pub(super) struct Scene {
    notes: Arc<Mutex<Vec<String>>>,
    written: Arc<Mutex<String>>,
    turns: Arc<Mutex<Vec<StreamedTurn>>>,
    go: Arc<Notify>,
}

impl Scene {
    pub(super) fn new() -> Self {
        Self {
            notes: Arc::default(),
            written: Arc::default(),
            turns: Arc::default(),
            go: Arc::default(),
        }
    }

    /// Returns the handle of the last turn.
    pub(super) fn turn(&self) -> StreamedTurn {
        self.turns.lock().unwrap().last().expect("a turn").clone()
    }

    /// Returns what failed in the streams.
    pub(super) fn notes(&self) -> String {
        self.notes.lock().unwrap().join(", ")
    }

    /// Returns what the streams wrote without an error.
    pub(super) fn written(&self) -> String {
        self.written.lock().unwrap().clone()
    }

    pub(super) fn go(&self) {
        self.go.notify_one();
    }

    /// Returns a service of `layer` that streams `steps`.
    pub(super) fn app<D: Database>(&self, layer: &PersistenceLayer<D>, steps: &[Step]) -> App {
        let (scene, steps) = (self.clone(), steps.to_vec());
        self.serve(layer, move |request| {
            let (user, turn) = scene.user_and_turn(&request);
            Response::new(scene.stream(user, turn, steps.clone()))
        })
    }

    /// Returns a service of `layer` around a handler that does not wait.
    pub(super) fn serve<D: Database>(
        &self,
        layer: &PersistenceLayer<D>,
        handler: impl Fn(HttpRequest) -> Response<Body> + Clone + Send + Sync + 'static,
    ) -> App {
        BoxCloneSyncService::new(layer.layer(service_fn(move |request| {
            let response = handler(request);
            async move { Ok::<_, BoxError>(response) }
        })))
    }

    pub(super) fn user_and_turn(&self, request: &HttpRequest) -> (User, StreamedTurn) {
        let (user, session, _) = handles(request).expect("a request with a user");
        let turn = StreamedTurn::from_session(&session);
        self.turns.lock().unwrap().push(turn.clone());
        (user, turn)
    }

    /// Returns a body of no known length that plays the steps.
    pub(super) fn stream(&self, user: User, turn: StreamedTurn, steps: Vec<Step>) -> Body {
        StreamBody::new(self.play(user, turn, steps)).boxed_unsync()
    }

    fn play(
        &self,
        user: User,
        turn: StreamedTurn,
        steps: Vec<Step>,
    ) -> impl Stream<Item = Result<Frame<Bytes>, BoxError>> + Send + 'static + use<> {
        let state = (steps.into_iter(), user, turn, self.clone());
        stream::unfold(state, |(mut steps, user, turn, scene)| async move {
            loop {
                let done = match steps.next()? {
                    Say(word) => Done::Yields(Ok(Frame::data(Bytes::from_static(word.as_bytes())))),
                    Trailers => Done::Yields(Ok(Frame::trailers(HeaderMap::new()))),
                    Fail => Done::Yields(Err("the model fell silent".into())),
                    Write(word) => Done::Went(append(&user, word).inspect(|()| {
                        *scene.written.lock().unwrap() += word;
                    })),
                    Finish => Done::Went(turn.finish().await),
                    Wait => {
                        scene.go.notified().await;
                        Done::Went(Ok(()))
                    }
                    Hang => std::future::pending().await,
                    Panic => panic!("on purpose"),
                };
                match done {
                    Done::Yields(frame) => break Some((frame, (steps, user, turn, scene))),
                    Done::Went(Ok(())) => {}
                    Done::Went(Err(error)) => scene.notes.lock().unwrap().push(kind(&error)),
                }
            }
        })
    }
}

enum Done {
    Yields(Result<Frame<Bytes>, BoxError>),
    Went(Result<(), Error>),
}

pub(super) fn append(user: &User, word: &str) -> Result<(), Error> {
    let said: String = user.get("said")?.unwrap_or_default();
    user.set("said", said + word)
}

pub(super) fn kind(error: &Error) -> String {
    let kinds = [
        (error.is_turn_ended(), "turn_ended"),
        (error.is_database(), "database"),
        (error.is_timeout(), "timeout"),
        (error.is_conflict(), "conflict"),
    ];
    kinds.iter().find(|(is, _)| *is).map_or(format!("{error}"), |(_, kind)| (*kind).to_owned())
}

/// A body that is there as a whole.
pub(super) fn whole(text: &'static str) -> Body {
    Full::from(text).map_err(|never| match never {}).boxed_unsync()
}

/// Lets the handler choose the end of its turn.
pub(super) fn ending(mut response: Response<Body>, end: TurnEnd) -> Response<Body> {
    response.extensions_mut().insert(end);
    response
}

/// A reply that is read frame by frame.
pub(super) struct Client {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) error: Option<Error>,
    pub(super) body: ResponseBody<Body>,
}

impl Client {
    pub(super) async fn ask(app: &App) -> Self {
        Self::ask_as(app, "user-1").await
    }

    pub(super) async fn ask_as(app: &App, user: &str) -> Self {
        Self::send(app, &alexa(user)).await
    }

    pub(super) async fn send(app: &App, request: &Value) -> Self {
        let response = app.clone().oneshot(post(request.to_string())).await.expect("a response");
        let (parts, body) = response.into_parts();
        let error = parts.extensions.get::<Error>().cloned();
        Self { status: parts.status, headers: parts.headers, error, body }
    }

    /// Returns the next frame as text; `.` for trailers and `!` for an error.
    pub(super) async fn next(&mut self) -> Option<String> {
        match self.body.frame().await? {
            Ok(frame) if frame.is_trailers() => Some(".".to_owned()),
            Ok(frame) => Some(String::from_utf8(frame.into_data().unwrap().into()).unwrap()),
            Err(error) => {
                self.error = error.downcast_ref::<Error>().cloned();
                Some("!".to_owned())
            }
        }
    }

    pub(super) async fn read(&mut self, frames: usize) -> String {
        let mut read = String::new();
        for _ in 0..frames {
            read += &self.next().await.expect("a frame");
        }
        read
    }

    /// Returns all that is left. It ends with `!` if the stream broke off.
    pub(super) async fn rest(&mut self) -> String {
        let mut read = String::new();
        while let Some(frame) = self.next().await {
            read += &frame;
            if frame == "!" {
                break;
            }
        }
        read
    }
}

pub(super) async fn said(database: &impl Database) -> Option<String> {
    let stored = stored(database, "user-1").await?;
    Some(stored["user"]["data"]["said"].as_str().unwrap_or_default().to_owned())
}
