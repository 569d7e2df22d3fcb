//! The table: described, created where it is missing, waited for, and checked, once for the process.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{Duration, Instant};

use aws_sdk_dynamodb::config;
use aws_sdk_dynamodb::types::{
    AttributeDefinition, BillingMode, KeySchemaElement, KeyType, ProvisionedThroughput,
    ScalarAttributeType, TableDescription, TableStatus,
};
use tokio::sync::watch;

use super::Inner;
use super::client::timeouts;
use super::failure::{code, failed};
use super::tombstone::TimeToLive;
use crate::Error;
use crate::error::Kind;

/// How long a table may take to become active. AWS needs about ten seconds.
const MAX_WAIT: Duration = Duration::from_secs(60);

/// What AWS answers whom a policy forbids the call.
pub(super) const DENIED: [&str; 2] = ["AccessDeniedException", "AccessDenied"];

/// What AWS answers who asks for too much at a time. It says nothing about the table.
const BUSY: [&str; 3] =
    ["ThrottlingException", "RequestLimitExceeded", "ProvisionedThroughputExceededException"];

type Outcome = Option<Result<(), Error>>;

#[derive(Debug, Default)]
pub(super) struct Readiness {
    ready: AtomicBool,
    /// Those who ask while it is being made ready wait for the same.
    flight: Mutex<Option<watch::Receiver<Outcome>>>,
    /// The types of the attributes that are keys, of the table or an index.
    kinds: RwLock<HashMap<String, ScalarAttributeType>>,
    pub(super) time_to_live: TimeToLive,
}

impl Readiness {
    /// Has the table looked at again by whoever comes next.
    pub(super) fn reset(&self) {
        self.ready.store(false, Ordering::Release);
        self.time_to_live.forget();
    }

    pub(super) fn kind(&self, attribute: &str) -> Option<ScalarAttributeType> {
        self.kinds.read().unwrap_or_else(PoisonError::into_inner).get(attribute).cloned()
    }
}

impl Inner {
    pub(super) async fn ready(self: &Arc<Self>) -> Result<(), Error> {
        if self.readiness.ready.load(Ordering::Acquire) {
            return Ok(());
        }
        let mut flight = self.flight();
        match flight.wait_for(Option::is_some).await.as_deref() {
            Ok(Some(outcome)) => outcome.clone(),
            _ => Err(Error::new(
                Kind::Database,
                format!("making table \"{}\" ready was broken off", self.table),
            )),
        }
    }

    /// The attempt that is under way, or a new one, in a task of its own: it goes on when who asked has lost patience.
    fn flight(self: &Arc<Self>) -> watch::Receiver<Outcome> {
        let mut flight = self.readiness.flight.lock().unwrap_or_else(PoisonError::into_inner);
        // One with an outcome is over. One without whose sender is gone went down with its runtime.
        let goes_on = |flight: &&watch::Receiver<Outcome>| {
            flight.borrow().is_none() && flight.has_changed().is_ok()
        };
        if let Some(flight) = flight.as_ref().filter(goes_on) {
            return flight.clone();
        }
        let (sender, receiver) = watch::channel(None);
        *flight = Some(receiver.clone());
        let inner = self.clone();
        tokio::spawn(async move {
            let outcome = inner.make_ready().await;
            inner.readiness.ready.store(outcome.is_ok(), Ordering::Release);
            sender.send_replace(Some(outcome));
        });
        receiver
    }

    async fn make_ready(&self) -> Result<(), Error> {
        let table = &self.table;
        let began = Instant::now();
        let mut wait = Duration::from_millis(20);
        let mut created = false;
        loop {
            let status = match self.describe().await? {
                Described::Unknown => break,
                Described::Missing if created => "not visible yet".to_owned(),
                Described::Missing if !self.create_table => {
                    return Err(Error::new(
                        Kind::Database,
                        format!(
                            "there is no table \"{table}\"{}; create it, or allow it with `create_table(true)`",
                            self.place()
                        ),
                    ));
                }
                Described::Missing => {
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
                            format!("table \"{table}\" cannot be used: it is {}", status.as_str()),
                        ));
                    }
                },
            };
            if began.elapsed() > MAX_WAIT {
                let wait = MAX_WAIT.as_secs();
                return Err(Error::new(
                    Kind::Database,
                    format!("table \"{table}\" is still {status} after {wait} seconds"),
                ));
            }
            tokio::time::sleep(wait).await;
            wait = (wait * 2).min(Duration::from_millis(500));
        }
        if created {
            tracing::info!("table \"{table}\" was created");
        }
        if self.expire_users_after.is_some() {
            return self.switch_expiry_on().await;
        }
        // By which it removes tombstones. It does without them as well.
        if created && let Err(error) = self.switch_expiry_on().await {
            tracing::warn!("table \"{table}\" will not remove what is expired: {error}");
        }
        Ok(())
    }

    async fn describe(&self) -> Result<Described, Error> {
        // With the time-out of any other call: whether the table is there is asked in front of a request.
        let request = self.client.describe_table().table_name(&self.table);
        let error = match request.send().await {
            Ok(described) => {
                let table = described.table.map(Box::new);
                return Ok(table.map_or(Described::Missing, Described::Table));
            }
            Err(error) => error,
        };
        let code = code(&error).unwrap_or_default();
        if code == "ResourceNotFoundException" {
            return Ok(Described::Missing);
        }
        let tolerable = DENIED.contains(&code) || BUSY.contains(&code);
        let denied = DENIED.contains(&code);
        let error = failed("DescribeTable", &self.table, error);
        if tolerable && !self.create_table {
            tracing::debug!(
                "table \"{}\" is used without having been looked at: {error}",
                self.table
            );
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
        // DynamoDB refuses a throughput where it is paid per request.
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
            // By another process, at the same time.
            Err(error) if code(&error) == Some("ResourceInUseException") => Ok(()),
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

    /// Refuses a table whose key is another than expected.
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
            return Err(Error::new(
                Kind::Configuration,
                format!(
                    "the {what} of table \"{table}\" is {found}, expected is {expected}; {advice}"
                ),
            ));
        }
        *self.readiness.kinds.write().unwrap_or_else(PoisonError::into_inner) = kinds;
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
    /// The role may not look at it.
    Unknown,
}

/// Calls about the table take longer than those about items.
pub(super) fn patient() -> config::Builder {
    config::Builder::new().timeout_config(timeouts(Duration::from_secs(10)))
}
