//! Builds the expressions of a conditional write: its condition, and the attributes it sets and
//! removes.

use std::collections::HashMap;
use std::{mem, slice};

use aws_sdk_dynamodb::types::AttributeValue;
use serde_json::Value;

use super::attributes::{Attributes, EXPIRES, ORDER, TIMES, TOMBSTONE, VERSION};
use super::inner::{Inner, seconds};
use super::known::{Content, Item, Known};
use super::write;
use crate::database::changes::Change;
use crate::error::Error;

/// The number of changes that a condition compares: an expression has at most 300 operators.
/// <https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Constraints.html#limits-expression-parameters>
const MAX_COMPARED: usize = 100;

/// The names that need no placeholder, as they are not reserved. Each placeholder makes the request
/// longer.
/// <https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/ReservedWords.html>
const LITERAL: [&str; 5] = [VERSION, EXPIRES, TOMBSTONE, TIMES[0], TIMES[1]];

/// The attributes that belong to no field of the record.
pub(super) type Own<'a> = Vec<(&'a str, AttributeValue)>;

/// An expression, and the placeholders in it, which stand for every name and value.
#[derive(Debug, Default)]
pub(super) struct Expression<'a> {
    text: String,
    names: Vec<&'a str>,
    values: Vec<AttributeValue>,
}

impl<'a> Expression<'a> {
    /// Appends a name, or the placeholder of one. Condition and update share it, so that the
    /// request names a part that is compared and set once.
    fn name(&mut self, name: &'a str) {
        if LITERAL.contains(&name) {
            self.text.push_str(name);
            return;
        }
        let known = self.names.iter().position(|known| *known == name);
        let number = known.unwrap_or_else(|| {
            self.names.push(name);
            self.names.len() - 1
        });
        push_placeholder(&mut self.text, '#', number);
    }

    fn value(&mut self, value: AttributeValue) {
        push_placeholder(&mut self.text, ':', self.values.len());
        self.values.push(value);
    }

    fn compared(&mut self, name: &'a str, operator: &str, value: AttributeValue) {
        self.name(name);
        self.text.push_str(operator);
        self.value(value);
    }

    /// Names a part of an attribute.
    fn path(&mut self, path: &[&'a str]) {
        for (depth, name) in path.iter().enumerate() {
            if depth > 0 {
                self.text.push('.');
            }
            self.name(name);
        }
    }

    /// Requires that a part has the value that was loaded.
    fn is_unchanged(
        &mut self,
        path: &[&'a str],
        old: Option<&Value>,
        foreign: Option<&Attributes>,
    ) -> Result<(), Error> {
        if let Some(old) = old {
            let old = write::part(path, old, foreign)?;
            self.path(path);
            self.text.push('=');
            self.value(old);
            return Ok(());
        }
        self.text.push_str("attribute_not_exists(");
        self.path(path);
        self.text.push(')');
        // Without the map around it, DynamoDB could not set the part, and would say that the
        // expression is wrong.
        if let [map @ .., _] = path
            && !map.is_empty()
        {
            self.text.push_str(" AND attribute_type(");
            self.path(map);
            self.text.push(',');
            self.value(AttributeValue::S("M".to_owned()));
            self.text.push(')');
        }
        Ok(())
    }

    fn is_absent(&mut self, name: &'a str) {
        self.text.push_str("attribute_not_exists(");
        self.name(name);
        self.text.push(')');
    }

    /// Requires that no other writer has made an item of a tombstone.
    fn is_without_fields(&mut self) {
        for name in ORDER {
            self.text.push_str(" AND ");
            self.is_absent(name);
        }
    }

    /// Ends one expression. The next one shares its placeholders.
    pub(super) fn end(&mut self) -> String {
        mem::take(&mut self.text)
    }

    /// Returns the placeholders with their names, and those with their values. DynamoDB refuses
    /// empty lists.
    pub(super) fn placeholders(self) -> (Option<HashMap<String, String>>, Option<Attributes>) {
        let names = self.names.into_iter().map(str::to_owned).enumerate();
        let names: HashMap<_, _> =
            names.map(|(number, name)| (placeholder('#', number), name)).collect();
        let values = self.values.into_iter().enumerate();
        let values: Attributes =
            values.map(|(number, value)| (placeholder(':', number), value)).collect();
        (Some(names).filter(|names| !names.is_empty()), Some(values).filter(|it| !it.is_empty()))
    }
}

fn placeholder(sign: char, number: usize) -> String {
    let mut placeholder = String::with_capacity(4);
    push_placeholder(&mut placeholder, sign, number);
    placeholder
}

fn push_placeholder(text: &mut String, sign: char, number: usize) {
    text.push(sign);
    push_number(text, number);
}

/// Appends a number. Formatting it costs more than most of what is done with it.
fn push_number(text: &mut String, number: usize) {
    if number >= 10 {
        push_number(text, number / 10);
    }
    // One digit.
    text.push(char::from(b'0' + (number % 10) as u8));
}

impl Inner {
    /// Requires that there is no item, or only an expired one.
    pub(super) fn is_absent<'a>(&'a self, expression: &mut Expression<'a>) {
        let now = || AttributeValue::N(seconds().to_string());
        expression.is_absent(&self.partition_key);
        expression.text.push_str(" OR ");
        expression.compared(TOMBSTONE, "<=", now());
        expression.is_without_fields();
        if self.expire_users_after.is_some() {
            expression.text.push_str(" OR ");
            expression.compared(EXPIRES, "<=", now());
        }
    }

    /// Requires that there is no item, an expired one, or still this tombstone.
    pub(super) fn is_absent_or<'a>(&'a self, tombstone: &Known, expression: &mut Expression<'a>) {
        self.is_absent(expression);
        expression.text.push_str(" OR ");
        let version = AttributeValue::S(tombstone.version.clone().unwrap_or_default());
        expression.compared(VERSION, "=", version);
        expression.is_without_fields();
    }

