//! The promises of `RedisDb` beyond those of every database, on a real server.

mod cluster;
mod connecting;
mod durability;
mod lost_answers;
mod proxy;
mod refusals;
mod replicas;
mod rounds;
mod stored;
mod tombstones;

use std::future::Future;
use std::sync::atomic::{AtomicU32, Ordering};

use libtest_mimic::Trial;
use redis::aio::MultiplexedConnection;
use redis::{Client, FromRedisValue};
use serde_json::{Value, json};
use tower_persistence::{
    Database, Error, Expected, Record, RedisDb, RedisDbBuilder, Saved, Version, VersionedRecord,
};

use crate::servers::Servers;

pub(crate) fn trials(servers: &Servers) -> Vec<Trial> {
    let mut trials = servers.trials(async |url: String| {
        RedisDb::builder().url(url).prefix("conformance:").connect().await.unwrap()
    });
    macro_rules! shared {
        ($($file:ident :: $name:ident)*) => {
            $(trials.push(servers.trial(stringify!($name), async |url| Place::run(url, $file::$name).await));)*
        };
    }
    shared! {
        stored::a_user_is_a_hash
        stored::an_edit_is_a_conflict_and_its_spelling_stays
        stored::keys_of_other_programs_are_left_as_they_are
        stored::what_cannot_be_read_is_not_overwritten
        stored::users_expire
        tombstones::a_tombstone_holds_nothing_of_the_user
        tombstones::a_record_that_disappears_during_a_turn_is_an_error
        rounds::a_turn_is_one_read_and_one_write
        rounds::closed_connections_are_replaced
        rounds::idle_connections_are_asked_before_they_are_used
        lost_answers::a_save_recognises_itself
        lost_answers::a_deletion_is_repeated
        lost_answers::no_turn_is_applied_twice
        connecting::wrong_settings_are_errors
        connecting::a_server_that_is_not_there_is_named_as_the_cause
        connecting::a_server_that_speaks_no_tls_is_named_as_the_cause
        connecting::certificates_are_checked
        connecting::a_client_from_outside
        connecting::works_in_a_second_runtime
        refusals::a_user_with_too_few_rights
    }
    macro_rules! own {
        ($($file:ident :: $name:ident)*) => {
            $(trials.push(servers.trial_with_own_server(stringify!($name), &[], $file::$name));)*
        };
    }
    own! {
        rounds::scripts_that_the_server_has_forgotten_are_sent_again
        durability::conformance_of_a_server_that_is_killed
        connecting::a_server_that_hangs_is_given_up_and_found_again
        refusals::passwords
        refusals::a_server_without_memory
        refusals::a_server_that_cannot_write_its_disk
        refusals::settings_that_lose_users_are_warned_of
        replicas::a_fail_over_is_followed
        replicas::saves_wait_for_replicas
    }
    trials.extend(cluster::trials(servers));
    trials
}

/// Returns a database for one app, and the URL by which the app reaches it.
pub(crate) async fn of_app(url: &str) -> (RedisDb, String) {
    let prefix = format!("{}:", crate::layer::user("app"));
    let url_of_app = with_option(url, &format!("prefix={prefix}"));
    (RedisDb::builder().url(url).prefix(prefix).connect().await.unwrap(), url_of_app)
}

/// Adds an option to a URL that may have some.
pub(crate) fn with_option(url: &str, option: &str) -> String {
    let separator = if url.contains('?') { '&' } else { '?' };
    format!("{url}{separator}{option}")
}

/// Keys per test, and a client beside the database under test.
#[derive(Clone)]
struct Place {
    url: String,
    prefix: String,
    client: MultiplexedConnection,
}

impl Place {
    async fn new(url: String) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let prefix = format!("test-{}-{count}:", std::process::id());
        let client = Client::open(url.as_str()).unwrap();
        let client = client.get_multiplexed_async_connection().await.unwrap();
        Self { url, prefix, client }
    }

    async fn run<F: Future<Output = ()>>(url: String, test: impl FnOnce(Self) -> F) {
        let place = Self::new(url).await;
        test(place.clone()).await;
        let keys: Vec<String> = place.ask(&["KEYS", &format!("{}*", place.prefix)]).await;
        for key in keys {
            place.ask::<()>(&["DEL", &key]).await;
        }
    }

    fn builder(&self) -> RedisDbBuilder {
        RedisDb::builder().prefix(&self.prefix)
    }

    async fn db(&self) -> RedisDb {
        self.builder().url(&self.url).connect().await.unwrap()
    }

    fn key(&self, id: &str) -> String {
        format!("{}{id}", self.prefix)
    }

    /// Sends a command, as another program.
    async fn ask<T: FromRedisValue>(&self, command: &[&str]) -> T {
        self.try_ask(command).await.unwrap()
    }

    async fn try_ask<T: FromRedisValue>(&self, command: &[&str]) -> redis::RedisResult<T> {
        let (name, arguments) = command.split_first().unwrap();
        redis::cmd(name).arg(arguments).query_async(&mut self.client.clone()).await
    }

    /// Returns the host and port of the server.
    fn address(&self) -> String {
        let rest = self.url.split_once("://").unwrap().1.split(['/', '?']).next().unwrap();
        rest.rsplit('@').next().unwrap().to_owned()
    }
}

fn record(value: Value) -> Record {
    serde_json::from_value(value).unwrap()
}

fn visits(count: u64) -> Record {
    record(json!({ "user": { "data": { "visits": count } } }))
}

async fn load(db: &RedisDb, id: &str) -> VersionedRecord {
    db.load(id).await.unwrap().unwrap()
}

/// Saves where nothing stands in the way.
async fn save(db: &RedisDb, id: &str, record: &Record, over: Option<&Version>) -> Version {
    match db.save(id, record, Expected::from(over)).await.unwrap() {
        Saved::Written(version) => version,
        conflict => panic!("{conflict:?}"),
    }
}

/// An error with all that is said about it.
fn all(error: &Error) -> String {
    format!("{error} {error:?}")
}
