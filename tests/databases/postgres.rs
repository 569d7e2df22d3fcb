//! The promises of `PostgresDb` beyond those of every database, on a real server.

mod connecting;
mod crash;
mod durable;
mod editing;
mod expiry;
mod locks;
mod lost_answers;
mod pooler;
mod proxy;
mod read_only;
mod saves;
mod tables;
mod tls;
mod tombstones;
mod values;

use std::future::Future;
use std::sync::atomic::{AtomicU32, Ordering};

use libtest_mimic::Trial;
use serde_json::Value;
use tokio_postgres::{Client, NoTls};
use tower_persistence::testing::durability;
use tower_persistence::{
    Database, Error, Expected, PostgresDb, PostgresDbBuilder, Record, Saved, Version,
    VersionedRecord,
};

use crate::servers::Servers;

pub(crate) fn trials(servers: &Servers) -> Vec<Trial> {
    let mut trials = servers.trials(async |endpoint: String| {
        // Patient, as these tests are not about time limits on a busy machine.
        let builder = PostgresDb::builder().url(of_user(&endpoint)).table("conformance");
        builder.timeout(PATIENCE).connect().await.unwrap()
    });
    trials.push(servers.trial("durability", async |endpoint| {
        let open = async || {
            let builder = PostgresDb::builder().url(of_user(&endpoint)).table("conformance");
            builder.timeout(PATIENCE).connect().await.unwrap()
        };
        durability(open, open).await;
    }));
    macro_rules! trials {
        ($($file:ident :: $name:ident)*) => {
            $(trials.push(servers.trial(stringify!($name), async |url| Place::run(url, $file::$name).await));)*
        };
    }
    trials! {
        values::every_text_comes_back_and_can_be_queried
        values::order_and_numbers_stay
        values::the_largest_records
        saves::a_turn_is_one_round_trip_each_way
        saves::of_sixteen_writers_one_wins_at_any_isolation
        saves::columns_are_what_they_say
        saves::a_user_that_expires_during_a_turn
        editing::an_edit_by_hand_is_a_conflict
        editing::another_spelling_stays
        editing::a_broken_record_is_an_error_and_stays
        editing::rows_may_be_added_by_hand
        editing::generated_columns_are_indexes_and_projections
        editing::a_constraint_that_refuses_a_record
        expiry::users_expire_and_are_removed
        expiry::a_clean_up_that_fails_fails_no_save
        tombstones::a_tombstone_holds_nothing_of_the_user
        tombstones::an_expired_tombstone_does_not_count
        tombstones::a_table_that_refuses_tombstones
        tables::two_processes_create_the_table_at_once
        tables::a_missing_table_is_named_with_the_remedy
        tables::migrations_and_processes_create_tables_at_once
        tables::another_table_is_refused
        tables::a_table_that_is_gone_is_not_created_again
        tables::the_sql_for_a_migration_makes_the_same_table
        tables::a_role_with_few_privileges
        tables::a_database_of_another_encoding_is_refused
        connecting::wrong_settings_are_errors
        connecting::each_cause_is_named
        connecting::errors_hold_no_secrets
        connecting::a_pool_of_the_app_stays_open
        connecting::works_in_a_second_runtime
        connecting::a_server_that_hangs_is_given_up
        connecting::connections_that_were_closed_idle_are_replaced
        locks::a_statement_that_waits_for_a_lock_is_cancelled
        locks::a_full_pool_is_named
        pooler::every_transaction_may_have_another_connection
        lost_answers::no_turn_is_applied_twice
        lost_answers::a_turn_that_is_overtaken_is_unknown
        lost_answers::a_deletion_is_not_repeated
        tls::the_certificate_is_checked
    }
    let in_pgbouncer = servers.trial("pgbouncer_in_transaction_mode", async |url| {
        Place::run(url, pooler::pgbouncer_in_transaction_mode).await;
    });
    trials.push(match pooler::pgbouncer() {
        Some(_) => in_pgbouncer,
        None => in_pgbouncer.with_ignored_flag(true),
    });
    trials.push(servers.trial_with_own_server(
        "a_commit_is_durable_where_the_server_would_not_wait",
        &["-c", "synchronous_commit=off", "-c", "wal_writer_delay=10000"],
        async |server| durable::over(server).await,
    ));
    trials.push(servers.trial_with_own_server(
        "acknowledged_saves_survive_kills",
        &[],
        async |server| {
            crash::acknowledged_saves_survive_kills(server).await;
        },
    ));
    trials.push(servers.trial_with_own_server("restarts_are_survived", &[], async |server| {
        crash::a_restart_is_no_error(server).await;
    }));
    trials.push(servers.trial_with_own_server("a_read_only_server_is_left", &[], async |server| {
        read_only::is_left(server).await;
    }));
    trials
}

