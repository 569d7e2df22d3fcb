//! What a database promises about saving on a condition, and about deleting.

use serde_json::json;

use super::subject::{Outcome, Subject};
use crate::database::{Database, Saved, Version};

pub(super) async fn absent_user<D: Database>(subject: &Subject<D>) -> Outcome {
    let id = subject.user("absent");
    subject.holds_nothing(&id).await?;
    subject.holds_nothing(&id).await?;
    // Had loading stored something, there would be a conflict.
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

    // The version that a conflict returns is good for a save.
    let Saved::Conflict(Some(current)) = subject.save(&id, &three, Some(&first)).await? else {
        return Err("a save over a version that is not stored any more is no conflict".to_owned());
    };
    let third = subject.store(&id, &three, Some(&current.version)).await?;
    subject.holds(&id, &three, &third).await?;

    // So is the one that a load returns.
    let loaded = subject.load(&id).await?.ok_or("load finds nothing of a user who is stored")?;
    let fourth = subject.store(&id, &one, Some(&loaded.version)).await?;
    subject.holds(&id, &one, &fourth).await?;

    // Nobody else is concerned by it.
    subject.conflicts(&subject.user("other"), Some(&fourth), None).await
}

pub(super) async fn versions<D: Database>(subject: &Subject<D>) -> Outcome {
    let id = subject.user("versions");
    let [one, two] = [1, 2].map(|visits| json!({ "user": { "data": { "visits": visits } } }));
    let mut seen = vec![subject.store(&id, &one, None).await?];
    // The same twice, something else, and what was there at first.
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

    // What was stored of the user before does not come back with the user.
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

    // Created anew, step by step the same as before.
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

/// Of databases that leave tombstones: a first turn that was under way does not bring back who was deleted meanwhile, one that
/// begins later may.
pub(super) async fn tombstones<D: Database>(subject: &Subject<D>) -> Outcome {
    let (id, fields) = (subject.user("deleted"), json!({ "user": { "data": { "visits": 1 } } }));
    // What tombstones need may have to be made first.
    subject.database.ensure_ready().await.map_err(super::subject::failed("ensure_ready"))?;
    let Some(before) = subject.over_nothing(&id).await? else { return Ok(()) };
    subject.delete(&id).await?;
    let Some(first) = subject.over_nothing(&id).await? else {
        return Err("load_for_update gives a version only before a deletion".to_owned());
    };
    held_back(subject, &id, &[&before]).await?;
    if subject.over_nothing(&id).await?.as_ref() != Some(&first) {
        return Err("the version of a tombstone changes although nobody deletes".to_owned());
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
    // Who names no version does not ask for tombstones.
    let stored = subject.store(&id, &fields, None).await?;
    subject.holds(&id, &fields, &stored).await?;

    // Nobody else is concerned by it.
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
