//! Builds the expressions of a conditional write: its condition, and the attributes it sets and
//! removes.

use std::collections::HashMap;

use aws_sdk_dynamodb::types::AttributeValue;

use super::attributes::{EXPIRES, ORDER, TIMES, TOMBSTONE, VERSION};
use super::inner::{Inner, seconds};
use super::item::{Attributes, Types, Writer};
use super::known::{Content, Item, Known};
use crate::database::changes::Change;
use crate::error::Error;

/// The number of changes that a condition compares: an expression has at most 300 operators.
/// <https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Constraints.html#limits-expression-parameters>
const MAX_COMPARED: usize = 100;

/// The placeholders of an expression, which stand for every name and value.
#[derive(Debug, Default)]
pub(super) struct Expression {
    pub(super) names: HashMap<String, String>,
    pub(super) values: Attributes,
}

impl Expression {
    /// Returns the placeholder of a name. Condition and update share it, so that the request names
    /// a part that is compared and set once.
    fn name(&mut self, name: &str) -> String {
        if let Some((placeholder, _)) = self.names.iter().find(|(_, known)| *known == name) {
            return placeholder.clone();
        }
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

    /// Names a part of an attribute.
    fn path(&mut self, path: &[&str]) -> String {
        path.iter().map(|name| self.name(name)).collect::<Vec<_>>().join(".")
    }

    /// Requires that a part has the value that was loaded.
    fn is_unchanged(&mut self, change: &Change<'_>, types: &Types) -> Result<String, Error> {
        let Change { path, old, .. } = change;
        let part = self.path(path);
        if let Some(old) = old {
            let old = Writer::new(Some(types)).part(path, old)?;
            return Ok(format!("{part}={}", self.value(old)));
        }
        let absent = format!("attribute_not_exists({part})");
        match part.rsplit_once('.') {
            None => Ok(absent),
            // Without the map around it, DynamoDB could not set the part, and would say that the
            // expression is wrong.
            Some((map, _)) => {
                let kind = self.value(AttributeValue::S("M".to_owned()));
                Ok(format!("{absent} AND attribute_type({map},{kind})"))
            }
        }
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

    /// Requires that the item is the known one, and that the parts to change have their old values.
    /// The version alone does not suffice: other writers leave it unchanged, and Jovo may write
    /// twice in a millisecond or without `updatedAt`.
    pub(super) fn is_still(
        &self,
        known: &Known,
        changes: &[Change<'_>],
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
        let times = TIMES.map(|name| Change {
            path: vec![name],
            old: record.fields().get(name),
            new: None,
        });
        let changes = changes.iter().filter(|change| !TIMES.contains(&change.field()));
        for change in times.iter().chain(changes.take(MAX_COMPARED)) {
            conditions.push(expression.is_unchanged(change, types)?);
        }
        Ok(conditions.join(" AND "))
    }
}

/// Builds an update that sets the attributes `own`, sets and removes the changed parts, and removes
/// the attributes `removed`.
pub(super) fn update<'a>(
    expression: &mut Expression,
    own: Attributes,
    parts: Vec<(&Change<'_>, Option<AttributeValue>)>,
    removed: impl Iterator<Item = &'a str>,
) -> String {
    let (mut set, mut gone) = (Vec::new(), Vec::new());
    for (change, value) in parts {
        match value {
            Some(value) => {
                let part = expression.path(&change.path);
                set.push(format!("{part}={}", expression.value(value)));
            }
            None if own.contains_key(change.field()) => {}
            None => gone.push(expression.path(&change.path)),
        }
    }
    let removed = removed.filter(|name| !own.contains_key(*name));
    gone.extend(removed.map(|name| expression.name(name)));
    set.extend(own.into_iter().map(|(name, value)| expression.compared(&name, "=", value)));
    let mut update = format!("SET {}", set.join(","));
    if !gone.is_empty() {
        update.push_str(" REMOVE ");
        update.push_str(&gone.join(","));
    }
    update
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_is_compared_and_set_is_sent_once() {
        let mut expression = Expression::default();
        assert_eq!(expression.path(&["user", "data", "visits"]), "#0.#1.#2");
        assert_eq!(expression.path(&["session", "data"]), "#3.#1");
        assert_eq!(expression.path(&["user", "data", "visits"]), "#0.#1.#2");
        assert_eq!(expression.names.len(), 4);
        assert_eq!(expression.names["#1"], "data");
    }
}
