//! The ready fetcher, on a real server with TLS.
#![cfg(feature = "verify-http")]

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use rcgen::{CertificateParams, KeyPair, PKCS_ECDSA_P256_SHA256};
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use rustls_pki_types::PrivateKeyDer;
use tower_persistence::verify::{Fetcher, HttpFetcher};

/// A server for `localhost`, with a certificate of its own.
struct Server {
    address: SocketAddr,
    certificate: Vec<u8>,
    connections: Arc<AtomicUsize>,
}

fn server() -> Server {
    let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap();
    let params = CertificateParams::new(["localhost".to_owned()]).unwrap();
    let certificate = params.self_signed(&key).unwrap().der().clone();
    let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.clone()], key)
        .unwrap();
    let config = Arc::new(config);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let connections = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&connections);
    thread::spawn(move || {
        for stream in listener.incoming() {
            let connection = ServerConnection::new(Arc::clone(&config)).unwrap();
            let stream = StreamOwned::new(connection, stream.unwrap());
            let counter = Arc::clone(&counter);
            thread::spawn(move || serve(BufReader::new(stream), &counter));
        }
    });
    Server { address, certificate: certificate.to_vec(), connections }
}

/// Answers requests by their path, until the client leaves.
fn serve(
    mut stream: BufReader<StreamOwned<ServerConnection, std::net::TcpStream>>,
    counter: &AtomicUsize,
) {
    let mut is_counted = false;
    loop {
        let mut path = String::new();
        let mut line = String::new();
        while line != "\r\n" {
            line.clear();
            match stream.read_line(&mut line) {
                Ok(0) | Err(_) => return,
                Ok(_) if path.is_empty() => path = line.split(' ').nth(1).unwrap().to_owned(),
                Ok(_) => {}
            }
        }
        if !std::mem::replace(&mut is_counted, true) {
            counter.fetch_add(1, Ordering::SeqCst);
        }
        let (status, headers, body) = match &*path {
            "/ok" => ("200 OK", "cache-control: public, max-age=600\r\n", "hello".to_owned()),
            "/long" => ("200 OK", "", "x".repeat(2000)),
            "/moved" => ("302 Found", "location: /ok\r\n", String::new()),
            _ => ("404 Not Found", "", String::new()),
        };
        let answer =
            format!("HTTP/1.1 {status}\r\n{headers}content-length: {}\r\n\r\n{body}", body.len());
        if stream.get_mut().write_all(answer.as_bytes()).is_err() {
            return;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn it_fetches_over_a_kept_connection_within_its_limits() {
    let server = server();
    let url = |path: &str| format!("https://localhost:{}{path}", server.address.port());
    let fetcher = HttpFetcher::new().root(&server.certificate);
    for _ in 0..3 {
        let fetched = fetcher.clone().fetch(&url("/ok"), 5).await.unwrap();
        let shown = format!("{fetched:?}");
        assert!(shown.contains("hello") && shown.contains("600s"), "{shown}");
    }
    assert_eq!(server.connections.load(Ordering::SeqCst), 1, "the connection is kept");
    for (path, limit, cause) in [
        ("/moved", 1000, "302"),
        ("/none", 1000, "404"),
        ("/long", 1999, "limit"),
        ("/ok", 4, "limit"),
    ] {
        let error = fetcher.fetch(&url(path), limit).await.unwrap_err();
        assert!(error.to_string().contains(cause), "{path}: {error}");
    }
    assert!(fetcher.fetch(&url("/long"), 2000).await.is_ok());
    let plain = format!("http://localhost:{}/ok", server.address.port());
    assert!(fetcher.fetch(&plain, 1000).await.is_err(), "never without TLS");
    // Mozilla's roots do not know this certificate, and this one is not for an address.
    assert!(HttpFetcher::new().fetch(&url("/ok"), 1000).await.is_err());
    let by_address = format!("https://{}/ok", server.address);
    assert!(fetcher.fetch(&by_address, 1000).await.is_err());
    let none = HttpFetcher::new().root(b"no certificate");
    assert!(none.fetch(&url("/ok"), 1000).await.is_err());
    assert!(format!("{fetcher:?}").starts_with("HttpFetcher"));
}
