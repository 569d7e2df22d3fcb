//! Finding several values in one pass over an object.

use std::fmt;

use serde::Deserializer;
use serde::de::{DeserializeSeed, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::visitors::Name;

/// Fills `found` with the values of those `paths` that begin with `inside`, from one object.
pub(super) struct Search<'s, 'a> {
    paths: &'s [&'s str],
    inside: &'s str,
    found: &'s mut [Option<&'a RawValue>],
}

/// The action that the paths demand for a member.
enum Step<'s> {
    Skip,
    Enter(&'s str),
    Take(usize),
}

impl<'s, 'a> Search<'s, 'a> {
    /// Creates a search of a whole object.
    pub(super) fn new(paths: &'s [&'s str], found: &'s mut [Option<&'a RawValue>]) -> Self {
        Self { paths, inside: "", found }
    }

    /// Returns the action for the member `name`, and forgets the value of an earlier member of that
    /// name.
    fn step(&mut self, name: &str) -> Step<'s> {
        let mut step = Step::Skip;
        for (at, path) in self.paths.iter().enumerate() {
            let Some(rest) = path.strip_prefix(self.inside) else { continue };
            // Compared segment by segment, because a name that holds a slash is not a path.
            let segment = rest.find('/').map_or(rest, |end| &rest[..end]);
            if segment != name {
                continue;
            }
            self.found[at] = None;
            step = if segment.len() == rest.len() {
                Step::Take(at)
            } else {
                Step::Enter(&path[..=self.inside.len() + segment.len()])
            };
        }
        step
    }
}

impl<'a> DeserializeSeed<'a> for Search<'_, 'a> {
    type Value = ();

    fn deserialize<D: Deserializer<'a>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'a> Visitor<'a> for Search<'_, 'a> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any JSON")
    }

    fn visit_map<A: MapAccess<'a>>(mut self, mut map: A) -> Result<(), A::Error> {
        while let Some(name) = map.next_key_seed(Name)? {
            match self.step(&name) {
                Step::Skip => {
                    map.next_value::<IgnoredAny>()?;
                }
                Step::Take(at) => self.found[at] = Some(map.next_value()?),
                Step::Enter(inside) => {
                    let (paths, found) = (self.paths, &mut *self.found);
                    map.next_value_seed(Search { paths, inside, found })?;
                }
            }
        }
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'a>>(self, mut seq: A) -> Result<(), A::Error> {
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        Ok(())
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        Ok(())
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }
}
