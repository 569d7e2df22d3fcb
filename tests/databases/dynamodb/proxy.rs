//! Stands between client and server: counts the calls, and answers some of them itself.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use futures_util::{StreamExt, stream};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};

/// The treatment of a call.
pub(super) enum Rule {
    Forward,
    /// Forwards the call, and drops the answer.
    LoseAnswer,
    /// Forwards the call, waits for this future, and drops the answer.
    LoseAnswerAfter(Pin<Box<dyn Future<Output = ()> + Send>>),
    /// Forwards the call, and replaces a text in the answer by another.
    Replace(&'static str, &'static str),
    /// Answers with this code and message.
    Fail(&'static str, &'static str),
    Hang,
    /// Forwards the call, and sends only half of the answer.
    Stall,
}

type Answer = Response<BoxBody<Bytes, Infallible>>;

type Rules = Arc<Mutex<dyn FnMut(&str, usize) -> Rule + Send>>;

#[derive(Clone)]
pub(super) struct Proxy {
    pub(super) endpoint: String,
    server: String,
    calls: Arc<Mutex<Vec<String>>>,
    rules: Rules,
}

impl Proxy {
    /// Starts a proxy. `rules` gets the action and the number of its earlier calls.
    pub(super) async fn start(
        server: &str,
        rules: impl FnMut(&str, usize) -> Rule + Send + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let proxy = Self {
            endpoint: format!("http://{}", listener.local_addr().unwrap()),
            server: server.trim_start_matches("http://").to_owned(),
            calls: Arc::default(),
            rules: Arc::new(Mutex::new(rules)),
        };
        let accepting = proxy.clone();
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let proxy = accepting.clone();
                tokio::spawn(async move {
                    let service = service_fn(|request| proxy.answer(request));
                    // An error is an answer that was dropped on purpose.
                    let _ =
                        http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
                });
            }
        });
        proxy
    }

    /// Returns the actions since the last call of this function.
    pub(super) fn calls(&self) -> Vec<String> {
        std::mem::take(&mut *self.calls.lock().unwrap())
    }

    async fn answer(&self, request: Request<Incoming>) -> Result<Answer, String> {
        let action = request.headers()["x-amz-target"].to_str().unwrap();
        let action = action.rsplit('.').next().unwrap().to_owned();
        let before = {
            let mut calls = self.calls.lock().unwrap();
            calls.push(action.clone());
            calls.iter().filter(|call| **call == action).count() - 1
        };
        let rule = (self.rules.lock().unwrap())(&action, before);
        match rule {
            Rule::Forward => Ok(self.forward(request).await.map(BodyExt::boxed)),
            Rule::LoseAnswer => {
                self.forward(request).await;
                Err("lost".to_owned())
            }
            Rule::LoseAnswerAfter(meanwhile) => {
                self.forward(request).await;
                meanwhile.await;
                Err("lost".to_owned())
            }
            Rule::Replace(from, to) => {
                let (mut head, body) = self.forward(request).await.into_parts();
                let body = body.collect().await.unwrap().to_bytes();
                let body = String::from_utf8(body.into()).unwrap().replace(from, to);
                head.headers.remove("content-length");
                head.headers.remove("x-amz-crc32");
                Ok(Response::from_parts(head, Full::from(body).boxed()))
            }
            Rule::Fail(code, message) => {
                let body = serde_json::json!({ "__type": format!("com.amazon#{code}"), "message": message });
                Ok(Response::builder()
                    .status(400)
                    .body(Full::from(body.to_string()).boxed())
                    .unwrap())
            }
            Rule::Hang => {
                tokio::time::sleep(Duration::from_secs(60)).await;
                Err("slept".to_owned())
            }
            Rule::Stall => {
                let (head, body) = self.forward(request).await.into_parts();
                let body = body.collect().await.unwrap().to_bytes();
                let half = Frame::data(body.slice(..body.len() / 2));
                let frames = stream::iter([Ok(half)]).chain(stream::pending());
                Ok(Response::from_parts(head, BodyExt::boxed(StreamBody::new(frames))))
            }
        }
    }

    async fn forward(&self, request: Request<Incoming>) -> Response<Full<Bytes>> {
        let (head, body) = request.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        let stream = TcpStream::connect(&self.server).await.unwrap();
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
        tokio::spawn(connection);
        let request = Request::from_parts(head, Full::new(body));
        let (mut head, body) = sender.send_request(request).await.unwrap().into_parts();
        head.headers.remove("transfer-encoding");
        let body = body.collect().await.unwrap().to_bytes();
        Response::from_parts(head, Full::new(body))
    }
}
