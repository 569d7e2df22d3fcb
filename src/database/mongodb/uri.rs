//! Parses a URI, and reports problems that the driver detects too late or does not name.

use std::fs::File;

use mongodb::options::{AuthMechanism, ConnectionString, Tls};

use super::failure::{refused_uri, unusable_uri};
use crate::error::Error;

pub(super) fn parse(uri: &str) -> Result<ConnectionString, Error> {
    let parsed = ConnectionString::parse(uri).map_err(|error| unusable_uri(uri, &error))?;
    if parsed.credential.as_ref().and_then(|it| it.mechanism.as_ref())
        == Some(&AuthMechanism::MongoDbCr)
    {
        return Err(refused_uri("the driver does not support `authMechanism=MONGODB-CR`"));
    }
    // The driver's error for a missing client certificate does not name the file.
    if let Some(Tls::Enabled(tls)) = &parsed.tls {
        let files =
            [("tlsCAFile", &tls.ca_file_path), ("tlsCertificateKeyFile", &tls.cert_key_file_path)];
        for (option, path) in files {
            let Some(path) = path else { continue };
            File::open(path).map_err(|error| {
                refused_uri(&format!(
                    "the file of `{option}`, {}, cannot be read: {error}",
                    path.display()
                ))
            })?;
        }
    }
    Ok(parsed)
}
