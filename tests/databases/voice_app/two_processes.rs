//! Two processes serve one user on one database: no increment is lost, and no event that comes
//! twice counts twice.

use std::sync::Arc;
use std::time::{Duration, Instant};

use libtest_mimic::Trial;
use tokio::task::{JoinSet, block_in_place};
use tower_persistence::{Database, SqliteDb};

use super::app::{Answer, App, Connection, Tally, stored_visits};
use crate::bounded::case;
use crate::common::messenger;
use crate::layer::user;
use crate::servers::Servers;
use crate::{dynamodb, mongodb, postgres, redis};

const CONNECTIONS: u64 = 16;
const VISITS: u64 = 2_000;

const EVENTS: u64 = 400;
const SENDERS: u64 = 8;
/// The number of times that a platform sends an event until it is answered with success.
const DELIVERIES: u64 = 5;

pub(crate) fn trials(
    dynamodb: &Servers,
    mongodb: &Servers,
    postgres: &Servers,
    redis: &Servers,
) -> Vec<Trial> {
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
        dynamodb.trial("two_processes_are_sent_events_again", async |endpoint| {
            let (database, url) = dynamodb::of_app(&endpoint).await;
            send_events_again(&database, &url).await;
        }),
        mongodb.trial("two_processes_are_sent_events_again", async |endpoint| {
            let (database, url) = mongodb::of_app(&endpoint).await;
            send_events_again(&database, &url).await;
        }),
        case("sqlite::two_processes_are_sent_events_again".to_owned(), async || {
            let directory = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
            let path = directory.path().join("users.sqlite");
            let database = SqliteDb::open(&path).await.unwrap();
            send_events_again(&database, &format!("sqlite:{}", path.display())).await;
        })
        .trial(),
        redis.trial("two_processes_are_sent_events_again", async |endpoint| {
            let (database, url) = redis::of_app(&endpoint).await;
            send_events_again(&database, &url).await;
        }),
        postgres.trial("two_processes_serve_one_user", async |endpoint| {
            let (database, url) = postgres::of_app(&endpoint).await;
            serve_one_user(&database, &url).await;
        }),
        postgres.trial("two_processes_are_sent_events_again", async |endpoint| {
            let (database, url) = postgres::of_app(&endpoint).await;
            send_events_again(&database, &url).await;
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

/// What became of the events.
#[derive(Debug, Default)]
struct Sent {
    acknowledged: u64,
    /// Never answered with success, so that they may be stored or not.
    unsure: u64,
    repeats: u64,
}

/// Sends each event until it is answered with success, up to five times, each time to a process
/// drawn at random, and some once more although they were: their answer came too late. One process
/// is killed meanwhile and started again.
async fn send_events_again(database: &impl Database, url: &str) {
    let mut apps = [App::start(url), App::start(url)];
    let user = user("sent-again");
    let addresses = apps.each_ref().map(|app| app.address().to_owned());
    let mut senders = JoinSet::new();
    for sender in 0..SENDERS {
        let connections = addresses.each_ref().map(|address| Connection::new(address));
        senders.spawn(send_events(user.clone(), sender, connections));
    }
    tokio::time::sleep(Duration::from_secs(1)).await;
    block_in_place(|| apps[0].kill());
    tokio::time::sleep(Duration::from_millis(300)).await;
    block_in_place(|| apps[0].start_again());
    let mut all = Sent::default();
    while let Some(sent) = senders.join_next().await {
        let sent = sent.unwrap();
        all.acknowledged += sent.acknowledged;
        all.unsure += sent.unsure;
        all.repeats += sent.repeats;
    }
    let stored = stored_visits(database, &user).await;
    println!("{all:?}, {stored} stored");
    apps.iter().for_each(App::print_refusals);
    assert_eq!(all.acknowledged + all.unsure, EVENTS);
    assert!(all.acknowledged > EVENTS / 2 && all.repeats > EVENTS / 4, "{all:?}");
    let possible = all.acknowledged..=all.acknowledged + all.unsure;
    assert!(possible.contains(&stored), "{stored} are stored: {all:?}");
}

async fn send_events(user: String, sender: u64, mut connections: [Connection; 2]) -> Sent {
    let mut sent = Sent::default();
    for event in (0..EVENTS).filter(|event| event % SENDERS == sender) {
        let body = messenger(&user, &format!("event-{event}")).to_string();
        let mut is_acknowledged = false;
        for delivery in 0..DELIVERIES {
            // SplitMix64's last step: the events and their deliveries meet both processes.
            let mixed = (event * DELIVERIES + delivery + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
            let process = (mixed >> 40) as usize % 2;
            let answer = connections[process].post(body.clone()).await;
            sent.repeats += u64::from(delivery > 0);
            is_acknowledged |= answer == Answer::Status(200);
            // Every third event comes once more, at the other process.
            if is_acknowledged && event % 3 == 0 {
                connections[1 - process].post(body.clone()).await;
                sent.repeats += 1;
            }
            if is_acknowledged {
                break;
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        sent.acknowledged += u64::from(is_acknowledged);
        sent.unsure += u64::from(!is_acknowledged);
    }
    sent
}
