//! Reads BSON that is still encoded, and tells how long JSON will be as BSON.

use mongodb::bson::raw::{RawBsonRef, RawDocument, RawDocumentBuf};
use mongodb::bson::{Bson, Document, error};
use serde_json::{Map, Value};

use super::document::Layout;
use super::value::{self, Numbers, is_foreign_scalar};
use crate::record::{Source, Type};

/// A document that is still encoded, and of which each value can be read.
pub(super) struct Encoded {
    document: RawDocumentBuf,
    layout: Layout,
    is_javascript: bool,
    /// The list of its integers.
    integers: Option<Document>,
}

impl Encoded {
    /// Takes a document, and lists its fields that [are foreign](value::is_foreign).
    pub(super) fn new(
        document: RawDocumentBuf,
        layout: Layout,
        is_javascript: bool,
        integers: Option<Document>,
    ) -> Result<(Self, Vec<String>), error::Error> {
        let encoded = Self { document, layout, is_javascript, integers };
        let (numbers, mut foreign) = (encoded.numbers(), Vec::new());
        for element in &*encoded.document {
            let (name, value) = element?;
            let name = name.as_str();
            if !layout.is_reserved(name) && is_foreign(value, numbers.of(name))? {
                foreign.push(name.to_owned());
            }
        }
        Ok((encoded, foreign))
    }

    /// Tells which floating-point numbers of the document are integers.
    fn numbers(&self) -> Numbers<'_> {
        match &self.integers {
            _ if self.is_javascript => Numbers::JavaScript,
            Some(listed) => Numbers::Listed(listed),
            None => Numbers::Exact,
        }
    }

    /// Returns the object under `path`, and its numbers.
    fn object(&self, path: &[&str]) -> Option<(&RawDocument, Numbers<'_>)> {
        let all = (&*self.document, self.numbers());
        path.iter().enumerate().try_fold(all, |(object, numbers), (depth, name)| {
            match self.member(object, depth, name)?.1 {
                RawBsonRef::Document(object) => Some((object, numbers.of(name))),
                _ => None,
            }
        })
    }

    /// Returns the address and the value of a member. Of those of one name the first counts, as in
    /// the whole, and in conditions of MongoDB's.
    fn member<'a>(
        &self,
        object: &'a RawDocument,
        depth: usize,
        name: &str,
    ) -> Option<(usize, RawBsonRef<'a>)> {
        if depth == 0 && self.layout.is_reserved(name) {
            return None;
        }
        let mut members = object.iter_elements().flatten();
        let member = members.find(|member| member.key().as_str() == name)?;
        Some((member.key().as_str().as_ptr().addr(), member.value().ok()?))
    }
}

/// Each value has been looked at by [`Encoded::new`], so none is left out here as undecodable.
impl Source for Encoded {
    fn fields(&self) -> Map<String, Value> {
        let mut fields = Map::new();
        for (name, value) in self.document.iter().flatten() {
            let name = name.as_str();
            if !self.layout.is_reserved(name) {
                let value = read(value, self.numbers().of(name)).unwrap_or_default();
                fields.entry(name).or_insert(value);
            }
        }
        fields
    }

    fn find(&self, path: &[&str], name: &str, found: &mut dyn FnMut(usize, &dyn Fn() -> Value)) {
        if let Some((object, numbers)) = self.object(path)
            && let Some((address, value)) = self.member(object, path.len(), name)
        {
            found(address, &|| read(value, numbers.of(name)).unwrap_or_default());
        }
    }

    fn is_object(&self, path: &[&str]) -> bool {
        self.object(path).is_some()
    }

    fn members(&self, path: &[&str]) -> Option<Box<dyn Iterator<Item = (&str, Type)> + '_>> {
        let (object, _) = self.object(path)?;
        let is_top = path.is_empty();
        let members = object.iter().flatten().map(|(name, value)| (name.as_str(), type_of(value)));
        Some(Box::new(members.filter(move |(name, _)| !is_top || !self.layout.is_reserved(name))))
    }
}

