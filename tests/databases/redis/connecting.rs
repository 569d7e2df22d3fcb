//! Connections: their settings, and servers that are not there.

use std::sync::Arc;
use std::time::{Duration, Instant};

use redis::{Client, TlsCertificates};
use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tower_persistence::{Database, Error, RedisDb};

use super::{Place, all, load, save, visits};
use crate::process::Server;

pub(crate) async fn wrong_settings_are_errors(place: Place) {
    let refused = async |builder: tower_persistence::RedisDbBuilder| -> Error {
        let error = builder.connect().await.unwrap_err();
        assert!(error.is_configuration() && !all(&error).contains("SECRET"), "{error:?}");
        error
    };
    for (url, why) in [
        ("", "redis://user"),
        ("SECRET", "redis://user"),
        ("http://SECRET", "redis://user"),
        ("redis://anna:SECRET@", "redis://user"),
        ("redis://anna:SE#SECRET@host", "redis://user"),
        ("redis://anna:SECRET@host/SECRET", "number of a database"),
        ("rediss://anna:SECRET@host/#insecure", "#insecure"),
        ("redis://anna:SECRET@host/?protocol=SECRET", "protocol"),
    ] {
        let error = refused(RedisDb::builder().url(url)).await;
        assert!(all(&error).contains(why), "{url}: {error:?}");
    }
    let builder = || RedisDb::builder().url("redis://anna:SECRET@host");
    let client = Client::open("redis://anna:SECRET@host").unwrap();
    for (builder, why) in [
        (RedisDb::builder(), "set one of them"),
        (builder().client(client), "not both"),
        (builder().prefix(""), "`prefix`"),
        (builder().timeout(Duration::ZERO), "zero"),
        (builder().expire_users_after(Duration::ZERO), "zero"),
        (builder().wait_replicas(0, Duration::from_secs(1)), "`wait_replicas`"),
        (builder().wait_replicas(1, Duration::ZERO), "zero"),
    ] {
        assert!(!format!("{builder:?}").contains("SECRET"), "{builder:?}");
        let error = refused(builder).await;
        assert!(all(&error).contains(why), "{error:?}");
    }
    let db = builder().prefix("app:").connect().await.unwrap();
    assert_eq!(format!("{db:?}"), "RedisDb { database: 0, prefix: \"app:\" }");
    drop(place);
}

async fn assert_names(db: &RedisDb, cause: &str) {
    let failures = [
        db.ensure_ready().await,
        db.load("SECRET").await.map(drop),
        db.save("SECRET", &visits(1), tower_persistence::Expected::Absent).await.map(drop),
        db.delete("SECRET").await,
    ];
    for failure in failures {
        let error = failure.unwrap_err();
        assert!(all(&error).contains(cause) && !all(&error).contains("SECRET"), "{error:?}");
    }
}

pub(crate) async fn a_server_that_is_not_there_is_named_as_the_cause(place: Place) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let connect = async |url: String| place.builder().url(url).connect().await.unwrap();
    let db = connect(format!("redis://anna:SECRET@{address}")).await;
    assert_names(&db, "no server listens there").await;
    let db = connect("redis://SECRET.invalid".to_owned()).await;
    assert_names(&db, "host name could not be resolved").await;
}

/// The system's provider of cryptography is chosen, too: two are compiled in.
pub(crate) async fn a_server_that_speaks_no_tls_is_named_as_the_cause(place: Place) {
    let url = format!("rediss://{}", place.address());
    let db = place.builder().url(url).connect().await.unwrap();
    assert_names(&db, "TLS").await;
}

/// A server with a certificate of an authority that only these tests know.
async fn tls_in_front_of(server: String) -> u16 {
    let certificate = CertificateDer::from_pem_slice(include_bytes!("tls/server.pem")).unwrap();
    let key = PrivateKeyDer::from_pem_slice(include_bytes!("tls/server-key.pem")).unwrap();
    let config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()));
    let config = config.with_safe_default_protocol_versions().unwrap().with_no_client_auth();
    let config = config.with_single_cert(vec![certificate], key).unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        loop {
            let (client, _) = listener.accept().await.unwrap();
            let (acceptor, server) = (acceptor.clone(), server.clone());
            tokio::spawn(async move {
                // An error is a client that does not accept the certificate.
                let mut client = acceptor.accept(client).await?;
                let mut server = TcpStream::connect(server).await?;
                tokio::io::copy_bidirectional(&mut client, &mut server).await
            });
        }
    });
    port
}

