use super::{AnyDatabase, MemoryDb};
use crate::Error;
use crate::error::Kind;

const KNOWN: &str = "`file:` with a path after it, as in `file:db/db.json`, and `memory:`";

/// Opens the database that `url` names, so that one program runs with a file here and another database there.
///
/// | url | database |
/// | --- | --- |
/// | `file:db/db.json` | `FileDb`; what follows `file:` is the path as it is, relative or not, nothing in it is decoded (feature `file`) |
/// | `memory:` | [`MemoryDb`] |
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), tower_persistence::Error> {
/// let url = std::env::var("DATABASE_URL").unwrap_or_else(|_| "memory:".to_owned());
/// let db = tower_persistence::connect(&url).await?;
/// # Ok(()) }
/// ```
///
/// # Errors
///
/// * The url is none of these ([`is_configuration`](Error::is_configuration)). Of the url, only what stands before the first `:`
///   is shown, as the rest may hold a password.
/// * The database could not be opened.
pub async fn connect(url: &str) -> Result<AnyDatabase, Error> {
    let Some((scheme, rest)) = url.split_once(':').filter(|(scheme, _)| is_scheme(scheme)) else {
        return Err(configuration(format!(
            "the database url does not begin with a scheme such as `file:`; known are {KNOWN}"
        )));
    };
    match scheme.to_ascii_lowercase().as_str() {
        "file" => file(rest).await,
        "memory" if rest.is_empty() => Ok(AnyDatabase::new(MemoryDb::new())),
        "memory" => Err(configuration("nothing may follow `memory:` in the database url")),
        _ => Err(configuration(format!(
            "unknown scheme `{scheme}` in the database url; known are {KNOWN}"
        ))),
    }
}

#[cfg(feature = "file")]
async fn file(path: &str) -> Result<AnyDatabase, Error> {
    if path.is_empty() {
        return Err(configuration("the path after `file:` in the database url is empty"));
    }
    // Meant as a relative path, it would be taken as one from the root.
    if path.starts_with("//") && !path.starts_with("///") {
        return Err(configuration(
            "a host after `file://` in the database url is not supported; \
             write `file:db/db.json`, or `file:/srv/db.json` for a path from the root",
        ));
    }
    super::FileDb::open(path).await.map(AnyDatabase::new)
}

#[cfg(not(feature = "file"))]
async fn file(_: &str) -> Result<AnyDatabase, Error> {
    Err(configuration("`file:` in the database url needs the feature `file` of tower-persistence"))
}

fn is_scheme(text: &str) -> bool {
    text.starts_with(|first: char| first.is_ascii_alphabetic())
        && text.chars().all(|each| each.is_ascii_alphanumeric() || "+-.".contains(each))
}

fn configuration(message: impl Into<std::borrow::Cow<'static, str>>) -> Error {
    Error::new(Kind::Configuration, message)
}

#[cfg(all(test, not(feature = "file")))]
mod tests {
    #[tokio::test]
    async fn a_file_without_its_feature_says_which_to_add() {
        let error = super::connect("file:SECRET").await.unwrap_err();
        assert!(error.is_configuration());
        assert!(error.to_string().contains("needs the feature `file`"), "{error}");
        assert!(!format!("{error:?}").contains("SECRET"));
    }
}
