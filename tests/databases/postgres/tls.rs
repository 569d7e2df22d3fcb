//! TLS, by a server in front of PostgreSQL that speaks it.

use std::path::Path;
use std::sync::Arc;

use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tower_persistence::{Database, Error, PostgresDb};

use super::{Place, all, with};

/// Made for `localhost` by `authority.pem`, and valid until 2126.
const CERTIFICATE: &[u8] = include_bytes!("tls/server.pem");
const KEY: &[u8] = include_bytes!("tls/server.key");

/// Returns the port.
async fn start(server: String) -> u16 {
    let certificate = CertificateDer::from_pem_slice(CERTIFICATE).unwrap();
    let key = PrivateKeyDer::from_pem_slice(KEY).unwrap();
    let config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)
        .unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        loop {
            let (mut client, _) = listener.accept().await.unwrap();
            let (acceptor, server) = (acceptor.clone(), server.clone());
            // An error is a closed connection.
            tokio::spawn(async move {
                let mut server = TcpStream::connect(server).await?;
                // Anything but a request for TLS is refused: this one speaks nothing else.
                let mut request = [0; 8];
                client.read_exact(&mut request).await?;
                if request != [0, 0, 0, 8, 4, 210, 22, 47] {
                    return Ok(());
                }
                client.write_all(b"S").await?;
                let mut client = acceptor.accept(client).await?;
                copy_bidirectional(&mut client, &mut server).await.map(drop)
            });
        }
    });
    port
}

async fn ask(place: &Place, url: &str) -> Result<(), Error> {
    let db: PostgresDb = place.builder().url(url).connect().await?;
    db.load("a").await.map(drop)
}

pub(super) async fn the_certificate_is_checked(place: Arc<Place>) {
    let port = start(place.address()).await;
    let [named, unnamed] =
        ["localhost", "127.0.0.1"].map(|host| place.through(&format!("{host}:{port}")));
    let file = |name: &str| {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/databases/postgres/tls");
        path.join(name).display().to_string().replace('/', "%2F")
    };
    let trusting = |url: &str| with(url, "sslrootcert", &file("authority.pem"));
    for url in [
        // Encrypted, if by anybody.
        named.clone(),
        with(&unnamed, "sslmode", "prefer"),
        trusting(&named),
        trusting(&with(&named, "sslmode", "require")),
        trusting(&with(&named, "sslmode", "verify-full")),
    ] {
        ask(&place, &url).await.unwrap_or_else(|error| panic!("{url}: {}", all(&error)));
    }
    for (url, why) in [
        (with(&named, "sslmode", "require"), "UnknownIssuer): name its authority"),
        (with(&named, "sslmode", "verify-full"), "UnknownIssuer): name its authority"),
        (trusting(&unnamed), "is not accepted (certificate not valid for name"),
        (with(&named, "sslmode", "disable"), "the server closed the connection"),
        (trusting(&with(&place.url, "sslmode", "require")), "the server does not speak TLS"),
        (with(&named, "sslrootcert", &file("none.pem")), "name a file of certificates in PEM"),
        (with(&named, "sslrootcert", &file("server.key")), "it holds no certificate"),
    ] {
        let error = ask(&place, &url).await.unwrap_err();
        assert!(all(&error).contains(why), "{url}: {}", all(&error));
    }
}
