//! What a deletion leaves.

use std::sync::Arc;

use tower_persistence::{Database, Loaded, Saved};

use super::{Place, stored, visits};

pub(super) async fn a_tombstone_holds_nothing_of_the_user(place: Arc<Place>) {
    let db = place.ready().await;
    stored(&db, "a", &visits(1), None).await;
    db.delete("a").await.unwrap();
    db.delete("never stored").await.unwrap();
    let rows = "SELECT concat_ws(',', id, record IS NULL, created_at = updated_at, \
                round(extract(epoch FROM expires_at - updated_at))) FROM $table ORDER BY id";
    let expected = ["a,t,t,900", "never stored,t,t,900"].map(|it| Some(it.to_owned()));
    assert_eq!(place.texts(rows).await, expected);
    let Loaded::Absent(Some(first)) = db.load_for_update("a").await.unwrap() else { panic!() };
    db.delete("a").await.unwrap();
    let Loaded::Absent(Some(second)) = db.load_for_update("a").await.unwrap() else { panic!() };
    assert_ne!(first, second);
}

pub(super) async fn an_expired_tombstone_does_not_count(place: Arc<Place>) {
    let db = place.ready().await;
    let nothing = db.load_for_update("a").await.unwrap();
    db.delete("a").await.unwrap();
    let tombstone = db.load_for_update("a").await.unwrap();
    assert_ne!(tombstone, nothing);
    let refused = db.save("a", &visits(1), nothing.expected()).await.unwrap();
    assert_eq!(refused, Saved::Conflict(None));
    place.execute("UPDATE $table SET expires_at = now() - interval '1 s'").await;
    assert_eq!(db.load_for_update("a").await.unwrap(), nothing);
    for loaded in [tombstone, nothing] {
        let saved = db.save("a", &visits(1), loaded.expected()).await.unwrap();
        assert!(matches!(saved, Saved::Written(_)), "{loaded:?}: {saved:?}");
        place.execute("DELETE FROM $table").await;
    }
}

pub(super) async fn a_table_that_refuses_tombstones(place: Arc<Place>) {
    let db = place.ready().await;
    place.execute("ALTER TABLE $table ADD CHECK (record IS NOT NULL)").await;
    stored(&db, "a", &visits(1), None).await;
    db.delete("a").await.unwrap();
    db.delete("never stored").await.unwrap();
    assert_eq!(place.text("SELECT count(*) FROM $table").await, "0");
}
