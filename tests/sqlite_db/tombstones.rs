use super::*;

async fn absent(db: &SqliteDb, id: &str) -> Version {
    match within(db.load_for_update(id)).await.unwrap() {
        Loaded::Absent(Some(version)) => version,
        loaded => panic!("{loaded:?}"),
    }
}

#[tokio::test]
async fn a_first_turn_under_way_does_not_bring_back_a_user_deleted_by_another_process() {
    let (_directory, path) = place();
    let (one, other) = (open(&path).await, open(&path).await);
    let before = absent(&one, "user").await;
    within(other.delete("user")).await.unwrap();
    let conflict = save(&one, "user", &visits(1), Expected::Version(&before)).await;
    assert_eq!(conflict, Saved::Conflict(None));
    assert_eq!(load(&one, "user").await, None);

    let first = absent(&one, "user").await;
    within(other.delete("user")).await.unwrap();
    let second = absent(&one, "user").await;
    assert_ne!(first, second);
    assert_eq!(
        save(&one, "user", &visits(1), Expected::Version(&first)).await,
        Saved::Conflict(None)
    );
    stored(&one, "user", &visits(1), Some(&second)).await;
    let connection = sqlite(&path);
    assert_eq!(number(&connection, "SELECT count(*) FROM tombstones"), 0);
}

#[tokio::test]
async fn they_count_for_15_minutes_and_are_removed_by_later_saves() {
    let (_directory, path) = place();
    let db = open(&path).await;
    let before = absent(&db, "user").await;
    stored(&db, "user", &visits(1), Some(&before)).await;
    within(db.delete("user")).await.unwrap();
    let connection = sqlite(&path);
    let left = "SELECT expires_at - unixepoch() * 1000 FROM tombstones";
    assert!((840_000..=901_000).contains(&number(&connection, left)));
    let holds = "SELECT count(*) FROM users WHERE id = 'user'";
    assert_eq!(number(&connection, holds), 0);

    connection.execute_batch("UPDATE tombstones SET expires_at = 1").unwrap();
    assert_eq!(absent(&db, "user").await, before, "as if nothing had been there");
    stored(&db, "another", &visits(1), None).await;
    assert_eq!(number(&connection, "SELECT count(*) FROM tombstones"), 0);
    stored(&db, "user", &visits(2), Some(&before)).await;
}
