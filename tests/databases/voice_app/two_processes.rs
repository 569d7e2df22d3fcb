//! Two processes serve one user on one database, and no increment is lost.

use std::sync::Arc;
use std::time::Instant;

use libtest_mimic::Trial;
use tokio::task::JoinSet;
use tower_persistence::{Database, SqliteDb};

use super::app::{Answer, App, Connection, Tally, stored_visits};
use crate::bounded::case;
use crate::layer::user;
use crate::servers::Servers;
use crate::{dynamodb, mongodb, redis};

const CONNECTIONS: u64 = 16;
const VISITS: u64 = 2_000;

pub(crate) fn trials(dynamodb: &Servers, mongodb: &Servers, redis: &Servers) -> Vec<Trial> {
    vec![
        case("sqlite::two_processes_serve_one_user".to_owned(), async || {
            let directory = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
            let path = directory.path().join("users.sqlite");
            // A third process, as it were.
            let database = SqliteDb::open(&path).await.unwrap();
            serve_one_user(&database, &format!("sqlite:{}", path.display())).await;
        })
        .trial(),
        dynamodb.trial("two_processes_serve_one_user", async |endpoint| {
            let (database, url) = dynamodb::of_app(&endpoint).await;
            serve_one_user(&database, &url).await;
        }),
        mongodb.trial("two_processes_serve_one_user", async |endpoint| {
            let (database, url) = mongodb::of_app(&endpoint).await;
            serve_one_user(&database, &url).await;
        }),
        redis.trial("two_processes_serve_one_user", async |endpoint| {
            let (database, url) = redis::of_app(&endpoint).await;
            serve_one_user(&database, &url).await;
        }),
    ]
}

/// A request that is refused is sent again, until so many are acknowledged.
async fn serve_one_user(database: &impl Database, url: &str) {
    let apps = [App::start(url), App::start(url)];
    let (user, began) = (user("two-processes"), Instant::now());
    let tally = Arc::new(Tally::default());
    let mut clients = JoinSet::new();
    for number in 0..CONNECTIONS {
        let mut connection = Connection::new(apps[number as usize % 2].address());
        let (user, tally) = (user.clone(), Arc::clone(&tally));
        clients.spawn(async move {
            let mut left = VISITS / CONNECTIONS;
            while left > 0 {
                let answer = connection.visit(&user).await;
                tally.count(answer);
                match answer {
                    Answer::Status(200) => left -= 1,
                    Answer::Status(409 | 503) => {}
                    answer => panic!("{answer:?}"),
                }
            }
        });
    }
    while let Some(client) = clients.join_next().await {
        client.unwrap();
    }
    let took = began.elapsed().as_secs_f64();
    let (stored, refused) = (stored_visits(database, &user).await, tally.refused());
    let rate = VISITS as f64 / took;
    println!("{VISITS} visits, {rate:.0} a second; {refused} refused; {stored} stored");
    apps.iter().for_each(App::print_refusals);
    assert_eq!(tally.acknowledged(), VISITS);
    tally.assert_stored(stored);
}
