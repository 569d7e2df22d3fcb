//! One conditional write: what to set and remove, and what has to be stored still for it to happen.

use std::collections::HashMap;
use std::error::Error as StdError;

use aws_sdk_dynamodb::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_dynamodb::operation::put_item::PutItemError;
use aws_sdk_dynamodb::operation::update_item::UpdateItemError;
use aws_sdk_dynamodb::types::{AttributeValue, ReturnValuesOnConditionCheckFailure};
use serde_json::{Map, Value};

use super::item::{Attributes, Reader, Writer};
use super::known::{Known, TIMES, fingerprint};
use super::{EXPIRES, Inner, VERSION, seconds, size};
use crate::{Error, Record, Saved, Stored, Version};

/// The fields of an item in the order in which Jovo writes them. What else there is follows.
const ORDER: [&str; 5] = ["user", "session", "history", "createdAt", "updatedAt"];

/// How many attributes one update may set and remove: an expression is at most 4 KB long and has at most 300 operators.
/// <https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Constraints.html#limits-expression-parameters>
const MAX_UPDATE: usize = 250;

/// The parts of an expression: every name and value stands in it as a placeholder.
#[derive(Debug, Default)]
struct Expression {
    names: HashMap<String, String>,
    values: Attributes,
}

impl Expression {
    fn name(&mut self, name: &str) -> String {
        let placeholder = format!("#{}", self.names.len());
        self.names.insert(placeholder.clone(), name.to_owned());
        placeholder
    }

    fn value(&mut self, value: AttributeValue) -> String {
        let placeholder = format!(":{}", self.values.len());
        self.values.insert(placeholder.clone(), value);
        placeholder
    }

    fn compared(&mut self, name: &str, operator: &str, value: AttributeValue) -> String {
        let (name, value) = (self.name(name), self.value(value));
        format!("{name}{operator}{value}")
    }

    fn is_absent(&mut self, name: &str) -> String {
        format!("attribute_not_exists({})", self.name(name))
    }
}

impl Inner {
    /// The record in an item, unless it is expired.
    pub(super) fn stored(&self, mut item: Attributes) -> Result<Option<Stored>, Error> {
        if self.is_expired(&item) {
            return Ok(None);
        }
        let version = match item.remove(VERSION) {
            None => None,
            Some(AttributeValue::S(version)) => Some(version),
            Some(_) => {
                let table = &self.table;
                return Err(Error::decode(format!(
                    "`{VERSION}` of an item in table \"{table}\" is not a string"
                )));
            }
        };
        item.retain(|name, _| !self.is_own(name));
        let mut reader = Reader::default();
        let mut rest = reader.fields(item)?;
        let mut fields = Map::with_capacity(rest.len());
        for name in ORDER {
            fields.extend(rest.shift_remove_entry(name));
        }
        fields.append(&mut rest);
        let version = Known::new(version, &fields, reader.types).version();
        Ok(Some(Stored { record: Record::new(fields), version }))
    }

    fn is_expired(&self, item: &Attributes) -> bool {
        let expires = item.get(EXPIRES).and_then(|value| value.as_n().ok());
        self.expire_users_after.is_some()
            && expires.is_some_and(|at| at.parse::<f64>().is_ok_and(|at| at <= seconds() as f64))
    }

    pub(super) async fn write(
        &self,
        id: &str,
        record: &Record,
        over: Option<&Version>,
    ) -> Result<Saved, Error> {
        let key = self.key(id)?;
        let over = over.map(Known::from);
        let fields = record.fields();
        if let Some(name) = fields.keys().find(|name| *name == VERSION || self.is_own(name)) {
            let table = &self.table;
            return Err(Error::encode(format!(
                "`/{name}` cannot be stored: in table \"{table}\" that attribute is used by the database itself"
            )));
        }
        let mut writer = Writer::new(over.as_ref().map(|known| &known.types));
        let mut attributes = writer.fields(fields)?;
        let version = Version::unique().to_string();
        let own = self.own_attributes(version.clone(), fields);
        size::check(key.iter().chain(&attributes).chain(&own))?;
        let new = Known::new(Some(version.clone()), fields, writer.types);

        let mut expression = Expression::default();
        let condition = match &over {
            None => self.is_nobody(&mut expression),
            Some(known) => self.is_still(known, &mut expression)?,
        };
        let refused = match over.as_ref().map(|known| self.changes(known, fields)) {
            Some((changed, removed)) if changed.len() + removed.len() <= MAX_UPDATE => {
                attributes.retain(|name, _| changed.contains(&name.as_str()));
                attributes.extend(own);
                let update = update(&mut expression, attributes, &removed);
                self.update_item(key, expression, update, condition).await?
            }
            // Where there was nothing, or nothing that still counts; or more changed than an update can say.
            _ => {
                let item = key.into_iter().chain(attributes).chain(own).collect();
                self.put_item(item, expression, condition).await?
            }
        };
        match refused {
            None => Ok(Saved::Stored(new.version())),
            // It was written by an earlier attempt whose answer was lost.
            Some(item) if written_version(&item) == Some(&version) => {
                Ok(Saved::Stored(new.version()))
            }
            Some(item) if item.is_empty() => Ok(Saved::Conflict(None)),
            Some(item) => Ok(Saved::Conflict(self.stored(item)?)),
        }
    }

