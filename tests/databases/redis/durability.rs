//! What a server acknowledged is there after it was killed: it syncs each write to its disk.

use tokio::sync::Mutex;
use tokio::task::block_in_place;
use tower_persistence::RedisDb;
use tower_persistence::testing::durability;

use crate::process::Server;

pub(crate) async fn conformance_of_a_server_that_is_killed(server: Server) {
    let url = server.endpoint();
    let server = Mutex::new(server);
    let open = async || RedisDb::connect(&url).await.unwrap();
    let reopen = async || {
        let mut server = server.lock().await;
        // SIGKILL.
        block_in_place(|| server.start_again());
        open().await
    };
    durability(open, reopen).await;
}
