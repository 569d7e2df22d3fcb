//! A set of keys as issuers publish it ([RFC 7517](https://www.rfc-editor.org/rfc/rfc7517)).

use serde::Deserialize;
use serde_json::Value;

use super::super::refusal::Cause;
use super::algorithm::PublicKey;
use super::token::{Token, decode};

/// The most keys in a set: the largest issuers have a dozen.
const MOST: usize = 100;

/// A key of an issuer.
#[derive(Debug)]
pub(super) struct Key {
    pub(super) id: Option<String>,
    algorithm: Option<String>,
    public: PublicKey,
    /// The channels for which Bot Framework lets this key speak.
    pub(super) endorsements: Vec<String>,
    /// The issuer for which Entra publishes this key.
    pub(super) issuer: Option<String>,
}

#[derive(Deserialize)]
struct Published {
    kty: String,
    kid: Option<String>,
    alg: Option<String>,
    #[serde(rename = "use")]
    usage: Option<String>,
    n: Option<String>,
    e: Option<String>,
    crv: Option<String>,
    x: Option<String>,
    y: Option<String>,
    #[serde(default)]
    endorsements: Vec<String>,
    issuer: Option<String>,
}

impl Key {
    /// Checks the token's signature.
    pub(super) fn verify(&self, token: &Token<'_>) -> Result<(), Cause> {
        let is_keys = self.algorithm.as_ref().is_none_or(|only| *only == token.algorithm);
        if is_keys && self.public.verify(&token.algorithm, token.message, &token.signature) {
            Ok(())
        } else {
            Err(Cause::BadSignature)
        }
    }
}

/// Reads a set of keys. Keys of other kinds, and for other uses, are left out.
pub(super) fn parse(json: &[u8]) -> Option<Vec<Key>> {
    #[derive(Deserialize)]
    struct Set {
        keys: Vec<Value>,
    }

    let set: Set = serde_json::from_slice(json).ok()?;
    let keys = set.keys.into_iter().take(MOST);
    Some(keys.filter_map(|key| read(serde_json::from_value(key).ok()?)).collect())
}

fn read(key: Published) -> Option<Key> {
    if key.usage.as_deref().is_some_and(|usage| usage != "sig") {
        return None;
    }
    let part = |text: Option<String>| decode(&text?);
    // Some issuers write a zero in front, as certificates do.
    let number = |text| -> Option<Vec<u8>> {
        let mut bytes = part(text)?;
        bytes.drain(..bytes.iter().take_while(|it| **it == 0).count());
        Some(bytes)
    };
    let point = |length: usize, x: Option<String>, y: Option<String>| {
        let (x, y) = (part(x)?, part(y)?);
        (x.len() == length && y.len() == length).then(|| [vec![4], x, y].concat())
    };
    let public = match (&*key.kty, key.crv.as_deref()) {
        ("RSA", _) => PublicKey::Rsa { n: number(key.n)?, e: number(key.e)? },
        ("EC", Some("P-256")) => PublicKey::P256(point(32, key.x, key.y)?),
        ("EC", Some("P-384")) => PublicKey::P384(point(48, key.x, key.y)?),
        ("OKP", Some("Ed25519")) => PublicKey::Ed25519(part(key.x)?),
        _ => return None,
    };
    Some(Key {
        id: key.kid,
        algorithm: key.alg,
        public,
        endorsements: key.endorsements,
        issuer: key.issuer,
    })
}
