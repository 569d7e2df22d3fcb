//! A form as a request's body: `application/x-www-form-urlencoded`.

use std::borrow::Cow;
use std::fmt;

/// The largest number of fields that is listed. A larger form, which no platform sends, is searched
/// each time instead: the list would be many times the size of the request.
const MOST_LISTED: usize = 256;

type Field<'a> = (Cow<'a, str>, Cow<'a, str>);

/// A form (`application/x-www-form-urlencoded`), in which Twilio and Slack's slash commands and
/// buttons arrive, parsed once for all platforms.
///
/// A field that occurs twice has no value: programs disagree on which one counts, so a check in
/// front of the layer could read another one than the layer. Nor has a field with bytes that are
/// not UTF-8, since different bytes would become the same text.
///
/// ```
/// use tower_persistence::platform::Form;
///
/// let form = Form::parse(b"From=%2B15550100&Body=a+tea&To=1&To=2");
/// assert_eq!(form.get("From").as_deref(), Some("+15550100"));
/// assert_eq!(form.get("Body").as_deref(), Some("a tea"));
/// assert_eq!(form.get("To"), None, "it occurs twice");
/// ```
pub struct Form<'a> {
    bytes: &'a [u8],
    /// `None` if there are too many.
    fields: Option<Vec<Field<'a>>>,
}

impl<'a> Form<'a> {
    /// Parses the form in `bytes`. Any bytes are a form.
    #[must_use]
    pub fn parse(bytes: &'a [u8]) -> Self {
        let mut fields = form_urlencoded::parse(bytes);
        let listed: Vec<_> = fields.by_ref().take(MOST_LISTED).collect();
        let is_whole = fields.next().is_none();
        Self { bytes, fields: is_whole.then_some(listed) }
    }

    /// Returns the value of the only field `name`.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<Cow<'a, str>> {
        let value = match &self.fields {
            Some(fields) => only(fields.iter().filter(|(other, _)| other == name))?.1.clone(),
            None => only(form_urlencoded::parse(self.bytes).filter(|(other, _)| other == name))?.1,
        };
        (!value.contains(char::REPLACEMENT_CHARACTER)).then_some(value)
    }
}

/// Shows the names of the fields, not their values.
impl fmt::Debug for Form<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let fields = self.fields.as_deref().unwrap_or_default();
        f.debug_set().entries(fields.iter().map(|(name, _)| name)).finish()
    }
}

fn only<T>(mut all: impl Iterator<Item = T>) -> Option<T> {
    let first = all.next()?;
    all.next().is_none().then_some(first)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_has_the_value_that_no_program_reads_otherwise() {
        let form = Form::parse(b"a=1&b=%C3%A9+x%26y&c&d=%FF&e=1&%65=2&&=x&f=");
        for (name, expected) in [
            ("a", Some("1")),
            ("b", Some("é x&y")),
            ("c", Some("")),
            ("d", None),
            ("e", None),
            ("f", Some("")),
            ("", Some("x")),
            ("g", None),
        ] {
            assert_eq!(form.get(name).as_deref(), expected, "{name}");
        }
        assert_eq!(format!("{:?}", Form::parse(b"From=secret")), r#"{"From"}"#);
    }

    #[test]
    fn a_form_of_many_fields_is_searched_instead_of_listed() {
        let mut many = "x&".repeat(MOST_LISTED - 1);
        many.push_str("From=anna");
        let listed = Form::parse(many.as_bytes());
        assert!(listed.fields.is_some());
        assert_eq!(listed.get("From").as_deref(), Some("anna"));
        many.push_str("&To=bob&x=%FF");
        let searched = Form::parse(many.as_bytes());
        assert!(searched.fields.is_none());
        for (name, expected) in [("From", Some("anna")), ("To", Some("bob")), ("x", None)] {
            assert_eq!(searched.get(name).as_deref(), expected, "{name}");
        }
        many.push_str("&From=mallory");
        assert_eq!(Form::parse(many.as_bytes()).get("From"), None);
    }
}
