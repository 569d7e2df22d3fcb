//! HMAC-SHA256 over a template of the request, which is how most platforms sign.

mod presets;

use std::fmt;
use std::future::{Future, ready};
use std::time::Duration;

use aws_lc_rs::hmac::{self, HMAC_SHA256, Key};

use super::refusal::{Cause, Refusal};
use super::secrets::{Secrets, from_base64, from_hex, sha256};
use super::time;
use super::verifier::{Proof, SignedRequest, Verifier};

/// The most signatures that are looked at in one header.
const MOST_SIGNATURES: usize = 8;

/// Checks an HMAC-SHA256 of the raw body, or of a template around it.
///
/// ```
/// use std::time::Duration;
/// use tower_persistence::verify::Hmac;
///
/// // As Viber signs.
/// let viber = Hmac::new("x-viber-content-signature", "auth token");
///
/// // As Slack signs.
/// let slack = Hmac::new("x-slack-signature", "signing secret")
///     .prefix("v0=")
///     .timestamp("x-slack-request-timestamp", Duration::from_secs(300))
///     .signs("v0:{timestamp}:{body}");
///
/// // As ElevenLabs signs: `ElevenLabs-Signature: t=1739537297,v0=…`.
/// let eleven_labs = Hmac::new("elevenlabs-signature", "secret")
///     .prefix("v0=")
///     .separator(',')
///     .timestamp_field("t=", Duration::from_secs(1800))
///     .signs("{timestamp}.{body}");
/// ```
#[derive(Clone)]
pub struct Hmac {
    header: String,
    keys: Vec<Key>,
    prefix: String,
    is_base64: bool,
    separator: Option<char>,
    timestamp: Option<(Timestamp, Duration)>,
    template: Vec<Piece>,
    problem: Option<String>,
}

/// The place of the time stamp.
#[derive(Clone, Debug)]
enum Timestamp {
    Header(String),
    /// In the header of the signature, behind this prefix.
    Field(String),
}

#[derive(Clone, Debug, PartialEq)]
enum Piece {
    Text(String),
    Header(String),
    Timestamp,
    Body,
}

impl Hmac {
    /// Makes a check of the signature in `header`, lower-case hex over the body.
    ///
    /// ```
    /// use tower_persistence::verify::Hmac;
    ///
    /// let hmac = Hmac::new("x-signature", ["new secret", "old secret"]);
    /// ```
    #[must_use]
    pub fn new(header: impl Into<String>, secrets: impl Into<Secrets>) -> Self {
        let secrets = secrets.into();
        let keys: Vec<_> = secrets.iter().map(|secret| secret.as_bytes().to_vec()).collect();
        Self::with_keys(header, &keys, secrets.problem().map(str::to_owned))
    }

    fn with_keys(header: impl Into<String>, keys: &[Vec<u8>], problem: Option<String>) -> Self {
        Self {
            header: header.into(),
            keys: keys.iter().map(|key| Key::new(HMAC_SHA256, key)).collect(),
            prefix: String::new(),
            is_base64: false,
            separator: None,
            timestamp: None,
            template: vec![Piece::Body],
            problem,
        }
    }

    /// Sets the text in front of the signature, such as `sha256=`. Default: none.
    ///
    /// ```
    /// # use tower_persistence::verify::Hmac;
    /// let hmac = Hmac::new("x-signature", "secret").prefix("sha256=");
    /// ```
    #[must_use]
    pub fn prefix(self, prefix: impl Into<String>) -> Self {
        Self { prefix: prefix.into(), ..self }
    }

    /// Takes the signature for base64. Default: lower-case hex.
    ///
    /// ```
    /// # use tower_persistence::verify::Hmac;
    /// let hmac = Hmac::new("x-signature", "secret").base64();
    /// ```
    #[must_use]
    pub fn base64(self) -> Self {
        Self { is_base64: true, ..self }
    }

    /// Splits the header at this character; each part that begins with the
    /// [prefix](Self::prefix) is a signature, of which one must be right. Default: the header is
    /// one signature.
    ///
    /// ```
    /// # use tower_persistence::verify::Hmac;
    /// let hmac = Hmac::new("x-signature", "secret").prefix("v1=").separator(',');
    /// ```
    #[must_use]
    pub fn separator(self, separator: char) -> Self {
        Self { separator: Some(separator), ..self }
    }

    /// Takes the header `name` for a time stamp, in seconds since 1970, that may differ from now by
    /// `tolerance`, either way. Default: no time stamp, so that a request does not grow too old.
    ///
    /// Sign it: the [template](Self::signs) must name `{timestamp}`.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use tower_persistence::verify::Hmac;
    /// let hmac = Hmac::new("x-signature", "secret")
    ///     .timestamp("x-timestamp", Duration::from_secs(300))
    ///     .signs("{timestamp}.{body}");
    /// ```
    #[must_use]
    pub fn timestamp(self, name: impl Into<String>, tolerance: Duration) -> Self {
        Self { timestamp: Some((Timestamp::Header(name.into()), tolerance)), ..self }
    }

