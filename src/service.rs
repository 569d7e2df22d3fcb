use std::fmt;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::request::Parts;
use http::{Request, Response};
use http_body::Body;
use tokio::time::timeout;
use tower_service::Service;

use crate::body::{self, NoUser};
use crate::error::{BoxError, Kind};
use crate::layer::{Config, Shared};
use crate::order::InTurn;
use crate::platform::{self, Document, Input};
use crate::response::is_plain_json;
use crate::turn::{Exchange, Outcome, Recognised, Turn};
use crate::{
    Database, Error, FromBuffered, History, ResponseBody, ResponseFuture, Saved, Session, User,
};

/// The service that [`PersistenceLayer`](crate::PersistenceLayer) makes of an inner one.
pub struct Persistence<S, D> {
    inner: S,
    shared: Arc<Shared<D>>,
}

impl<S, D> Persistence<S, D> {
    pub(crate) fn new(inner: S, shared: Arc<Shared<D>>) -> Self {
        Self { inner, shared }
    }
}

impl<S, D, B, R> Service<Request<B>> for Persistence<S, D>
where
    S: Service<Request<B>, Response = Response<R>> + Clone + Send + 'static,
    S::Future: Send,
    S::Error: Send,
    D: Database,
    B: FromBuffered + Send + 'static,
    B::Data: Send,
    B::Error: Into<BoxError>,
    R: Body + Send + 'static,
    R::Data: Send,
    R::Error: Send,
{
    type Response = Response<ResponseBody<R>>;
    type Error = S::Error;
    type Future = ResponseFuture<S::Future, R, S::Error>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    #[inline]
    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        if !self.reads(&mut request) {
            return ResponseFuture::pass_through(self.inner.call(request));
        }
        // The service that is ready is the one to call; its clone has yet to become so.
        let clone = self.inner.clone();
        let mut inner = std::mem::replace(&mut self.inner, clone);
        let shared = Arc::clone(&self.shared);
        ResponseFuture::turn(async move {
            match serve(&mut inner, &shared, request).await {
                Ok(response) => Ok(response),
                Err(Failure::Inner(error)) => Err(error),
                Err(Failure::Own(error)) => Ok(refuse(&shared.config, error)),
            }
        })
    }
}

impl<S, D> Persistence<S, D> {
    /// Whether the request's body has to be looked at.
    #[inline]
    fn reads<B: Body>(&self, request: &mut Request<B>) -> bool {
        if body::is_bodiless(request.method()) {
            return false;
        }
        if request.extensions().get::<User>().is_some() {
            // The layer stands around this service twice; the outer one serves the request.
            return false;
        }
        if !body::may_have_user(request.method(), request.headers()) {
            return self.shared.config.require_user;
        }
        if request.body().is_end_stream() {
            request.extensions_mut().insert(NoUser);
            return self.shared.config.require_user;
        }
        true
    }
}

/// Why there is no response of the handler's.
enum Failure<E> {
    Own(Error),
    Inner(E),
}

impl<E> From<Error> for Failure<E> {
    fn from(error: Error) -> Self {
        Self::Own(error)
    }
}

/// The way of a request.
async fn serve<S, D, B, R>(
    inner: &mut S,
    shared: &Arc<Shared<D>>,
    request: Request<B>,
) -> Result<Response<ResponseBody<R>>, Failure<S::Error>>
where
    S: Service<Request<B>, Response = Response<R>>,
    D: Database,
    B: FromBuffered,
    B::Error: Into<BoxError>,
    R: Body + Send + 'static,
    R::Data: Send,
    R::Error: Send,
{
    let config = &shared.config;

    // 1. Recognise.
    let (mut parts, bytes, event) = recognise(config, request).await?;
    let Some(event) = event else {
        parts.extensions.insert(NoUser);
        let response = inner.call(body::put_back(parts, bytes)).await.map_err(Failure::Inner)?;
        return Ok(response.map(ResponseBody::inner));
    };
    let platform = Arc::clone(&event.platform);
    let own = |error: Error| Failure::Own(error.with_platform(Arc::clone(&platform)));

    // 2. Order. (A table that has yet to be created must not cost those their turn who come second.)
    make_ready(shared).await.map_err(own)?;
    let in_turn = in_order(shared, &event.user_id).await.map_err(own)?;

    // 3. Load.
    let turn = load(shared, event).await.map_err(own)?;

    // 4. Call.
    parts.extensions.insert(User(Arc::clone(&turn.0)));
    parts.extensions.insert(Session(Arc::clone(&turn.0)));
    parts.extensions.insert(History(Arc::clone(&turn.0)));
    let call = inner.call(body::put_back(parts, bytes.clone()));
    let response = call.await.map_err(Failure::Inner)?;
    if response.status().is_server_error() && !config.save_on_error {
        return Ok(response.map(ResponseBody::inner));
    }

    // 5. Seal and 6. Save.
    let end = end(Arc::clone(shared), turn, in_turn, bytes, response);
    to_its_end(Box::pin(end)).await.map_err(own)
}

