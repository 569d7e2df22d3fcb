//! `voice-app` under load, while what stores its users goes and comes twice. `LOAD_SECONDS` says how long.

use std::env;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use libtest_mimic::Trial;
use tokio::task::{JoinSet, block_in_place};
use tower_persistence::{Database, FileDb, SqliteDb};

use super::app::{Answer, App, Connection, Tally, stored_visits};
use crate::bounded::case;
use crate::layer::user;
use crate::process::Server;
use crate::servers::Servers;
use crate::{dynamodb, mongodb, postgres, redis};

const CONNECTIONS: usize = 64;
const USERS: usize = 32;
const RESTARTS: u32 = 2;
/// What is waited for at most, until each user is served.
const LONG: Duration = Duration::from_secs(60);

pub(crate) fn trials(
    dynamodb: &Servers,
    mongodb: &Servers,
    postgres: &Servers,
    redis: &Servers,
) -> Vec<Trial> {
    vec![
        case("file::load".to_owned(), async || {
            let directory = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
            let path = directory.path().join("db.json");
            let users = without_server(&format!("file:{}", path.display())).await;
            check(&FileDb::open(&path).await.unwrap(), &users).await;
        })
        .trial(),
        case("sqlite::load".to_owned(), async || {
            let directory = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
            let path = directory.path().join("users.sqlite");
            let users = without_server(&format!("sqlite:{}", path.display())).await;
            check(&SqliteDb::open(&path).await.unwrap(), &users).await;
        })
        .trial(),
        // DynamoDB Local commits one write after the other, in some 20 ms each whatever the disk, so
        // 50 to 75 visits a second are the most there are. Its JVM refuses connections for about
        // five seconds after each start, and is slow for the next ones, while all clients ask on.
        dynamodb.trial_with_own_server("load", &[], async |server| {
            let (database, url) = dynamodb::of_app(&server.endpoint()).await;
            over_server(server, &database, &url).await;
        }),
        mongodb.trial_with_own_server("load", &[], async |server| {
            let (database, url) = mongodb::of_app(&server.endpoint()).await;
            over_server(server, &database, &url).await;
        }),
        postgres.trial_with_own_server("load", &[], async |server| {
            let (database, url) = postgres::of_app(&server.endpoint()).await;
            over_server(server, &database, &url).await;
        }),
        redis.trial_with_own_server("load", &[], async |server| {
            let (database, url) = redis::of_app(&server.endpoint()).await;
            over_server(server, &database, &url).await;
        }),
    ]
}

type Users = Vec<(String, Arc<Tally>)>;

/// There is no server: the app itself goes and comes.
async fn without_server(url: &str) -> Users {
    let mut app = App::start(url);
    let users = load(&mut app, App::kill, App::start_again, |app| app).await;
    users.expect("all users are served again")
}

async fn over_server(server: Server, database: &impl Database, url: &str) {
    let mut both = (server, App::start(url));
    let stop = |both: &mut (Server, App)| both.0.stop();
    let start_again = |both: &mut (Server, App)| both.0.start_again();
    for attempt in 0.. {
        if let Some(users) = load(&mut both, stop, start_again, |both| &both.1).await {
            return check(database, &users).await;
        }
        // A server that answers nobody after it was killed says nothing about the app.
        let asked = tokio::time::timeout(LONG, database.load("nobody")).await;
        let is_server_gone = !matches!(asked, Ok(Ok(_)));
        assert!(
            is_server_gone && attempt == 0,
            "not all users are served again; a client of its own is told: {asked:?}"
        );
        println!("the server itself does not answer, and is started again: {asked:?}");
        block_in_place(|| start_again(&mut both));
    }
}

async fn check(database: &impl Database, users: &Users) {
    for (user, tally) in users {
        tally.assert_stored(stored_visits(database, user).await);
    }
}

/// Sends visits over all connections, while `place` is stopped and started again. `None` if not all users are served
/// afterwards.
async fn load<P>(
    place: &mut P,
    stop: impl Fn(&mut P),
    start_again: impl Fn(&mut P),
    app: impl Fn(&P) -> &App,
) -> Option<Users> {
    let users: Users =
        (0..USERS).map(|number| (user(&format!("load-{number}")), Arc::default())).collect();
    let is_over = Arc::new(AtomicBool::new(false));
    let mut clients = JoinSet::new();
    for number in 0..CONNECTIONS {
        let (user, tally) = users[number % USERS].clone();
        let connection = Connection::new(app(place).address());
        clients.spawn(visit_until(Arc::clone(&is_over), connection, user, tally));
    }

    let (began, duration) = (Instant::now(), duration());
    for phase in 1..=RESTARTS + 1 {
        let before = acknowledged(&users);
        tokio::time::sleep_until((began + duration * phase / (RESTARTS + 1)).into()).await;
        let is_served = served_since(&before, &users).await;
        if !is_served || phase > RESTARTS {
            report(began.elapsed(), &users);
            app(place).print_refusals();
        }
        if !is_served {
            return None;
        }
        if phase <= RESTARTS {
            block_in_place(|| stop(place));
            // Somebody asks meanwhile.
            tokio::time::sleep(duration / 30).await;
            block_in_place(|| start_again(place));
        }
    }
    is_over.store(true, Ordering::Relaxed);
    while let Some(client) = clients.join_next().await {
        client.unwrap();
    }
    Some(users)
}

/// 60 seconds with `CI=true`, otherwise 10, unless `LOAD_SECONDS` says otherwise.
fn duration() -> Duration {
    let is_ci = env::var("CI").is_ok_and(|value| value == "true");
    let otherwise = if is_ci { 60 } else { 10 };
    let seconds = env::var("LOAD_SECONDS").map_or(otherwise, |seconds| seconds.parse().unwrap());
    Duration::from_secs(seconds)
}

async fn visit_until(
    is_over: Arc<AtomicBool>,
    mut connection: Connection,
    user: String,
    tally: Arc<Tally>,
) {
    while !is_over.load(Ordering::Relaxed) {
        let answer = connection.visit(&user).await;
        tally.count(answer);
        if answer != Answer::Status(200) {
            // A refusal comes at once.
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

fn acknowledged(users: &Users) -> Vec<u64> {
    users.iter().map(|(_, tally)| tally.acknowledged()).collect()
}

/// Waits until each user is served once more, if that is soon enough.
async fn served_since(before: &[u64], users: &Users) -> bool {
    let since = Instant::now();
    while !acknowledged(users).iter().zip(before).all(|(now, before)| now > before) {
        if since.elapsed() > LONG {
            return false;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    true
}

fn report(took: Duration, users: &Users) {
    let sum = |count: fn(&Tally) -> u64| users.iter().map(|(_, tally)| count(tally)).sum::<u64>();
    let acknowledged = sum(Tally::acknowledged);
    println!(
        "{acknowledged} visits in {took:.0?}, {:.0} a second; {} refused, {} broken off",
        acknowledged as f64 / took.as_secs_f64(),
        sum(Tally::refused),
        sum(Tally::broken_off),
    );
}
