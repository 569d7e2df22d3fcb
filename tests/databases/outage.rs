//! The server goes down under load, and recovers.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tower_persistence::{Database, PersistenceLayer};

use crate::common::*;
use crate::layer::{count, counter, user};
use crate::process::Server;

const USERS: usize = 8;
/// The number of increments that each user needs before and after the outage.
const ENOUGH: u64 = 10;
const LIMIT: Duration = Duration::from_secs(60);

#[derive(Debug, Default)]
struct Count {
    acknowledged: AtomicU64,
    unacknowledged: AtomicU64,
}

/// Every acknowledged increment is stored, every other one at most once, and requests succeed again
/// by themselves.
pub(crate) async fn outage<D: Database>(mut server: Server, make_db: impl AsyncFn(String) -> D) {
    let database = make_db(server.endpoint()).await;
    database.ensure_ready().await.unwrap();
    let app = counter(&PersistenceLayer::new(database));
    let is_over = Arc::new(AtomicBool::new(false));
    let counts: Vec<(String, Arc<Count>)> =
        (0..USERS).map(|index| (user(&format!("outage-{index}")), Arc::default())).collect();
    let tasks = counts.iter().map(|(user, count)| {
        let (app, body, count, is_over) =
            (app.clone(), alexa(user).to_string(), count.clone(), is_over.clone());
        tokio::spawn(async move {
            while !is_over.load(Ordering::Relaxed) {
                let answer = send(&app, post(body.clone())).await;
                if answer.status == 200 {
                    count.acknowledged.fetch_add(1, Ordering::Relaxed);
                } else {
                    count.unacknowledged.fetch_add(1, Ordering::Relaxed);
                    // A refused connection is answered at once.
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
            }
        })
    });
    let tasks: Vec<_> = tasks.collect();

    let acknowledged = || -> Vec<u64> {
        counts.iter().map(|(_, count)| count.acknowledged.load(Ordering::Relaxed)).collect()
    };
    let failed =
        || counts.iter().all(|(_, count)| count.unacknowledged.load(Ordering::Relaxed) > 1);
    until("the users are served", || acknowledged().iter().all(|count| *count >= ENOUGH)).await;
    tokio::task::block_in_place(|| server.stop());
    until("every request is refused", failed).await;
    tokio::task::block_in_place(|| server.start_again());
    let before = acknowledged();
    until("the users are served again", || {
        acknowledged().iter().zip(&before).all(|(now, before)| *now >= before + ENOUGH)
    })
    .await;
    is_over.store(true, Ordering::Relaxed);
    for task in tasks {
        task.await.unwrap();
    }

    // A database of its own asks the server, whatever a client remembers.
    let database = make_db(server.endpoint()).await;
    for (user, expected) in &counts {
        let least = expected.acknowledged.load(Ordering::Relaxed);
        let most = least + expected.unacknowledged.load(Ordering::Relaxed);
        let stored = count(&database, user).await;
        assert!((least..=most).contains(&stored), "{least} to {most} expected, {stored} stored");
    }
}

/// The breaker answers while the server is down, and finds it by itself when it recovers.
#[cfg(feature = "circuit-breaker")]
pub(crate) async fn circuit_breaker<D: Database>(
    mut server: Server,
    make_db: impl AsyncFn(String) -> D,
) {
    let database = tower_persistence::CircuitBreaker::new(make_db(server.endpoint()).await);
    database.ensure_ready().await.unwrap();
    let app = counter(&PersistenceLayer::new(database));
    let user = user("circuit-breaker");
    let visit = async || send(&app, post(alexa(&user).to_string())).await;
    let is_refused = |answer: &Answer| {
        answer.status == 503 && format!("{:?}", answer.error()).contains("is tried again")
    };
    visit().await.assert_ok();
    let mut acknowledged = 1;

    for _ in 0..2 {
        tokio::task::block_in_place(|| server.stop());
        let mut asked = 0;
        while !is_refused(&visit().await) {
            asked += 1;
            assert!(asked <= 20, "the server is gone, and it is asked again and again");
        }
        tokio::task::block_in_place(|| server.start_again());
        let since = Instant::now();
        while visit().await.status != 200 {
            assert!(since.elapsed() < LIMIT, "the server is back, and it is not asked");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        acknowledged += 1;
        println!("asked {asked} times while it was gone, found again after {:?}", since.elapsed());
    }
    let stored = count(&make_db(server.endpoint()).await, &user).await;
    assert_eq!(stored, acknowledged);
}

async fn until(what: &str, is_so: impl Fn() -> bool) {
    let since = Instant::now();
    while !is_so() {
        assert!(since.elapsed() < LIMIT, "{LIMIT:?} have passed, and not yet: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
