//! The layer's service: the request lifecycle, which wraps HTTP around the transaction of a turn.
//!
//! [`recognise`] reads the request and finds its events, [`event`] serves one of them, [`batch`]
//! serves several, and [`reply`] reads and writes the handler's reply. Where that is streamed,
//! [`stream`] takes it over, and the rest of the turn with it.

mod batch;
mod event;
#[cfg(feature = "axum")]
mod extract;
mod future;
mod kept_reply;
mod recognise;
mod reply;
mod stream;
mod unwritten;

use std::fmt;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::request::Parts;
use http::{Request, Response};
use http_body::Body;
use tower_service::Service;

pub use self::future::ResponseFuture;
use self::recognise::{Recognition, recognise};
use self::stream::Handoff;
use crate::body::{self, FromBuffered, NoUser, ResponseBody};
use crate::database::Database;
use crate::error::{BoxError, Error};
use crate::inner::{InnerService, Reserved};
use crate::observe::{self, Observer};
use crate::options::Config;
use crate::transaction::Shared;
use crate::turn::Session;

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
    R::Error: Into<BoxError> + Send,
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
        // `poll_ready` made this service ready, not its clone, so this one must be called.
        let clone = self.inner.clone();
        let inner = std::mem::replace(&mut self.inner, clone.clone());
        let shared = Arc::clone(&self.shared);
        let handoff = Arc::<Handoff<R>>::default();
        // Boxed, because it is large, and moved through the futures of a turn.
        let (head, body) = request.into_parts();
        let head = Box::new(head);
        ResponseFuture::turn(Arc::clone(&handoff), async move {
            let reserved = Reserved::new(inner, clone);
            let served = serve(&reserved, &shared, head, body, &handoff);
            match reserved.kept_until_pending(served).await {
                Ok(response) => Ok(response),
                Err(Failure::Inner(error)) => Err(error),
                Err(Failure::Own(error, observer)) => {
                    Ok(refuse(&shared.config, error, observer.as_ref()))
                }
            }
        })
    }
}

impl<S, D> Persistence<S, D> {
    /// Returns whether the layer looks at the request's body.
    #[inline]
    fn reads<B: Body>(&self, request: &mut Request<B>) -> bool {
        if body::is_bodiless(request.method()) {
            return false;
        }
        if let Some(session) = request.extensions().get::<Session>() {
            // Another layer outside this one serves the request already.
            if !session.is_served_on(&self.shared.database) {
                self.shared.config.warn_of_nested_layer();
            }
            return false;
        }
        let config = &self.shared.config;
        let is_read = config.reads(request.method(), request.headers(), request.body());
        if !is_read && body::may_have_user(request.method(), request.headers()) {
            request.extensions_mut().insert(NoUser);
        }
        is_read || config.require_user
    }
}

/// The reason why there is no response of the handler.
pub(crate) enum Failure<E> {
    /// The layer failed; with the observer of the event once that is recognised.
    Own(Error, Option<Observer>),
    /// The inner service failed.
    Inner(E),
}

impl<E> From<Error> for Failure<E> {
    fn from(error: Error) -> Self {
        Self::Own(error, None)
    }
}

type Served<S, B> = Result<
    Response<ResponseBody<<S as InnerService<B>>::Reply>>,
    Failure<<S as Service<Request<B>>>::Error>,
>;

/// Serves a request: recognises its events, and serves each.
async fn serve<S, D, B>(
    reserved: &Reserved<S>,
    shared: &Arc<Shared<D>>,
    mut head: Box<Parts>,
    body: B,
    handoff: &Handoff<S::Reply>,
) -> Served<S, B>
where
    S: InnerService<B>,
    D: Database,
    B: FromBuffered<Error: Into<BoxError>>,
{
    let recognition = {
        let mut step = observe::recognise();
        let recognised = step.run(recognise(&shared.config, &mut head, body)).await;
        match &recognised {
            Ok(recognition) => step.recognised(recognition.requests()),
            Err(error) => step.refused(error),
        }
        recognised?
    };
    match recognition {
        Recognition::Event(request) => {
            event::serve(reserved, shared, head, request, None, handoff).await
        }
        Recognition::Batch(platform, events) => {
            // Boxed, so that the future of a single event stays small.
            Box::pin(batch::serve(reserved, shared, &platform, &head, events)).await
        }
        Recognition::Acknowledged(platform) => Ok(acknowledge(platform.platform.empty_reply())),
    }
}

/// Makes the response that the layer sends in the handler's place.
fn refuse<R: Body<Error: Into<BoxError>>>(
    config: &Config,
    error: Error,
    observer: Option<&Observer>,
) -> Response<ResponseBody<R>> {
    observe::refused(&config.observe, observer, &error);
    let mut response = (config.on_error)(&error).map(ResponseBody::own);
    response.extensions_mut().insert(error);
    response
}

/// Makes a reply without content, which the platform takes for success.
fn acknowledge<R: Body<Error: Into<BoxError>>>(reply: &'static str) -> Response<ResponseBody<R>> {
    let mut response = Response::new(ResponseBody::own(Bytes::from_static(reply.as_bytes())));
    if !reply.is_empty() {
        let json = http::HeaderValue::from_static("application/json");
        response.headers_mut().insert(http::header::CONTENT_TYPE, json);
    }
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