const PATIENCE: std::time::Duration = std::time::Duration::from_secs(30);

/// Names user and database in an endpoint that names neither.
pub(crate) fn of_user(endpoint: &str) -> String {
    match endpoint.contains('@') {
        true => endpoint.to_owned(),
        false => format!("{}/postgres", endpoint.replace("://", "://postgres@")),
    }
}

/// Adds an option to a URL.
pub(crate) fn with(url: &str, name: &str, value: &str) -> String {
    let separator = if url.contains('?') { '&' } else { '?' };
    format!("{url}{separator}{name}={value}")
}

pub(crate) async fn drop_table(url: &str, table: &str) {
    let client = client(url).await;
    client.batch_execute(&format!("DROP TABLE IF EXISTS \"{table}\"")).await.unwrap();
}

/// Returns a table for one app, and the URL by which the app reaches it.
pub(crate) async fn of_app(endpoint: &str) -> (PostgresDb, String) {
    let (url, table) = (of_user(endpoint), crate::layer::user("app"));
    let builder = PostgresDb::builder().url(&url).table(&table).timeout(PATIENCE);
    (builder.connect().await.unwrap(), with(&url, "table", &table))
}

async fn client(url: &str) -> Client {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await.unwrap();
    tokio::spawn(connection);
    client
}

/// A table per test, and a client beside the database under test.
struct Place {
    url: String,
    table: String,
    client: Client,
}

impl Place {
    async fn run<F: Future<Output = ()>>(
        endpoint: String,
        test: impl FnOnce(std::sync::Arc<Self>) -> F,
    ) {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let (url, table) = (of_user(&endpoint), format!("Users {}-{count}", std::process::id()));
        let place = std::sync::Arc::new(Self { client: client(&url).await, url, table });
        test(place.clone()).await;
        place.execute("DROP TABLE IF EXISTS $table").await;
    }

    fn builder(&self) -> PostgresDbBuilder {
        PostgresDb::builder().table(&self.table).timeout(PATIENCE)
    }

    async fn db(&self) -> PostgresDb {
        self.builder().url(&self.url).connect().await.unwrap()
    }

    /// The same, with the table.
    async fn ready(&self) -> PostgresDb {
        let db = self.db().await;
        db.ensure_ready().await.unwrap();
        db
    }

    fn sql(&self, sql: &str) -> String {
        sql.replace("$table", &format!("\"{}\"", self.table))
    }

    async fn try_execute(&self, sql: &str) -> Result<(), tokio_postgres::Error> {
        self.client.batch_execute(&self.sql(sql)).await
    }

    async fn execute(&self, sql: &str) {
        self.try_execute(sql).await.unwrap();
    }

    /// Returns the first column of each row, as text.
    async fn texts(&self, sql: &str) -> Vec<Option<String>> {
        let rows = self.client.simple_query(&self.sql(sql)).await.unwrap();
        let row = |message| match message {
            tokio_postgres::SimpleQueryMessage::Row(row) => Some(row.get(0).map(str::to_owned)),
            _ => None,
        };
        rows.into_iter().filter_map(row).collect()
    }

    async fn text(&self, sql: &str) -> String {
        self.texts(sql).await.remove(0).unwrap()
    }

    /// Returns host and port of the server.
    fn address(&self) -> String {
        let hosts = self.url.split_once("://").unwrap().1.split(['/', '?']).next().unwrap();
        hosts.rsplit('@').next().unwrap().to_owned()
    }

    /// Returns the URL with another address.
    fn through(&self, address: &str) -> String {
        self.url.replace(&self.address(), address)
    }
}

fn record(value: Value) -> Record {
    serde_json::from_value(value).unwrap()
}

fn value(record: &Record) -> Value {
    serde_json::to_value(record).unwrap()
}

fn visits(count: u64) -> Record {
    record(serde_json::json!({ "user": { "data": { "visits": count } } }))
}

async fn load(db: &PostgresDb, id: &str) -> VersionedRecord {
    db.load(id).await.unwrap().unwrap()
}

/// Saves where nothing stands in the way.
async fn stored(db: &PostgresDb, id: &str, record: &Record, over: Option<&Version>) -> Version {
    match db.save(id, record, Expected::from(over)).await.unwrap() {
        Saved::Written(version) => version,
        conflict => panic!("{conflict:?}"),
    }
}

/// An error with all that is said about it.
fn all(error: &Error) -> String {
    format!("{error} {error:?}")
}
