//! One conditional write, and what became of it.

use std::error::Error as StdError;

use aws_sdk_dynamodb::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_dynamodb::operation::put_item::PutItemError;
use aws_sdk_dynamodb::operation::update_item::UpdateItemError;
use aws_sdk_dynamodb::types::{AttributeValue, ReturnValuesOnConditionCheckFailure};
use serde_json::{Map, Value};

use super::attempts::Attempts;
use super::expression::{Expression, update};
use super::item::{Attributes, Reader, Writer};
use super::known::{Known, fingerprint};
use super::tombstone::{TOMBSTONE, Tombstone};
use super::{EXPIRES, Inner, VERSION, seconds, size};
use crate::database::tombstone::is_nothing;
use crate::{Error, Found, Record, Saved, Stored, Version};

/// The fields of an item in the order in which Jovo writes them. What else there is follows.
pub(super) const ORDER: [&str; 5] = ["user", "session", "history", "createdAt", "updatedAt"];

/// How many attributes one update may set and remove: an expression is at most 4 KB long and has at most 300 operators.
/// <https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Constraints.html#limits-expression-parameters>
const MAX_UPDATE: usize = 250;

/// How often a write is tried that only something expired was in the way of.
const ATTEMPTS: usize = 3;

/// Why a write was refused.
struct Refused {
    /// What is stored.
    item: Attributes,
    /// An attempt before the one that was refused may have taken effect.
    may_have_written: bool,
}

impl Inner {
    /// What an item stands for: none, and one that is expired, for nothing.
    pub(super) fn found(&self, item: Attributes) -> Result<Found, Error> {
        if item.is_empty() || self.is_expired(&item) {
            return Ok(Found::Nothing(None));
        }
        match Tombstone::read(&item, |name| self.is_key(name)) {
            Some(tombstone) => Ok(Found::Nothing(tombstone.version())),
            None => self.stored(item).map(Found::Item),
        }
    }

    fn stored(&self, mut item: Attributes) -> Result<Stored, Error> {
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
        // Written over, a tombstone is an item. What is left of it is not of the record, and removed by the next save.
        let end = item.get(TOMBSTONE).cloned();
        let left = |value: &AttributeValue| Some(value) == end.as_ref();
        let left: Vec<String> =
            item.iter().filter(|(_, value)| left(value)).map(|(name, _)| name.clone()).collect();
        item.retain(|name, _| name == TOMBSTONE || !self.is_own(name));
        let mut reader = Reader::default();
        let mut rest = reader.fields(item)?;
        let mut fields = Map::with_capacity(rest.len());
        for name in ORDER {
            fields.extend(rest.shift_remove_entry(name));
        }
        fields.append(&mut rest);
        let version = Known::new(version, &fields, reader.types).version();
        fields.retain(|name, _| !left.contains(name));
        Ok(Stored { record: Record::new(fields), version })
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
        let is_unaware = over.is_none();
        let mut over = over.filter(|over| !is_nothing(over)).cloned();
        for _ in 0..ATTEMPTS {
            match self.try_write(id, record, over.as_ref()).await? {
                Ok(saved) => return Ok(saved),
                Err(Some(tombstone)) if is_unaware => over = Some(tombstone),
                Err(Some(_)) => return Ok(Saved::Conflict(None)),
                Err(None) => {}
            }
        }
        let table = &self.table;
        Err(Error::database(format!(
            "a write to table \"{table}\" was refused, and the server did not say by which item"
        )))
    }

