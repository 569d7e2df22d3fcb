//! The service of the layer: reads the body once, has it checked, and hands it on.

use std::fmt;
use std::future::ready;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::header::{CONTENT_TYPE, WWW_AUTHENTICATE};
use http::{HeaderValue, Method, Request, Response};
use http_body::Body;
use tower_service::Service;

use super::checks::{Checks, Outcome, Refused};
use super::future::VerifyFuture;
use crate::body::{self, FromBuffered, OriginalBody, ResponseBody};
use crate::error::{BoxError, Error};
use crate::inner::Reserved;

/// The service that [`VerifyLayer`](crate::VerifyLayer) makes of an inner one.
#[derive(Clone)]
pub struct Verify<S> {
    inner: S,
    checks: Arc<Checks>,
}

impl<S> Verify<S> {
    pub(super) fn new(inner: S, checks: Arc<Checks>) -> Self {
        Self { inner, checks }
    }
}

impl<S, B, R> Service<Request<B>> for Verify<S>
where
    S: Service<Request<B>, Response = Response<R>> + Clone + Send + 'static,
    S::Future: Send,
    S::Error: Send,
    B: FromBuffered + Send + 'static,
    B::Data: Send,
    B::Error: Into<BoxError>,
    R: Body + Send + 'static,
    R::Data: Send,
    R::Error: Into<BoxError> + Send,
{
    type Response = Response<ResponseBody<R>>;
    type Error = S::Error;
    type Future = VerifyFuture<S::Future, R, S::Error>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    #[inline]
    fn call(&mut self, request: Request<B>) -> Self::Future {
        if *request.method() == Method::GET
            && let Some(answer) = self.checks.question(request.uri())
        {
            return VerifyFuture::boxed(ready(Ok(answer.map(ResponseBody::own))));
        }
        if !self.checks.reads(request.method(), request.headers(), request.body()) {
            return VerifyFuture::pass_through(self.inner.call(request));
        }
        // `poll_ready` made this service ready, not its clone, so this one must be called.
        let clone = self.inner.clone();
        let inner = std::mem::replace(&mut self.inner, clone.clone());
        let checks = Arc::clone(&self.checks);
        VerifyFuture::boxed(async move {
            let reserved = Reserved::new(inner, clone);
            let checked = reserved.kept_until_pending(check(&checks, request)).await;
            match checked {
                Ok(request) => {
                    let mut inner = reserved.service().await?;
                    Ok(inner.call(request).await?.map(ResponseBody::inner))
                }
                Err(answer) => Ok(answer.map(ResponseBody::own)),
            }
        })
    }
}

/// Returns the request to hand on, or the answer in the inner service's place.
async fn check<B>(checks: &Checks, request: Request<B>) -> Result<Request<B>, Response<Bytes>>
where
    B: FromBuffered<Error: Into<BoxError>>,
{
    let (mut head, body) = request.into_parts();
    let bytes = body::buffer(body, &head.headers, checks.body_limit, checks.body_timeout).await;
    let bytes = bytes.map_err(|error| with_error(error.response(), error))?;
    // Behind a layer that has split the body, this is what was signed.
    let original = head.extensions.get().map(|OriginalBody(original)| original.clone());
    let signed = original.as_ref().unwrap_or(&bytes);
    match checks.check(&head, signed).await {
        Ok(Outcome::Unclaimed) => {}
        Ok(Outcome::Verified(verified)) => drop(head.extensions.insert(verified)),
        Ok(Outcome::Answered(answer)) => return Err(answer),
        Err(refused) => return Err(refuse(*refused)),
    }
    Ok(body::put_back(head, bytes))
}

/// Makes the answer of a refusal. It does not tell the cause, which would help to forge.
fn refuse(refused: Refused) -> Response<Bytes> {
    let mut response = Response::new(Bytes::from_static(b"the request was not verified"));
    *response.status_mut() = refused.refusal.status();
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    if let Some(challenge) = refused.refusal.challenge {
        headers.insert(WWW_AUTHENTICATE, challenge);
    }
    with_error(response, refused.error)
}

fn with_error(mut response: Response<Bytes>, error: Error) -> Response<Bytes> {
    response.extensions_mut().insert(error);
    response
}

impl<S: fmt::Debug> fmt::Debug for Verify<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Verify").field("inner", &self.inner).field("checks", &self.checks).finish()
    }
}
