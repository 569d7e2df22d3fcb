//! A process that opens a file and saves a user, as another user or in a namespace of its own.

use std::ffi::OsStr;
use std::path::Path;
use std::process::Command;

use tower_persistence::{Database, Expected, FileDb, Record, Saved};

pub(crate) const PATH: &str = "TOWER_PERSISTENCE_FILE_SYSTEMS_PATH";

/// The user that runs the process when root does not.
pub(crate) const USER: u32 = 65_534;

pub(crate) fn run(path: &OsStr) {
    tracing_subscriber::fmt().with_ansi(false).with_writer(std::io::stdout).init();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let db = match FileDb::open(path).await {
            Ok(db) => db,
            Err(error) => return println!("refused: {error:?}"),
        };
        println!("opened");
        for user in ["first", "second"] {
            let over = db.load(user).await.unwrap().map(|found| found.version);
            match db.save(user, &Record::default(), Expected::from(over.as_ref())).await {
                Ok(Saved::Written(_)) => println!("stored"),
                other => println!("not stored: {other:?}"),
            }
        }
        db.close().await.unwrap();
    });
}

/// Returns the lines that the process prints. `command` begins with the program that runs it, such
/// as `setpriv`.
pub(crate) fn lines(command: &[&str], path: &Path) -> Vec<String> {
    let binary = std::env::current_exe().unwrap();
    let (program, arguments) = command.split_first().unwrap();
    let output =
        Command::new(program).args(arguments).arg(binary).env(PATH, path).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect()
}

pub(crate) const AS_ROOT: &[&str] = &["env"];

pub(crate) const AS_USER: &[&str] =
    &["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups"];

pub(crate) const AS_USER_IN_GROUP: &[&str] =
    &["setpriv", "--reuid", "65534", "--regid", "65534", "--groups", "4321"];

/// Returns whether this machine can run `command`.
pub(crate) fn can(command: &[&str]) -> bool {
    let (program, arguments) = command.split_first().unwrap();
    let binary = std::env::current_exe().unwrap();
    // An empty path is refused everywhere.
    let child = Command::new(program).args(arguments).arg(binary).env(PATH, "").output();
    child.is_ok_and(|output| output.status.success())
}
