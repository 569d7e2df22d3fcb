//! Settings, servers that fail, and errors that say why.

use std::sync::Arc;
use std::time::{Duration, Instant};

use deadpool_postgres::{Manager, Pool};
use tokio::net::TcpListener;
use tokio_postgres::NoTls;
use tower_persistence::{Database, PostgresDb};

use super::proxy::{Proxy, refusing};
use super::{Place, all, load, stored, visits};

pub(super) async fn wrong_settings_are_errors(place: Arc<Place>) {
    let url = || PostgresDb::builder().url(&place.url);
    for (builder, why) in [
        (PostgresDb::builder(), "needs a URL or a pool"),
        (url().pool(pool(&place)), "takes one of URL and pool"),
        (url().table("a.b.c"), "`name` or `schema.name`"),
        (url().max_connections(0), "`max_connections`"),
        (url().timeout(Duration::ZERO), "`timeout`"),
        (url().ready_timeout(Duration::ZERO), "`ready_timeout`"),
        (url().expire_users_after(Duration::ZERO), "`expire_users_after`"),
        (PostgresDb::builder().url("postgres://h/db?sslrootcert=/no/such.pem"), "/no/such.pem"),
        (PostgresDb::builder().url("postgres://h:port/db"), "`port`"),
    ] {
        let error = builder.connect().await.unwrap_err();
        assert!(error.is_configuration() && all(&error).contains(why), "{}", all(&error));
    }
}

fn pool(place: &Place) -> Pool {
    let manager = Manager::new(place.url.parse().unwrap(), NoTls);
    Pool::builder(manager).max_size(2).build().unwrap()
}

pub(super) async fn each_cause_is_named(place: Arc<Place>) {
    let closed = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().to_string();
    let (address, _) = place.url.rsplit_once('/').unwrap();
    for (url, why) in [
        (place.through(&closed), "no server listens there"),
        (format!("{address}/no_such_database"), "create it with `createdb`"),
        (place.through(&refusing("28P01").await), "did not accept user name and password"),
        (place.through(&refusing("28000").await), "`pg_hba.conf`"),
        (place.through(&refusing("53300").await), "PgBouncer"),
        (place.through(&refusing("57P03").await), "starting, stopping or recovering"),
        (place.through(&refusing("57P01").await), "restarted"),
        (place.through(&refusing("XX000").await), "error XX000"),
        (place.through("no-such-host.invalid"), "resolved"),
        ("postgres://u@%2Fno%2Fsuch/db".to_owned(), "no socket of a server"),
    ] {
        let db = place.builder().url(&url).connect().await.unwrap();
        for error in [db.load("a").await.unwrap_err(), db.delete("a").await.unwrap_err()] {
            assert!(error.is_database() && all(&error).contains(why), "{why}: {}", all(&error));
            assert!(!all(&error).contains("SECRET"), "{}", all(&error));
        }
    }
}

pub(super) async fn errors_hold_no_secrets(_: Arc<Place>) {
    for url in [
        "postgres://SECRET:SECRET@127.0.0.1:1/SECRET_not",
        "postgres://SECRET:SECRET@secret.invalid/db",
        "postgres://SECRET:SEC/RET@h:SECRET/db",
        "SECRET",
    ] {
        let text = match PostgresDb::connect(url).await {
            Ok(db) => {
                let db = db.load("SECRET").await.map_err(|error| (db, error)).unwrap_err();
                // The name of the database is no secret.
                format!("{} {:?}", all(&db.1), db.0).replace("SECRET_not", "")
            }
            Err(error) => all(&error),
        };
        assert!(!text.to_ascii_lowercase().contains("secret"), "{url}: {text}");
    }
}

pub(super) async fn a_pool_of_the_app_stays_open(place: Arc<Place>) {
    let pool = pool(&place);
    let db = PostgresDb::builder().pool(pool.clone()).table(&place.table).connect().await.unwrap();
    stored(&db, "a", &visits(1), None).await;
    db.close().await.unwrap();
    assert_eq!(load(&db, "a").await.record, visits(1));
    let client = pool.get().await.unwrap();
    let rows = client.query(&place.sql("SELECT id FROM $table"), &[]).await.unwrap();
    assert_eq!(rows[0].get::<_, &str>(0), "a");
    assert_eq!(format!("{db:?}"), format!("PostgresDb {{ table: {:?} }}", place.table));
    assert_eq!(PostgresDb::from_pool(pool).collection(), Some("persistence_users"));

    let own = place.ready().await;
    own.close().await.unwrap();
    let error = own.load("a").await.unwrap_err();
    assert!(error.to_string().contains("it was closed: connect again"), "{error}");
}

pub(super) async fn works_in_a_second_runtime(place: Arc<Place>) {
    let db = place.ready().await;
    stored(&db, "a", &visits(0), None).await;
    for turn in 1..4 {
        let db = db.clone();
        let in_another = move || {
            crate::run(async {
                let loaded = load(&db, "a").await;
                stored(&db, "a", &visits(turn), Some(&loaded.version)).await;
                db.delete("b").await.unwrap();
            });
        };
        tokio::task::spawn_blocking(in_another).await.unwrap();
    }
    assert_eq!(load(&db, "a").await.record, visits(3));
}

pub(super) async fn a_server_that_hangs_is_given_up(place: Arc<Place>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let hangs = place.through(&listener.local_addr().unwrap().to_string());
    tokio::spawn(async move {
        let mut kept = Vec::new();
        loop {
            kept.push(listener.accept().await.unwrap());
        }
    });
    let builder = PostgresDb::builder().url(hangs).timeout(Duration::from_millis(300));
    let db = builder.ready_timeout(Duration::from_millis(300)).connect().await.unwrap();
    let since = Instant::now();
    let error = db.load("a").await.unwrap_err();
    assert!(error.is_timeout() && since.elapsed() < Duration::from_secs(20), "{error:?}");
    assert!(all(&error).contains("no answer within 300ms"), "{}", all(&error));
}

pub(super) async fn connections_that_were_closed_idle_are_replaced(place: Arc<Place>) {
    let proxy = Proxy::start(place.address()).await;
    let db = place.builder().url(place.through(&proxy.address)).connect().await.unwrap();
    let mut version = None;
    for turn in 0..6 {
        // All of them at once, as a firewall or a restart does.
        let loads: Vec<_> = (0..8).map(|_| db.load("a")).collect();
        for load in futures_util::future::join_all(loads).await {
            load.unwrap();
        }
        proxy.cut().await;
        version = Some(stored(&db, "a", &visits(turn), version.as_ref()).await);
        proxy.cut().await;
        assert_eq!(load(&db, "a").await.record, visits(turn));
        proxy.cut().await;
        db.delete("b").await.unwrap();
    }
    // An administrator's doing: the server says so, and closes.
    let end = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
               WHERE application_name = 'ended by the test'";
    let url = super::with(&place.url, "application_name", "ended%20by%20the%20test");
    let db = place.builder().url(url).connect().await.unwrap();
    for turn in 6..12 {
        version = Some(stored(&db, "a", &visits(turn), version.as_ref()).await);
        assert!(!place.texts(end).await.is_empty());
        assert_eq!(load(&db, "a").await.record, visits(turn));
        place.texts(end).await;
        db.delete("b").await.unwrap();
        place.texts(end).await;
    }
}
