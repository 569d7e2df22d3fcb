//! Checks of many tasks that write the same user's record.

use std::collections::HashSet;
use std::future::Future;
use std::sync::Arc;

use serde_json::{Value, json};
use tokio::sync::Barrier;

use super::subject::{Outcome, Subject, failed, record};
use crate::database::{Database, Expected, Saved, Version, VersionedRecord};
use crate::error::Error;

const TASKS: u64 = 16;
const INCREMENTS: u64 = 8;

fn counted(count: u64) -> Value {
    json!({ "user": { "data": { "count": count } } })
}

fn count(stored: &VersionedRecord) -> Outcome<u64> {
    let user = stored.record.fields().get("user");
    let count = user.and_then(|user| user.pointer("/data/count")?.as_u64());
    count.ok_or_else(|| "the stored record is not one that was saved".to_owned())
}

/// Runs `work` in 16 tasks that begin at the same time.
async fn in_tasks<D: Database, T, F>(
    subject: &Subject<D>,
    work: impl Fn(u64, Arc<D>) -> F,
) -> Outcome<Vec<T>>
where
    T: Send + 'static,
    F: Future<Output = T> + Send + 'static,
{
    let barrier = Arc::new(Barrier::new(16));
    let tasks = (0..TASKS).map(|number| {
        let (work, barrier) = (work(number, subject.database.clone()), barrier.clone());
        tokio::spawn(async move {
            barrier.wait().await;
            work.await
        })
    });
    // All tasks must be spawned before the first is awaited.
    let tasks: Vec<_> = tasks.collect();
    let mut results = Vec::with_capacity(tasks.len());
    for task in tasks {
        results.push(task.await.map_err(|error| format!("a call panics: {error}"))?);
    }
    Ok(results)
}

/// Returns the number and version of the only save that succeeded.
fn winner(results: Vec<Result<Saved, Error>>) -> Outcome<(u64, Version)> {
    let mut winners = Vec::new();
    for (number, saved) in (0..).zip(results) {
        match saved.map_err(failed("save"))? {
            Saved::Written(version) => winners.push((number, version)),
            Saved::Conflict(Some(_)) => {}
            Saved::Conflict(None) => {
                return Err("a conflict returns no record although one is stored".to_owned());
            }
        }
    }
    let count = winners.len();
    match winners.pop() {
        Some(winner) if count == 1 => Ok(winner),
        _ => Err(format!("of {TASKS} saves over the same version, {count} succeed instead of one")),
    }
}

pub(super) async fn creation<D: Database>(subject: &Subject<D>) -> Outcome {
    let id = subject.user("created");
    let mut over = None;
    // First the tasks create the record, then they all save over the same version.
    for _ in 0..4 {
        let results = in_tasks(subject, |number, database| {
            let (id, over) = (id.clone(), over.clone());
            async move {
                database.save(&id, &record(&counted(number)), Expected::from(over.as_ref())).await
            }
        });
        let (number, version) = winner(results.await?)?;
        subject.holds(&id, &counted(number), &version).await?;
        over = Some(version);
    }
    Ok(())
}

pub(super) async fn writers<D: Database>(subject: &Subject<D>) -> Outcome {
    let id = subject.user("counted");
    let first = subject.store(&id, &counted(0), None).await?;
    let won = in_tasks(subject, |_, database| {
        let id = id.clone();
        async move { increments(&*database, &id).await }
    });
    let won: Vec<(Version, Version)> =
        won.await?.into_iter().collect::<Outcome<Vec<_>>>()?.into_iter().flatten().collect();
    let over: HashSet<_> = won.iter().map(|(over, _)| over).collect();
    let made: HashSet<_> = won.iter().map(|(_, made)| made).chain([&first]).collect();
    if over.len() < won.len() {
        return Err("two saves over the same version both succeed".to_owned());
    }
    if made.len() <= won.len() {
        return Err("two saves are given the same version".to_owned());
    }
    let stored = subject.load(&id).await?.ok_or("load does not find a stored user")?;
    let (found, expected) = (count(&stored)?, TASKS * INCREMENTS);
    if found != expected {
        return Err(format!("{expected} increments were acknowledged, but {found} are stored"));
    }
    if !made.contains(&stored.version) || over.contains(&stored.version) {
        return Err("the stored version is not that of the last save".to_owned());
    }
    Ok(())
}

/// Increments the count, and after a conflict starts again from the record that it returned.
/// Returns each version that was replaced, with its successor.
async fn increments(database: &impl Database, id: &str) -> Outcome<Vec<(Version, Version)>> {
    let mut won = Vec::new();
    while (won.len() as u64) < INCREMENTS {
        let loaded = database.load(id).await.map_err(failed("load"))?;
        let mut stored = loaded.ok_or("load does not find a stored user")?;
        loop {
            let next = record(&counted(count(&stored)? + 1));
            match database
                .save(id, &next, Expected::Version(&stored.version))
                .await
                .map_err(failed("save"))?
            {
                Saved::Written(version) => {
                    won.push((stored.version, version));
                    break;
                }
                Saved::Conflict(Some(current)) => stored = current,
                Saved::Conflict(None) => {
                    return Err("a conflict returns no record although one is stored".to_owned());
                }
            }
        }
    }
    Ok(won)
}

pub(super) async fn delete_beside_writers<D: Database>(subject: &Subject<D>) -> Outcome {
    for round in 0..4 {
        let id = subject.user(&format!("deleted {round}"));
        let version = subject.store(&id, &counted(0), None).await?;
        let results = in_tasks(subject, |number, database| {
            let (id, version) = (id.clone(), version.clone());
            async move {
                if number == TASKS / 2 {
                    return database.delete(&id).await;
                }
                database
                    .save(&id, &record(&counted(number)), Expected::Version(&version))
                    .await
                    .map(drop)
            }
        });
        for result in results.await? {
            result.map_err(failed("a save or delete"))?;
        }
        // A save may succeed before the deletion, but not after it.
        subject.holds_nothing(&id).await?;
    }
    Ok(())
}
