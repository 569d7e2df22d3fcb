//! The databases that need no server.

use std::path::Path;
use std::sync::Arc;

use libtest_mimic::Trial;
use tempfile::TempDir;
use tokio::sync::OnceCell;
use tower_persistence::testing::conformance;
use tower_persistence::{AnyDatabase, FileDb, MemoryDb, connect};

use crate::erasure::erasure_trials;
use crate::layer::layer_trials;
use crate::trial;

pub(crate) fn trials() -> Vec<Trial> {
    let memory = MemoryDb::new();
    let make_memory = async move || memory.clone();
    let make_file = file();
    let mut trials = vec![
        trial("memory::conformance".to_owned(), {
            let make_db = make_memory.clone();
            async move || conformance(make_db).await
        }),
        trial("file::conformance".to_owned(), {
            let make_db = make_file.clone();
            async move || conformance(make_db).await
        }),
        trial("file::conformance_of_a_file_opened_anew".to_owned(), async || {
            let directory = directory();
            let path = directory.path().join("db.json");
            conformance(async || FileDb::open(&path).await.unwrap()).await;
            assert_eq!(std::fs::read_to_string(path).unwrap().trim(), "[]");
        }),
        trial("any::conformance".to_owned(), async || {
            let (directory, memory) = (directory(), connect("memory:").await.unwrap());
            conformance(async || memory.clone()).await;
            let url = format!("file:{}", directory.path().join("db.json").display());
            conformance(async || connect(&url).await.unwrap()).await;
            conformance(async || AnyDatabase::new(memory.clone())).await;
        }),
    ];
    trials.extend(erasure_trials("memory", make_memory.clone()));
    trials.extend(erasure_trials("file", make_file.clone()));
    trials.extend(layer_trials("memory", make_memory));
    trials.extend(layer_trials("file", make_file));
    trials
}

/// Clones of a database in a file that is opened when it is first asked for.
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

/// In memory, where the system has such a place: this is not about disks.
fn directory() -> TempDir {
    let memory = Path::new("/dev/shm");
    if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() }.unwrap()
}
