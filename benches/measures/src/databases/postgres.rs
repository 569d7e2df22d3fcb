//! `PostgresDb` beside `tokio-postgres` with the pool of `deadpool`, over a server that is given.

use std::fmt;
use std::hint::black_box;

use deadpool_postgres::{Manager, ManagerConfig, Object, Pool, RecyclingMethod};
use serde_json::Value;
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{NoTls, Row};
use tower_persistence::{PostgresDb, Record};

use super::{Store, visit};

const SELECT: &str = "SELECT record::text, version FROM measures_bare WHERE id = $1";
const UPDATE: &str = "UPDATE measures_bare SET record = $2::text::json, version = version + 1 \
                      WHERE id = $1 AND version = $3 RETURNING true";

/// Opens the database on a table for measures.
pub async fn database(url: &str) -> PostgresDb {
    PostgresDb::builder().url(url).table("measures_users").connect().await.expect("a URL")
}

/// A pool of connections, and a table of its own.
#[derive(Clone)]
pub struct Bare {
    pool: Pool,
    /// Set to prepare statements under names, once for each connection. `PostgresDb` does not: a
    /// pooler in between would lose them.
    is_prepared: bool,
}

impl Bare {
    /// Makes a pool.
    #[must_use]
    pub fn open(url: &str) -> Self {
        let config = ManagerConfig { recycling_method: RecyclingMethod::Fast };
        let manager = Manager::from_config(url.parse().expect("a URL"), NoTls, config);
        Self { pool: Pool::builder(manager).build().expect("a pool"), is_prepared: false }
    }

    /// Prepares statements under names.
    #[must_use]
    pub fn prepared(self) -> Self {
        Self { is_prepared: true, ..self }
    }

    /// Removes both tables.
    pub async fn clear(&self) {
        let drop = "DROP TABLE IF EXISTS measures_users, measures_bare";
        self.get().await.batch_execute(drop).await.expect("dropped");
    }

    /// Stores users in a new table.
    pub async fn fill(&self, users: usize, record: &Record) {
        let client = self.get().await;
        let create = "CREATE TABLE measures_bare \
                      (id text COLLATE \"C\" PRIMARY KEY, record json, version bigint NOT NULL)";
        client.batch_execute(create).await.expect("created");
        let insert = "INSERT INTO measures_bare SELECT 'user-' || user_number, $1::text::json, 1 \
                      FROM generate_series(0, $2::bigint) AS user_number";
        let record = serde_json::to_string(record).expect("JSON");
        let last = users as i64 - 1;
        client.execute(insert, &[&record, &last]).await.expect("inserted");
    }

    async fn get(&self) -> Object {
        self.pool.get().await.expect("a connection")
    }

    async fn query(&self, sql: &str, values: &[(&(dyn ToSql + Sync), Type)]) -> Vec<Row> {
        let client = self.get().await;
        if !self.is_prepared {
            return client.query_typed(sql, values).await.expect("rows");
        }
        let types: Vec<Type> = values.iter().map(|(_, kind)| kind.clone()).collect();
        let statement = client.prepare_typed_cached(sql, &types).await.expect("a statement");
        let values: Vec<_> = values.iter().map(|(value, _)| *value).collect();
        client.query(&statement, &values).await.expect("rows")
    }

    async fn find(&self, id: &str) -> (Value, i64) {
        let rows = self.query(SELECT, &[(&id, Type::TEXT)]).await;
        let row = rows.first().expect("a row");
        (serde_json::from_str(row.get(0)).expect("JSON"), row.get(1))
    }
}

impl fmt::Debug for Bare {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Bare").field("is_prepared", &self.is_prepared).finish_non_exhaustive()
    }
}

impl Store for Bare {
    async fn load(&self, id: &str) {
        black_box(self.find(id).await);
    }

    async fn visit(&self, id: &str, _: usize) {
        let (mut record, version) = self.find(id).await;
        visit(&mut record);
        let text = record.to_string();
        let values: [(&(dyn ToSql + Sync), Type); 3] =
            [(&id, Type::TEXT), (&text, Type::TEXT), (&version, Type::INT8)];
        assert_eq!(self.query(UPDATE, &values).await.len(), 1);
    }
}