    /// Requires that the item is the known one, and that the parts to change have their old values.
    /// The version alone does not suffice: other writers leave it unchanged, and Jovo may write
    /// twice in a millisecond or without `updatedAt`.
    pub(super) fn is_still<'a>(
        &'a self,
        known: &'a Known,
        changes: &[Change<'a>],
        expression: &mut Expression<'a>,
    ) -> Result<(), Error> {
        match &known.version {
            // An absent item has no version.
            Some(version) => expression.compared(VERSION, "=", AttributeValue::S(version.clone())),
            None => {
                expression.text.push_str("attribute_exists(");
                expression.name(&self.partition_key);
                expression.text.push_str(") AND ");
                expression.is_absent(VERSION);
            }
        }
        let Content::Item(Item { record, foreign }) = &known.content else { return Ok(()) };
        let foreign = foreign.as_deref();
        for name in TIMES {
            expression.text.push_str(" AND ");
            expression.is_unchanged(&[name], record.member(&[], name), foreign)?;
        }
        let changes = changes.iter().filter(|change| !TIMES.contains(&change.field()));
        for change in changes.take(MAX_COMPARED) {
            expression.text.push_str(" AND ");
            expression.is_unchanged(&change.path, change.old, foreign)?;
        }
        Ok(())
    }
}

/// Appends an update that sets the attributes `own`, sets and removes the changed parts, and
/// removes the attributes `removed`.
pub(super) fn update<'a>(
    expression: &mut Expression<'a>,
    own: Own<'a>,
    parts: Vec<(&Change<'a>, Option<AttributeValue>)>,
    removed: impl Iterator<Item = &'a str>,
) {
    let is_own = |name: &str| own.iter().any(|(own, _)| *own == name);
    let mut gone: Vec<&[&str]> = Vec::new();
    let removed: Vec<&str> = removed.filter(|name| !is_own(name)).collect();
    let mut begin = "SET ";
    for (change, value) in parts {
        match value {
            Some(value) => {
                expression.text.push_str(mem::replace(&mut begin, ","));
                expression.path(&change.path);
                expression.text.push('=');
                expression.value(value);
            }
            None if is_own(change.field()) => {}
            None => gone.push(&change.path),
        }
    }
    gone.extend(removed.iter().map(slice::from_ref));
    for (name, value) in own {
        expression.text.push_str(mem::replace(&mut begin, ","));
        expression.compared(name, "=", value);
    }
    begin = " REMOVE ";
    for path in gone {
        expression.text.push_str(mem::replace(&mut begin, ","));
        expression.path(path);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_is_compared_and_set_is_sent_once() {
        let mut expression = Expression::default();
        let mut path = |path: &[&'static str]| {
            expression.path(path);
            expression.end()
        };
        assert_eq!(path(&["user", "data", "visits"]), "#0.#1.#2");
        assert_eq!(path(&["session", "data"]), "#3.#1");
        assert_eq!(path(&["user", "data", "visits"]), "#0.#1.#2");
        let (names, values) = expression.placeholders();
        let names = names.unwrap();
        assert_eq!(names.len(), 4);
        assert_eq!(names["#1"], "data");
        assert_eq!(values, None);
    }

    #[test]
    fn names_of_this_crate_need_no_placeholder() {
        let mut expression = Expression::default();
        expression.compared(VERSION, "=", AttributeValue::Null(true));
        assert_eq!(expression.end(), format!("{VERSION}=:0"));
        let (names, values) = expression.placeholders();
        assert_eq!(names, None);
        assert_eq!(values.unwrap().len(), 1);
    }

    #[test]
    fn placeholders_are_numbered() {
        let mut expression = Expression::default();
        (0..=100).for_each(|_| expression.value(AttributeValue::Null(true)));
        let text = expression.end();
        assert!(text.starts_with(":0:1:2") && text.ends_with(":98:99:100"), "{text}");
    }
}