    /// The attributes that belong to no field of the record.
    fn own_attributes(&self, version: String, fields: &Map<String, Value>) -> Attributes {
        let mut own = Attributes::from([(VERSION.to_owned(), AttributeValue::S(version))]);
        if let Some(duration) = self.expire_users_after {
            let expires = seconds().saturating_add(duration.as_secs().max(1));
            own.insert(EXPIRES.to_owned(), AttributeValue::N(expires.to_string()));
        }
        own.extend(self.projections.iter().filter_map(|projection| {
            let kind = self.readiness.kind(&projection.attribute);
            Some((projection.attribute.clone(), projection.value(fields, kind.as_ref())?))
        }));
        own
    }

    fn is_nobody(&self, expression: &mut Expression) -> String {
        let absent = expression.is_absent(&self.partition_key);
        match self.expire_users_after {
            None => absent,
            Some(_) => {
                let now = AttributeValue::N(seconds().to_string());
                format!("{absent} OR {}", expression.compared(EXPIRES, "<=", now))
            }
        }
    }

    fn is_still(&self, known: &Known, expression: &mut Expression) -> Result<String, Error> {
        let mut conditions =
            vec![format!("attribute_exists({})", expression.name(&self.partition_key))];
        conditions.push(match &known.version {
            Some(version) => expression.compared(VERSION, "=", AttributeValue::S(version.clone())),
            None => expression.is_absent(VERSION),
        });
        let times = known.times.iter().map(|(name, time)| (name.clone(), time.clone())).collect();
        let mut times = Writer::new(Some(&known.types)).fields(&times)?;
        for name in TIMES {
            conditions.push(match times.remove(name) {
                Some(time) => expression.compared(name, "=", time),
                None => expression.is_absent(name),
            });
        }
        Ok(conditions.join(" AND "))
    }

    /// Which attributes to set and which to remove.
    fn changes<'a>(
        &self,
        known: &Known,
        fields: &'a Map<String, Value>,
    ) -> (Vec<&'a str>, Vec<String>) {
        let changed = fields
            .iter()
            .filter(|(name, value)| known.fields.get(*name) != Some(&fingerprint(value)))
            .map(|(name, _)| name.as_str());
        let gone = known.fields.keys().filter(|name| !fields.contains_key(*name)).cloned();
        // Those that have a value will be set, not removed.
        let projections = self.projections.iter().map(|projection| projection.attribute.clone());
        (changed.collect(), gone.chain(projections).collect())
    }

    async fn update_item(
        &self,
        key: Attributes,
        expression: Expression,
        update: String,
        condition: String,
    ) -> Result<Option<Attributes>, Error> {
        let request = self.client.update_item().table_name(&self.table).set_key(Some(key));
        let sent = request
            .update_expression(update)
            .condition_expression(condition)
            .set_expression_attribute_names(Some(expression.names))
            .set_expression_attribute_values(Some(expression.values))
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld)
            .send()
            .await;
        let is_refused = UpdateItemError::is_conditional_check_failed_exception;
        self.written("UpdateItem", sent, is_refused, |error| match error {
            UpdateItemError::ConditionalCheckFailedException(refused) => refused.item,
            _ => None,
        })
    }

    async fn put_item(
        &self,
        item: Attributes,
        expression: Expression,
        condition: String,
    ) -> Result<Option<Attributes>, Error> {
        let values = Some(expression.values).filter(|values| !values.is_empty());
        let request = self.client.put_item().table_name(&self.table).set_item(Some(item));
        let sent = request
            .condition_expression(condition)
            .set_expression_attribute_names(Some(expression.names))
            .set_expression_attribute_values(values)
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld)
            .send()
            .await;
        let is_refused = PutItemError::is_conditional_check_failed_exception;
        self.written("PutItem", sent, is_refused, |error| match error {
            PutItemError::ConditionalCheckFailedException(refused) => refused.item,
            _ => None,
        })
    }

    /// `None` where the write took effect; what is stored instead where its condition refused it.
    fn written<T, E>(
        &self,
        action: &str,
        sent: Result<T, SdkError<E>>,
        is_refused: fn(&E) -> bool,
        current: fn(E) -> Option<Attributes>,
    ) -> Result<Option<Attributes>, Error>
    where
        E: ProvideErrorMetadata + StdError + Send + Sync + 'static,
    {
        match sent {
            Ok(_) => Ok(None),
            Err(SdkError::ServiceError(error)) if is_refused(error.err()) => {
                Ok(Some(current(error.into_err()).unwrap_or_default()))
            }
            Err(error) => Err(self.failed(action, error)),
        }
    }
}

fn written_version(item: &Attributes) -> Option<&String> {
    item.get(VERSION)?.as_s().ok()
}

fn update(expression: &mut Expression, set: Attributes, removed: &[String]) -> String {
    let removed: Vec<String> = removed
        .iter()
        .filter(|name| !set.contains_key(*name))
        .map(|name| expression.name(name))
        .collect();
    let set: Vec<String> =
        set.into_iter().map(|(name, value)| expression.compared(&name, "=", value)).collect();
    let mut update = format!("SET {}", set.join(","));
    if !removed.is_empty() {
        update.push_str(" REMOVE ");
        update.push_str(&removed.join(","));
    }
    update
}
