//! Servers, settings and secrets.

use std::io::Write;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use mongodb::bson::doc;
use mongodb::options::IndexOptions;
use mongodb::{Client, IndexModel};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tower_persistence::{Database, Expected, MongoDb, Saved};

use super::{Place, load, record, save};

/// Collects the log.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        Write::write(&mut *self.0.lock().unwrap(), bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

pub(crate) async fn names_have_defaults(place: Place) {
    let names = |db: &MongoDb| format!("{db:?}");
    let address = place.address();
    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt().with_writer(move || writer.clone()).finish();
    {
        let _guard = tracing::subscriber::set_default(subscriber);
        let db = MongoDb::connect(format!("mongodb://{address}/app")).await.unwrap();
        assert_eq!(names(&db), r#"MongoDb { database: "app", collection: "jovoUsers" }"#);
        assert_eq!(log.text(), "");
        let db = MongoDb::connect(format!("mongodb://{address}")).await.unwrap();
        assert_eq!(names(&db), r#"MongoDb { database: "test", collection: "jovoUsers" }"#);
        assert!(log.text().contains("WARN") && log.text().contains("`test`"), "{}", log.text());
    }
    let uri = format!("mongodb://{address}/app");
    let client = Client::with_uri_str(&uri).await.unwrap();
    let db = MongoDb::builder().client(client).collection("users").connect().await.unwrap();
    assert_eq!(names(&db), r#"MongoDb { database: "app", collection: "users" }"#);
    let builder = MongoDb::builder().uri(&uri).database("mine");
    assert!(!format!("{builder:?}").contains(&address));
    let db = builder.connect().await.unwrap();
    assert_eq!(names(&db), r#"MongoDb { database: "mine", collection: "jovoUsers" }"#);
}

pub(crate) async fn wrong_settings_are_errors(place: Place) {
    let uris = [
        "localhost:27017",
        "mongodb://",
        "postgres://SECRET:SECRET@localhost",
        "mongodb://SECRET:SEC/RET@localhost/db",
        "mongodb://SECRET:SECRET@localhost/db?SECRET=1",
        "mongodb://SECRET:SECRET@localhost:99999/db",
        "mongodb://SECRET:SECRET@localhost/?authMechanism=SECRET",
    ];
    for uri in uris {
        let error = MongoDb::connect(uri).await.unwrap_err();
        assert!(error.is_configuration(), "{uri}: {error:?}");
        assert!(!format!("{error:?}").contains("SEC"), "{error:?}");
    }
    let builders = [
        MongoDb::builder(),
        MongoDb::builder().uri("mongodb://localhost").client(place.client.clone()),
        place.builder().uri("mongodb://localhost").database(""),
        place.builder().uri("mongodb://localhost").database("a.b"),
        place.builder().uri("mongodb://localhost").collection(""),
        place.builder().uri("mongodb://localhost").collection("system.users"),
    ];
    for builder in builders {
        assert!(builder.connect().await.unwrap_err().is_configuration());
    }
}

/// Stands between client and server, so that the server can be unreachable.
async fn forward(listener: TcpListener, address: String) {
    loop {
        let (mut client, _) = listener.accept().await.unwrap();
        let address = address.clone();
        tokio::spawn(async move {
            let mut server = TcpStream::connect(address).await.unwrap();
            let _ = copy_bidirectional(&mut client, &mut server).await;
        });
    }
}

pub(crate) async fn a_server_that_is_down_at_start(place: Place) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    drop(listener);
    let uri = format!("mongodb://SECRET:SECRET@127.0.0.1:{port}/?directConnection=true");
    let secret = place.builder().uri(&uri).connect().await.unwrap();
    let uri = format!("mongodb://127.0.0.1:{port}/?directConnection=true");
    let db = place.builder().uri(&uri).connect().await.unwrap();
    for db in [&secret, &db] {
        let begun = Instant::now();
        let error = db.load("SECRET-ID").await.unwrap_err();
        assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
        assert!(error.is_database(), "{error:?}");
        let text = format!("{error:?} {db:?}");
        assert!(text.contains("no server that takes writes was reached"), "{text}");
        assert!(!text.contains("SECRET") && !text.contains(&port.to_string()), "{text}");
    }
    assert!(db.ensure_ready().await.unwrap_err().is_database());

    let listener = TcpListener::bind(("127.0.0.1", port)).await.unwrap();
    let server = tokio::spawn(forward(listener, place.address()));
    db.ensure_ready().await.unwrap();
    save(&db, "user-1", json!({ "user": {} })).await;
    // The server does not know this user.
    let error = secret.load("SECRET-ID").await.unwrap_err();
    let text = format!("{error:?}");
    assert!(error.is_database() && text.contains("did not accept user name"), "{text}");
    assert!(!text.contains("SECRET") && !text.contains(&port.to_string()), "{text}");
    server.abort();
}

pub(crate) async fn errors_hold_no_secrets(place: Place) {
    let db = place.db().await;
    // Another unique index: the server's message quotes the duplicate.
    let options = IndexOptions::builder().unique(true).build();
    let index = IndexModel::builder().keys(doc! { "secret": 1 }).options(options).build();
    place.users.create_index(index).await.unwrap();
    let fields = record(json!({ "secret": "SECRET" }));
    assert!(matches!(
        db.save("SECRET-1", &fields, Expected::Absent).await.unwrap(),
        Saved::Written(_)
    ));
    let error = db.save("SECRET-2", &fields, Expected::Absent).await.unwrap_err();
    assert!(error.is_database(), "{error:?}");
    let text = format!("{error:?} {error}");
    assert!(text.contains("other than that of `_id`"), "{text}");
    assert!(!text.contains("SECRET"), "{text}");

    save(&db, "SECRET-3", json!({})).await;
    let expected = load(&db, "SECRET-3").await.version;
    let error = db.save("SECRET-3", &fields, Expected::Version(&expected)).await.unwrap_err();
    let text = format!("{error:?} {error}");
    assert!(text.contains("11000"), "{text}");
    assert!(!text.contains("SECRET"), "{text}");
}

pub(crate) async fn a_client_from_outside_stays_open(place: Place) {
    let db = place.builder().client(place.client.clone()).connect().await.unwrap();
    save(&db, "user-1", json!({ "user": {} })).await;
    db.close().await.unwrap();
    place.raw("user-1").await;
    let db = place.db().await;
    load(&db, "user-1").await;
    db.close().await.unwrap();
    assert!(db.load("user-1").await.unwrap_err().is_database());
}

pub(crate) async fn each_cause_is_named(place: Place) {
    let address = place.address();
    for (options, cause) in [
        (
            "directConnection=true&replicaSet=other",
            "`replicaSet` is not the name of the server's replica set",
        ),
        ("replicaSet=other", "no server belongs to the replica set that `replicaSet` names"),
        ("directConnection=true&tls=true", "TLS"),
    ] {
        let db = place.builder().uri(format!("mongodb://{address}/?{options}"));
        let error = db.connect().await.unwrap().load("SECRET").await.unwrap_err();
        let text = format!("{error:?}");
        assert!(error.is_database() && text.contains(cause), "{options}: {text}");
        assert!(!text.contains("SECRET") && !text.contains(&address), "{text}");
    }
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let db = place.builder().uri(format!("mongodb://{address}")).connect().await.unwrap();
    let text = format!("{:?}", db.load("SECRET").await.unwrap_err());
    assert!(text.contains("the connection was refused: no server listens there"), "{text}");

    // The answers of a server of the other kind: none, anything but TLS, or a TLS alert.
    let alert: &[u8] = &[21, 3, 1, 0, 2, 2, 70];
    let one_side = "one side may expect TLS and the other not";
    for (tls, answer, cause) in [
        (true, &b""[..], one_side),
        (true, b"It looks like you are trying to access MongoDB over HTTP", "does not speak it"),
        (false, alert, one_side),
        (false, b"", one_side),
    ] {
        let address = answering(answer).await;
        let uri = format!("mongodb://{address}/?directConnection=true&tls={tls}");
        let db = place.builder().uri(uri).connect().await.unwrap();
        let text = format!("{:?}", db.load("SECRET").await.unwrap_err());
        assert!(text.contains(cause), "{tls} {answer:?}: {text}");
    }
}

/// Starts a server that answers every request with these bytes and closes the connection.
async fn answering(answer: &'static [u8]) -> std::net::SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (mut client, _) = listener.accept().await.unwrap();
            tokio::spawn(async move {
                let mut asked = [0; 1024];
                let _ = client.read(&mut asked).await;
                let _ = client.write_all(answer).await;
            });
        }
    });
    address
}