fn type_of(value: RawBsonRef<'_>) -> Type {
    match value {
        RawBsonRef::Document(_) => Type::Object,
        RawBsonRef::Array(_) => Type::Array,
        RawBsonRef::String(_) => Type::Other,
        scalar => read(scalar, Numbers::Exact).map_or(Type::Other, |value| Type::of(&value)),
    }
}

/// Returns whether a value [is foreign](value::is_foreign), after a look whether all of it can be
/// read.
fn is_foreign(value: RawBsonRef<'_>, numbers: Numbers<'_>) -> Result<bool, error::Error> {
    let mut found = false;
    match value {
        RawBsonRef::Document(document) => {
            for element in document {
                let (name, value) = element?;
                found |= is_foreign(value, numbers.of(name.as_str()))?;
            }
        }
        RawBsonRef::Array(array) => {
            for (index, element) in array.into_iter().enumerate() {
                found |= is_foreign(element?, numbers.at(index))?;
            }
        }
        RawBsonRef::String(_) | RawBsonRef::Int32(_) => {}
        scalar => found = is_foreign_scalar(&Bson::try_from(scalar)?, numbers),
    }
    Ok(found)
}

/// Converts a value that is still encoded to JSON, as [`value::json`] does. A `Document` in between
/// would cost as much again. Deserializing would mistake an object of the user's, such as `{"$oid":
/// "…"}`, for another type.
fn read(value: RawBsonRef<'_>, numbers: Numbers<'_>) -> Result<Value, error::Error> {
    Ok(match value {
        RawBsonRef::Document(document) => {
            // Counting first costs less than growing.
            let mut fields = Map::with_capacity(document.iter_elements().count());
            for element in document {
                let (name, value) = element?;
                let name = name.as_str();
                fields.entry(name).or_insert(read(value, numbers.of(name))?);
            }
            Value::Object(fields)
        }
        RawBsonRef::Array(array) => {
            let element =
                |(index, element): (usize, Result<_, _>)| read(element?, numbers.at(index));
            Value::Array(array.into_iter().enumerate().map(element).collect::<Result<_, _>>()?)
        }
        RawBsonRef::String(text) => Value::String(text.to_owned()),
        RawBsonRef::Int32(number) => number.into(),
        scalar => value::json(&Bson::try_from(scalar)?, numbers),
    })
}

/// Returns the size of a value of JSON as BSON, in bytes, without its type and name.
/// <https://bsonspec.org/spec.html>
pub(super) fn size(value: &Value) -> usize {
    match value {
        Value::Null => 0,
        Value::Bool(_) => 1,
        Value::Number(number) => match number.as_i64() {
            Some(integer) if i32::try_from(integer).is_ok() => 4,
            None if number.is_u64() => 16,
            _ => 8,
        },
        Value::String(text) => 5 + text.len(),
        Value::Array(array) => {
            // The names of elements are their indexes.
            let digits = array.len().checked_ilog10().unwrap_or(0) as usize + 1;
            5 + array.iter().map(|element| 2 + digits + size(element)).sum::<usize>()
        }
        Value::Object(fields) => size_of_fields(fields),
    }
}

/// Returns the size of a document with these fields, in bytes.
fn size_of_fields(fields: &Map<String, Value>) -> usize {
    5 + fields.iter().map(|(name, value)| 2 + name.len() + size(value)).sum::<usize>()
}

#[cfg(test)]
mod tests {
    use mongodb::bson::oid::ObjectId;
    use mongodb::bson::{DateTime, cstr, doc};
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    const LAYOUT: Layout = Layout { expires_after: None };

    fn encoded(document: &Document) -> (Encoded, Vec<String>) {
        let raw = RawDocumentBuf::try_from(document).unwrap();
        let integers = document.get_document("persistenceIntegers").ok().cloned();
        Encoded::new(raw, LAYOUT, false, integers).unwrap()
    }

