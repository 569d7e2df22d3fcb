//! The table is created, checked, missed.

use std::sync::Arc;

use tokio::task::JoinSet;
use tower_persistence::{Database, Expected, PostgresDb};

use super::{Place, all, client, load, of_user, stored, visits};

pub(super) async fn two_processes_create_the_table_at_once(place: Arc<Place>) {
    for _ in 0..4 {
        let mut tasks = JoinSet::new();
        for number in 0..12 {
            let place = Arc::clone(&place);
            tasks.spawn(async move {
                let db = place.db().await;
                stored(&db, &format!("{number}"), &visits(number), None).await;
            });
        }
        tasks.join_all().await;
        assert_eq!(place.text("SELECT count(*) FROM $table").await, "12");
        place.execute("DROP TABLE $table").await;
    }
}

pub(super) async fn migrations_and_processes_create_tables_at_once(place: Arc<Place>) {
    for _ in 0..8 {
        let mut tasks = JoinSet::new();
        for number in 0..8 {
            let place = Arc::clone(&place);
            tasks.spawn(async move {
                let name = format!("{} {number}", place.table);
                let builder = place.builder().table(&name).url(&place.url);
                let client = client(&place.url).await;
                match number % 2 {
                    0 => client.batch_execute(&builder.table_sql().unwrap()).await.unwrap(),
                    _ => builder.connect().await.unwrap().ensure_ready().await.unwrap(),
                }
                client.batch_execute(&format!("DROP TABLE \"{name}\"")).await.unwrap();
            });
        }
        tasks.join_all().await;
    }
}

pub(super) async fn a_missing_table_is_named_with_the_remedy(place: Arc<Place>) {
    let db = place.builder().url(&place.url).create_table(false).connect().await.unwrap();
    for error in [
        db.ensure_ready().await.unwrap_err(),
        db.load("a").await.unwrap_err(),
        db.save("a", &visits(1), Expected::Absent).await.unwrap_err(),
    ] {
        assert!(error.is_configuration(), "{error:?}");
        for part in [&*place.table, "table_sql", "create_table(true)"] {
            assert!(error.to_string().contains(part), "{error}");
        }
    }
    // As soon as it is there, it is used.
    place.execute(&place.builder().table_sql().unwrap()).await;
    stored(&db, "a", &visits(1), None).await;
}

pub(super) async fn another_table_is_refused(place: Arc<Place>) {
    for (columns, why) in [
        ("id int PRIMARY KEY", "another type of column `id`"),
        ("id text, record json", "no primary key on column `id`"),
        ("id text PRIMARY KEY, data json", "no column `record`"),
        ("id text PRIMARY KEY, record jsonb", "another type of column `record`"),
        ("id text PRIMARY KEY, record json, version int", "another type of column `version`"),
        ("id text COLLATE \"$table\" PRIMARY KEY", "no primary key on column `id`"),
    ] {
        // Takes ids for equal that differ by case. Not every server is built with such collations.
        let collation = "CREATE COLLATION $table \
                         (provider = icu, locale = 'und-u-ks-level2', deterministic = false)";
        if columns.contains("COLLATE") && place.try_execute(collation).await.is_err() {
            continue;
        }
        place.execute(&format!("CREATE TABLE $table ({columns})")).await;
        let error = place.db().await.ensure_ready().await.unwrap_err();
        let text = all(&error);
        assert!(error.is_configuration() && text.contains(why), "{columns}: {text}");
        place.execute("DROP TABLE $table; DROP COLLATION IF EXISTS $table").await;
    }
}

pub(super) async fn a_table_that_is_gone_is_not_created_again(place: Arc<Place>) {
    let db = place.ready().await;
    stored(&db, "a", &visits(1), None).await;
    place.execute("DROP TABLE $table").await;
    let error = db.load("a").await.unwrap_err();
    assert!(error.to_string().contains("does not exist"), "{error}");
    for _ in 0..2 {
        let error = db.save("a", &visits(2), Expected::Absent).await.unwrap_err();
        assert!(error.to_string().contains("was there and is gone"), "{error}");
    }
    let found = place.texts(&format!("SELECT to_regclass('\"{}\"')", place.table)).await;
    assert_eq!(found, [None]);
    // Restored, it is used again.
    place.execute(&place.builder().table_sql().unwrap()).await;
    stored(&db, "a", &visits(3), None).await;
}

