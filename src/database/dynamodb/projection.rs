//! Copies values of the record into attributes for indexes.

use aws_sdk_dynamodb::types::{AttributeValue, ScalarAttributeType};
use serde_json::Value;

use super::number;
use crate::record::Record;

/// The longest value that every index accepts as its key, in bytes.
/// <https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Constraints.html#limits-partition-sort-keys>
const MAX_KEY: usize = 1024;

/// A value of the record that is also stored as an attribute, so that an index can use it as its
/// key.
#[derive(Debug)]
pub(super) struct Projection {
    pub(super) attribute: String,
    path: Vec<String>,
}

impl Projection {
    pub(super) fn new(attribute: &str, pointer: &str) -> Self {
        let path =
            pointer.split('/').skip(1).map(|name| name.replace("~1", "/").replace("~0", "~"));
        Self { attribute: attribute.to_owned(), path: path.collect() }
    }

    /// Returns the attribute's value, if an index accepts it as its key. `kind` is the type that
    /// the table defines for the attribute.
    pub(super) fn value(
        &self,
        record: &Record,
        kind: Option<&ScalarAttributeType>,
    ) -> Option<AttributeValue> {
        let value = self.part(record)?;
        let fits = |expected: ScalarAttributeType| kind.is_none_or(|kind| *kind == expected);
        match value {
            Value::String(text) if fits(ScalarAttributeType::S) => {
                (1..=MAX_KEY).contains(&text.len()).then(|| AttributeValue::S(text.clone()))
            }
            Value::Number(number) if fits(ScalarAttributeType::N) => {
                number::text(number).map(AttributeValue::N)
            }
            _ => None,
        }
    }

    fn part<'a>(&self, record: &'a Record) -> Option<&'a Value> {
        // Members of an array are reached only through the array.
        let may_be_index = |name: &String| name.parse::<usize>().is_ok();
        let members = self.path.iter().take_while(|name| !may_be_index(name)).count();
        let (member, rest) = self.path.split_at_checked(members.max(1))?;
        let names: Vec<&str> = member.iter().map(String::as_str).collect();
        let (name, around) = names.split_last()?;
        rest.iter().try_fold(record.member(around, name)?, |value, name| match value {
            Value::Object(fields) => fields.get(name),
            Value::Array(array) => array.get(name.parse::<usize>().ok()?),
            _ => None,
        })
    }
}
