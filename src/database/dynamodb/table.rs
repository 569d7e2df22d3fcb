//! Describes the table, creates it if it is missing, waits for it and checks its key.

use std::collections::HashMap;
use std::sync::PoisonError;
use std::time::{Duration, Instant};

use aws_sdk_dynamodb::types::{
    AttributeDefinition, BillingMode, KeySchemaElement, KeyType, ProvisionedThroughput,
    ScalarAttributeType, TableDescription, TableStatus,
};

use super::client::patient;
use super::failure::{BUSY, DENIED, IN_USE, MISSING, code, failed};
use super::inner::Inner;
use crate::error::{Error, Kind};

impl Inner {
    /// Checks the table because of `reason`, the error of a call that revealed a problem with it.
    /// Creates a missing table, waits until it is active, and checks its key.
    pub(super) async fn look(&self, reason: &Error) -> Result<(), Error> {
        let table = &self.table;
        let began = Instant::now();
        let mut wait = Duration::from_millis(20);
        let mut created = false;
        loop {
            let status = match self.describe().await? {
                // Without the description, the call's own error says most.
                Described::Unknown => return Err(reason.clone()),
                Described::Missing if created => "not visible yet".to_owned(),
                Described::Missing => {
                    self.may_create()?;
                    self.create().await?;
                    created = true;
                    "not visible yet".to_owned()
                }
                Described::Table(description) => match description.table_status() {
                    Some(TableStatus::Active | TableStatus::Updating) | None => {
                        self.check(&description)?;
                        break;
                    }
                    Some(status @ (TableStatus::Creating | TableStatus::Deleting)) => {
                        status.as_str().to_owned()
                    }
                    Some(status) => {
                        return Err(Error::new(
                            Kind::Database,
                            format!(
                                "table \"{table}\" cannot be used: its status is {}",
                                status.as_str()
                            ),
                        ));
                    }
                },
            };
            let limit = self.ready_timeout;
            if began.elapsed() + wait > limit {
                return Err(Error::new(
                    Kind::Database,
                    format!("table \"{table}\" is still {status} after {limit:?}"),
                ));
            }
            tokio::time::sleep(wait).await;
            wait = (wait * 2).min(Duration::from_millis(500));
        }
        if created {
            tracing::info!("table \"{table}\" was created");
            // The time to live removes tombstones and expired users. The table is usable without
            // it.
            if let Err(error) = self.switch_expiry_on().await {
                tracing::warn!("table \"{table}\" will not remove expired items: {error:?}");
            }
        }
        Ok(())
    }

    /// Refuses to create a table if that is switched off, or if the table existed before.
    fn may_create(&self) -> Result<(), Error> {
        let (table, place) = (&self.table, self.place());
        let message = if !self.create_table {
            format!(
                "there is no table \"{table}\"{place}; create it, or allow it with `create_table(true)`"
            )
        } else if self.readiness.was_seen() {
            format!(
                "table \"{table}\"{place} was there and is gone; restore it, or restart the app to begin \
                 with an empty one"
            )
        } else {
            return Ok(());
        };
        Err(Error::new(Kind::Database, message))
    }

    async fn describe(&self) -> Result<Described, Error> {
        let request = self.client.describe_table().table_name(&self.table);
        let error = match request.customize().config_override(patient()).send().await {
            Ok(described) => {
                let table = described.table.map(Box::new);
                return Ok(table.map_or(Described::Missing, Described::Table));
            }
            Err(error) => error,
        };
        let code = code(&error).unwrap_or_default();
        if code == MISSING {
            return Ok(Described::Missing);
        }
        let tolerable = DENIED.contains(&code) || BUSY.contains(&code);
        let denied = DENIED.contains(&code);
        let error = failed("DescribeTable", &self.table, error);
        if tolerable && !self.create_table {
            tracing::debug!("{error}");
            return Ok(Described::Unknown);
        }
        Err(if denied {
            self.advised(&error, "allow it, or use `create_table(false)`")
        } else {
            error
        })
    }

