//! Many users, many threads, many versions, and calls that are given up half-way.

use std::collections::HashSet;
use std::future::Future;
use std::pin::pin;
use std::sync::{Arc, Barrier};
use std::task::{Context, Waker};
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use serde_json::{Value, json};
use tokio::runtime::Handle;

use super::subject::{Outcome, Subject, failed, record};
use crate::database::{Database, Expected, Saved, Version};
use crate::record::Record;

/// The time for repetitions. A slow database repeats less often.
const BUDGET: Duration = Duration::from_secs(2);

/// More users than any pool or queue of a database has places.
const USERS: u64 = 64;

fn counted(count: u64) -> Value {
    json!({ "user": { "data": { "count": count } } })
}

/// Checks that 64 users are served at the same time, and each finds its own record.
pub(super) async fn many_users<D: Database>(subject: &Subject<D>) -> Outcome {
    let ids: Vec<String> = (0..USERS).map(|_| subject.user("many")).collect();
    let mut versions = vec![None; ids.len()];
    for step in 0..6 {
        let saves = (0..USERS).zip(&ids).zip(versions).map(|((number, id), version)| {
            let (database, id) = (Arc::clone(&subject.database), id.clone());
            let fields = record(&counted(number * 100 + step));
            async move { save_beside_others(&*database, &id, &fields, version).await }
        });
        // In one task, all saves have begun before the first goes on; in many, they run in
        // parallel.
        let saved = match step % 2 {
            0 => join_all(saves).await,
            _ => {
                let tasks: Vec<_> = saves.map(tokio::spawn).collect();
                let panics = |error| Err(format!("a call panics: {error}"));
                let tasks = join_all(tasks).await.into_iter();
                tasks.map(|task| task.unwrap_or_else(panics)).collect()
            }
        };
        versions = saved.into_iter().map(|saved| saved.map(Some)).collect::<Result<_, _>>()?;
        for ((number, id), version) in (0..USERS).zip(&ids).zip(versions.iter().flatten()) {
            let held = subject.holds(id, &counted(number * 100 + step), version).await;
            held.map_err(|why| format!("after 64 users were saved at once: {why}"))?;
        }
    }
    Ok(())
}

async fn save_beside_others<D: Database>(
    database: &D,
    id: &str,
    fields: &Record,
    version: Option<Version>,
) -> Outcome<Version> {
    let saved = database.save(id, fields, Expected::from(version.as_ref())).await;
    match saved.map_err(failed("save beside other users"))? {
        Saved::Written(written) => Ok(written),
        Saved::Conflict(_) => Err("a save conflicts with those of other users".to_owned()),
    }
}

/// Checks that of saves that begin on several threads at once, one wins, every time.
///
/// Threads rather than tasks: a database that compares and writes without waiting in between is
/// whole for the tasks of one thread.
pub(super) async fn threads<D: Database>(subject: &Subject<D>) -> Outcome {
    const THREADS: usize = 4;
    const ROUNDS: usize = 20_000;
    const NEAR: Duration = Duration::from_millis(5);
    let began = Instant::now();
    let handle = Handle::current();
    let mut version: Option<Version> = None;
    let id = subject.user("threads");
    for round in 0..ROUNDS {
        // Where a save is no trip to a server, rounds are slow only on a busy machine, on which the
        // threads also meet less often.
        let is_near = began.elapsed() < NEAR * round as u32;
        let budget = if is_near { BUDGET * 6 } else { BUDGET };
        if began.elapsed() > budget && round >= 8 {
            break;
        }
        let (database, handle, id) = (Arc::clone(&subject.database), handle.clone(), id.clone());
        let over = version.clone();
        let race = move || race::<D>(&database, &handle, &id, over.as_ref(), THREADS);
        let results = tokio::task::spawn_blocking(race).await;
        let results = results.map_err(|error| format!("a call panics: {error}"))?;
        let mut written = Vec::new();
        for saved in results {
            if let Saved::Written(version) = saved.map_err(failed("save"))? {
                written.push(version);
            }
        }
        if written.len() != 1 {
            return Err(format!(
                "of {THREADS} saves over the same version, {} succeed instead of one",
                written.len()
            ));
        }
        version = written.pop();
    }
    Ok(())
}

