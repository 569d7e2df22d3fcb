//! Servers that take no writes, as after a fail-over.

use tower_persistence::{Database, Expected, PostgresDb};

use super::proxy::Proxy;
use super::{all, client, load, of_user, stored, visits};
use crate::process::Server;

pub(super) async fn is_left(server: Server) {
    let url = of_user(&server.endpoint());
    let address = server.endpoint().rsplit('/').next().unwrap().to_owned();
    let db = PostgresDb::builder().url(&url).timeout(super::PATIENCE).connect().await.unwrap();
    let version = stored(&db, "a", &visits(1), None).await;
    let admin = client(&url).await;
    let set = async |value: &str| {
        admin
            .batch_execute(&format!("ALTER SYSTEM SET default_transaction_read_only = {value}"))
            .await
            .unwrap();
        admin.batch_execute("SELECT pg_reload_conf()").await.unwrap();
        let shown = "SHOW default_transaction_read_only";
        while client(&url).await.query_one(shown, &[]).await.unwrap().get::<_, &str>(0) != value {
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    };
    set("on").await;
    let error = loop {
        // A session takes the setting over when it is told.
        match db.save("a", &visits(2), Expected::Version(&version)).await {
            Err(error) => break error,
            saved => {
                assert!(!matches!(saved, Ok(tower_persistence::Saved::Written(_))), "{saved:?}");
            }
        }
    };
    assert!(all(&error).contains("the server is read-only"), "{}", all(&error));
    assert_eq!(load(&db, "a").await.version, version);
    admin.batch_execute("SET default_transaction_read_only = off").await.unwrap();
    set("off").await;
    let version = stored(&db, "a", &visits(2), Some(&version)).await;

    // Two hosts, of which the other one becomes the primary.
    let (one, other) = (Proxy::start(address.clone()).await, Proxy::start(address).await);
    other.be_standby(true);
    let both = format!("postgres://postgres@{},{}/postgres", one.address, other.address);
    let db = PostgresDb::builder().url(both).timeout(super::PATIENCE).connect().await.unwrap();
    let version = stored(&db, "a", &visits(3), Some(&version)).await;
    assert!(one.round_trips() > 0);
    one.be_standby(true);
    other.be_standby(false);
    one.cut().await;
    other.round_trips();
    let version = stored(&db, "a", &visits(4), Some(&version)).await;
    assert!(other.round_trips() > 0);
    other.be_standby(true);
    other.cut().await;
    let error = db.save("a", &visits(5), Expected::Version(&version)).await.unwrap_err();
    assert!(all(&error).contains("no server of the URL takes writes"), "{}", all(&error));
    one.be_standby(false);
    stored(&db, "a", &visits(6), Some(&version)).await;
}
