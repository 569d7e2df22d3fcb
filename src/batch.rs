//! Several events in one request: one request for each to the inner service, with handles and a save of its own.

use std::collections::HashMap;
use std::future::poll_fn;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream;
use http::request::Parts;
use http::{Request, Response, header};
use http_body::Body;
use tower_service::Service;

use crate::layer::Shared;
use crate::recognise::Incoming;
use crate::service::{Failure, refuse, turn};
use crate::{Database, Error, FromBuffered, ResponseBody};

/// Serves each user's events in their order, and several users at a time. The answer is an empty 200 if all went well, and what the
/// first failed event was answered otherwise.
///
/// After a failed event the same user's later ones wait for the repeat: their order is kept.
pub(crate) async fn serve<S, D, B, R>(
    inner: S,
    shared: &Arc<Shared<D>>,
    parts: &Parts,
    events: Vec<Incoming>,
) -> Result<Response<ResponseBody<R>>, Failure<S::Error>>
where
    S: Service<Request<B>, Response = Response<R>> + Clone,
    D: Database,
    B: FromBuffered,
    R: Body + Send + 'static,
    R::Data: Send,
    R::Error: Send,
{
    let clone = inner.clone();
    // The one that is ready serves the first event.
    let mut ready = Some(inner);
    let lanes = lanes(events).into_iter().map(move |lane| {
        let (clone, mut ready) = (clone.clone(), ready.take());
        async move {
            for (position, incoming) in lane {
                let mut inner = ready.take().unwrap_or_else(|| clone.clone());
                let parts = with_length(parts.clone(), &incoming.bytes);
                let answer = match poll_fn(|cx| inner.poll_ready(cx)).await {
                    Ok(()) => turn(&mut inner, shared, parts, incoming).await,
                    Err(error) => Err(Failure::Inner(error)),
                };
                let answer = match answer {
                    Err(Failure::Own(error, watch)) => {
                        Ok(refuse(&shared.config, error, watch.as_ref()))
                    }
                    answer => answer,
                };
                if is_failure(&answer) {
                    return Some((position, answer));
                }
            }
            None
        }
    });
    let limit = shared.config.batch_concurrency.max(1);
    let answers: Vec<_> = stream::iter(lanes).buffer_unordered(limit).collect().await;
    let first = answers.into_iter().flatten().min_by_key(|(position, _)| *position);
    let (_, answer) = first.unwrap_or_else(|| (0, Ok(done())));
    answer
}

/// The head of a request with this body.
fn with_length(mut parts: Parts, bytes: &Bytes) -> Parts {
    if let Some(length) = parts.headers.get_mut(header::CONTENT_LENGTH) {
        *length = bytes.len().into();
    }
    parts
}

/// Each user's events, with their positions in the request. Those of nobody go alone.
fn lanes(events: Vec<Incoming>) -> Vec<Vec<(usize, Incoming)>> {
    let mut lanes = Vec::new();
    let mut of_user = HashMap::new();
    for (position, incoming) in events.into_iter().enumerate() {
        let user = incoming.event.as_ref().and_then(|event| event.user.as_ref());
        let lane = match user {
            Some(user) => *of_user.entry(Arc::clone(&user.storage_key)).or_insert(lanes.len()),
            None => lanes.len(),
        };
        if lane == lanes.len() {
            lanes.push(Vec::new());
        }
        lanes[lane].push((position, incoming));
    }
    lanes
}

/// Also where the app's own reply to a failure of the layer has a status that does not say so.
fn is_failure<R: Body, E>(answer: &Result<Response<ResponseBody<R>>, E>) -> bool {
    answer.as_ref().map_or(true, |response| {
        let status = response.status();
        let is_refused = response.extensions().get::<Error>().is_some();
        is_refused || status.is_client_error() || status.is_server_error()
    })
}

/// The platform reads nothing but the status.
pub(crate) fn done<R: Body>() -> Response<ResponseBody<R>> {
    Response::new(ResponseBody::own(Bytes::new()))
}
