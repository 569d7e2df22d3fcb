//! Checks of conditional saves and of deletions.

use serde_json::json;

use super::subject::{Outcome, Subject};
use crate::database::{Database, Saved, Version};

pub(super) async fn absent_user<D: Database>(subject: &Subject<D>) -> Outcome {
    let id = subject.user("absent");
    subject.holds_nothing(&id).await?;
    subject.holds_nothing(&id).await?;
    // Had loading stored a record, this would be a conflict.
    let fields = json!({ "user": { "data": { "visits": 1 } } });
    let version = subject.store(&id, &fields, None).await?;
    subject.holds(&id, &fields, &version).await?;
    subject.holds_nothing(&subject.user("absent still")).await
}

pub(super) async fn ready<D: Database>(subject: &Subject<D>) -> Outcome {
    let ensure_ready = async || {
        let ready = subject.database.ensure_ready().await;
        ready.map_err(super::subject::failed("ensure_ready"))
    };
    ensure_ready().await?;
    let (id, fields) = (subject.user("ready"), json!({ "user": { "data": {} } }));
    let version = subject.store(&id, &fields, None).await?;
    ensure_ready().await?;
    subject.holds(&id, &fields, &version).await
}

pub(super) async fn conditional_save<D: Database>(subject: &Subject<D>) -> Outcome {
    let id = subject.user("conditional");
    let [one, two, three] = [1, 2, 3].map(|visits| json!({ "user": { "data": { "v": visits } } }));

    let first = subject.store(&id, &one, None).await?;
    subject.holds(&id, &one, &first).await?;
    subject.conflicts(&id, None, Some((&one, &first))).await?;

    let second = subject.store(&id, &two, Some(&first)).await?;
    subject.holds(&id, &two, &second).await?;
    subject.conflicts(&id, Some(&first), Some((&two, &second))).await?;
    subject.conflicts(&id, None, Some((&two, &second))).await?;

    // The version in a conflict can be used for a save.
    let Saved::Conflict(Some(current)) = subject.save(&id, &three, Some(&first)).await? else {
        return Err("a save over an outdated version is not a conflict".to_owned());
    };
    let third = subject.store(&id, &three, Some(&current.version)).await?;
    subject.holds(&id, &three, &third).await?;

    // So can the version that a load returns.
    let loaded = subject.load(&id).await?.ok_or("load does not find a stored user")?;
    let fourth = subject.store(&id, &one, Some(&loaded.version)).await?;
    subject.holds(&id, &one, &fourth).await?;

    // Other users are not affected.
    subject.conflicts(&subject.user("other"), Some(&fourth), None).await
}

pub(super) async fn versions<D: Database>(subject: &Subject<D>) -> Outcome {
    let id = subject.user("versions");
    let [one, two] = [1, 2].map(|visits| json!({ "user": { "data": { "visits": visits } } }));
    let mut seen = vec![subject.store(&id, &one, None).await?];
    // The same record again, a different one, and the first one once more.
    for fields in [&one, &two, &one] {
        let version = subject.store(&id, fields, seen.last()).await?;
        for before in &seen {
            subject.conflicts(&id, Some(before), Some((fields, &version))).await?;
        }
        seen.push(version);
    }
    Ok(())
}

pub(super) async fn delete<D: Database>(subject: &Subject<D>) -> Outcome {
    let (id, other, fields) =
        (subject.user("deleted"), subject.user("kept"), json!({ "user": { "data": {} } }));
    subject.delete(&id).await?;
    subject.holds_nothing(&id).await?;
    let kept = subject.store(&other, &fields, None).await?;
    subject.store(&id, &fields, None).await?;
    subject.delete(&id).await?;
    subject.holds_nothing(&id).await?;
    subject.delete(&id).await?;
    subject.holds_nothing(&id).await?;
    subject.holds(&other, &fields, &kept).await?;

    // Data from before the deletion is not restored with the user.
    let more = json!({ "user": { "data": { "name": "Zoë" } }, "session": { "id": "s" }, "x": 1 });
    subject.store(&id, &more, None).await?;
    subject.delete(&id).await?;
    let version = subject.store(&id, &fields, None).await?;
    subject.holds(&id, &fields, &version).await
}

pub(super) async fn deleted_user<D: Database>(subject: &Subject<D>) -> Outcome {
    let (id, fields) = (subject.user("deleted"), json!({ "user": { "data": { "visits": 1 } } }));
    let first = subject.store(&id, &fields, None).await?;
    let second = subject.store(&id, &fields, Some(&first)).await?;
    subject.delete(&id).await?;
    subject.conflicts(&id, Some(&second), None).await?;

    // The user is created again, with the same saves as before.
    let third = subject.store(&id, &fields, None).await?;
    for before in [&first, &second] {
        subject.conflicts(&id, Some(before), Some((&fields, &third))).await?;
    }
    let fourth = subject.store(&id, &fields, Some(&third)).await?;
    for before in [&first, &second, &third] {
        subject.conflicts(&id, Some(before), Some((&fields, &fourth))).await?;
    }
    Ok(())
}

/// Checks databases that leave tombstones: a first turn that was under way during a deletion does
/// not restore the user; one that begins later may.
pub(super) async fn tombstones<D: Database>(subject: &Subject<D>) -> Outcome {
    let (id, fields) = (subject.user("deleted"), json!({ "user": { "data": { "visits": 1 } } }));
    // Tombstones may need preparation, such as DynamoDB's time to live.
    subject.database.ensure_ready().await.map_err(super::subject::failed("ensure_ready"))?;
    let Some(before) = subject.over_nothing(&id).await? else { return Ok(()) };
    subject.delete(&id).await?;
    let Some(first) = subject.over_nothing(&id).await? else {
        return Err("load_for_update gives a version only before a deletion".to_owned());
    };
    held_back(subject, &id, &[&before]).await?;
    if subject.over_nothing(&id).await?.as_ref() != Some(&first) {
        return Err("the version of a tombstone changes without a deletion".to_owned());
    }
    let stored = subject.store(&id, &fields, Some(&first)).await?;
    subject.holds(&id, &fields, &stored).await?;
    for earlier in [None, Some(&before), Some(&first)] {
        subject.conflicts(&id, earlier, Some((&fields, &stored))).await?;
    }

    subject.delete(&id).await?;
    let second = subject.over_nothing(&id).await?.unwrap_or_else(|| first.clone());
    held_back(subject, &id, &[&before, &first, &stored]).await?;
    subject.delete(&id).await?;
    held_back(subject, &id, &[&before, &first, &stored, &second]).await?;
    // A writer that expects no record ignores tombstones.
    let stored = subject.store(&id, &fields, None).await?;
    subject.holds(&id, &fields, &stored).await?;

    // Other users are not affected.
    let other = subject.store(&subject.user("other"), &fields, None).await?;
    subject.conflicts(&id, Some(&other), Some((&fields, &stored))).await
}

async fn held_back<D: Database>(subject: &Subject<D>, id: &str, over: &[&Version]) -> Outcome {
    for over in over {
        let held_back = subject.conflicts(id, Some(over), None).await;
        held_back.map_err(|why| format!("where a tombstone stands: {why}"))?;
    }
    Ok(())
}
