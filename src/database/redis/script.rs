//! The scripts: each compares and writes one key in one step, which no other command interrupts.

use std::sync::LazyLock;

use redis::{Cmd, RedisWrite};

pub(super) struct Script {
    code: &'static str,
    /// SHA-1 in hexadecimal digits, by which servers know it.
    hash: String,
}

impl Script {
    fn new(code: &'static str) -> Self {
        Self { code, hash: redis::Script::new(code).get_hash().to_owned() }
    }
}

/// Saves a record in the place of the expected version. Arguments: the new version, the expected
/// one (empty for "no record"), the record, and the milliseconds after which it expires, if it
/// does.
///
/// Returns 1 if it wrote; 2, version and record of a conflict; 0 and the version of a tombstone, if
/// there is one, where there is no record; or 3 for a key of another program.
///
/// A version that the record has already got is written once more: the answer of an earlier attempt
/// was lost.
pub(super) static SAVE: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        r"
local key, new, expected, record, expires = KEYS[1], ARGV[1], ARGV[2], ARGV[3], ARGV[4]
local version = redis.call('HGET', key, 'version')
if not version and redis.call('EXISTS', key) == 1 then
  return 3
end
if version ~= expected and version ~= new then
  local is_record = version and redis.call('HEXISTS', key, 'record') == 1
  if is_record then
    return {2, version, redis.call('HGET', key, 'record')}
  end
  if expected ~= '' and (version or string.sub(expected, 1, 6) ~= 'absent') then
    return {0, version}
  end
end
redis.call('HSET', key, 'version', new, 'record', record)
if expires == '' then
  redis.call('PERSIST', key)
else
  redis.call('PEXPIRE', key, expires)
end
return 1
",
    )
});

/// Puts a tombstone in the place of whatever is stored. Arguments: its version and the milliseconds
/// after which it expires.
///
/// `HGET` refuses a key of another program, which the rest would change. `PERSIST` changes nothing
/// that stays: a script that has begun to write may go on where memory has run out, so that users
/// can be deleted there. The key is there all the time: without it, a server whose slot moves to
/// another refuses the rest of the script.
pub(super) static DELETE: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        r"
local key = KEYS[1]
redis.call('HGET', key, 'version')
redis.call('PERSIST', key)
redis.call('HSET', key, 'version', ARGV[1])
for _, field in ipairs(redis.call('HKEYS', key)) do
  if field ~= 'version' then
    redis.call('HDEL', key, field)
  end
end
redis.call('PEXPIRE', key, ARGV[2])
return 1
",
    )
});

/// A command on one key.
pub(super) enum Call<'a> {
    Load { key: &'a str },
    Script { script: &'a Script, key: &'a str, arguments: &'a [&'a str] },
}

impl Call<'_> {
    pub(super) fn key(&self) -> &str {
        match self {
            Self::Load { key } | Self::Script { key, .. } => key,
        }
    }

    /// Makes the command. A script goes by its hash, or in full to a server that does not know it.
    pub(super) fn command(&self, in_full: bool) -> Cmd {
        let of = |arguments: &[&str], more: &[&str]| {
            let arguments = || arguments.iter().chain(more);
            let bytes = arguments().map(|argument| argument.len()).sum();
            let mut command = Cmd::with_capacity(arguments().count(), bytes);
            arguments().for_each(|argument| command.write_arg(argument.as_bytes()));
            command
        };
        match self {
            Self::Load { key } => of(&["HMGET", key, "version", "record"], &[]),
            Self::Script { script, key, arguments } => match in_full {
                true => of(&["EVAL", script.code, "1", key], arguments),
                false => of(&["EVALSHA", &script.hash, "1", key], arguments),
            },
        }
    }
}
