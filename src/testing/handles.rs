//! Two handles to one store, as two processes have them.

use futures_util::future::join;
use serde_json::{Value, json};

use super::subject::{Outcome, Subject, failed};
use super::values::difference;
use crate::database::{Database, Saved};

/// The number of turns that the two handles take.
const TURNS: u64 = 12;

fn counted(count: u64) -> Value {
    json!({ "user": { "data": { "count": count } } })
}

/// Checks that one handle loads at once, and may replace, what the other saved.
pub(super) async fn take_turns<D: Database>(one: &Subject<D>, other: &Subject<D>) -> Outcome {
    let id = one.user("two-handles");
    one.store(&id, &counted(0), None).await?;
    for turn in 1..=TURNS {
        let (writer, reader) = if turn % 2 == 0 { (one, other) } else { (other, one) };
        let before = reader.load(&id).await?.ok_or("a handle does not find the other's record")?;
        let stored = writer.load(&id).await?.ok_or("a handle does not find the other's record")?;
        let version = writer
            .store(&id, &counted(turn), Some(&stored.version))
            .await
            .map_err(|why| format!("over what the other handle saved: {why}"))?;
        let fields = counted(turn);
        // Without a load in between, which would tell a cache what is stored.
        let late = reader.conflicts(&id, Some(&before.version), Some((&fields, &version))).await;
        late.map_err(|why| format!("over a version that the other handle has replaced: {why}"))?;
        // Without a pause: an acknowledged save is there for every reader.
        let seen = reader.holds(&id, &fields, &version).await;
        seen.map_err(|why| format!("after a save of the other handle: {why}"))?;
    }
    other.delete(&id).await?;
    one.holds_nothing(&id).await.map_err(|why| format!("after a deletion of the other: {why}"))?;
    Ok(())
}

/// Checks that a record is created once, also if both handles bring the same content.
pub(super) async fn create_once<D: Database>(one: &Subject<D>, other: &Subject<D>) -> Outcome {
    let fields = counted(1);
    for round in 0..8 {
        let id = one.user("created-once");
        let (first, second) = match round % 2 {
            0 => {
                let first = one.save(&id, &fields, None).await?;
                (first, other.save(&id, &fields, None).await?)
            }
            _ => {
                let both = join(one.save(&id, &fields, None), other.save(&id, &fields, None)).await;
                (both.0?, both.1?)
            }
        };
        let written = [&first, &second].iter().filter(|it| matches!(it, Saved::Written(_))).count();
        if written != 1 {
            return Err(format!("of two creations with equal content, {written} are acknowledged"));
        }
    }
    Ok(())
}

/// Checks that acknowledged records are there after the database was closed and opened again.
pub(super) async fn reopened<D: Database>(
    one: &Subject<D>,
    reopen: impl AsyncFnOnce() -> D,
) -> Outcome {
    let mut stored = Vec::new();
    for number in 0..8 {
        let id = one.user("reopened");
        one.store(&id, &counted(number), None).await?;
        stored.push((id, counted(number)));
    }
    let deleted = one.user("deleted");
    one.store(&deleted, &counted(0), None).await?;
    one.delete(&deleted).await?;
    one.database.close().await.map_err(failed("close"))?;
    let database = reopen().await;
    for (id, fields) in &stored {
        let found = database.load(id).await.map_err(failed("load after reopening"))?;
        let found = found.ok_or("a record is gone after reopening")?;
        if let Some(difference) = difference(fields, &found.record.fields().clone().into()) {
            return Err(format!("after reopening: {difference}"));
        }
    }
    match database.load(&deleted).await.map_err(failed("load after reopening"))? {
        None => {}
        Some(_) => return Err("a deleted user is back after reopening".to_owned()),
    }
    for id in stored.iter().map(|(id, _)| id).chain([&deleted]) {
        database.delete(id).await.map_err(failed("delete after reopening"))?;
    }
    Ok(())
}
