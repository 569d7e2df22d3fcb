//! Builds the expressions of a conditional write: its condition, and the attributes it sets and
//! removes.

use std::collections::HashMap;

use aws_sdk_dynamodb::types::AttributeValue;
use serde_json::{Map, Value};

use super::attributes::{EXPIRES, ORDER, TIMES, TOMBSTONE, VERSION};
use super::inner::{Inner, seconds};
use super::item::{Attributes, Writer};
use super::known::{Content, Item, Known};
use crate::error::Error;

/// The number of fields that a condition compares: an expression has at most 300 operators.
/// <https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Constraints.html#limits-expression-parameters>
const MAX_COMPARED: usize = 100;

/// The placeholders of an expression, which stand for every name and value.
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
    /// Requires that there is no item, or only an expired one.
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

    /// Requires that there is no item, an expired one, or still this tombstone.
    pub(super) fn is_absent_or(&self, tombstone: &Known, expression: &mut Expression) -> String {
        let absent = self.is_absent(expression);
        let version = AttributeValue::S(tombstone.version.clone().unwrap_or_default());
        let is_there = expression.compared(VERSION, "=", version);
        format!("{absent} OR {is_there} AND {}", self.is_without_fields(expression))
    }

    /// Requires that no other writer has made an item of a tombstone.
    fn is_without_fields(&self, expression: &mut Expression) -> String {
        ORDER.map(|name| expression.is_absent(name)).join(" AND ")
    }

    /// Requires that the item is the known one, and that the fields `touched` have their old
    /// values. The version alone does not suffice: other writers leave it unchanged, and Jovo may
    /// write twice in a millisecond or without `updatedAt`.
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

/// Selects the fields with these names.
pub(super) fn only<'a>(
    fields: &'a Map<String, Value>,
    names: &'a [&'a str],
) -> impl Iterator<Item = (&'a String, &'a Value)> {
    names.iter().filter_map(|name| fields.get_key_value(*name))
}

/// Builds an update that sets some attributes and removes others.
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
