//! Ed25519 over time stamp and body, as Discord signs.

use std::future::{Future, ready};
use std::time::Duration;

use aws_lc_rs::signature::{ED25519, UnparsedPublicKey};

use super::refusal::{Cause, Refusal};
use super::secrets::{from_hex, sha256};
use super::time;
use super::verifier::{Proof, SignedRequest, Verifier};

/// The points of small order, without the sign of x: with such a key, signatures that no one made
/// are right. All zeros, as a placeholder may be, is one of them
/// (<https://www.rfc-editor.org/rfc/rfc7748#section-7>; the list of libsodium's
/// `ge25519_has_small_order`).
const SMALL_ORDER: [&str; 7] = [
    "0000000000000000000000000000000000000000000000000000000000000000",
    "0100000000000000000000000000000000000000000000000000000000000000",
    "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
    "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
    "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
];

/// Checks Discord's signature: `X-Signature-Ed25519`, over `X-Signature-Timestamp` and the body,
/// with the public key of the app
/// ([documentation](https://discord.com/developers/docs/interactions/overview#setting-up-an-endpoint)).
///
/// The check is strict: a key of small order is refused, and so is the second spelling of a
/// signature. Discord states no tolerance for the time stamp, and sends requests with a wrong
/// signature on purpose, which must be answered with 401.
///
/// ```
/// use tower_persistence::verify::Discord;
///
/// let key = "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a";
/// let discord = Discord::new([key]);
/// ```
#[derive(Clone, Debug)]
pub struct Discord {
    keys: Vec<[u8; 32]>,
    tolerance: Option<Duration>,
    problem: Option<&'static str>,
}

impl Discord {
    /// Makes a check with these public keys, in hex, as the developer portal shows them.
    ///
    /// ```
    /// use tower_persistence::verify::Discord;
    ///
    /// let key = "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a";
    /// let discord = Discord::new([key]);
    /// ```
    #[must_use]
    pub fn new<K: AsRef<str>>(public_keys: impl IntoIterator<Item = K>) -> Self {
        let keys = public_keys.into_iter().map(|key| public_key(key.as_ref()));
        match keys.collect::<Result<Vec<_>, _>>() {
            Ok(keys) if keys.is_empty() => Self::unusable("there is no public key"),
            Ok(keys) => Self { keys, tolerance: None, problem: None },
            Err(problem) => Self::unusable(problem),
        }
    }

    fn unusable(problem: &'static str) -> Self {
        Self { keys: Vec::new(), tolerance: None, problem: Some(problem) }
    }

    /// Sets how much the time stamp may differ from now, either way. Default: any time stamp
    /// passes, since Discord states no tolerance.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use tower_persistence::verify::Discord;
    /// # let key = "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a";
    /// let discord = Discord::new([key]).tolerance(Duration::from_secs(900));
    /// ```
    #[must_use]
    pub fn tolerance(self, tolerance: Duration) -> Self {
        Self { tolerance: Some(tolerance), ..self }
    }

    fn check(&self, request: SignedRequest<'_>) -> Result<Proof, Cause> {
        let signature = request.header("x-signature-ed25519").and_then(from_hex);
        let signature = signature.ok_or(Cause::NoSignature)?;
        let timestamp = request.header("x-signature-timestamp").ok_or(Cause::NoSignature)?;
        let stamp = time::from_unix(timestamp).ok_or(Cause::NoSignature)?;
        if let Some(tolerance) = self.tolerance {
            time::check(stamp, request.now, tolerance, tolerance)?;
        }
        let message = [timestamp.as_bytes(), request.body].concat();
        let is_signed = self
            .keys
            .iter()
            .any(|key| UnparsedPublicKey::new(&ED25519, key).verify(&message, &signature).is_ok());
        if !is_signed {
            return Err(Cause::BadSignature);
        }
        Ok(match self.tolerance {
            Some(tolerance) => Proof::new().once(sha256(&[&message]), time::end(stamp, tolerance)),
            None => Proof::new(),
        })
    }
}

impl Verifier for Discord {
    fn verify(
        &self,
        request: SignedRequest<'_>,
    ) -> impl Future<Output = Result<Proof, Refusal>> + Send {
        ready(self.check(request).map_err(Refusal::from))
    }

    fn problem(&self) -> Option<&str> {
        self.problem
    }
}

fn public_key(text: &str) -> Result<[u8; 32], &'static str> {
    let bytes = from_hex(text.trim()).and_then(|bytes| bytes.try_into().ok());
    let key: [u8; 32] =
        bytes.ok_or("a public key is not 64 digits of hex: copy it from the developer portal")?;
    let mut without_sign = key;
    without_sign[31] &= 0x7f;
    let is_weak =
        SMALL_ORDER.iter().any(|point| from_hex(point).as_deref() == Some(&without_sign[..]));
    if is_weak {
        return Err("a public key is of small order, so anyone could sign: copy it from the \
                    developer portal");
    }
    Ok(key)
}
