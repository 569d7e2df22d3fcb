use super::*;

#[tokio::test]
async fn an_edit_is_a_conflict_for_the_turn_under_way() {
    let (_directory, path) = place();
    let (db, connection) = (open(&path).await, sqlite(&path));
    let before = stored(&db, "user", &visits(1), None).await;
    let edit = "UPDATE users SET record = json_set(record, '$.user.data.visits', 7)";
    connection.execute_batch(edit).unwrap();
    let conflict = save(&db, "user", &visits(2), Expected::Version(&before)).await;
    let Saved::Conflict(Some(edited)) = conflict else { panic!("{conflict:?}") };
    assert_eq!(edited.record, visits(7));
    assert_ne!(edited.version, before);
    assert_eq!(load(&db, "user").await, Some(edited.clone()));
    let after = stored(&db, "user", &visits(8), Some(&edited.version)).await;
    assert!(after != edited.version && after != before);
    let visits = "SELECT record ->> '$.user.data.visits' FROM users";
    assert_eq!(number(&connection, visits), 8);
}

#[tokio::test]
async fn what_a_save_does_not_change_keeps_the_spelling_of_another_program() {
    let (_directory, path) = place();
    let (db, connection) = (open(&path).await, sqlite(&path));
    stored(&db, "user", &visits(1), None).await;
    let spelled = r#"{ "own": [123456789012345678901234567890, 1.0, 1E2],
        "user": {"data":{"visits":1,"s":"\u00e9", "n":1.50}} }"#;
    connection.execute("UPDATE users SET record = ?", [spelled]).unwrap();
    let mut found = load(&db, "user").await.unwrap();
    for visit in 2..4 {
        let mut fields = found.record.fields().clone();
        fields["user"]["data"]["visits"] = json!(visit);
        found.record = Record::new(fields);
        found.version = stored(&db, "user", &found.record, Some(&found.version)).await;
        let expected = format!(
            r#"{{"own":[123456789012345678901234567890, 1.0, 1E2],"user":{{"data":{{"visits":{visit},"s":"\u00e9","n":1.50}}}}}}"#
        );
        assert_eq!(text(&connection, "user"), expected);
    }
}

#[tokio::test]
async fn a_record_that_cannot_be_read_is_an_error_for_that_user_alone() {
    let (_directory, path) = place();
    let (db, connection) = (open(&path).await, sqlite(&path));
    for id in ["broken", "user"] {
        stored(&db, id, &visits(1), None).await;
    }
    let broken = r#"{"user": "SECRET" SECRET}"#;
    connection.execute("UPDATE users SET record = ? WHERE id = 'broken'", [broken]).unwrap();
    for error in [
        within(db.load("broken")).await.unwrap_err(),
        within(db.load_for_update("broken")).await.unwrap_err(),
        within(db.save("broken", &visits(2), Expected::Absent)).await.unwrap_err(),
    ] {
        assert!(error.is_decode() && error.to_string().contains("repair it"), "{error}");
        assert!(!all(&error).contains("SECRET") && !all(&error).contains("broken\""), "{error:?}");
    }
    assert_eq!(text(&connection, "broken"), broken);
    assert!(load(&db, "user").await.is_some());
    within(db.delete("broken")).await.unwrap();
    assert_eq!(load(&db, "broken").await, None);
}

#[tokio::test]
async fn tables_that_are_gone_fail_calls_and_lose_nothing_in_silence() {
    let (_directory, path) = place();
    let (db, connection) = (open(&path).await, sqlite(&path));
    stored(&db, "user", &visits(1), None).await;
    connection.execute_batch("ALTER TABLE users RENAME TO elsewhere").unwrap();
    for error in [
        within(db.load("SECRET")).await.unwrap_err(),
        within(db.save("SECRET", &visits(1), Expected::Absent)).await.unwrap_err(),
    ] {
        assert!(error.is_database() && !all(&error).contains("SECRET"), "{error:?}");
    }
    connection.execute_batch("ALTER TABLE elsewhere RENAME TO users").unwrap();
    assert!(load(&db, "user").await.is_some());
    stored(&db, "another", &visits(1), None).await;
}

#[tokio::test]
async fn deleted_data_is_not_left_in_the_file() {
    let (_directory, path) = place();
    let db = open(&path).await;
    let secret = json!({ "user": { "data": { "note": "SECRET".repeat(2000) } } });
    stored(&db, "user", &record(&secret), None).await;
    within(db.delete("user")).await.unwrap();
    within(db.close()).await.unwrap();
    let bytes = std::fs::read(&path).unwrap();
    assert!(!bytes.windows(6).any(|bytes| bytes == b"SECRET"));
}
