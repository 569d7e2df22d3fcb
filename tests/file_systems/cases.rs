use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::Command;

use libtest_mimic::Trial;
use rustix::fs::{XattrFlags, getxattr, setxattr};
use tempfile::TempDir;

use super::child::{self, AS_ROOT, AS_USER, AS_USER_IN_GROUP, USER};

const FILE: &str = "[{\"id\":\"first\"}]";
const GROUP: u32 = 4_321;

pub(crate) fn trials() -> Vec<Trial> {
    let mounts = child::can(&["unshare", "--mount"]);
    let users = child::can(AS_USER) && child::can(AS_USER_IN_GROUP);
    let flags = can_set_flags();
    let lists = can_set_lists();
    let trial = |name: &str, case: fn(), possible: bool, needs: &str| {
        let run = move || {
            case();
            Ok(())
        };
        let kind = if possible { "" } else { needs };
        Trial::test(name, run).with_kind(kind).with_ignored_flag(!possible)
    };
    vec![
        trial("a_mounted_file", a_mounted_file, mounts, "needs unshare --mount"),
        trial("a_mount_for_reading", a_mount_for_reading, mounts, "needs unshare --mount"),
        trial("a_full_file_system", a_full_file_system, mounts, "needs unshare --mount"),
        trial("immutable_files_and_directories", immutable, flags, "needs chattr"),
        trial("another_users_file_in_a_sticky_directory", sticky, users, "needs setpriv"),
        trial("a_directory_that_cannot_be_read", unreadable_directory, users, "needs setpriv"),
        trial("a_directory_that_cannot_be_written", unwritable_directory, users, "needs setpriv"),
        trial("another_users_lock", another_users_lock, users, "needs setpriv"),
        trial("root_keeps_owner_group_and_mode", root_keeps_all, users, "needs setpriv"),
        trial("a_group_that_cannot_be_kept", group_not_kept, users, "needs setpriv"),
        trial("a_group_that_can_be_kept", group_kept, users, "needs setpriv"),
        trial("lists_and_attributes_are_carried", lists_carried, lists, "needs ACLs"),
        trial("a_list_of_the_directory_is_not_taken", list_of_directory, lists, "needs ACLs"),
        trial("a_list_that_cannot_be_carried", list_not_carried, lists && users, "needs ACLs"),
    ]
}

/// Makes a directory that every user may search, and the file in it.
fn file(mode: u32) -> (TempDir, PathBuf) {
    let directory = tempfile::tempdir().unwrap();
    fs::set_permissions(directory.path(), Permissions::from_mode(0o755)).unwrap();
    let path = directory.path().join("db.json");
    fs::write(&path, FILE).unwrap();
    fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
    (directory, path)
}

fn give_directory_to_user(directory: &TempDir) {
    chown(directory.path(), Some(USER), Some(USER)).unwrap();
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().mode() & 0o7777
}

fn warnings(lines: &[String]) -> Vec<&String> {
    lines.iter().filter(|line| line.contains("WARN")).collect()
}

#[track_caller]
fn assert_refused(lines: &[String], advice: &str) {
    let answers: Vec<_> = lines.iter().filter(|line| !line.contains("WARN")).collect();
    let [line] = answers[..] else { panic!("{lines:?}") };
    assert!(line.starts_with("refused: ") && line.contains(advice), "{line}");
    assert!(!line.contains("for certain"), "{line}");
}

#[track_caller]
fn assert_stored(lines: &[String]) {
    let answers = lines.iter().filter(|line| !line.contains("WARN"));
    assert_eq!(answers.collect::<Vec<_>>(), ["opened", "stored", "stored"], "{lines:?}");
}

#[track_caller]
fn assert_untouched(path: &Path) {
    assert_eq!(fs::read_to_string(path).unwrap(), FILE);
    for entry in fs::read_dir(path.parent().unwrap()).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        assert!(!name.ends_with(".tmp"), "{name} is left");
    }
}

/// Runs in mounts of its own, which `script` makes; `$0` is the directory.
fn in_mounts(script: &str, path: &Path) -> Vec<String> {
    let script = format!("set -e; {script}; exec \"$1\"");
    let directory = path.parent().unwrap().to_str().unwrap();
    child::lines(&["unshare", "--mount", "sh", "-c", &script, directory], path)
}

fn a_mounted_file() {
    for name in ["db.json", "with space.json"] {
        let (directory, path) = file(0o644);
        let mounted = directory.path().join("sub").join(name);
        fs::create_dir(mounted.parent().unwrap()).unwrap();
        fs::write(&mounted, "").unwrap();
        let script = format!("mount --bind \"$0/../db.json\" \"$0/{name}\"");
        assert_refused(&in_mounts(&script, &mounted), "mount its directory instead");
        assert_untouched(&path);
    }
    let (_directory, path) = file(0o644);
    assert_stored(&in_mounts("mount --bind \"$0\" \"$0\"", &path));
}