/// Reads the body and finds out whose event is in it.
async fn recognise<B>(
    config: &Config,
    request: Request<B>,
) -> Result<(Parts, Bytes, Option<Recognised>), Error>
where
    B: Body,
    B::Error: Into<BoxError>,
{
    let (parts, body) = request.into_parts();
    let bytes = body::buffer(body, &parts.headers, config.body_limit).await?;
    let event = match body::may_have_user(&parts.method, &parts.headers) {
        true => find_event(config, &bytes)?,
        false => None,
    };
    if event.is_none() && config.require_user {
        let message =
            "the request is none of a known platform with a user, and `require_user` is on";
        return Err(Error::new(Kind::NoUser, message));
    }
    Ok((parts, bytes, event))
}

fn find_event(config: &Config, bytes: &[u8]) -> Result<Option<Recognised>, Error> {
    let Some(document) = Document::parse(bytes) else { return Ok(None) };
    let claim = config
        .platforms
        .iter()
        .find_map(|known| known.platform.recognise(&document).map(|events| (known, events)));
    let Some((known, mut events)) = claim else { return Ok(None) };
    events.retain(|event| event.user_id.as_deref().is_some_and(platform::is_id));
    if events.len() > 1 {
        let message = "several events in one request are not supported yet; nothing was stored";
        return Err(Error::new(Kind::Batch, message).with_platform(Arc::clone(&known.name)));
    }
    let Some(event) = events.pop() else { return Ok(None) };
    let Some(user_id) = event.user_id else { return Ok(None) };
    let asks_platform =
        config.stored_elements.history.as_ref().is_some_and(|history| history.asks_platform());
    Ok(Some(Recognised {
        platform: Arc::clone(&known.name),
        user_id: user_id.into(),
        session_id: event.session_id.filter(|id| platform::is_id(id)).map(Into::into),
        new_session: event.new_session,
        outside_session: event.outside_session,
        input: if asks_platform { known.platform.input(&document) } else { Input::default() },
    }))
}

/// Waits until the database can be used.
async fn make_ready<D: Database>(shared: &Shared<D>) -> Result<(), Error> {
    let ready = shared.database.ensure_ready();
    let limit = shared.config.ready_timeout;
    in_time("making the database ready", limit, ready).await.map_err(Error::unavailable)
}

/// Waits until the user's earlier requests are served.
async fn in_order<D>(shared: &Shared<D>, user_id: &Arc<str>) -> Result<InTurn, Error> {
    let limit = shared.config.turn_timeout;
    timeout(limit, shared.order.wait(user_id)).await.map_err(|_| {
        let message = format!(
            "the user's earlier requests were not served within {limit:?} \
             (a handler that calls its own service for the same user waits for itself)"
        );
        Error::new(Kind::Timeout, message)
    })
}

/// Loads what is stored of the user. What cannot be loaded cannot be saved over either: there is no turn then.
async fn load<D: Database>(shared: &Shared<D>, event: Recognised) -> Result<OpenTurn, Error> {
    let Config { stored_elements, clock, load_timeout, .. } = &shared.config;
    let load = shared.database.load(&event.user_id);
    let loaded = in_time("loading", *load_timeout, load).await.map_err(Error::unavailable)?;
    let turn = Turn::begin(event, loaded, stored_elements, clock());
    turn.map(|turn| OpenTurn(Arc::new(turn))).map_err(Error::unavailable)
}

/// A turn that is not stored, but over, when this is dropped: because the handler failed, or panicked, or the client
/// hung up before it answered.
struct OpenTurn(Arc<Turn>);

