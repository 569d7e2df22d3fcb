//! The layer on hyper alone, without a web framework: an Alexa skill that counts visits.
//!
//! ```text
//! cargo run -p hyper-server
//! ```

use std::convert::Infallible;

use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::{Request, Response, StatusCode};
use hyper_util::{rt::TokioIo, service::TowerToHyperService};
use tower::ServiceBuilder;
use tower_persistence::{Error, FileDb, PersistenceLayer, User};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let service = ServiceBuilder::new()
        // The layer puts back what it has read, and nobody but hyper can make an `Incoming`: it is boxed.
        .map_request(|request: Request<Incoming>| request.map(BodyExt::boxed))
        .layer(PersistenceLayer::new(FileDb::open_default().await?))
        .service_fn(serve);

    let port = std::env::var("PORT").unwrap_or_else(|_| "3000".to_owned());
    let listener = tokio::net::TcpListener::bind(format!("127.0.0.1:{port}")).await?;
    let url = format!("http://{}", listener.local_addr()?);
    let body = r#"{"version":"1.0","context":{"System":{"user":{"userId":"user-1"}}},"request":{"requestId":"request-1"}}"#;
    println!("Say hello:\n\ncurl {url} -H 'content-type: application/json' -d '{body}'\n");
    loop {
        let (stream, _) = listener.accept().await?;
        let service = TowerToHyperService::new(service.clone());
        tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
    }
}

async fn serve(
    request: Request<BoxBody<Bytes, hyper::Error>>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let user = request.extensions().get::<User>();
    let text = user.map_or(Ok("Hello, whoever you are.".to_owned()), greet);
    let (status, text) = match text {
        Ok(text) => (StatusCode::OK, text),
        Err(error) => (error.status(), "Something went wrong.".to_owned()),
    };
    let speech = serde_json::json!({ "type": "PlainText", "text": text });
    let reply = serde_json::json!({ "version": "1.0", "response": { "outputSpeech": speech } });
    let mut response = Response::new(reply.to_string().into());
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    Ok(response)
}

fn greet(user: &User) -> Result<String, Error> {
    let visits = user.increment("visits", 1)?;
    Ok(format!("Hello, this is visit {visits}."))
}