fn a_mount_for_reading() {
    let (_directory, path) = file(0o644);
    let script = "mount --bind \"$0\" \"$0\"; mount -o remount,ro,bind \"$0\"";
    assert_refused(&in_mounts(script, &path), "Let this process write to");
    fs::write(path.with_file_name("db.json.lock"), "").unwrap();
    assert_refused(&in_mounts(script, &path), "for writing");
    assert_untouched(&path);
}

fn a_full_file_system() {
    let (_directory, path) = file(0o644);
    let script = "mount -t tmpfs -o size=64k none \"$0\"; echo '[]' >\"$0/db.json\"; \
        dd if=/dev/zero of=\"$0/full\" bs=4k 2>/dev/null || true";
    assert_refused(&in_mounts(script, &path), "Free space");
}

fn chattr(flag: &str, path: &Path) -> bool {
    let chattr = Command::new("chattr").arg(flag).arg(path).output();
    chattr.is_ok_and(|output| output.status.success())
}

fn can_set_flags() -> bool {
    let (_directory, path) = file(0o644);
    chattr("+i", &path) && chattr("-i", &path)
}

fn immutable() {
    for (flag, release) in [("+i", "-i"), ("+a", "-a")] {
        for of_directory in [false, true] {
            let (directory, path) = file(0o644);
            fs::write(path.with_file_name("db.json.lock"), "").unwrap();
            let target = if of_directory { directory.path() } else { &path };
            assert!(chattr(flag, target));
            let lines = child::lines(AS_ROOT, &path);
            assert!(chattr(release, target));
            assert_refused(&lines, "`chattr -i`");
            assert_eq!(fs::read_to_string(&path).unwrap(), FILE);
            // Once released, it works, and removes the temporary file that it could not remove
            // before.
            assert_stored(&child::lines(AS_ROOT, &path));
            assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 2);
        }
    }
}

fn sticky() {
    let (directory, path) = file(0o666);
    fs::set_permissions(directory.path(), Permissions::from_mode(0o1777)).unwrap();
    assert_refused(&child::lines(AS_USER, &path), "In a sticky directory");
    assert_untouched(&path);
    chown(&path, Some(USER), Some(USER)).unwrap();
    chown(path.with_file_name("db.json.lock"), Some(USER), Some(USER)).unwrap();
    assert_stored(&child::lines(AS_USER, &path));
}

fn unreadable_directory() {
    let (directory, path) = file(0o600);
    chown(&path, Some(USER), Some(USER)).unwrap();
    give_directory_to_user(&directory);
    fs::set_permissions(directory.path(), Permissions::from_mode(0o300)).unwrap();
    let lines = child::lines(AS_USER, &path);
    assert_stored(&lines);
    let [warning] = warnings(&lines)[..] else { panic!("{lines:?}") };
    assert!(warning.contains("cannot be synced"), "{warning}");
    // The same holds for a directory that is created inside.
    let made = directory.path().join("sub/deep/db.json");
    assert_stored(&child::lines(AS_USER, &made));
}

fn unwritable_directory() {
    let (directory, path) = file(0o666);
    assert_refused(&child::lines(AS_USER, &path), "Let this process write to");
    fs::write(path.with_file_name("db.json.lock"), "").unwrap();
    assert_refused(&child::lines(AS_USER, &path), directory.path().to_str().unwrap());
    assert_untouched(&path);
}

fn another_users_lock() {
    let (directory, path) = file(0o600);
    chown(&path, Some(USER), Some(USER)).unwrap();
    give_directory_to_user(&directory);
    let lock = path.with_file_name("db.json.lock");
    fs::write(&lock, "").unwrap();
    fs::set_permissions(&lock, Permissions::from_mode(0o600)).unwrap();
    assert_refused(&child::lines(AS_USER, &path), "db.json.lock is in the way");
    assert_untouched(&path);
    fs::set_permissions(&lock, Permissions::from_mode(0o644)).unwrap();
    assert_stored(&child::lines(AS_USER, &path));
    // The lock keeps other processes out although it is opened only for reading.
    fs::write(&path, FILE).unwrap();
    let held = fs::File::open(&lock).unwrap();
    held.lock().unwrap();
    assert_refused(&child::lines(AS_USER, &path), "is in use");
}

fn root_keeps_all() {
    let (_directory, path) = file(0o640);
    chown(&path, Some(USER), Some(GROUP)).unwrap();
    let lines = child::lines(AS_ROOT, &path);
    assert_stored(&lines);
    assert_eq!(warnings(&lines), [""; 0]);
    for path in [path.with_file_name("db.json.lock"), path] {
        let found = fs::metadata(&path).unwrap();
        assert_eq!((found.uid(), found.gid(), mode(&path)), (USER, GROUP, 0o640));
    }
}

