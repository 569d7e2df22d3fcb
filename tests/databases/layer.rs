//! The layer over any database: no acknowledged change is lost.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::task::JoinSet;
use tower_persistence::{
    Database, Error, Expected, Loaded, PersistenceLayer, Record, Saved, VersionedRecord,
};

use crate::bounded::{Case, case};
use crate::common::*;

const TASKS: usize = 16;
const INCREMENTS: usize = 50;
/// Longer than any queue here, because these tests are not about time-outs.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// Makes the layer's tests for a database. `make_db` makes handles to it, all of which share the
/// stored records.
pub(crate) fn layer_cases<D, M>(name: &str, make_db: M) -> Vec<Case>
where
    D: Database,
    M: AsyncFn() -> D + Clone + Send + Sync + 'static,
{
    let [one, many, two, hang_up] = std::array::from_fn(|_| make_db.clone());
    let name = |test: &str| format!("{name}::layer_{test}");
    vec![
        case(name("counts_for_one_user"), async move || count_for(1, vec![one().await]).await),
        case(name("counts_for_many_users"), async move || count_for(16, vec![many().await]).await),
        // Simulates two processes: the lock that orders a user's requests in one is unknown to the
        // other.
        case(name("counts_twice_at_a_time"), async move || {
            count_for(2, vec![two().await, two().await]).await;
        }),
        case(name("stores_for_a_client_that_hangs_up"), async move || {
            stores_for_a_client_that_hangs_up(hang_up().await).await;
        }),
    ]
}

/// Makes a user id that no other test and no other run uses.
pub(crate) fn user(name: &str) -> String {
    use std::hash::{BuildHasher, RandomState};

    format!("layer-test-{:016x}-{name}", RandomState::new().hash_one(name))
}

pub(crate) async fn count(database: &impl Database, user: &str) -> u64 {
    let stored = stored(database, user).await;
    stored.map_or(0, |item| item["user"]["data"]["count"].as_u64().unwrap())
}

pub(crate) fn counter<D: Database>(layer: &PersistenceLayer<D>) -> App {
    sync_app(layer, |user, _, _| user.increment("count", 1).map(drop))
}

/// Puts each database behind a layer of its own. The tasks use the layers in turn.
async fn count_for<D: Database>(users: usize, databases: Vec<D>) {
    let layer = |database| {
        let layer = PersistenceLayer::new(database).queue_timeout(PATIENCE);
        layer.load_timeout(PATIENCE).save_timeout(PATIENCE)
    };
    let layers: Vec<_> = databases.into_iter().map(layer).collect();
    let apps: Vec<_> = layers.iter().map(counter).collect();
    let users: Vec<_> = (0..users).map(|index| user(&format!("count-{index}"))).collect();
    let mut tasks = JoinSet::new();
    for number in 0..TASKS {
        let (app, user) = (&apps[number % apps.len()], &users[number / apps.len() % users.len()]);
        let (app, body) = (app.clone(), alexa(user).to_string());
        tasks.spawn(async move {
            for _ in 0..INCREMENTS {
                let mut answer = send(&app, post(body.clone())).await;
                // The other layer was faster. Nothing was written.
                while answer.status == 409 {
                    answer = send(&app, post(body.clone())).await;
                }
                answer.assert_ok();
            }
        });
    }
    while let Some(task) = tasks.join_next().await {
        task.unwrap();
    }
    let database = layers[0].database();
    for user in &users {
        assert_eq!(count(database, user).await, (TASKS / users.len() * INCREMENTS) as u64);
        database.delete(user).await.unwrap();
    }
}

/// Announces that a save has begun, and delays it until it may proceed.
#[derive(Debug)]
struct Gate<D> {
    database: D,
    began: Arc<Notify>,
    go: Arc<Notify>,
}

impl<D: Database> Database for Gate<D> {
    async fn load(&self, id: &str) -> Result<Option<VersionedRecord>, Error> {
        self.database.load(id).await
    }

    async fn load_for_update(&self, id: &str) -> Result<Loaded, Error> {
        self.database.load_for_update(id).await
    }

    async fn save(
        &self,
        id: &str,
        record: &Record,
        expected: Expected<'_>,
    ) -> Result<Saved, Error> {
        self.began.notify_one();
        self.go.notified().await;
        self.database.save(id, record, expected).await
    }

    async fn delete(&self, id: &str) -> Result<(), Error> {
        self.database.delete(id).await
    }
}

async fn stores_for_a_client_that_hangs_up<D: Database>(database: D) {
    let (began, go) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let gate = Gate { database, began: began.clone(), go: go.clone() };
    let layer = PersistenceLayer::new(gate).load_timeout(PATIENCE).save_timeout(PATIENCE);
    let (app, user) = (counter(&layer), user("hangs-up"));
    let body = alexa(&user).to_string();
    let client = tokio::spawn(async move { send(&app, post(body)).await.status });
    began.notified().await;
    client.abort();
    assert!(client.await.unwrap_err().is_cancelled());
    assert_eq!(count(layer.database(), &user).await, 0);
    go.notify_one();
    let stored = async {
        while count(layer.database(), &user).await == 0 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(PATIENCE, stored).await.expect("what the handler changed is stored");
    assert_eq!(count(layer.database(), &user).await, 1);
    layer.database().delete(&user).await.unwrap();
}
