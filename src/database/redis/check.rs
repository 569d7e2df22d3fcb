//! Looks at the server's settings, and warns of those with which users would be lost.

use redis::Value;

/// Warns in the log of what the answer to `INFO` shows.
pub(super) fn warn(info: &Value) {
    let info = match info {
        Value::BulkString(bytes) => std::str::from_utf8(bytes).unwrap_or_default(),
        Value::VerbatimString { text, .. } => text,
        _ => "",
    };
    for warning in warnings(info) {
        tracing::warn!("Redis: {warning}");
    }
}

/// <https://valkey.io/commands/info/>
fn warnings(info: &str) -> Vec<&'static str> {
    let get = |name: &str| {
        let mut lines = info.lines().filter_map(|line| line.split_once(':'));
        lines.find(|(key, _)| *key == name).map(|(_, value)| value.trim())
    };
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
    if get("role") == Some("slave") {
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
