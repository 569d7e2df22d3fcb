//! Checks whether a shared server still answers. A server that hangs still accepts connections.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

/// Generous, since a machine can be busy.
const LIMIT: Duration = Duration::from_secs(10);

/// Accepts any HTTP response.
pub(crate) fn dynamodb(endpoint: &str) -> bool {
    let address = endpoint.rsplit('/').next().unwrap_or_default();
    let asked = || -> std::io::Result<[u8; 5]> {
        let mut stream = TcpStream::connect(address)?;
        stream.set_read_timeout(Some(LIMIT))?;
        write!(stream, "GET / HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n")?;
        let mut answer = [0; 5];
        stream.read_exact(&mut answer)?;
        Ok(answer)
    };
    asked().is_ok_and(|answer| &answer == b"HTTP/")
}

/// Checks a write, because a server can hang in writes alone.
#[cfg(feature = "mongodb")]
pub(crate) fn mongodb(endpoint: &str) -> bool {
    use mongodb::Client;
    use mongodb::bson::{Document, doc};

    let endpoint = endpoint.to_owned();
    // Needs a thread of its own, because a test may ask from within its runtime.
    let asked = std::thread::spawn(move || {
        crate::run(async {
            let write = async {
                let client = Client::with_uri_str(&endpoint).await?;
                let asked = client.database("health").collection::<Document>("asked");
                asked.insert_one(doc! {}).await?;
                client.shutdown().await;
                Ok::<_, mongodb::error::Error>(())
            };
            matches!(tokio::time::timeout(LIMIT, write).await, Ok(Ok(())))
        })
    });
    asked.join().unwrap_or(false)
}

#[cfg(not(feature = "mongodb"))]
pub(crate) fn mongodb(_: &str) -> bool {
    true
}

#[cfg(feature = "postgres")]
pub(crate) fn postgres(endpoint: &str) -> bool {
    let url = crate::postgres::of_user(endpoint);
    let asked = std::thread::spawn(move || {
        crate::run(async {
            let ask = async {
                loop {
                    match tokio_postgres::connect(&url, tokio_postgres::NoTls).await {
                        Ok((client, connection)) => {
                            let connection = tokio::spawn(connection);
                            let asked = client.check_connection().await;
                            connection.abort();
                            return asked;
                        }
                        // It is recovering what it stored before it was killed.
                        Err(error)
                            if error.code()
                                == Some(&tokio_postgres::error::SqlState::CANNOT_CONNECT_NOW) =>
                        {
                            tokio::time::sleep(Duration::from_millis(20)).await;
                        }
                        Err(error) => return Err(error),
                    }
                }
            };
            matches!(tokio::time::timeout(LIMIT, ask).await, Ok(Ok(())))
        })
    });
    asked.join().unwrap_or(false)
}

#[cfg(not(feature = "postgres"))]
pub(crate) fn postgres(_: &str) -> bool {
    true
}

/// Checks a write. A server that is loading its data answers with an error.
pub(crate) fn redis(endpoint: &str) -> bool {
    let address = endpoint.rsplit('/').next().unwrap_or_default();
    let asked = || -> std::io::Result<[u8; 1]> {
        let mut stream = TcpStream::connect(address)?;
        stream.set_read_timeout(Some(LIMIT))?;
        stream.write_all(b"SET health asked PX 1000\r\n")?;
        let mut answer = [0; 1];
        stream.read_exact(&mut answer)?;
        Ok(answer)
    };
    asked().is_ok_and(|answer| b"+-".contains(&answer[0]))
}
