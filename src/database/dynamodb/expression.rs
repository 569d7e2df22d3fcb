//! The expressions of a conditional write: what has to be stored for it to happen, and what it sets and removes.

use std::collections::HashMap;

use aws_sdk_dynamodb::types::AttributeValue;
use serde_json::{Map, Value};

use super::item::{Attributes, Writer};
use super::known::{Content, Item, Known, TIMES};
use super::tombstone::TOMBSTONE;
use super::write::ORDER;
use super::{EXPIRES, Inner, VERSION, seconds};
use crate::error::Error;

/// How many fields a condition compares: an expression has at most 300 operators.
/// <https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Constraints.html#limits-expression-parameters>
const MAX_COMPARED: usize = 100;

/// The parts of an expression: every name and value stands in it as a placeholder.
#[derive(Debug, Default)]
pub(super) struct Expression {
    pub(super) names: HashMap<String, String>,
    pub(super) values: Attributes,
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
    /// That there is no item, or none that counts.
    pub(super) fn is_absent(&self, expression: &mut Expression) -> String {
        let absent = expression.is_absent(&self.partition_key);
        let now = || AttributeValue::N(seconds().to_string());
        let ended = expression.compared(TOMBSTONE, "<=", now());
        let ended = format!("{absent} OR {ended} AND {}", self.is_without_fields(expression));
        match self.expire_users_after {
            None => ended,
            Some(_) => format!("{ended} OR {}", expression.compared(EXPIRES, "<=", now())),
        }
    }

    /// The same, or that the tombstone is still there.
    pub(super) fn is_nobody_or(&self, tombstone: &Known, expression: &mut Expression) -> String {
        let nobody = self.is_absent(expression);
        let version = AttributeValue::S(tombstone.version.clone().unwrap_or_default());
        let is_there = expression.compared(VERSION, "=", version);
        format!("{nobody} OR {is_there} AND {}", self.is_without_fields(expression))
    }

    /// Nobody has made an item of a tombstone.
    fn is_without_fields(&self, expression: &mut Expression) -> String {
        ORDER.map(|name| expression.is_absent(name)).join(" AND ")
    }

    /// That the item is the one that is known, and that the fields `touched` are as they were: others
    /// that write into an item of ours leave its version, and Jovo may write twice in a millisecond,
    /// or without `updatedAt`.
    pub(super) fn is_still(
        &self,
        known: &Known,
        touched: &[&str],
        expression: &mut Expression,
    ) -> Result<String, Error> {
        let mut conditions =
            vec![format!("attribute_exists({})", expression.name(&self.partition_key))];
        conditions.push(match &known.version {
            Some(version) => expression.compared(VERSION, "=", AttributeValue::S(version.clone())),
            None => expression.is_absent(VERSION),
        });
        let Content::Item(Item { record, types }) = &known.content else {
            return Ok(conditions.join(" AND "));
        };
        let touched = touched.iter().copied().filter(|name| !TIMES.contains(name));
        let names = TIMES.into_iter().chain(touched.take(MAX_COMPARED));
        let (present, absent): (Vec<_>, Vec<_>) =
            names.partition(|name| record.fields().contains_key(*name));
        let before = Writer::new(Some(types)).fields(only(record.fields(), &present))?;
        conditions
            .extend(before.into_iter().map(|(name, value)| expression.compared(&name, "=", value)));
        conditions.extend(absent.into_iter().map(|name| expression.is_absent(name)));
        Ok(conditions.join(" AND "))
    }
}

/// The fields of these names.
pub(super) fn only<'a>(
    fields: &'a Map<String, Value>,
    names: &'a [&'a str],
) -> impl Iterator<Item = (&'a String, &'a Value)> {
    names.iter().filter_map(|name| fields.get_key_value(*name))
}

/// Sets these attributes, and removes those.
pub(super) fn update(expression: &mut Expression, set: Attributes, removed: &[&str]) -> String {
    let removed: Vec<String> = removed
        .iter()
        .filter(|name| !set.contains_key(**name))
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
