//! Servers, settings and secrets.

use std::io::Write;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use mongodb::bson::doc;
use mongodb::options::IndexOptions;
use mongodb::{Client, IndexModel};
use serde_json::json;
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tower_persistence::{Database, MongoDb, Saved};

use super::{Place, load, record, save};

/// What is logged.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
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

pub(crate) async fn settings_that_are_wrong_are_told(place: Place) {
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

/// Stands between client and server, so that the server can be away.
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
    // A user whom the server does not know.
    let error = secret.load("SECRET-ID").await.unwrap_err();
    let text = format!("{error:?}");
    assert!(error.is_database() && text.contains("did not accept user name"), "{text}");
    assert!(!text.contains("SECRET") && !text.contains(&port.to_string()), "{text}");
    server.abort();
}

pub(crate) async fn errors_hold_no_secrets(place: Place) {
    let db = place.db().await;
    // Another index that is unique: the server's message quotes the duplicate.
    let options = IndexOptions::builder().unique(true).build();
    let index = IndexModel::builder().keys(doc! { "secret": 1 }).options(options).build();
    place.users.create_index(index).await.unwrap();
    let item = record(json!({ "secret": "SECRET" }));
    assert!(matches!(db.save("SECRET-1", &item, None).await.unwrap(), Saved::Stored(_)));
    let error = db.save("SECRET-2", &item, None).await.unwrap_err();
    assert!(error.is_database(), "{error:?}");
    let text = format!("{error:?} {error}");
    assert!(text.contains("other than that of `_id`"), "{text}");
    assert!(!text.contains("SECRET"), "{text}");

    save(&db, "SECRET-3", json!({})).await;
    let over = load(&db, "SECRET-3").await.version;
    let error = db.save("SECRET-3", &item, Some(&over)).await.unwrap_err();
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