pub(crate) async fn certificates_are_checked(place: Place) {
    let port = tls_in_front_of(place.address()).await;
    let url = format!("rediss://localhost:{port}");
    let authority = include_bytes!("tls/ca.pem").to_vec();
    let trusting = |url: String| {
        let root_cert = Some(authority.clone());
        Client::build_with_tls(url, TlsCertificates { client_tls: None, root_cert }).unwrap()
    };
    let db = place.builder().client(trusting(url.clone())).connect().await.unwrap();
    save(&db, "anna", &visits(1), None).await;
    assert_eq!(load(&db, "anna").await.record, visits(1));
    // An authority that the system does not know, a name that is not in the certificate, and no TLS
    // where the server speaks it.
    let db = place.builder().url(url).connect().await.unwrap();
    assert_names(&db, "certificate is not accepted").await;
    let client = trusting(format!("rediss://127.0.0.1:{port}"));
    let db = place.builder().client(client).connect().await.unwrap();
    assert_names(&db, "certificate is not accepted").await;
    let db = place.builder().url(format!("redis://localhost:{port}")).connect().await.unwrap();
    assert_names(&db, "TLS").await;
}

pub(crate) async fn a_client_from_outside(place: Place) {
    let client = Client::open(place.url.as_str()).unwrap();
    let db = place.builder().client(client.clone()).connect().await.unwrap();
    save(&db, "anna", &visits(1), None).await;
    db.close().await.unwrap();
    // The client is the app's, and stays open.
    let mut connection = client.get_multiplexed_async_connection().await.unwrap();
    redis::cmd("PING").exec_async(&mut connection).await.unwrap();
    assert_eq!(load(&db, "anna").await.record, visits(1), "a later call opens another");
}

/// As in tests of an app, each of which has a runtime of its own.
pub(crate) async fn works_in_a_second_runtime(place: Place) {
    let db = place.db().await;
    for count in 1..4 {
        let there = db.clone();
        let thread = std::thread::spawn(move || {
            let mut runtime = tokio::runtime::Builder::new_current_thread();
            runtime.enable_all().build().unwrap().block_on(async {
                let over = there.load("anna").await.unwrap().map(|stored| stored.version);
                save(&there, "anna", &visits(count), over.as_ref()).await;
            });
        });
        tokio::task::spawn_blocking(|| thread.join().unwrap()).await.unwrap();
        assert_eq!(load(&place.db().await, "anna").await.record, visits(count));
        assert_eq!(load(&db, "anna").await.record, visits(count));
    }
}

pub(crate) async fn a_server_that_hangs_is_given_up_and_found_again(mut server: Server) {
    const LIMIT: Duration = Duration::from_secs(2);
    let db = RedisDb::builder().url(server.endpoint()).timeout(LIMIT).connect().await.unwrap();
    save(&db, "anna", &visits(1), None).await;
    server.freeze();
    // It hangs a moment later.
    let error = loop {
        if let Err(error) = db.load("anna").await {
            break error;
        }
    };
    assert!(error.is_timeout() && all(&error).contains("longer than 2s"), "{error:?}");
    // The next calls do not wait on the old connection, but for a new one.
    for _ in 0..2 {
        let since = Instant::now();
        let error = db.load("anna").await.unwrap_err();
        assert!(since.elapsed() < LIMIT, "{:?}", since.elapsed());
        assert!(all(&error).contains("did not answer in time"), "{error:?}");
    }
    // The old connection would be answered now, but a server may as well be gone for good.
    tokio::task::block_in_place(|| server.start_again());
    assert_eq!(load(&db, "anna").await.record, visits(1));
}