/// Saves over one version from as many threads.
fn race<D: Database>(
    database: &Arc<D>,
    handle: &Handle,
    id: &str,
    over: Option<&Version>,
    threads: usize,
) -> Vec<Result<Saved, crate::error::Error>> {
    let barrier = Barrier::new(threads);
    std::thread::scope(|scope| {
        let racers: Vec<_> = (0..threads)
            .map(|number| {
                let barrier = &barrier;
                scope.spawn(move || {
                    let fields = record(&json!({ "racer": number }));
                    barrier.wait();
                    handle.block_on(database.save(id, &fields, Expected::from(over)))
                })
            })
            .collect();
        racers.into_iter().filter_map(|racer| racer.join().ok()).collect()
    })
}

/// Checks that no version comes a second time: more than 65,536 of them where saves are cheap, and
/// more than 256 elsewhere.
pub(super) async fn many_versions<D: Database>(subject: &Subject<D>) -> Outcome {
    const CHEAP: usize = 66_000;
    const LEAST: usize = 300;
    let began = Instant::now();
    let id = subject.user("versions");
    let mut seen = HashSet::new();
    let mut version = None;
    for number in 0..CHEAP {
        if number >= LEAST && began.elapsed() > BUDGET {
            break;
        }
        let written = subject.store(&id, &counted(number as u64), version.as_ref()).await?;
        if !seen.insert(written.clone()) {
            return Err(format!("a version comes again after {number} saves"));
        }
        version = Some(written);
    }
    Ok(())
}

/// Checks that a call given up after some polls locks no user for ever, and a save is done wholly
/// or not at all.
pub(super) async fn given_up<D: Database>(subject: &Subject<D>) -> Outcome {
    const POLLS: usize = 6;
    for polls in 0..=POLLS {
        let id = subject.user("given-up");
        let first = subject.store(&id, &counted(1), None).await?;
        let second = record(&counted(2));
        give_up(subject.database.load(&id), polls);
        give_up(subject.database.save(&id, &second, Expected::Version(&first)), polls);
        // The save may be done, or be done yet; then this one is a conflict.
        let goes_on = async {
            let mut expected = first.clone();
            loop {
                let saved = subject.save(&id, &counted(3), Some(&expected)).await?;
                match saved {
                    Saved::Written(version) => return Ok(version),
                    Saved::Conflict(Some(current)) => expected = current.version,
                    Saved::Conflict(None) => {
                        return Err("a record is gone after a save was given up".to_owned());
                    }
                }
            }
        };
        let limit = Duration::from_secs(10);
        let version = tokio::time::timeout(limit, goes_on).await.map_err(|_| {
            format!("after a save was given up at its poll {polls}, the next one does not end")
        })??;
        subject.holds(&id, &counted(3), &version).await?;
        give_up(subject.database.delete(&id), polls);
        let deleted = tokio::time::timeout(limit, subject.delete(&id)).await;
        deleted.map_err(|_| "after a deletion was given up, the next one does not end")??;
        subject.holds_nothing(&id).await?;
    }
    Ok(())
}

/// Polls `call` so often, and drops it.
fn give_up(call: impl Future, polls: usize) {
    let mut call = pin!(call);
    for _ in 0..polls {
        if call.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_ready() {
            return;
        }
    }
}

/// Checks that records up to the size that no database may refuse are stored.
pub(super) async fn sizes<D: Database>(subject: &Subject<D>) -> Outcome {
    let id = subject.user("sizes");
    let mut version = None;
    for kib in [1, 4, 16, 64, 128, 200, 255] {
        let text = "x".repeat(kib * 1024 - 64);
        let fields = json!({ "user": { "data": { "text": text } } });
        let written = subject.store(&id, &fields, version.as_ref()).await;
        let written = written.map_err(|why| format!("with a record of {kib} KiB: {why}"))?;
        subject.holds(&id, &fields, &written).await?;
        version = Some(written);
    }
    Ok(())
}
