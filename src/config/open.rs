//! Opening what the configuration names.

use super::DatabaseConfig;
use crate::error::Kind;
use crate::{AnyDatabase, Error, MemoryDb};

impl DatabaseConfig {
    pub(crate) async fn open(self) -> Result<AnyDatabase, Error> {
        match self {
            Self::Memory => Ok(AnyDatabase::new(MemoryDb::new())),
            #[cfg(feature = "file")]
            Self::File(path) => crate::FileDb::open(path).await.map(AnyDatabase::new),
            #[cfg(not(feature = "file"))]
            Self::File(_) => Err(without("file")),
            #[cfg(not(feature = "dynamodb"))]
            Self::DynamoDb(_) => Err(without("dynamodb")),
            #[cfg(not(feature = "mongodb"))]
            Self::MongoDb(_) => Err(without("mongodb")),
            #[cfg(any(feature = "dynamodb", feature = "mongodb"))]
            _ => Err(without("x")),
        }
    }
}

fn without(feature: &str) -> Error {
    let message = format!("the database needs the feature `{feature}` of tower-persistence");
    Error::new(Kind::Configuration, message)
}
