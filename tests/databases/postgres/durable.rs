//! A server that would acknowledge a commit before it is written.

use tokio::task::block_in_place;
use tower_persistence::{Database, PostgresDb};

use super::{client, load, of_user, stored, visits};
use crate::process::Server;

pub(super) async fn over(mut server: Server) {
    let url = of_user(&server.endpoint());
    let shown = client(&url).await.query_one("SHOW synchronous_commit", &[]).await.unwrap();
    assert_eq!(shown.get::<_, &str>(0), "off");
    let db = PostgresDb::builder().url(&url).timeout(super::PATIENCE).connect().await.unwrap();
    let mut version = None;
    for turn in 0..5 {
        stored(&db, &format!("deleted {turn}"), &visits(1), None).await;
        version = Some(stored(&db, "a", &visits(turn), version.as_ref()).await);
        block_in_place(|| server.stop());
        block_in_place(|| server.start_again());
        assert_eq!(Some(load(&db, "a").await.version), version, "{turn}");
        db.delete(&format!("deleted {turn}")).await.unwrap();
        block_in_place(|| server.stop());
        block_in_place(|| server.start_again());
        assert_eq!(db.load(&format!("deleted {turn}")).await.unwrap(), None, "{turn}");
    }
}