fn group_not_kept() {
    for (before, after) in [(0o660, 0o600), (0o664, 0o604), (0o646, 0o606)] {
        let (directory, path) = file(before | 0o004);
        chown(&path, Some(0), Some(GROUP)).unwrap();
        give_directory_to_user(&directory);
        let lines = child::lines(AS_USER, &path);
        assert_stored(&lines);
        let warnings = warnings(&lines);
        assert!(warnings.iter().any(|line| line.contains("belongs to another user")), "{lines:?}");
        assert!(warnings.iter().any(|line| line.contains("belongs to a group")), "{lines:?}");
        let found = fs::metadata(&path).unwrap();
        assert_eq!((found.uid(), found.gid(), mode(&path)), (USER, USER, after | 0o004));
    }
}

fn group_kept() {
    let (directory, path) = file(0o660);
    chown(&path, Some(0), Some(GROUP)).unwrap();
    give_directory_to_user(&directory);
    let lines = child::lines(AS_USER_IN_GROUP, &path);
    assert_stored(&lines);
    let [warning] = warnings(&lines)[..] else { panic!("{lines:?}") };
    assert!(warning.contains("belongs to another user"), "{warning}");
    let found = fs::metadata(&path).unwrap();
    assert_eq!((found.uid(), found.gid(), mode(&path)), (USER, GROUP, 0o660));
}

const LIST: &str = "system.posix_acl_access";
const LIST_FOR_NEW: &str = "system.posix_acl_default";
const ATTRIBUTE: &str = "user.note";

/// Owner rw, `USER` rw, group none, mask rw, others none, in the kernel's encoding.
fn list() -> Vec<u8> {
    const NO_ID: u32 = u32::MAX;
    let entries: [(u16, u16, u32); 5] =
        [(0x01, 6, NO_ID), (0x02, 6, USER), (0x04, 0, NO_ID), (0x10, 6, NO_ID), (0x20, 0, NO_ID)];
    let mut list = 2_u32.to_le_bytes().to_vec();
    for (tag, permissions, id) in entries {
        list.extend(tag.to_le_bytes());
        list.extend(permissions.to_le_bytes());
        list.extend(id.to_le_bytes());
    }
    list
}

fn attribute(path: &Path, name: &str) -> Option<Vec<u8>> {
    let mut value = vec![0; 1024];
    let length = getxattr(path, name, &mut value[..]).ok()?;
    value.truncate(length);
    Some(value)
}

fn can_set_lists() -> bool {
    let (directory, path) = file(0o660);
    setxattr(&path, LIST, &list(), XattrFlags::empty()).is_ok()
        && setxattr(&path, ATTRIBUTE, b"note", XattrFlags::empty()).is_ok()
        && setxattr(directory.path(), LIST_FOR_NEW, &list(), XattrFlags::empty()).is_ok()
}

fn lists_carried() {
    let (_directory, path) = file(0o600);
    setxattr(&path, LIST, &list(), XattrFlags::empty()).unwrap();
    setxattr(&path, ATTRIBUTE, b"note", XattrFlags::empty()).unwrap();
    let lines = child::lines(AS_ROOT, &path);
    assert_stored(&lines);
    assert_eq!(warnings(&lines), [""; 0]);
    assert_ne!(fs::read_to_string(&path).unwrap(), FILE);
    assert_eq!(attribute(&path, LIST), Some(list()));
    assert_eq!(attribute(&path, ATTRIBUTE).unwrap(), b"note");
    assert_eq!(mode(&path), 0o660);
}

fn list_of_directory() {
    let (directory, path) = file(0o660);
    setxattr(directory.path(), LIST_FOR_NEW, &list(), XattrFlags::empty()).unwrap();
    assert_stored(&child::lines(AS_ROOT, &path));
    assert_eq!(attribute(&path, LIST), None);
    assert_eq!(mode(&path), 0o660);
}

fn list_not_carried() {
    let (directory, path) = file(0o666);
    let mut open_to_group = list();
    // Four bytes for the version, eight per entry: tag, permissions, id. Grants the group access as
    // well.
    open_to_group[4 + 2 * 8 + 2] = 6;
    setxattr(&path, LIST, &open_to_group, XattrFlags::empty()).unwrap();
    chown(&path, Some(0), Some(GROUP)).unwrap();
    give_directory_to_user(&directory);
    assert_refused(&child::lines(AS_USER, &path), "`setfacl -b`");
    assert_untouched(&path);
    assert_stored(&child::lines(AS_USER_IN_GROUP, &path));
    assert_eq!(attribute(&path, LIST), Some(open_to_group));
}
