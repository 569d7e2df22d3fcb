//! The server is killed.

use tokio::task::block_in_place;
use tower_persistence::{Database, PostgresDb};

use super::{load, of_user, stored, visits};
use crate::process::Server;

async fn open(server: &Server) -> PostgresDb {
    let builder = PostgresDb::builder().url(of_user(&server.endpoint()));
    builder.timeout(super::PATIENCE).connect().await.unwrap()
}

pub(super) async fn acknowledged_saves_survive_kills(mut server: Server) {
    for round in 0..3 {
        let db = open(&server).await;
        let mut version = db.load("a").await.unwrap().map(|stored| stored.version);
        for turn in 0..50 {
            version = Some(stored(&db, "a", &visits(round * 100 + turn), version.as_ref()).await);
        }
        stored(&db, "deleted", &visits(1), None).await;
        db.delete("deleted").await.unwrap();
        let tombstone = db.load_for_update("deleted").await.unwrap();
        block_in_place(|| server.stop());
        block_in_place(|| server.start_again());
        let db = open(&server).await;
        let found = load(&db, "a").await;
        assert_eq!((found.record, Some(found.version)), (visits(round * 100 + 49), version));
        assert_eq!(db.load_for_update("deleted").await.unwrap(), tombstone);
    }
}

/// What connections were open is gone, and nothing of it is to be seen.
pub(super) async fn a_restart_is_no_error(mut server: Server) {
    let db = open(&server).await;
    let mut version = None;
    for turn in 0..2 {
        let loads: Vec<_> = (0..8).map(|_| db.load("a")).collect();
        futures_util::future::join_all(loads).await;
        version = Some(stored(&db, "a", &visits(turn), version.as_ref()).await);
        block_in_place(|| server.stop());
        let error = db.load("a").await.unwrap_err();
        assert!(error.to_string().contains("no server listens there"), "{error}");
        block_in_place(|| server.start_again());
        match turn {
            0 => drop(load(&db, "a").await),
            _ => db.delete("b").await.unwrap(),
        }
        version = Some(stored(&db, "a", &visits(turn), version.as_ref()).await);
    }
}