impl Drop for OpenTurn {
    fn drop(&mut self) {
        self.0.discard();
    }
}

/// Ends the turn after the handler has answered.
async fn end<D: Database, R: Body>(
    shared: Arc<Shared<D>>,
    turn: OpenTurn,
    in_turn: InTurn,
    request: Bytes,
    response: Response<R>,
) -> Result<Response<ResponseBody<R>>, Error> {
    let config = &shared.config;
    let (response, exchange) = capture(config, &request, response).await;
    let outcome = turn.0.seal(exchange, (config.clock)());
    save(&shared, turn.0.user_id(), outcome).await?;
    drop(in_turn);
    Ok(response)
}

/// Takes from request and response what the history stores of them.
async fn capture<R: Body>(
    config: &Config,
    request: &[u8],
    response: Response<R>,
) -> (Response<ResponseBody<R>>, Exchange) {
    let mut exchange = Exchange::default();
    let Some(history) = &config.stored_elements.history else {
        return (response.map(ResponseBody::inner), exchange);
    };
    if history.request {
        exchange.request = serde_json::from_slice(request).ok();
    }
    if !history.response || !is_plain_json(response.headers()) {
        return (response.map(ResponseBody::inner), exchange);
    }
    let (parts, body) = response.into_parts();
    let (body, all) = ResponseBody::read(body, config.body_limit, config.save_timeout).await;
    exchange.response = all.and_then(|bytes| serde_json::from_slice(&bytes).ok());
    (Response::from_parts(parts, body), exchange)
}

async fn save<D: Database>(
    shared: &Shared<D>,
    user_id: &str,
    outcome: Outcome,
) -> Result<(), Error> {
    let (database, limit) = (&shared.database, shared.config.save_timeout);
    match outcome {
        Outcome::Nothing => Ok(()),
        Outcome::Delete => {
            let delete = database.delete(user_id);
            in_time("deleting", limit, delete).await.map_err(Error::unavailable)
        }
        Outcome::Save { record, over } => {
            let save = database.save(user_id, &record, over.as_ref());
            match in_time("saving", limit, save).await.map_err(Error::unavailable)? {
                Saved::Stored(_) => Ok(()),
                Saved::Conflict(_) => Err(Error::new(
                    Kind::Conflict,
                    "the user's data was changed elsewhere since it was loaded; nothing was written",
                )),
            }
        }
    }
}

async fn in_time<T>(
    what: &str,
    limit: Duration,
    work: impl Future<Output = Result<T, Error>>,
) -> Result<T, Error> {
    timeout(limit, work).await.unwrap_or_else(|_| {
        Err(Error::new(Kind::Timeout, format!("{what} took longer than {limit:?}")))
    })
}

/// Runs `work` to its end, even if nobody waits for it any more. What is ready at once needs no task.
async fn to_its_end<T: Send + 'static>(
    mut work: Pin<Box<impl Future<Output = Result<T, Error>> + Send + 'static>>,
) -> Result<T, Error> {
    let first = poll_fn(|cx| Poll::Ready(work.as_mut().poll(cx))).await;
    match first {
        Poll::Ready(result) => result,
        Poll::Pending => tokio::spawn(work).await.unwrap_or_else(|error| {
            // The text of a panic may hold data.
            let how = if error.is_panic() { "panicked" } else { "was cancelled" };
            Err(Error::database(format!("the task that saves {how}")))
        }),
    }
}

/// The reply in the handler's place.
fn refuse<R: Body>(config: &Config, error: Error) -> Response<ResponseBody<R>> {
    if error.status().is_server_error() {
        tracing::error!(platform = error.platform(), "request not served: {error:?}");
    } else {
        tracing::debug!(platform = error.platform(), "request not served: {error:?}");
    }
    let mut response = (config.on_error)(&error).map(ResponseBody::own);
    response.extensions_mut().insert(error);
    response
}

impl<S: Clone, D> Clone for Persistence<S, D> {
    fn clone(&self) -> Self {
        Self { inner: self.inner.clone(), shared: Arc::clone(&self.shared) }
    }
}

impl<S: fmt::Debug, D: fmt::Debug> fmt::Debug for Persistence<S, D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Persistence")
            .field("inner", &self.inner)
            .field("layer", &self.shared)
            .finish()
    }
}