pub(super) async fn the_sql_for_a_migration_makes_the_same_table(place: Arc<Place>) {
    let schema = format!("schema of {}", place.table);
    let name = format!("{schema}.{}", place.table);
    let builder = || place.builder().table(&name).url(&place.url);
    let error = builder().connect().await.unwrap().ensure_ready().await.unwrap_err();
    assert!(error.to_string().contains("CREATE SCHEMA"), "{error}");

    place.execute(&format!("CREATE SCHEMA \"{schema}\"")).await;
    place.execute(&builder().table_sql().unwrap()).await;
    let db = builder().create_table(false).connect().await.unwrap();
    stored(&db, "a", &visits(1), None).await;
    assert_eq!(db.collection(), Some(&*name));
    // A second one shares the function of the trigger.
    place.execute(&builder().table(format!("{schema}.other")).table_sql().unwrap()).await;
    place.ready().await;
    let described = |schema: &str| {
        format!(
            "SELECT string_agg(concat_ws(' ', column_name, data_type, is_nullable, column_default, \
             collation_name), ',' ORDER BY ordinal_position) FROM information_schema.columns \
             WHERE table_name = '{}' AND table_schema = '{schema}'",
            place.table
        )
    };
    let migrated = place.text(&described(&schema)).await;
    assert!(migrated.starts_with("id text NO C,record json YES,version uuid NO"), "{migrated}");
    assert_eq!(place.text(&described("public")).await, migrated);
    let version = load(&db, "a").await.version;
    place.execute(&format!("UPDATE \"{schema}\".$table SET record = record")).await;
    assert_ne!(load(&db, "a").await.version, version);
    place.execute(&format!("DROP SCHEMA \"{schema}\" CASCADE")).await;
}

pub(super) async fn a_role_with_few_privileges(place: Arc<Place>) {
    let role = format!("role_{}", std::process::id());
    place.execute(&format!("CREATE ROLE {role} LOGIN PASSWORD 'few'")).await;
    let url = place
        .url
        .replace(&place.url[..place.url.find('@').unwrap()], &format!("postgres://{role}:few"));
    let db = place.builder().url(&url).connect().await.unwrap();
    let error = db.ensure_ready().await.unwrap_err();
    assert!(error.to_string().contains("CREATE on the schema"), "{error}");
    assert!(!all(&error).contains(&role), "{}", all(&error));

    place.ready().await;
    let error = db.load("a").await.unwrap_err();
    assert!(error.to_string().contains("grant it SELECT, INSERT"), "{error}");
    place.execute(&format!("GRANT SELECT, INSERT, UPDATE ON $table TO {role}")).await;
    // `DELETE` is for the removal of what has expired, which only warns.
    let version = stored(&db, "a", &visits(1), None).await;
    stored(&db, "a", &visits(2), Some(&version)).await;
    db.delete("a").await.unwrap();
    place.execute(&format!("DROP OWNED BY {role}; DROP ROLE {role}")).await;
}

pub(super) async fn a_database_of_another_encoding_is_refused(place: Arc<Place>) {
    let name = format!("latin_{}", std::process::id());
    let create = format!("CREATE DATABASE {name} ENCODING 'LATIN1' LOCALE 'C' TEMPLATE template0");
    place.execute(&create).await;
    let (address, _) = place.url.rsplit_once('/').unwrap();
    let db = PostgresDb::connect(of_user(&format!("{address}/{name}"))).await.unwrap();
    let error = db.ensure_ready().await.unwrap_err();
    assert!(error.is_configuration() && all(&error).contains("ENCODING 'UTF8'"), "{error:?}");
    db.close().await.unwrap();
    // It was created before that could be seen; nothing is stored in it.
    let other = client(&format!("{address}/{name}")).await;
    let rows = other.query("SELECT FROM persistence_users", &[]).await.unwrap();
    assert!(rows.is_empty());
    drop(other);
    while place.try_execute(&format!("DROP DATABASE {name}")).await.is_err() {
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
}
