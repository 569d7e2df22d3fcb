//! Statements that wait for other transactions.

use std::sync::Arc;
use std::time::Duration;

use tower_persistence::{Database, Expected, PostgresDb};

use super::{Place, all, load, stored, visits, with};

const NAME: &str = "waits for a lock";

async fn impatient(place: &Place, connections: usize) -> PostgresDb {
    let url = with(&place.url, "application_name", &NAME.replace(' ', "%20"));
    let builder = place.builder().url(url).max_connections(connections);
    let db = builder.timeout(Duration::from_millis(300)).connect().await.unwrap();
    db.ensure_ready().await.unwrap();
    db
}

async fn until_none_waits(place: &Place) {
    let waiting = format!(
        "SELECT count(*) FROM pg_stat_activity WHERE application_name = '{NAME}' AND state = 'active'"
    );
    let other = super::client(&place.url).await;
    for _ in 0..500 {
        let row = other.query_one(&waiting, &[]).await.unwrap();
        if row.get::<_, i64>(0) == 0 {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("a statement still waits for the lock");
}

pub(super) async fn a_statement_that_waits_for_a_lock_is_cancelled(place: Arc<Place>) {
    let db = place.ready().await;
    let version = stored(&db, "a", &visits(1), None).await;
    let impatient = impatient(&place, 10).await;
    place.execute("BEGIN; SELECT FROM $table FOR UPDATE").await;
    for _ in 0..3 {
        let expected = Expected::Version(&version);
        let error = impatient.save("a", &visits(2), expected).await.unwrap_err();
        assert!(error.is_timeout() && all(&error).contains("locks on the table"), "{error:?}");
        let error = impatient.delete("a").await.unwrap_err();
        assert!(error.is_timeout(), "{error:?}");
    }
    // A turn that is given up by the layer leaves nothing behind, either.
    let expected = Expected::Version(&version);
    let record = visits(2);
    let save = impatient.save("a", &record, expected);
    tokio::time::timeout(Duration::from_millis(50), save).await.unwrap_err();
    until_none_waits(&place).await;
    place.execute("ROLLBACK").await;
    assert_eq!(load(&impatient, "a").await.version, version);
    stored(&impatient, "a", &visits(2), Some(&version)).await;
}

pub(super) async fn a_full_pool_is_named(place: Arc<Place>) {
    let db = place.ready().await;
    let version = stored(&db, "a", &visits(1), None).await;
    let impatient = impatient(&place, 1).await;
    place.execute("BEGIN; SELECT FROM $table FOR UPDATE").await;
    let record = visits(2);
    let save = || impatient.save("a", &record, Expected::Version(&version));
    let (one, other) = tokio::join!(save(), async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        impatient.load("b").await
    });
    let texts = format!(
        "{} {}",
        all(&one.unwrap_err()),
        other.map_or_else(|it| all(&it), |_| String::new())
    );
    assert!(texts.contains("all 1 connections of the pool are busy"), "{texts}");
    place.execute("ROLLBACK").await;
}