/// The server accepts connections and does not answer, from the start or from some moment on.
pub(crate) async fn a_server_that_hangs_is_given_up(place: Place) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let uri = format!("mongodb://{}/?directConnection=true", listener.local_addr().unwrap());
    let silent = place.builder().uri(&uri).connect().await.unwrap();
    let error = silent.load("user-1").await.unwrap_err();
    assert!(error.is_database(), "{error:?}");

    let (is_silent, silence) = tokio::sync::watch::channel(false);
    let address = place.address();
    tokio::spawn(async move {
        loop {
            let (mut client, _) = listener.accept().await.unwrap();
            let (address, mut silence) = (address.clone(), silence.clone());
            tokio::spawn(async move {
                let mut server = TcpStream::connect(address).await.unwrap();
                tokio::select! {
                    _ = copy_bidirectional(&mut client, &mut server) => {}
                    _ = silence.changed() => {}
                }
                // Neither side closes its connection.
                std::future::pending::<()>().await;
            });
        }
    });
    let limit = Duration::from_millis(300);
    let db = place.builder().uri(&uri).timeout(limit).connect().await.unwrap();
    // The default limit is 5 seconds.
    let patient = place.builder().uri(&uri).connect().await.unwrap();
    let fields = record(json!({ "user": {} }));
    for db in [&db, &patient] {
        // A busy machine may take longer than the limit to connect.
        while db.save("user-1", &fields, Expected::Absent).await.is_err() {}
    }
    let before = load(&patient, "user-1").await.version;
    is_silent.send(true).unwrap();
    let begun = Instant::now();
    let fresh = place.builder().uri(&uri).timeout(limit).connect().await.unwrap();
    for error in [
        db.load("SECRET").await.unwrap_err(),
        db.save("SECRET", &fields, Expected::Absent).await.unwrap_err(),
        db.save("user-1", &fields, Expected::Version(&before)).await.unwrap_err(),
        db.delete("SECRET").await.unwrap_err(),
        fresh.ensure_ready().await.unwrap_err(),
    ] {
        let text = format!("{error:?}");
        assert!(error.is_database() && text.contains("no answer within 300ms"), "{text}");
        assert!(!text.contains("SECRET"), "{text}");
    }
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    assert!(patient.load("user-1").await.is_err());
    assert!(begun.elapsed() < Duration::from_secs(12), "{:?}", begun.elapsed());
    db.close().await.unwrap();
}

