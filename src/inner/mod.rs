//! The service inside a layer: its bounds, and the place that it reserved.

mod reserved;

use http::{Request, Response};
use http_body::Body;
use tower_service::Service;

pub(crate) use self::reserved::Reserved;
use crate::error::BoxError;

/// The bounds of the inner service, and its response body.
pub(crate) trait InnerService<B>:
    Service<Request<B>, Response = Response<Self::Reply>, Error: Send, Future: Send>
    + Clone
    + Send
    + 'static
{
    type Reply: Body<Data: Send, Error: Into<BoxError> + Send> + Send + 'static;
}

impl<S, B, R> InnerService<B> for S
where
    S: Service<Request<B>, Response = Response<R>, Error: Send, Future: Send>
        + Clone
        + Send
        + 'static,
    R: Body<Data: Send, Error: Into<BoxError> + Send> + Send + 'static,
{
    type Reply = R;
}
