//! The table's name, and the statements on it.

use crate::error::Error;

/// Expired rows that a clean-up removes, every [`WRITES`](super::expiry) writes: more than come to
/// be in between, and so few that no save waits for them.
const REMOVED: u32 = 64;

/// Makes a commit durable where role or database have switched `synchronous_commit` off. The
/// setting counts that is in effect when the transaction commits.
/// <https://www.postgresql.org/docs/current/runtime-config-wal.html#GUC-SYNCHRONOUS-COMMIT>
const DURABLE: &str = "CASE current_setting('synchronous_commit') WHEN 'off' \
                       THEN set_config('synchronous_commit', 'on', true) END";

const IN_TIME: &str = "(expires_at IS NULL OR expires_at > now())";

/// The longest name that PostgreSQL does not cut off.
const LONGEST: usize = 63;

/// A table, and what is sent to it. Values are parameters; only the name is part of a statement.
#[derive(Debug)]
pub(super) struct Table {
    /// As it was given.
    pub(super) name: String,
    /// With quotes around each part.
    pub(super) quoted: String,
    /// The schema's with a dot, or nothing.
    pub(super) schema: String,
    pub(super) load: String,
    pub(super) update: String,
    /// Inserts where nothing is, or only what has expired.
    pub(super) insert: String,
    /// The same, or over the tombstone `$5`.
    pub(super) insert_over_tombstone: String,
    /// The same, or over any tombstone.
    pub(super) insert_over_any_tombstone: String,
    pub(super) write_tombstone: String,
    pub(super) delete: String,
    pub(super) clean: String,
}

impl Default for Table {
    fn default() -> Self {
        Self::of(&["persistence_users"])
    }
}

impl Table {
    /// Makes the statements for the table `name`, or `schema.name`.
    pub(super) fn new(name: &str) -> Result<Self, Error> {
        let parts: Vec<&str> = name.split('.').collect();
        let is_allowed = |part: &&str| {
            !part.is_empty()
                && part.len() <= LONGEST
                && !part.contains(['"', '\'', '\\', '$'])
                && !part.contains(char::is_control)
        };
        if parts.len() > 2 || !parts.iter().all(is_allowed) {
            return Err(Error::configuration(format!(
                "the table of PostgreSQL cannot have this name: set it to `name` or `schema.name`, \
                 of 1 to {LONGEST} bytes each, without quotes, `\\`, `$` and control characters"
            )));
        }
        Ok(Self::of(&parts))
    }

    /// Makes the statements for a name of one or two parts, which need nothing but quotes.
    fn of(parts: &[&str]) -> Self {
        let quoted: Vec<String> = parts.iter().map(|part| format!("\"{part}\"")).collect();
        let quoted = quoted.join(".");
        let schema = match parts {
            [schema, _] => format!("\"{schema}\"."),
            _ => String::new(),
        };
        let insert = |values: &str, condition: &str| {
            format!(
                "INSERT INTO {quoted} AS stored \
                 (id, record, version, created_at, updated_at, expires_at) VALUES ({values}) \
                 ON CONFLICT (id) DO UPDATE SET record = excluded.record, \
                 version = excluded.version, created_at = excluded.created_at, \
                 updated_at = excluded.updated_at, expires_at = excluded.expires_at \
                 WHERE {condition} RETURNING {DURABLE}"
            )
        };
        let record = "$1, $2::json, $3, now(), now(), now() + make_interval(secs => $4)";
        let tombstone = "$1, NULL, $2, now(), now(), now() + make_interval(secs => $3)";
        let expired = "stored.expires_at <= now()";
        Self {
            load: format!("SELECT record::text, version FROM {quoted} WHERE id = $1 AND {IN_TIME}"),
            update: format!(
                "UPDATE {quoted} SET record = $2::json, version = $3, updated_at = now(), \
                 expires_at = now() + make_interval(secs => $4) \
                 WHERE id = $1 AND version = $5 AND record IS NOT NULL AND {IN_TIME} \
                 RETURNING {DURABLE}"
            ),
            insert: insert(record, expired),
            insert_over_tombstone: insert(
                record,
                &format!("{expired} OR (stored.record IS NULL AND stored.version = $5)"),
            ),
            insert_over_any_tombstone: insert(
                record,
                &format!("{expired} OR stored.record IS NULL"),
            ),
            write_tombstone: insert(tombstone, "true"),
            delete: format!("DELETE FROM {quoted} WHERE id = $1 RETURNING {DURABLE}"),
            // Rows that another transaction has locked are left for a later time.
            clean: format!(
                "DELETE FROM {quoted} WHERE id IN (SELECT id FROM {quoted} \
                 WHERE expires_at <= now() ORDER BY expires_at LIMIT {REMOVED} \
                 FOR UPDATE SKIP LOCKED)"
            ),
            name: parts.join("."),
            quoted,
            schema,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_quoted_or_refused() {
        let longest = "x".repeat(LONGEST);
        for (name, quoted) in [
            ("users", "\"users\""),
            ("app.Users", "\"app\".\"Users\""),
            ("select", "\"select\""),
            ("my users; DROP", "\"my users; DROP\""),
            ("é-1", "\"é-1\""),
            (&*longest, &*format!("\"{longest}\"")),
        ] {
            assert_eq!(Table::new(name).unwrap().quoted, quoted);
        }
        let too_long = "x".repeat(LONGEST + 1);
        for name in
            ["", ".", "a.", ".b", "a.b.c", "a\"b", "a'b", "a\\b", "a$b", "a\0b", "a\nb", &*too_long]
        {
            let error = Table::new(name).unwrap_err();
            assert!(error.is_configuration(), "{name}: {error}");
        }
    }
}