    async fn create(&self) -> Result<(), Error> {
        let keys = [(Some(self.partition_key.as_str()), KeyType::Hash)]
            .into_iter()
            .chain([(self.sort_key.as_ref().map(|(name, _)| name.as_str()), KeyType::Range)]);
        let mut request = self.client.create_table().table_name(&self.table);
        for (name, kind) in keys.filter_map(|(name, kind)| Some((name?, kind))) {
            let definition = AttributeDefinition::builder()
                .attribute_name(name)
                .attribute_type(ScalarAttributeType::S)
                .build();
            let key = KeySchemaElement::builder().attribute_name(name).key_type(kind).build();
            request = request
                .attribute_definitions(definition.map_err(Error::database)?)
                .key_schema(key.map_err(Error::database)?);
        }
        // DynamoDB refuses a throughput for a table that is billed per request.
        request = match self.provisioned {
            None => request.billing_mode(BillingMode::PayPerRequest),
            Some((read, write)) => {
                let throughput = ProvisionedThroughput::builder()
                    .read_capacity_units(read)
                    .write_capacity_units(write)
                    .build();
                request
                    .billing_mode(BillingMode::Provisioned)
                    .provisioned_throughput(throughput.map_err(Error::database)?)
            }
        };
        match request.customize().config_override(patient()).send().await {
            Ok(_) => Ok(()),
            // Another process created it at the same time.
            Err(error) if code(&error) == Some(IN_USE) => Ok(()),
            Err(error) => {
                let denied = code(&error).is_some_and(|code| DENIED.contains(&code));
                let error = failed("CreateTable", &self.table, error);
                Err(if denied {
                    self.advised(&error, "allow it, or create the table beforehand")
                } else {
                    error
                })
            }
        }
    }

    /// Refuses a table with an unexpected key.
    fn check(&self, description: &TableDescription) -> Result<(), Error> {
        let definitions = description.attribute_definitions();
        let kinds: HashMap<_, _> = definitions
            .iter()
            .map(|each| (each.attribute_name().to_owned(), each.attribute_type().clone()))
            .collect();
        let found = |kind: &KeyType| {
            let key = description.key_schema().iter().find(|key| key.key_type() == kind)?;
            let name = key.attribute_name();
            Some((name, kinds.get(name).cloned().unwrap_or(ScalarAttributeType::S)))
        };
        let sort_key = self.sort_key.as_ref().map(|(name, _)| name.as_str());
        let keys = [
            ("partition key", Some(self.partition_key.as_str()), found(&KeyType::Hash)),
            ("sort key", sort_key, found(&KeyType::Range)),
        ];
        for (what, expected, found) in keys {
            let method = what.replace(' ', "_");
            let advice = match (expected, &found) {
                (None, None) => continue,
                (Some(expected), Some((name, ScalarAttributeType::S))) if expected == *name => {
                    continue;
                }
                (_, Some((name, ScalarAttributeType::S))) if what == "sort key" => {
                    format!("name it and a value with `.{method}(\"{name}\", …)`")
                }
                (_, Some((name, ScalarAttributeType::S))) => {
                    format!("name it with `.{method}(\"{name}\")`")
                }
                (Some(_), None) => format!("leave `.{method}(…)` out, or use another table"),
                _ => "use another table: only strings can be used".to_owned(),
            };
            let expected = expected.map_or("none".to_owned(), |name| format!("`{name}` (S)"));
            let found = found
                .map_or("none".to_owned(), |(name, kind)| format!("`{name}` ({})", kind.as_str()));
            let table = &self.table;
            return Err(Error::configuration(format!(
                "the {what} of table \"{table}\" is {found}, expected is {expected}; {advice}"
            )));
        }
        *self.readiness.kinds.write().unwrap_or_else(PoisonError::into_inner) = Some(kinds);
        Ok(())
    }

    fn advised(&self, error: &Error, advice: &str) -> Error {
        use std::error::Error as _;

        let cause = error.source().map(|source| format!(": {source}")).unwrap_or_default();
        Error::new(Kind::Database, format!("{error}{cause}; {advice}"))
    }
}

enum Described {
    Table(Box<TableDescription>),
    Missing,
    /// The role may not describe the table.
    Unknown,
}
