//! Poolers that give each transaction another connection.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::try_join;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use tower_persistence::{Database, PostgresDb};

use super::proxy::{first, read, write};
use super::{Place, client, load, stored, visits};

/// Starts a pooler that leads each client's transactions to two connections in turn, and clears a
/// session after each, as PgBouncer's `server_reset_query` does.
async fn start(server: String) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    tokio::spawn(async move {
        loop {
            let (client, _) = listener.accept().await.unwrap();
            let server = server.clone();
            // An error is a closed connection.
            tokio::spawn(async move { serve(client, &server).await.ok() });
        }
    });
    address
}

async fn serve(mut client: TcpStream, server: &str) -> std::io::Result<()> {
    let (mut code, mut rest) = first(&mut client).await?;
    if code == 80_877_103 {
        client.write_all(b"N").await?;
        (code, rest) = first(&mut client).await?;
    }
    let connect = || TcpStream::connect(server);
    let (one, other) = try_join(connect(), connect()).await?;
    let mut servers = [one, other];
    for (number, server) in servers.iter_mut().enumerate() {
        server.write_u32(8 + rest.len() as u32).await?;
        server.write_u32(code).await?;
        server.write_all(&rest).await?;
        answer(server, (number == 0).then_some(&mut client)).await?;
    }
    for turn in 0.. {
        let server = &mut servers[turn % 2];
        loop {
            let (kind, body) = read(&mut client).await?;
            write(server, kind, &body).await?;
            if matches!(kind, b'S' | b'Q') {
                break;
            }
        }
        answer(server, Some(&mut client)).await?;
        write(server, b'Q', b"DISCARD ALL\0").await?;
        answer(server, None).await?;
    }
    Ok(())
}

/// Forwards an answer to its end.
async fn answer(server: &mut TcpStream, mut to: Option<&mut TcpStream>) -> std::io::Result<()> {
    loop {
        let (kind, body) = read(server).await?;
        if let Some(client) = &mut to {
            write(*client, kind, &body).await?;
        }
        if kind == b'Z' {
            return Ok(());
        }
    }
}

async fn works(place: &Place, url: String) {
    let db = place.builder().url(&url).connect().await.unwrap();
    let mut version = None;
    for turn in 0..20 {
        version = Some(stored(&db, "a", &visits(turn), version.as_ref()).await);
        assert_eq!(load(&db, "a").await.record, visits(turn));
        db.delete("b").await.unwrap();
    }
    // A statement with a name gets lost, so that this test can fail.
    let named = client(&url).await;
    let statement = named.prepare("SELECT 1").await.unwrap();
    let mut is_lost = false;
    for _ in 0..4 {
        is_lost |= named.query(&statement, &[]).await.is_err();
    }
    assert!(is_lost, "this pooler keeps named statements");
}

pub(super) async fn every_transaction_may_have_another_connection(place: Arc<Place>) {
    let url = place.through(&start(place.address()).await);
    works(&place, url.clone()).await;
    let db = place.builder().url(&url).connect().await.unwrap();
    of_many_users(&db).await;
}

/// Has many turns of many users wait for few connections.
async fn of_many_users(db: &PostgresDb) {
    let turns = (0..64).map(|number| async move {
        let id = format!("user {number}");
        let mut version = None;
        for turn in 0..8 {
            version = Some(stored(db, &id, &visits(turn), version.as_ref()).await);
        }
        assert_eq!(load(db, &id).await.record, visits(7));
    });
    futures_util::future::join_all(turns).await;
}

/// PgBouncer refuses to be started by root.
const START: &str = r#"[ "$(id -u)" != 0 ] || exec setpriv --reuid=65534 --regid=65534 --clear-groups "$@"
exec "$@""#;

/// PgBouncer itself, where the machine has it.
pub(super) async fn pgbouncer_in_transaction_mode(place: Arc<Place>) {
    let directory = tempfile::tempdir().unwrap();
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = free.local_addr().unwrap().port();
    drop(free);
    let address = place.address();
    let (host, server_port) = address.rsplit_once(':').unwrap();
    let settings = directory.path().join("pgbouncer.ini");
    let text = format!(
        "[databases]\n* = host={host} port={server_port} user=postgres\n\
         [pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\nunix_socket_dir =\n\
         auth_type = any\npool_mode = transaction\ndefault_pool_size = 3\n\
         server_reset_query_always = 1\n"
    );
    std::fs::write(&settings, text).unwrap();
    make_readable(directory.path());
    let mut command = crate::process::watched("sh");
    command.args(["-c", START, "start"]).arg(pgbouncer().unwrap()).arg(&settings);
    let process = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let address = format!("127.0.0.1:{port}");
    while TcpStream::connect(&address).await.is_err() {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let url = place.through(&address);
    works(&place, url.clone()).await;
    of_many_users(&place.builder().url(url).connect().await.unwrap()).await;
    crate::process::end(process, "PgBouncer");
}

pub(super) fn pgbouncer() -> Option<PathBuf> {
    let paths = std::env::var_os("PATH").unwrap_or_default();
    let mut programs = std::env::split_paths(&paths).map(|path| path.join("pgbouncer"));
    programs.find(|program| program.is_file())
}

fn make_readable(directory: &Path) {
    use std::os::unix::fs::PermissionsExt;

    std::fs::set_permissions(directory, std::fs::Permissions::from_mode(0o755)).unwrap();
}