    /// Takes the part of the signature's header behind `prefix` for the time stamp: see
    /// [`timestamp`](Self::timestamp).
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use tower_persistence::verify::Hmac;
    /// let hmac = Hmac::new("x-signature", "secret")
    ///     .prefix("v1=")
    ///     .separator(',')
    ///     .timestamp_field("t=", Duration::from_secs(300))
    ///     .signs("{timestamp}.{body}");
    /// ```
    #[must_use]
    pub fn timestamp_field(self, prefix: impl Into<String>, tolerance: Duration) -> Self {
        Self { timestamp: Some((Timestamp::Field(prefix.into()), tolerance)), ..self }
    }

    /// Sets the template of what is signed. `{body}` is the raw body, `{timestamp}` the
    /// [time stamp](Self::timestamp), any other name in braces the header of that name. Default:
    /// `{body}`.
    ///
    /// ```
    /// # use tower_persistence::verify::Hmac;
    /// let hmac = Hmac::new("x-signature", "secret").signs("{x-request-id}.{body}");
    /// ```
    #[must_use]
    pub fn signs(self, template: &str) -> Self {
        Self { template: pieces(template), ..self }
    }

    fn check(&self, request: SignedRequest<'_>) -> Result<Proof, Cause> {
        let value = request.header(&self.header).ok_or(Cause::NoSignature)?;
        let parts = || value.split(|it| Some(it) == self.separator);
        let (mut proof, mut timestamp) = (None, "");
        if let Some((place, tolerance)) = &self.timestamp {
            let text = match place {
                Timestamp::Header(name) => request.header(name),
                Timestamp::Field(prefix) => parts().find_map(|part| part.strip_prefix(prefix)),
            };
            timestamp = text.ok_or(Cause::NoSignature)?;
            let stamp = time::from_unix(timestamp).ok_or(Cause::NoSignature)?;
            time::check(stamp, request.now, *tolerance, *tolerance)?;
            proof = Some(time::end(stamp, *tolerance));
        }
        let mut message: Vec<&[u8]> = Vec::with_capacity(self.template.len());
        for piece in &self.template {
            message.push(match piece {
                Piece::Text(text) => text.as_bytes(),
                Piece::Header(name) => request.header(name).ok_or(Cause::NoSignature)?.as_bytes(),
                Piece::Timestamp => timestamp.as_bytes(),
                Piece::Body => request.body,
            });
        }
        let signatures = parts().filter_map(|part| part.strip_prefix(&*self.prefix));
        let decode = if self.is_base64 { from_base64 } else { from_hex };
        let mut signatures = signatures.filter_map(decode).take(MOST_SIGNATURES).peekable();
        if signatures.peek().is_none() {
            return Err(Cause::NoSignature);
        }
        let message = message.concat();
        let is_signed = signatures.any(|signature| {
            self.keys.iter().any(|key| hmac::verify(key, &message, &signature).is_ok())
        });
        if !is_signed {
            return Err(Cause::BadSignature);
        }
        Ok(match proof {
            Some(until) => Proof::new().once(sha256(&[&message]), until),
            None => Proof::new(),
        })
    }
}

impl Verifier for Hmac {
    fn verify(
        &self,
        request: SignedRequest<'_>,
    ) -> impl Future<Output = Result<Proof, Refusal>> + Send {
        ready(self.check(request).map_err(Refusal::from))
    }

    fn problem(&self) -> Option<&str> {
        if !self.template.contains(&Piece::Body) {
            return Some("the template has no `{body}`: sign the body, too");
        }
        if self.timestamp.is_some() != self.template.contains(&Piece::Timestamp) {
            return Some("a time stamp must stand in the template, as `{timestamp}`");
        }
        self.problem.as_deref()
    }
}

/// Shows neither keys nor their number of bytes.
impl fmt::Debug for Hmac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hmac")
            .field("header", &self.header)
            .field("keys", &self.keys.len())
            .field("timestamp", &self.timestamp)
            .field("template", &self.template)
            .finish_non_exhaustive()
    }
}

fn pieces(template: &str) -> Vec<Piece> {
    let (mut pieces, mut rest) = (Vec::new(), template);
    while let Some((text, behind)) = rest.split_once('{') {
        let Some((name, behind)) = behind.split_once('}') else { break };
        pieces.push(Piece::Text(text.to_owned()));
        pieces.push(match name {
            "body" => Piece::Body,
            "timestamp" => Piece::Timestamp,
            name => Piece::Header(name.to_owned()),
        });
        rest = behind;
    }
    pieces.push(Piece::Text(rest.to_owned()));
    pieces.retain(|piece| *piece != Piece::Text(String::new()));
    pieces
}
