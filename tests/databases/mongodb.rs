//! The promises of `MongoDb` beyond those of every database, on a real server.

mod connecting;
mod lost_answers;
mod saves;
mod tombstones;
mod values;

use std::future::Future;
use std::sync::atomic::{AtomicU32, Ordering};

use libtest_mimic::Trial;
use mongodb::bson::{Bson, Document, doc};
use mongodb::{Client, Collection};
use serde_json::Value;
use tower_persistence::{
    Database, Expected, MongoDb, MongoDbBuilder, Record, Saved, VersionedRecord,
};

use crate::servers::Servers;

const DATABASE: &str = "tower_persistence_test";

pub(crate) fn trials(servers: &Servers) -> Vec<Trial> {
    let mut trials = servers.trials(async |uri: String| {
        let builder = MongoDb::builder().uri(uri).database(DATABASE);
        builder.collection("conformance").connect().await.unwrap()
    });
    macro_rules! trials {
        ($($file:ident :: $name:ident)*) => {
            $(trials.push(servers.trial(stringify!($name), async |uri| Place::run(uri, $file::$name).await));)*
        };
    }
    trials! {
        values::a_record_comes_back_as_it_was
        values::integers_of_javascript_are_integers
        values::numbers_stay_what_they_are
        values::types_beyond_json_stay_what_they_are
        values::types_beyond_json_stay_in_a_history_that_moves
        values::keys_with_dots_and_dollars_are_data
        values::values_that_mongodb_cannot_hold_are_refused
        values::a_removed_key_is_gone
        saves::documents_are_those_of_jovo
        saves::a_document_of_jovo_is_read_and_upgraded
        saves::a_write_of_jovo_is_a_conflict
        saves::a_duplicate_key_is_a_conflict
        saves::of_sixteen_writers_one_wins
        saves::a_deleted_user_stays_deleted
        saves::a_turn_is_one_read_and_one_write
        saves::the_indexes_are_there_before_the_first_insertion
        saves::fields_that_others_add_meanwhile_stay
        saves::users_expire
        saves::a_failed_index_is_tried_again
        tombstones::a_tombstone_holds_nothing_of_the_user
        tombstones::an_expired_tombstone_does_not_count
        tombstones::a_tombstone_written_over_is_a_document
        tombstones::a_collection_that_refuses_tombstones
        tombstones::a_document_removed_by_a_ttl_index_during_a_turn_is_an_error
        lost_answers::no_turn_is_applied_twice
        lost_answers::without_a_repeated_write_the_outcome_is_unknown
        connecting::names_have_defaults
        connecting::wrong_settings_are_errors
        connecting::a_server_that_is_down_at_start
        connecting::errors_hold_no_secrets
        connecting::a_client_from_outside_stays_open
        connecting::each_cause_is_named
        connecting::a_server_that_hangs_is_given_up
        connecting::works_in_a_second_runtime
    }
    // Fail points exist for tests only.
    trials.push(servers.trial_with_own_server(
        "failed_writes",
        &["--enable-test-commands"],
        async |server| Place::run(server.endpoint(), saves::failed_writes).await,
    ));
    trials
}

/// Returns a collection for one app, and the URL by which the app reaches it.
pub(crate) async fn of_app(uri: &str) -> (MongoDb, String) {
    let collection = crate::layer::user("app");
    let (address, options) = uri.split_once('?').unwrap_or((uri, ""));
    let address = address.trim_end_matches('/');
    let url = format!("{address}/{DATABASE}?collection={collection}&{options}");
    let builder = MongoDb::builder().uri(uri).database(DATABASE);
    (builder.collection(collection).connect().await.unwrap(), url)
}

/// A collection per test, and a client beside the one under test.
#[derive(Clone)]
struct Place {
    uri: String,
    client: Client,
    users: Collection<Document>,
}

impl Place {
    async fn new(uri: String) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("users-{}-{count}", std::process::id());
        let client = Client::with_uri_str(&uri).await.unwrap();
        let users = client.database(DATABASE).collection(&name);
        Self { uri, client, users }
    }

    async fn run<F: Future<Output = ()>>(uri: String, test: impl FnOnce(Self) -> F) {
        let place = Self::new(uri).await;
        test(place.clone()).await;
        place.users.drop().await.unwrap();
    }

    fn builder(&self) -> MongoDbBuilder {
        MongoDb::builder().database(DATABASE).collection(self.users.name())
    }

    async fn db(&self) -> MongoDb {
        self.builder().uri(&self.uri).connect().await.unwrap()
    }

    async fn raw(&self, id: &str) -> Document {
        self.users.find_one(doc! { "_id": id }).await.unwrap().unwrap()
    }

    /// Saves as Jovo v4 does when a request ends.
    async fn jovo_saves(&self, id: &str, mut fields: Document) {
        fields.insert("_id", id);
        let update = self.users.update_one(doc! { "_id": id }, doc! { "$set": fields });
        update.upsert(true).await.unwrap();
    }

    /// Returns the host and port of the server.
    fn address(&self) -> String {
        let hosts = self.uri.split_once("://").unwrap().1.split(['/', '?']).next().unwrap();
        hosts.rsplit('@').next().unwrap().split(',').next().unwrap().to_owned()
    }
}

fn record(value: Value) -> Record {
    serde_json::from_value(value).unwrap()
}

fn value(record: &Record) -> Value {
    serde_json::to_value(record).unwrap()
}

async fn load(db: &MongoDb, id: &str) -> VersionedRecord {
    db.load(id).await.unwrap().unwrap()
}

/// Saves regardless of the stored version, and checks that the next load returns the new one.
async fn save(db: &MongoDb, id: &str, fields: Value) {
    let expected = db.load(id).await.unwrap().map(|stored| stored.version);
    let Saved::Written(version) =
        db.save(id, &record(fields), Expected::from(expected.as_ref())).await.unwrap()
    else {
        panic!("a conflict")
    };
    assert_eq!(load(db, id).await.version, version);
}

fn jovo_document() -> Document {
    doc! {
        "user": { "data": { "name": "Joe", "visits": 3 } },
        "session": { "id": Bson::Null, "data": {}, "state": Bson::Null, "updatedAt": "2024-01-01T00:00:00.000Z" },
        "history": { "items": [ { "output": [ { "message": "Hi" } ] } ] },
        "createdAt": "2023-01-01T00:00:00.000Z",
        "updatedAt": "2024-01-01T00:00:00.000Z",
    }
}
