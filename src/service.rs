use std::fmt;
use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::request::Parts;
use http::{Request, Response};
use http_body::Body;
use tokio::time::timeout;
use tower_service::Service;

use crate::batch;
use crate::body::{self, NoUser};
use crate::error::{BoxError, Kind};
use crate::layer::{Config, Shared};
use crate::observe::{self, Watch};
use crate::order::InTurn;
use crate::recognise::{Incoming, recognise};
use crate::save::{End, OpenTurn, end, in_time, overtaken, to_its_end};
use crate::turn::{Loaded, Recognised, Turn};
use crate::{
    Database, Error, Found, FromBuffered, History, OnConflict, OnOutage, ResponseBody,
    ResponseFuture, Session, User,
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
        let inner = std::mem::replace(&mut self.inner, clone);
        let shared = Arc::clone(&self.shared);
        ResponseFuture::turn(async move {
            match serve(inner, &shared, request).await {
                Ok(response) => Ok(response),
                Err(Failure::Inner(error)) => Err(error),
                Err(Failure::Own(error, watch)) => {
                    Ok(refuse(&shared.config, error, watch.as_ref()))
                }
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
        if request.extensions().get::<Session>().is_some() {
            // The layer stands around this service twice; the outer one serves the request.
            return false;
        }
        let limit = self.shared.config.body_limit;
        let is_read = body::is_read(request.method(), request.headers(), request.body(), limit);
        if !is_read && body::may_have_user(request.method(), request.headers()) {
            request.extensions_mut().insert(NoUser);
        }
        is_read || self.shared.config.require_user
    }
}

/// Why there is no response of the handler's.
pub(crate) enum Failure<E> {
    Own(Error, Option<Watch>),
    Inner(E),
}

impl<E> From<Error> for Failure<E> {
    fn from(error: Error) -> Self {
        Self::Own(error, None)
    }
}

/// The way of a request.
async fn serve<S, D, B, R>(
    mut inner: S,
    shared: &Arc<Shared<D>>,
    request: Request<B>,
) -> Result<Response<ResponseBody<R>>, Failure<S::Error>>
where
    S: Service<Request<B>, Response = Response<R>> + Clone,
    D: Database,
    B: FromBuffered,
    B::Error: Into<BoxError>,
    R: Body + Send + 'static,
    R::Data: Send,
    R::Error: Send,
{
    // 1. Recognise.
    let mut step = observe::recognise();
    let recognised = step.run(recognise(&shared.config, request)).await;
    step.recognised(&recognised);
    let (parts, mut events) = recognised?;
    match events.pop() {
        Some(incoming) if events.is_empty() => turn(&mut inner, shared, parts, incoming).await,
        last => {
            events.extend(last);
            batch::serve(inner, shared, &parts, events).await
        }
    }
}

/// The way of one event.
pub(crate) async fn turn<S, D, B, R>(
    inner: &mut S,
    shared: &Arc<Shared<D>>,
    mut parts: Parts,
    Incoming { bytes, event }: Incoming,
) -> Result<Response<ResponseBody<R>>, Failure<S::Error>>
where
    S: Service<Request<B>, Response = Response<R>> + Clone,
    D: Database,
    B: FromBuffered,
    R: Body + Send + 'static,
    R::Data: Send,
    R::Error: Send,
{
    let config = &shared.config;
    let Some(mut event) = event else {
        parts.extensions.insert(NoUser);
        let response = inner.call(body::put_back(parts, bytes)).await.map_err(Failure::Inner)?;
        return Ok(response.map(ResponseBody::inner));
    };
    let watch = Watch::new(&config.observe, &event);
    let own = |error: Error| {
        let error = error.with_platform(Arc::clone(watch.platform()));
        Failure::Own(error, Some(watch.clone()))
    };
    let user = event.user.as_ref().map(|user| Arc::clone(&user.storage_key));

    // 2. Order.
    let mut in_turn = in_order(shared, user.as_ref()).await.map_err(own)?;

    // 3. Load.
    let mut loaded = load(shared, user.as_deref(), &watch).await.map_err(own)?;

    let mut reruns = match config.on_conflict {
        OnConflict::Rerun { attempts } => attempts,
        OnConflict::Merge | OnConflict::Overwrite => 0,
    };
    loop {
        let again = (reruns > 0).then(|| (inner.clone(), parts.clone(), event.clone()));

        // 4. Call.
        let turn = begin(config, event, loaded).map_err(own)?;
        if turn.0.was_handled() {
            watch.skip("handled");
            return Ok(batch::done());
        }
        parts.extensions.insert(Session(Arc::clone(&turn.0)));
        match user {
            None => drop(parts.extensions.insert(NoUser)),
            Some(_) => {
                parts.extensions.insert(User(Arc::clone(&turn.0)));
                parts.extensions.insert(History(Arc::clone(&turn.0)));
            }
        }
        let request = body::put_back(parts, bytes.clone());
        let mut step = watch.call();
        let called = step.call(|| inner.call(request)).await;
        step.called(&called);
        let response = called.inspect_err(|_| watch.skip("failed")).map_err(Failure::Inner)?;
        if response.status().is_server_error() && !config.save_on_error {
            watch.skip("server_error");
            return Ok(response.map(ResponseBody::inner));
        }

        // 5. Seal and 6. Save.
        let end = end(Arc::clone(shared), turn, in_turn, bytes.clone(), response, watch.clone());
        match (to_its_end(Box::pin(end)).await.map_err(own)?, again) {
            (End::Saved(response), _) => return Ok(response),
            (End::Overtaken(..), None) => return Err(own(overtaken())),
            (End::Overtaken(waiting, current), Some(again)) => {
                (in_turn, loaded) = (waiting, Loaded::Item(current));
                (*inner, parts, event) = again;
                poll_fn(|cx| inner.poll_ready(cx)).await.map_err(Failure::Inner)?;
                reruns -= 1;
            }
        }
    }
}

/// Waits until the user's earlier requests are served. Nobody has none.
async fn in_order<D>(
    shared: &Shared<D>,
    storage_key: Option<&Arc<str>>,
) -> Result<Option<InTurn>, Error> {
    let Some(storage_key) = storage_key else { return Ok(None) };
    let limit = shared.config.turn_timeout;
    timeout(limit, shared.order.wait(storage_key)).await.map(Some).map_err(|_| {
        let message = format!(
            "the user's earlier requests were not served within {limit:?} \
             (a handler that calls its own service for the same user waits for itself)"
        );
        Error::new(Kind::Timeout, message)
    })
}

/// Loads what is stored of the user, once the database can be used at all. What could not be loaded can never be saved over.
async fn load<D: Database>(
    shared: &Shared<D>,
    storage_key: Option<&str>,
    watch: &Watch,
) -> Result<Loaded, Error> {
    let Some(storage_key) = storage_key else { return Ok(Loaded::Nothing(None)) };
    let Shared { database, config, .. } = shared;
    let load = async {
        in_time("making the database ready", config.ready_timeout, database.ensure_ready()).await?;
        in_time("loading", config.load_timeout, database.load_to_save(storage_key)).await
    };
    let mut step = watch.load();
    let loaded = step.run(load).await;
    step.loaded(&loaded);
    match loaded {
        Ok(Found::Item(stored)) => Ok(Loaded::Item(stored)),
        Ok(Found::Nothing(tombstone)) => Ok(Loaded::Nothing(tombstone)),
        Err(error) if config.on_outage == OnOutage::Degrade => {
            watch.degraded(&error);
            Ok(Loaded::Unknown)
        }
        Err(error) => Err(error.unavailable()),
    }
}

fn begin(config: &Config, event: Recognised, loaded: Loaded) -> Result<OpenTurn, Error> {
    let turn = Turn::begin(event, loaded, &config.stored_elements, (config.clock)());
    turn.map(|turn| OpenTurn(Arc::new(turn))).map_err(Error::unavailable)
}

/// The reply in the handler's place.
pub(crate) fn refuse<R: Body>(
    config: &Config,
    error: Error,
    watch: Option<&Watch>,
) -> Response<ResponseBody<R>> {
    observe::refused(&config.observe, watch, &error);
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
