//! The clients: each sends one request at a time over a connection of its own.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use bytes::Bytes;
use hdrhistogram::Histogram;
use http::{HeaderValue, Request, header};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use rand_distr::{Distribution, Zipf};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use crate::options::Options;
use crate::requests::Requests;

/// Sends requests for this long, and returns their latencies in microseconds. Each round has users
/// of its own, so that it finds as many new ones as the one before.
pub(crate) async fn run(
    options: &Options,
    port: u16,
    round: usize,
    duration: Duration,
) -> Histogram<u64> {
    let mut clients = JoinSet::new();
    let until = Instant::now() + duration;
    let users = options.users.div_ceil(options.connections);
    for number in 0..options.connections {
        let first = (round * options.connections + number) * users;
        let zipf = Zipf::new(users as f64, options.zipf).expect("a distribution");
        clients.spawn(client(port, until, first, zipf));
    }
    let mut all = histogram();
    while let Some(one) = clients.join_next().await {
        all.add(one.expect("a client")).expect("the same bounds");
    }
    all
}

fn histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1, 60_000_000, 3).expect("bounds")
}

/// Sends the requests of users whose numbers begin at `first`.
async fn client(port: u16, until: Instant, first: usize, users: Zipf<f64>) -> Histogram<u64> {
    let stream = TcpStream::connect(("127.0.0.1", port)).await.expect("a connection");
    stream.set_nodelay(true).expect("an option");
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.expect("HTTP");
    tokio::spawn(connection);
    let requests = Requests::new();
    let mut cookies: HashMap<usize, HeaderValue> = HashMap::new();
    let mut latencies = histogram();
    while Instant::now() < until {
        let user = first + users.sample(&mut rand::rng()) as usize - 1;
        let mut request = Request::post("/").header(header::CONTENT_TYPE, "application/json");
        if let Some(cookie) = cookies.get(&user) {
            request = request.header(header::COOKIE, cookie);
        }
        let request = request.body(Full::new(requests.of(user))).expect("a request");
        let began = Instant::now();
        let cookie = send(&mut sender, request).await;
        latencies.record(began.elapsed().as_micros() as u64).expect("within a minute");
        if let Some(cookie) = cookie {
            cookies.insert(user, cookie);
        }
    }
    latencies
}

/// Sends a request, reads the reply to its end, and returns the cookie that it sets.
async fn send(
    sender: &mut SendRequest<Full<Bytes>>,
    request: Request<Full<Bytes>>,
) -> Option<HeaderValue> {
    sender.ready().await.expect("the connection");
    let response = sender.send_request(request).await.expect("a response");
    assert_eq!(response.status(), 200);
    let cookie = response.headers().get(header::SET_COOKIE).cloned();
    response.into_body().collect().await.expect("a body");
    let cookie = cookie?;
    let cookie = cookie.to_str().expect("text").split(';').next().expect("a pair");
    HeaderValue::from_str(cookie).ok()
}
