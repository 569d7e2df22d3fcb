//! No changed byte passes: of the body, of a signature, of a time stamp.

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use bytes::Bytes;
use http::{HeaderName, HeaderValue, Request};
use http_body_util::Full;
use proptest::prelude::*;
use tower_persistence::verify::{Discord, FixedHeader, Hmac, Twilio, Verifier};

use super::common::{HttpRequest, NOW, ask, base64, hex, sha1_hmac, sha256_hmac};

/// A request in parts that can be changed byte by byte.
#[derive(Clone, Debug)]
struct Parts {
    body: Vec<u8>,
    headers: Vec<(&'static str, Vec<u8>)>,
}

impl Parts {
    /// Returns `None` if the change has left no possible header.
    fn request(&self) -> Option<HttpRequest> {
        let mut request = Request::new(Full::new(Bytes::from(self.body.clone())));
        for (name, value) in &self.headers {
            let value = HeaderValue::from_bytes(value).ok()?;
            request.headers_mut().insert(HeaderName::from_static(name), value);
        }
        Some(request)
    }

    /// Checks that the request passes, and that it does not with one byte changed, added or
    /// removed anywhere.
    fn assert_strict(&self, verifier: &impl Verifier, at: prop::sample::Index, change: u8) {
        assert_eq!(ask(verifier, &self.request().unwrap(), NOW), Ok(()));
        let mut places: Vec<usize> = self.headers.iter().map(|it| it.1.len()).collect();
        places.push(self.body.len());
        let all: usize = places.iter().sum();
        let mut index = at.index(all);
        let part = places.iter().position(|length| {
            let is_here = index < *length;
            index -= if is_here { 0 } else { *length };
            is_here
        });
        let part = part.unwrap();
        for kind in 0..3 {
            let mut changed = self.clone();
            let bytes = match changed.headers.get_mut(part) {
                Some((_, value)) => value,
                None => &mut changed.body,
            };
            match kind {
                0 => bytes[index] ^= change,
                1 => bytes.insert(index, change),
                _ => drop(bytes.remove(index)),
            }
            if let Some(request) = changed.request() {
                assert!(ask(verifier, &request, NOW).is_err(), "{kind} {changed:?}");
            }
        }
    }
}

fn body() -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(any::<u8>(), 1..200)
}

proptest! {
    #[test]
    fn no_changed_byte_passes_meta_line_and_slack(
        body in body(), at: prop::sample::Index, change in 1_u8..,
    ) {
        let tag = sha256_hmac("secret", &body);
        let meta = Parts {
            headers: vec![("x-hub-signature-256", format!("sha256={}", hex(&tag)).into_bytes())],
            body: body.clone(),
        };
        meta.assert_strict(&Hmac::meta("secret"), at, change);
        let line = Parts {
            headers: vec![("x-line-signature", base64(&tag).into_bytes())],
            body: body.clone(),
        };
        line.assert_strict(&Hmac::line("secret"), at, change);
        let message = [format!("v0:{NOW}:").as_bytes(), &body].concat();
        let slack = Parts {
            headers: vec![
                ("x-slack-signature", format!("v0={}", hex(&sha256_hmac("secret", &message))).into_bytes()),
                ("x-slack-request-timestamp", NOW.to_string().into_bytes()),
            ],
            body,
        };
        slack.assert_strict(&Hmac::slack("secret"), at, change);
    }

    #[test]
    fn no_changed_byte_passes_standard_webhooks(
        body in body(), at: prop::sample::Index, change in 1_u8..,
    ) {
        let message = [format!("id-1.{NOW}.").as_bytes(), &body].concat();
        let tag = base64(&sha256_hmac("secret!!", &message));
        let request = Parts {
            headers: vec![
                ("webhook-id", b"id-1".to_vec()),
                ("webhook-timestamp", NOW.to_string().into_bytes()),
                ("webhook-signature", format!("v1,{tag}").into_bytes()),
            ],
            body,
        };
        // A space in front of the first signature, or behind the last, is no change to them.
        let change = if change == b' ' { b'x' } else { change };
        let secret = format!("whsec_{}", base64(b"secret!!"));
        request.assert_strict(&Hmac::standard_webhooks(secret), at, change);
    }

    #[test]
    fn no_changed_byte_passes_discord_and_telegram(
        body in body(), at: prop::sample::Index, change in 1_u8..,
    ) {
        let pair = Ed25519KeyPair::from_seed_unchecked(&[7; 32]).unwrap();
        let message = [NOW.to_string().as_bytes(), &body].concat();
        let discord = Parts {
            headers: vec![
                ("x-signature-ed25519", hex(pair.sign(&message).as_ref()).into_bytes()),
                ("x-signature-timestamp", NOW.to_string().into_bytes()),
            ],
            body,
        };
        discord.assert_strict(&Discord::new([hex(pair.public_key().as_ref())]), at, change);
        let telegram = Parts {
            headers: vec![("x-telegram-bot-api-secret-token", b"secret_token".to_vec())],
            body: Vec::new(),
        };
        telegram.assert_strict(&FixedHeader::telegram("secret_token"), at, change);
    }

    /// Twilio signs the fields, not their spelling: a changed byte that passes means the same.
    #[test]
    fn no_changed_field_passes_twilio(
        fields in prop::collection::vec(("[A-Za-z]{1,8}", ".{0,12}"), 1..6),
        at: prop::sample::Index,
        change in 1_u8..,
    ) {
        let encode = |text: &str| {
            percent_encoding::utf8_percent_encode(text, percent_encoding::NON_ALPHANUMERIC).to_string()
        };
        let body: Vec<_> =
            fields.iter().map(|(name, value)| format!("{name}={}", encode(value))).collect();
        let body = body.join("&").into_bytes();
        let read = |body: &[u8]| {
            let decode = |text: &str| -> Vec<u8> {
                percent_encoding::percent_decode_str(&text.replace('+', " ")).collect()
            };
            let text = std::str::from_utf8(body).ok()?;
            let pairs = text.split('&').map(|pair| pair.split_once('='));
            let pairs: Option<Vec<_>> =
                pairs.map(|pair| pair.map(|(name, value)| (decode(name), decode(value)))).collect();
            let mut pairs = pairs?;
            pairs.sort();
            pairs.dedup();
            Some(pairs)
        };
        let mut sorted = read(&body).unwrap();
        sorted.dedup();
        let mut message = b"https://example.com/".to_vec();
        for (name, value) in sorted {
            message.extend(name);
            message.extend(value);
        }
        let signature = base64(&sha1_hmac("token", &message));
        let request = |body: Vec<u8>| {
            Request::post("https://example.com/")
                .header("content-type", "application/x-www-form-urlencoded")
                .header("x-twilio-signature", &signature)
                .body(Full::new(Bytes::from(body)))
                .unwrap()
        };
        let twilio = Twilio::new("token");
        prop_assert_eq!(ask(&twilio, &request(body.clone()), NOW), Ok(()));
        let mut changed = body.clone();
        changed[at.index(body.len())] ^= change;
        if ask(&twilio, &request(changed.clone()), NOW).is_ok() {
            prop_assert_eq!(read(&changed), read(&body), "{:?}", String::from_utf8(changed));
        }
    }
}