    /// `Err` where nothing is in the way any more, because what was has expired since it was compared; or only this tombstone.
    async fn try_write(
        &self,
        id: &str,
        record: &Record,
        over: Option<&Version>,
    ) -> Result<Result<Saved, Option<Version>>, Error> {
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

        let over_item = over.as_ref().filter(|known| !known.is_tombstone);
        let mut expression = Expression::default();
        let condition = match (&over, over_item) {
            (_, Some(known)) => self.is_still(known, &mut expression)?,
            (Some(tombstone), None) => self.is_nobody_or(tombstone, &mut expression),
            (None, None) => self.is_nobody(&mut expression),
        };
        let refused = match over_item.map(|known| self.changes(known, fields)) {
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
        let Some(refused) = refused else { return Ok(Ok(Saved::Stored(new.version()))) };
        // It was written by an earlier attempt whose answer was lost.
        if written_version(&refused.item) == Some(&version) {
            return Ok(Ok(Saved::Stored(new.version())));
        }
        match self.found(refused.item)? {
            Found::Item(_) if refused.may_have_written => Err(self.uncertain()),
            Found::Item(current) => Ok(Ok(Saved::Conflict(Some(current)))),
            // What an attempt may have written was deleted.
            Found::Nothing(Some(_)) if refused.may_have_written => Ok(Ok(Saved::Conflict(None))),
            Found::Nothing(tombstone) if over_item.is_none() => Ok(Err(tombstone)),
            Found::Nothing(_) => Ok(Ok(Saved::Conflict(None))),
        }
    }

    /// Somebody else has stored something, over what was loaded or over what this call stored before its answer was lost.
    fn uncertain(&self) -> Error {
        Error::database(format!(
            "whether an item was written to table \"{}\" is not known: the answer was lost, and the item was \
             changed elsewhere before the write could be repeated",
            self.table
        ))
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
    ) -> Result<Option<Refused>, Error> {
        let attempts = Attempts::default();
        let request = self.client.update_item().table_name(&self.table).set_key(Some(key));
        let sent = request
            .update_expression(update)
            .condition_expression(condition)
            .set_expression_attribute_names(Some(expression.names))
            .set_expression_attribute_values(Some(expression.values))
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld)
            .customize()
            .interceptor(attempts.clone())
            .send()
            .await;
        let is_refused = UpdateItemError::is_conditional_check_failed_exception;
        self.written("UpdateItem", sent, &attempts, is_refused, |error| match error {
            UpdateItemError::ConditionalCheckFailedException(refused) => refused.item,
            _ => None,
        })
    }

    async fn put_item(
        &self,
        item: Attributes,
        expression: Expression,
        condition: String,
    ) -> Result<Option<Refused>, Error> {
        let attempts = Attempts::default();
        let values = Some(expression.values).filter(|values| !values.is_empty());
        let request = self.client.put_item().table_name(&self.table).set_item(Some(item));
        let sent = request
            .condition_expression(condition)
            .set_expression_attribute_names(Some(expression.names))
            .set_expression_attribute_values(values)
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld)
            .customize()
            .interceptor(attempts.clone())
            .send()
            .await;
        let is_refused = PutItemError::is_conditional_check_failed_exception;
        self.written("PutItem", sent, &attempts, is_refused, |error| match error {
            PutItemError::ConditionalCheckFailedException(refused) => refused.item,
            _ => None,
        })
    }

    /// `None` where the write took effect; what is stored instead where its condition refused it.
    fn written<T, E>(
        &self,
        action: &str,
        sent: Result<T, SdkError<E>>,
        attempts: &Attempts,
        is_refused: fn(&E) -> bool,
        current: fn(E) -> Option<Attributes>,
    ) -> Result<Option<Refused>, Error>
    where
        E: ProvideErrorMetadata + StdError + Send + Sync + 'static,
    {
        match sent {
            Ok(_) => Ok(None),
            Err(SdkError::ServiceError(error)) if is_refused(error.err()) => {
                let item = current(error.into_err()).unwrap_or_default();
                Ok(Some(Refused { item, may_have_written: attempts.may_have_written() }))
            }
            Err(error) => Err(self.failed(action, error)),
        }
    }
}

fn written_version(item: &Attributes) -> Option<&String> {
    item.get(VERSION)?.as_s().ok()
}
