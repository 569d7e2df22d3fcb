use super::*;

const HOUR: Duration = Duration::from_secs(60 * 60);

async fn open_with_expiry(path: &Path) -> SqliteDb {
    within(SqliteDb::builder(path).expire_users_after(HOUR).open()).await.unwrap()
}

#[tokio::test]
async fn a_user_past_their_time_is_absent_and_begins_anew() {
    let (_directory, path) = place();
    let (db, connection) = (open_with_expiry(&path).await, sqlite(&path));
    let old = stored(&db, "user", &visits(1), None).await;
    let left = "SELECT expires_at - unixepoch() * 1000 FROM users";
    assert!((3_500_000..=3_601_000).contains(&number(&connection, left)));

    connection.execute_batch("UPDATE users SET expires_at = 1, created_at = 1").unwrap();
    assert_eq!(load(&db, "user").await, None);
    let loaded = within(db.load_for_update("user")).await.unwrap();
    assert!(matches!(loaded, Loaded::Absent(_)));
    let late = save(&db, "user", &visits(2), Expected::Version(&old)).await;
    assert_eq!(late, Saved::Conflict(None));
    let Saved::Written(new) = save(&db, "user", &visits(3), loaded.expected()).await else {
        panic!()
    };
    assert_ne!(new, old);
    assert_eq!(load(&db, "user").await.unwrap().record, visits(3));
    assert_eq!(number(&connection, "SELECT count(*) FROM users WHERE created_at > 1"), 1);
}

#[tokio::test]
async fn saves_remove_a_few_at_a_time_and_put_off_the_users_own() {
    let (_directory, path) = place();
    let (db, connection) = (open_with_expiry(&path).await, sqlite(&path));
    let mut version = stored(&db, "user", &visits(0), None).await;
    for number in 0..20 {
        stored(&db, &format!("old-{number}"), &visits(1), None).await;
    }
    connection.execute_batch("UPDATE users SET expires_at = 1 WHERE id LIKE 'old-%'").unwrap();
    for (visit, expected) in [(1, 5), (2, 1)] {
        version = stored(&db, "user", &visits(visit), Some(&version)).await;
        assert_eq!(number(&connection, "SELECT count(*) FROM users"), expected);
    }
    drop(db);
    let db = open(&path).await;
    stored(&db, "user", &visits(3), Some(&version)).await;
    let kept = "SELECT count(*) FROM users WHERE expires_at IS NULL";
    assert_eq!(number(&connection, kept), 1, "without the setting users are kept");
}
