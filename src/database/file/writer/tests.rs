use std::fs;
use std::path::PathBuf;
use std::sync::mpsc;

use super::*;
use crate::database::file::disk::Disk;
use crate::database::file::records::Records;
use crate::database::file::shared;

struct Bench {
    writer: Writer,
    commands: mpsc::Sender<Command>,
    path: PathBuf,
    _directory: tempfile::TempDir,
}

fn bench(file: &str) -> Bench {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("db.json");
    fs::write(&path, file).unwrap();
    let disk = Disk::locate(&path).unwrap();
    let lock = Lock::take(&disk).unwrap();
    let (content, fingerprint) = shared::read(&disk, &Records::new()).unwrap();
    let (commands, receiver) = mpsc::channel();
    let shared = Arc::new(Shared::new(disk, content, fingerprint));
    let writer = Writer::new(shared, receiver, lock);
    Bench { writer, commands, path, _directory: directory }
}

type Answer = oneshot::Receiver<Result<Outcome, Failure>>;

fn save(id: &str, expected: Option<Version>) -> (Write, Answer) {
    let (reply, answer) = oneshot::channel();
    let text = Arc::from(format!("{{ \"id\": \"{id}\", \"new\": 1 }}"));
    (
        Write {
            id: Arc::from(id),
            action: Action::Save { text, expected },
            now: Instant::now(),
            reply,
        },
        answer,
    )
}

#[test]
fn saves_that_wait_are_written_together() {
    let Bench { writer, commands, path, _directory } = bench("[]");
    let mut answers = Vec::new();
    for number in 0..64 {
        let (write, answer) = save(&format!("user-{number}"), None);
        commands.send(Command::Write(write)).unwrap();
        answers.push(answer);
    }
    let first = writer.commands.recv().unwrap();
    assert!(writer.turn(first).is_none());
    for mut answer in answers {
        assert!(matches!(answer.try_recv(), Ok(Ok(Outcome::Stored(_)))));
    }
    let file: serde_json::Value = serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap();
    assert_eq!(file.as_array().unwrap().len(), 64);
}

#[test]
fn an_edit_while_the_file_is_being_written_is_kept() {
    let Bench { writer, path, _directory, .. } = bench(r#"[{"id":"a"},{"id":"b"}]"#);
    let version = |id| writer.shared.get(id).map(|record| record.version());
    let (writes, _answers): (Vec<_>, Vec<_>) =
        [save("a", version("a")), save("b", version("b"))].into_iter().unzip();
    // The writer has looked at the file before, and notices this only when its own file is
    // ready.
    fs::write(&path, r#"[{"id":"a"},{"id":"b","edited":true},{"id":"c"}]"#).unwrap();
    let outcomes = writer.write(&writes).unwrap();
    assert!(matches!(&outcomes[0], Outcome::Stored(_)), "{outcomes:?}");
    let Outcome::Conflict(Some(record)) = &outcomes[1] else { panic!("{outcomes:?}") };
    assert_eq!(&*record.text, r#"{"id":"b","edited":true}"#);
    let file = "[\n  { \"id\": \"a\", \"new\": 1 },\n  {\"id\":\"b\",\"edited\":true},\n  {\"id\":\"c\"}\n]";
    assert_eq!(fs::read_to_string(&path).unwrap(), file);
    assert_eq!(fs::read_dir(_directory.path()).unwrap().count(), 2, "db.json and its lock");
}

#[test]
fn one_user_several_times_in_one_write() {
    let Bench { writer, path, _directory, .. } = bench(r#"[{"id":"a"}]"#);
    let first = writer.shared.get("a").map(|record| record.version());
    let (reply, _answer) = oneshot::channel();
    let delete = Write { id: Arc::from("a"), action: Action::Delete, now: Instant::now(), reply };
    let (under_way, _answer) = save("a", Some(tombstone::nothing()));
    let outcomes = writer.write(&[delete, under_way]).unwrap();
    assert!(matches!(&outcomes[0], Outcome::Deleted));
    assert!(matches!(&outcomes[1], Outcome::Conflict(None)), "{outcomes:?}");
    assert_eq!(fs::read_to_string(&path).unwrap(), "[]");

    let tombstone = writer.shared.tombstone("a", Instant::now());
    let (recreate, _answer) = save("a", tombstone);
    let (late, _answer) = save("a", first.clone());
    let outcomes = writer.write(&[recreate, late]).unwrap();
    let Outcome::Stored(version) = &outcomes[0] else { panic!("{outcomes:?}") };
    assert_ne!(Some(version), first.as_ref());
    let Outcome::Conflict(Some(record)) = &outcomes[1] else { panic!("{outcomes:?}") };
    assert_eq!(record.version(), *version);
    let file = fs::read_to_string(&path).unwrap();
    assert_eq!(file.matches("\"a\"").count(), 1, "{file}");
    assert_eq!(writer.shared.tombstone("a", Instant::now()), None);
}

#[test]
fn a_tombstone_of_an_absent_user_leaves_the_file_unchanged() {
    let Bench { writer, path, _directory, .. } = bench("[ ]");
    let (reply, _answer) = oneshot::channel();
    let (id, now) = (Arc::from("a"), Instant::now());
    writer.write(&[Write { id, action: Action::Delete, now, reply }]).unwrap();
    assert_eq!(fs::read_to_string(&path).unwrap(), "[ ]");
    let (under_way, _answer) = save("a", Some(tombstone::nothing()));
    assert!(matches!(&writer.write(&[under_way]).unwrap()[0], Outcome::Conflict(None)));
    let (mut after, _answer) = save("a", Some(tombstone::nothing()));
    after.now = now + crate::database::tombstone::LIFETIME;
    assert!(matches!(&writer.write(&[after]).unwrap()[0], Outcome::Stored(_)));
}

#[test]
fn after_an_uncertain_outcome_the_file_is_read_again() {
    let Bench { writer, path, _directory, .. } = bench(r#"[{"id":"a"},{"id":"b"}]"#);
    let shared = &writer.shared;
    let version = |id| shared.get(id).map(|record| record.version());
    let before = (version("a"), version("b"));
    fs::write(&path, r#"[{"id":"a"},{"id":"b","new":1}]"#).unwrap();
    shared.announce(shared.disk.fingerprint().unwrap());
    assert!(shared.is_current());
    shared.invalidate();
    assert!(!shared.is_current());
    shared.refresh().unwrap();
    assert!(shared.is_current());
    assert_eq!(version("a"), before.0);
    assert_ne!(version("b"), before.1);
}
