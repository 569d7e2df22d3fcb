//! Users who expire.

use std::sync::Arc;
use std::time::Duration;

use tower_persistence::Database;

use super::{Place, stored, visits};

pub(super) async fn users_expire_and_are_removed(place: Arc<Place>) {
    let of = |duration| place.builder().url(&place.url).expire_users_after(duration);
    let short = of(Duration::from_millis(50)).connect().await.unwrap();
    for number in 0..100 {
        stored(&short, &format!("short {number}"), &visits(1), None).await;
    }
    tokio::time::sleep(Duration::from_millis(60)).await;
    assert_eq!(short.load("short 99").await.unwrap(), None);
    let long = of(Duration::from_secs(3600)).connect().await.unwrap();
    for number in 0..100 {
        stored(&long, &format!("long {number}"), &visits(1), None).await;
    }
    let left = "SELECT count(*) FILTER (WHERE expires_at <= now()) || ',' || count(*) FROM $table";
    assert_eq!(place.text(left).await, "0,100");
    // One that has not been removed is written over.
    stored(&short, "short", &visits(1), None).await;
    tokio::time::sleep(Duration::from_millis(60)).await;
    stored(&long, "short", &visits(5), None).await;
    assert_eq!(super::load(&long, "short").await.record, visits(5));
}

pub(super) async fn a_clean_up_that_fails_fails_no_save(place: Arc<Place>) {
    let db = place.ready().await;
    place
        .execute("INSERT INTO $table (id, expires_at, record) VALUES ('old', now() - interval '1 s', '{}')")
        .await;
    let other = format!("{} orders", place.table);
    let sql = format!(
        "CREATE TABLE \"{other}\" (of text REFERENCES $table); INSERT INTO \"{other}\" VALUES ('old')"
    );
    place.execute(&sql).await;
    let mut version = None;
    for turn in 0..70 {
        version = Some(stored(&db, "a", &visits(turn), version.as_ref()).await);
    }
    assert_eq!(place.text("SELECT count(*) FROM $table").await, "2");
    assert_eq!(db.load("old").await.unwrap(), None);
    place.execute(&format!("DROP TABLE \"{other}\"")).await;
}