/// Several tests share a handle in a static, each with a runtime of its own.
pub(crate) async fn works_in_a_second_runtime(place: Place) {
    let (builder, uri) = (place.builder(), place.uri.clone());
    let theirs = place.builder();
    let opened = std::thread::spawn(move || {
        crate::run(async {
            let db = builder.uri(&uri).connect().await.unwrap();
            save(&db, "user-1", json!({ "user": { "data": { "n": 1 } } })).await;
            let client = Client::with_uri_str(&uri).await.unwrap();
            let with_client = theirs.client(client).connect().await.unwrap();
            load(&with_client, "user-1").await;
            (db, with_client)
        })
    });
    let (db, with_client) = tokio::task::spawn_blocking(|| opened.join().unwrap()).await.unwrap();
    for n in 2..4 {
        save(&db, "user-1", json!({ "user": { "data": { "n": n } } })).await;
    }
    db.ensure_ready().await.unwrap();
    let errors = [
        with_client.load("user-1").await.unwrap_err(),
        with_client.save("user-1", &record(json!({})), Expected::Absent).await.unwrap_err(),
        with_client.delete("user-1").await.unwrap_err(),
    ];
    for error in errors {
        assert!(error.is_database(), "{error:?}");
        assert!(format!("{error:?}").contains("make a client in this one"), "{error:?}");
    }
    with_client.close().await.unwrap();
    db.close().await.unwrap();

    // A runtime that has not ended but stands still.
    let standing = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let builder = place.builder().timeout(Duration::from_millis(300)).uri(&place.uri);
    let (db, standing) = tokio::task::spawn_blocking(move || {
        let db = standing.block_on(builder.connect()).unwrap();
        (db, standing)
    })
    .await
    .unwrap();
    let error = db.load("user-1").await.unwrap_err();
    assert!(format!("{error:?}").contains("in another tokio runtime"), "{error:?}");
    standing.shutdown_background();
}
