//! The expressions of a conditional write: what has to be stored for it to happen, and what it sets and removes.

use std::collections::HashMap;

use aws_sdk_dynamodb::types::AttributeValue;

use super::item::{Attributes, Writer};
use super::known::{Known, TIMES};
use super::tombstone::TOMBSTONE;
use super::write::ORDER;
use super::{EXPIRES, Inner, VERSION, seconds};
use crate::Error;

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
    pub(super) fn is_nobody(&self, expression: &mut Expression) -> String {
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
        let nobody = self.is_nobody(expression);
        let version = AttributeValue::S(tombstone.version.clone().unwrap_or_default());
        let is_there = expression.compared(VERSION, "=", version);
        format!("{nobody} OR {is_there} AND {}", self.is_without_fields(expression))
    }

    /// Nobody has made an item of a tombstone.
    fn is_without_fields(&self, expression: &mut Expression) -> String {
        ORDER.map(|name| expression.is_absent(name)).join(" AND ")
    }

    /// That the item is the one that is known.
    pub(super) fn is_still(
        &self,
        known: &Known,
        expression: &mut Expression,
    ) -> Result<String, Error> {
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
}

/// Sets these attributes, and removes those.
pub(super) fn update(expression: &mut Expression, set: Attributes, removed: &[String]) -> String {
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
