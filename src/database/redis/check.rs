//! Looks at the server's settings, and warns of those with which users would be lost.

use std::collections::BTreeSet;

use redis::Value;

/// Warns in the log of what the servers' answers to `INFO` show, once for all of them.
pub(super) fn warn(infos: &[Value]) {
    let warnings: BTreeSet<_> = infos.iter().flat_map(|info| warnings(text(info))).collect();
    for warning in warnings {
        tracing::warn!("Redis: {warning}");
    }
}

/// Returns whether a server is one of a cluster, by its answer to `INFO`.
pub(super) fn is_of_cluster(info: &Value) -> bool {
    get(text(info), "cluster_enabled") == Some("1")
}

fn text(info: &Value) -> &str {
    match info {
        Value::BulkString(bytes) => std::str::from_utf8(bytes).unwrap_or_default(),
        Value::VerbatimString { text, .. } => text,
        _ => "",
    }
}

fn get<'a>(info: &'a str, name: &str) -> Option<&'a str> {
    let mut lines = info.lines().filter_map(|line| line.split_once(':'));
    lines.find(|(key, _)| *key == name).map(|(_, value)| value.trim())
}

/// <https://valkey.io/commands/info/>
fn warnings(info: &str) -> Vec<&'static str> {
    let get = |name: &str| get(info, name);
    let mut warnings = Vec::new();
    let is_limited = get("maxmemory").is_some_and(|bytes| bytes != "0");
    match get("maxmemory_policy") {
        Some(policy) if policy.starts_with("allkeys-") && is_limited => warnings.push(
            "the server evicts users when its memory is full: set `maxmemory-policy noeviction`",
        ),
        Some(policy) if policy.starts_with("allkeys-") => warnings.push(
            "the server would evict users if `maxmemory` were set: set `maxmemory-policy noeviction`",
        ),
        Some(policy) if policy.starts_with("volatile-") && is_limited => warnings.push(
            "the server evicts tombstones of deleted users, and users who expire, when its memory \
             is full: set `maxmemory-policy noeviction`",
        ),
        _ => {}
    }
    if get("aof_enabled") == Some("0") {
        warnings.push(
            "the server has no append-only file, so a restart loses users that were saved since its \
             last snapshot: set `appendonly yes`",
        );
    }
    // In a cluster, a replica sends what it is asked for on to its primary.
    if get("role") == Some("slave") && get("cluster_enabled") != Some("1") {
        warnings.push("the server is a replica, which takes no writes: name the primary");
    }
    warnings
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_that_lose_users_are_warned_of() {
        let safe = "# Memory\r\nmaxmemory:0\r\nmaxmemory_policy:noeviction\r\n\r\n# Persistence\r\n\
                    aof_enabled:1\r\nrole:master\r\n";
        assert_eq!(warnings(safe), Vec::<&str>::new());
        assert_eq!(warnings(""), Vec::<&str>::new());
        let of_cluster = safe.replace("role:master", "role:slave\r\ncluster_enabled:1");
        assert_eq!(warnings(&of_cluster), Vec::<&str>::new());
        assert!(is_of_cluster(&Value::BulkString(of_cluster.into())));
        assert!(!is_of_cluster(&Value::BulkString(safe.into())));
        for (from, to, expected) in [
            ("maxmemory_policy:noeviction", "maxmemory_policy:allkeys-lru", "would evict users"),
            (
                "maxmemory:0\r\nmaxmemory_policy:noeviction",
                "maxmemory:1000\r\nmaxmemory_policy:allkeys-lfu",
                "server evicts users",
            ),
            (
                "maxmemory:0\r\nmaxmemory_policy:noeviction",
                "maxmemory:1000\r\nmaxmemory_policy:volatile-ttl",
                "evicts tombstones",
            ),
            ("aof_enabled:1", "aof_enabled:0", "appendonly yes"),
            ("role:master", "role:slave", "replica"),
        ] {
            let info = safe.replace(from, to);
            let found = warnings(&info);
            assert!(found.len() == 1 && found[0].contains(expected), "{info}: {found:?}");
        }
    }
}
