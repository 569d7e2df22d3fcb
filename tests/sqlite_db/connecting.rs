use tower_persistence::{PersistenceConfig, PersistenceLayer, connect};

use super::*;

#[tokio::test]
async fn by_a_url() {
    let (directory, _) = place();
    // As it is: nothing is decoded, and what looks like a query belongs to the name.
    for name in ["db/users.sqlite", "a b%20c?d#e.sqlite", "UPPER:case"] {
        let path = directory.path().join(name);
        let db = within(connect(&format!("sqlite:{}", path.display()))).await.unwrap();
        within(db.save("user", &visits(1), Expected::Absent)).await.unwrap();
        assert_eq!(format!("{db:?}"), format!("SqliteDb({})", path.display()));
        assert_eq!((db.name(), db.collection()), ("sqlite", Some("users")));
        within(db.close()).await.unwrap();
        assert_eq!(number(&sqlite(path), "SELECT count(*) FROM users"), 1);
    }
}

#[tokio::test]
async fn to_nothing_that_can_be_meant() {
    for (url, why) in [
        ("sqlite:", "the path after `sqlite:`"),
        ("sqlite://SECRET/users.sqlite", "a host after `sqlite://`"),
        ("sqlite::memory:", "`MemoryDb` (`memory:` as a URL)"),
        ("sqlit:SECRET", "`sqlite:`"),
    ] {
        let error = within(connect(url)).await.unwrap_err();
        assert!(error.is_configuration(), "{url}");
        assert!(error.to_string().contains(why), "{error}");
        assert!(!all(&error).contains("SECRET"), "{error:?}");
    }
}

#[tokio::test]
async fn by_json() {
    let read = |json: Value| serde_json::from_value::<PersistenceConfig>(json);
    let default = format!("{:?}", read(json!({ "type": "sqlite" })).unwrap());
    assert!(default.contains("db/users.sqlite"), "{default}");
    for (json, name) in [
        (json!({ "type": "sqlite", "path": "x" }), "`path`"),
        (json!({ "type": "sqlite", "timeoutMs": "SECRET" }), "another type"),
        (json!({ "type": "sqlight" }), "`sqlite`"),
    ] {
        let error = read(json).unwrap_err().to_string();
        assert!(error.contains(name) && !error.contains("SECRET"), "{error}");
    }

    let (_directory, path) = place();
    let json = json!({ "db": { "type": "sqlite", "pathToFile": path, "timeoutMs": 60000 } });
    let layer = within(PersistenceLayer::from_config(read(json).unwrap())).await.unwrap();
    let saved = within(layer.database().save("user", &visits(1), Expected::Absent)).await;
    assert!(matches!(saved, Ok(Saved::Written(_))));
    let json = json!({ "type": "sqlite", "pathToFile": path, "timeoutMs": 0 });
    let error = within(PersistenceLayer::from_config(read(json).unwrap())).await.unwrap_err();
    assert!(error.is_configuration() && error.to_string().contains("`timeout`"), "{error}");
}
