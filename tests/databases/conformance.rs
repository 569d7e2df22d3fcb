//! The databases that need no server.

use std::path::Path;
use std::sync::Arc;

use libtest_mimic::Trial;
use tempfile::TempDir;
use tokio::sync::OnceCell;
use tower_persistence::testing::{conformance, durability};
use tower_persistence::{AnyDatabase, FileDb, MemoryDb, connect};

use crate::bounded::{Case, case};
use crate::erasure::erasure_cases;
use crate::faults::fault_cases;
use crate::layer::layer_cases;

pub(crate) fn trials() -> Vec<Trial> {
    let memory = MemoryDb::new();
    let make_memory = async move || memory.clone();
    let make_file = file();
    let mut cases = vec![
        case("memory::conformance".to_owned(), {
            let make_db = make_memory.clone();
            async move || conformance(make_db.clone()).await
        }),
        case("file::conformance".to_owned(), {
            let make_db = make_file.clone();
            async move || conformance(make_db.clone()).await
        }),
        case("file::conformance_of_a_file_opened_anew".to_owned(), async || {
            let directory = directory();
            let path = directory.path().join("db.json");
            let open = async || FileDb::open(&path).await.unwrap();
            durability(open, open).await;
            assert_eq!(std::fs::read_to_string(path).unwrap().trim(), "[]");
        }),
        case("any::conformance".to_owned(), async || {
            let (directory, memory) = (directory(), connect("memory:").await.unwrap());
            conformance(async || memory.clone()).await;
            let url = format!("file:{}", directory.path().join("db.json").display());
            let file = connect(&url).await.unwrap();
            conformance(async || file.clone()).await;
            conformance(async || AnyDatabase::new(memory.clone())).await;
        }),
    ];
    #[cfg(feature = "sqlite")]
    cases.extend(sqlite_cases());
    cases.extend(erasure_cases("memory", make_memory.clone()));
    cases.extend(erasure_cases("file", make_file.clone()));
    cases.extend(layer_cases("memory", make_memory));
    cases.extend(layer_cases("file", make_file.clone()));
    cases.extend(fault_cases("file", make_file));
    cases.into_iter().map(Case::trial).collect()
}

/// Makes clones of a database in a file that the first call opens.
fn file() -> impl AsyncFn() -> FileDb + Clone + Send + Sync + 'static {
    let opened: Arc<OnceCell<(FileDb, TempDir)>> = Arc::default();
    async move || {
        let open = async || {
            let directory = directory();
            (FileDb::open(directory.path().join("db.json")).await.unwrap(), directory)
        };
        opened.get_or_init(open).await.0.clone()
    }
}

/// Each handle opens the file anew, as another process would.
#[cfg(feature = "sqlite")]
fn sqlite_cases() -> Vec<Case> {
    let directory = Arc::new(directory());
    let make_db = async move || {
        let path = directory.path().join("users.sqlite");
        tower_persistence::SqliteDb::open(path).await.unwrap()
    };
    let [one, erasure, faults, layer] = std::array::from_fn(|_| make_db.clone());
    let mut cases = vec![
        case("sqlite::conformance".to_owned(), async move || {
            let db = make_db().await;
            conformance(async || db.clone()).await;
        }),
        case("sqlite::conformance_of_a_file_opened_anew".to_owned(), async move || {
            conformance(one.clone()).await;
        }),
    ];
    cases.extend(erasure_cases("sqlite", erasure));
    cases.extend(layer_cases("sqlite", layer));
    cases.extend(fault_cases("sqlite", faults));
    cases
}

/// Makes a directory in memory, if the system has such a place: these tests are not about disks.
fn directory() -> TempDir {
    let memory = Path::new("/dev/shm");
    if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() }.unwrap()
}
