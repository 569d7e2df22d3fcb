use super::*;

#[tokio::test]
async fn connects_to_a_file() {
    let directory = directory();
    // The name is taken literally: nothing is decoded, and a query belongs to it.
    for name in ["sub/../db.json", "a b%20c?d#e.json", "UPPER:case.json"] {
        let path = directory.path().join(name);
        let db = connect(&format!("file:{}", path.display())).await.unwrap();
        stored(&db, "user", &Record::default(), None).await;
        assert!(text(&path).contains("user"));
        assert_eq!(format!("{db:?}"), format!("FileDb({})", path.display()));
        db.close().await.unwrap();
    }
    let path = directory.path().join("db.json");
    let db = connect(&format!("FILE://{}", path.display())).await.unwrap();
    load(&db, "user").await;
}

#[tokio::test]
async fn connects_to_memory() {
    let db = connect("memory:").await.unwrap();
    stored(&db, "user", &Record::default(), None).await;
    assert!(format!("{db:?}").starts_with("MemoryDb"));
}

#[tokio::test]
async fn refuses_an_unknown_url() {
    for (url, why) in [
        ("mysql://user:SECRET@host/SECRET", "unknown scheme `mysql`"),
        ("", "does not begin with a scheme"),
        ("SECRET/db.json", "does not begin with a scheme such as `file:`"),
        ("SECRET@host:27017", "does not begin with a scheme"),
        (":SECRET", "does not begin with a scheme"),
        ("file:", "the path after `file:`"),
        ("file://SECRET/db.json", "a host after `file://`"),
        ("memory:SECRET", "unexpected text after `memory:`"),
    ] {
        let error = connect(url).await.unwrap_err();
        assert!(error.is_configuration());
        assert!(error.to_string().contains(why), "{error}");
        assert!(!all(&error).contains("SECRET"), "{error:?}");
    }
    let error = connect("mysql://host").await.unwrap_err();
    assert!(error.to_string().contains("`file:db/db.json`, `memory:`"), "{error}");
}