    fn member(source: &Encoded, path: &[&str], name: &str) -> Option<Value> {
        let mut member = None;
        source.find(path, name, &mut |_, read| member = Some(read()));
        member
    }

    #[test]
    fn a_field_is_read_by_itself() {
        let document = doc! {
            "_id": "user-1",
            "user": { "data": { "a": 1, "at": DateTime::from_millis(0), "big": 3.0 } },
            "persistenceIntegers": { "user": { "data": { "big": true } } },
            "other": [1.5],
        };
        let (source, foreign) = encoded(&document);
        assert_eq!(foreign, ["user"]);
        assert_eq!(member(&source, &["user", "data"], "a"), Some(json!(1)));
        assert_eq!(member(&source, &["user", "data"], "big"), Some(json!(3)));
        assert_eq!(member(&source, &[], "other"), Some(json!([1.5])));
        for (path, name) in [(&[][..], "_id"), (&["persistenceIntegers"], "user"), (&["x"], "y")] {
            assert_eq!(member(&source, path, name), None);
        }
        assert!(source.members(&["persistenceIntegers"]).is_none());
        assert!(source.members(&[]).unwrap().map(|(name, _)| name).eq(["user", "other"]));
    }

    #[test]
    fn the_first_of_one_name_counts() {
        let mut raw = RawDocumentBuf::new();
        for value in [1, 2] {
            raw.append(cstr!("a"), value);
        }
        let (source, _) = Encoded::new(raw, LAYOUT, false, None).unwrap();
        assert_eq!(member(&source, &[], "a"), Some(json!(1)));
        assert_eq!(Value::Object(source.fields()), json!({ "a": 1 }));
    }

    #[test]
    fn a_document_that_is_not_bson_is_an_error() {
        let mut bytes = doc! { "user": { "data": { "name": "Anna" } } }.to_vec().unwrap();
        let at = bytes.windows(4).position(|bytes| bytes == b"Anna").unwrap();
        bytes[at] = 0xff;
        let raw = RawDocumentBuf::from_bytes(bytes).unwrap();
        assert!(Encoded::new(raw, LAYOUT, false, None).is_err());
    }

    fn bson() -> impl Strategy<Value = Bson> {
        let leaf = prop_oneof![
            Just(Bson::Null),
            any::<i32>().prop_map(Bson::Int32),
            any::<i64>().prop_map(Bson::Int64),
            any::<f64>().prop_map(Bson::Double),
            "[ab]{0,2}".prop_map(Bson::String),
            Just(Bson::ObjectId(ObjectId::from_bytes([1; 12]))),
        ];
        leaf.prop_recursive(3, 16, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..3).prop_map(Bson::Array),
                prop::collection::vec(("[ab]", inner), 0..3)
                    .prop_map(|members| Bson::Document(members.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn parts_are_read_as_in_the_whole(a in bson(), b in bson()) {
            let document = doc! { "a": a, "_id": 1, "b": b };
            let (source, foreign) = encoded(&document);
            let fields = source.fields();
            for name in ["a", "b"] {
                let value = &document[name];
                prop_assert_eq!(&fields[name], &value::json(value, Numbers::Exact));
                let is_foreign = foreign.iter().any(|foreign| foreign == name);
                prop_assert_eq!(is_foreign, value::is_foreign(value, Numbers::Exact));
            }
            for path in [&[][..], &["a"], &["b"], &["a", "b"], &["a", "a"]] {
                let object = path.iter().try_fold(&fields, |it, name| it.get(*name)?.as_object());
                for name in ["a", "b"] {
                    let expected = object.and_then(|object| object.get(name)).cloned();
                    prop_assert_eq!(member(&source, path, name), expected);
                }
                let names: Option<Vec<_>> = source.members(path).map(Iterator::collect);
                let expected: Option<Vec<_>> = object
                    .map(|it| it.iter().map(|(name, value)| (name.as_str(), Type::of(value))).collect());
                prop_assert!(names == expected);
            }
        }
    }
}
