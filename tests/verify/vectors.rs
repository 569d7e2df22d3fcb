//! Published examples of signatures, and those of RFCs.

use std::time::Duration;

use bytes::Bytes;
use http::Request;
use http_body_util::Full;
use tower_persistence::verify::{Cause, Discord, FixedHeader, Hmac, Twilio, Verifier};

use super::common::{HttpRequest, NOW, ask, base64, hex, post, sha1_hmac, sha256_hmac};

/// <https://docs.slack.dev/authentication/verifying-requests-from-slack>
pub(crate) const SLACK_SECRET: &str = "8f742231b10e8888abcd99yyyzzz85a5";
pub(crate) const SLACK_BODY: &str = "token=xyzz0WbapA4vBCDEFasx0q6G&team_id=T1DC2JH3J&\
    team_domain=testteamnow&channel_id=G8PSS9T3V&channel_name=foobar&user_id=U2CERLKJA&\
    user_name=roadrunner&command=%2Fwebhook-collect&text=&\
    response_url=https%3A%2F%2Fhooks.slack.com%2Fcommands%2FT1DC2JH3J%2F397700885554%2F\
    96rGlfmibIGlgcZRskXaIFfN&trigger_id=398738663015.47445629121.\
    803a0bc887a14d10d2c447fce8b6703c";
const SLACK_SIGNATURE: &str = "v0=a2114d57b48eac39b9ad189dd8316235a7b4a8d21a10bd27519666489c69b503";

#[test]
fn slacks_example_passes_for_300_seconds() {
    let slack = Hmac::slack(["another", SLACK_SECRET]);
    let request = post(
        SLACK_BODY,
        &[("x-slack-signature", SLACK_SIGNATURE), ("x-slack-request-timestamp", "1531420618")],
    );
    for now in [NOW, NOW + 300, NOW - 300] {
        assert_eq!(ask(&slack, &request, now), Ok(()), "{now}");
    }
    assert_eq!(ask(&slack, &request, NOW + 301), Err(Cause::TooOld));
    assert_eq!(ask(&slack, &request, NOW - 301), Err(Cause::TooNew));
    assert_eq!(ask(&Hmac::slack("another"), &request, NOW), Err(Cause::BadSignature));
    for missing in ["x-slack-signature", "x-slack-request-timestamp"] {
        let mut request = request.clone();
        request.headers_mut().remove(missing);
        assert_eq!(ask(&slack, &request, NOW), Err(Cause::NoSignature), "{missing}");
    }
    // Two values of one header could mean either.
    let mut request = request;
    request.headers_mut().append("x-slack-signature", SLACK_SIGNATURE.parse().unwrap());
    assert_eq!(ask(&slack, &request, NOW), Err(Cause::NoSignature));
}

/// The reference vector of the Standard Webhooks' libraries.
#[test]
fn the_example_of_standard_webhooks_passes() {
    let check = Hmac::standard_webhooks("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw");
    let signature = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=";
    let request = |signature: &str| {
        let headers = [
            ("webhook-id", "msg_p5jXN8AQM9LWM0D4loKWxJek"),
            ("webhook-timestamp", "1614265330"),
            ("webhook-signature", signature),
        ];
        post(r#"{"test": 2432232314}"#, &headers)
    };
    let several = format!("v1,AAAA v1a,{signature} {signature}");
    for signatures in [signature, &several] {
        assert_eq!(ask(&check, &request(signatures), 1_614_265_330), Ok(()), "{signatures}");
    }
    assert_eq!(ask(&check, &request(signature), 1_614_265_631), Err(Cause::TooOld));
    assert_eq!(ask(&check, &request(&signature[3..]), 1_614_265_330), Err(Cause::NoSignature));
    let mut other_id = request(signature);
    other_id.headers_mut().insert("webhook-id", "msg_2".parse().unwrap());
    assert_eq!(ask(&check, &other_id, 1_614_265_330), Err(Cause::BadSignature));
    let unusable = Hmac::standard_webhooks("whsec_not base64");
    assert!(unusable.problem().unwrap().contains("base64"));
    assert!(Hmac::standard_webhooks("whsec_").problem().is_some());
    assert!(Hmac::standard_webhooks([""; 0]).problem().unwrap().contains("no secret"));
}

/// <https://www.rfc-editor.org/rfc/rfc4231>, test cases 1, 2 and 4.
#[test]
fn the_hmac_is_that_of_the_rfc() {
    let one_to_25: String = (1..=25_u8).map(char::from).collect();
    for (key, data, expected) in [
        (
            "\u{b}".repeat(20),
            Bytes::from("Hi There"),
            "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7",
        ),
        (
            "Jefe".to_owned(),
            Bytes::from("what do ya want for nothing?"),
            "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843",
        ),
        (
            one_to_25,
            Bytes::from(vec![0xcd; 50]),
            "82558a389a443c0ea4cc819899f2083a85f0faa3e578f8077a2e3ff46729665b",
        ),
    ] {
        let request = post(data, &[("x-signature", expected)]);
        assert_eq!(ask(&Hmac::new("x-signature", key), &request, NOW), Ok(()), "{expected}");
    }
}

/// The example of <https://www.twilio.com/docs/usage/security>, and those of Twilio's own
/// libraries' tests (`RequestValidatorTest`).
const TWILIO_URL: &str = "https://mycompany.com/myapp.php?foo=1&bar=2";
const TWILIO_BODY: &str = "Digits=1234&To=%2B18005551212&From=%2B14158675309&\
    Caller=%2B14158675309&CallSid=CA1234567890ABCDE";

fn twilio_request(url: &str, body: &str, signature: &str) -> HttpRequest {
    Request::post(url)
        .header("content-type", "application/x-www-form-urlencoded; charset=UTF-8")
        .header("x-twilio-signature", signature)
        .body(Full::new(Bytes::from(body.to_owned())))
        .unwrap()
}

#[test]
fn twilios_examples_pass() {
    let twilio = Twilio::new(["old", "12345"]);
    for (url, signature) in [
        (TWILIO_URL, "RSOYDt4T1cUTdK1PDd93/VVr8B8="),
        ("https://MyCompany.com/myapp.php?foo=1&bar=2", "g9IN/x4Cft2g517EjYvEvM/W7LU="),
        ("https://MyCompany.com:1234/myapp.php?foo=1&bar=2", "PCqOZm8cnu/L6+u5i5fuEd+Iac4="),
    ] {
        let request = twilio_request(url, TWILIO_BODY, signature);
        assert_eq!(ask(&twilio, &request, NOW), Ok(()), "{url}");
        let other = twilio_request(url, &TWILIO_BODY.replace("1234&", "1235&"), signature);
        assert_eq!(ask(&twilio, &other, NOW), Err(Cause::BadSignature), "{url}");
        let other = twilio_request(&format!("{url}&x=1"), TWILIO_BODY, signature);
        assert_eq!(ask(&twilio, &other, NOW), Err(Cause::BadSignature), "{url}");
    }
    let repeated = "Sid=CA123&SidAccount=AC123&Digits=5678&Digits=1234&Digits=1234";
    let request = twilio_request(TWILIO_URL, repeated, "IK+Dwps556ElfBT0I3Rgjkr1wJU=");
    assert_eq!(ask(&twilio, &request, NOW), Ok(()));
}

#[test]
fn twilios_spellings_of_a_url_pass() {
    let twilio = Twilio::new("s3cr3t");
    let sign = |url: &str| base64(&sha1_hmac("s3cr3t", url.as_bytes()));
    for (signed, sent) in [
        ("https://example.com:443/path?test=param", "https://example.com:443/path?test=param"),
        ("https://example.com:443/path?test=param", "https://example.com/path?test=param"),
        ("https://example.com/path?test=param", "https://example.com:443/path?test=param"),
        ("http://example.com:80/path", "http://example.com/path"),
        (
            "https://example.com/path?test=param'Quote",
            "https://example.com/path?test=param%27Quote",
        ),
        (
            "https://example.com/path?test=param%27Quote",
            "https://example.com/path?test=param'Quote",
        ),
        ("https://example.com/path?a=b%20c", "https://example.com/path?a=b+c"),
        ("https://[::1]:443/path", "https://[::1]/path"),
    ] {
        let request = twilio_request(sent, "", &sign(signed));
        assert_eq!(ask(&twilio, &request, NOW), Ok(()), "{signed} {sent}");
    }
    for (signed, sent) in [
        ("https://example.com/path?test=param", "https://example.com/path?test=param2"),
        ("https://example.com/path", "https://example.com/other"),
        ("http://example.com/path", "https://example.com/path"),
        ("https://example.com/path", "https://example.org/path"),
    ] {
        let request = twilio_request(sent, "", &sign(signed));
        assert_eq!(ask(&twilio, &request, NOW), Err(Cause::BadSignature), "{signed} {sent}");
    }
}

#[test]
fn twilios_forms_are_whole_and_not_too_long() {
    let ask = |body: &str, fields: &str| {
        let signature = base64(&sha1_hmac("token", format!("{TWILIO_URL}{fields}").as_bytes()));
        ask(&Twilio::new("token"), &twilio_request(TWILIO_URL, body, &signature), NOW)
    };
    assert_eq!(ask("b=2&a=1", "a1b2"), Ok(()));
    for (body, fields) in [("a", "a"), ("=x", "x"), ("a=b=c", "ab=c"), ("a=1&&b=2", "a1b2")] {
        assert_eq!(ask(body, fields), Err(Cause::BadSignature), "{body}");
    }
    for (count, expected) in [(1000, Ok(())), (1001, Err(Cause::BadSignature))] {
        let names: Vec<_> = (0..count).map(|number| format!("n{number:04}")).collect();
        let body = names.iter().map(|name| format!("{name}=v")).collect::<Vec<_>>().join("&");
        let fields: String = names.iter().map(|name| format!("{name}v")).collect();
        assert_eq!(ask(&body, &fields), expected, "{count}");
    }
}

#[test]
fn twilio_is_found_behind_a_proxy() {
    let sign = |url: &str| base64(&sha1_hmac("token", url.as_bytes()));
    let request = |signature: &str| {
        let mut request = twilio_request("/twilio?a=1", "", signature);
        request.headers_mut().insert("host", "internal:8080".parse().unwrap());
        request
    };
    let plain = Twilio::new("token");
    let whole_site = plain.clone().public_url("https://bot.example.com");
    let with_slash = plain.clone().public_url("https://bot.example.com/");
    let one_page = plain.clone().public_url("https://example.com/bot");
    for (twilio, url) in [
        (&plain, "https://internal:8080/twilio?a=1"),
        (&whole_site, "https://bot.example.com/twilio?a=1"),
        (&with_slash, "https://bot.example.com/twilio?a=1"),
        (&one_page, "https://example.com/bot?a=1"),
    ] {
        assert_eq!(ask(twilio, &request(&sign(url)), NOW), Ok(()), "{url}");
        let other = sign("https://example.org/twilio?a=1");
        assert_eq!(ask(twilio, &request(&other), NOW), Err(Cause::BadSignature), "{url}");
    }
    for url in ["bot.example.com", "ftp://example.com", "https://example.com?x=1", "https://a@b"] {
        assert!(Twilio::new("token").public_url(url).problem().is_some(), "{url}");
    }
}

#[test]
fn twilios_json_is_signed_by_its_hash() {
    let body = r#"{"property": "value", "boolean": true}"#;
    // The hash of Twilio's own libraries' tests.
    let hash = "0a1ff7634d9ab3b95db5c9a2dfe9416e41502b283a80c7cf19632632f96e6620";
    let url = format!("{TWILIO_URL}&bodySHA256={hash}");
    let signature = base64(&sha1_hmac("12345", url.as_bytes()));
    let json = |url: &str, body: &str, signature: &str| {
        let mut request = twilio_request(url, body, signature);
        request.headers_mut().insert("content-type", "application/json".parse().unwrap());
        request
    };
    let twilio = Twilio::new("12345");
    assert_eq!(ask(&twilio, &json(&url, body, &signature), NOW), Ok(()));
    let other = body.replace("true", "false");
    assert_eq!(ask(&twilio, &json(&url, &other, &signature), NOW), Err(Cause::BadSignature));
    // Without the hash, the body is not signed at all.
    let signature = base64(&sha1_hmac("12345", TWILIO_URL.as_bytes()));
    let unsigned = json(TWILIO_URL, body, &signature);
    assert_eq!(ask(&twilio, &unsigned, NOW), Err(Cause::NoSignature));
    assert_eq!(ask(&twilio, &json(TWILIO_URL, "", &signature), NOW), Ok(()), "nothing to sign");
}

/// <https://www.rfc-editor.org/rfc/rfc8032#section-7.1>, tests 2 and 3: the first byte of the
/// message stands for the time stamp, which has to be digits, so 0x72 and 0xaf82 do not serve; the
/// key of test 1 signs here.
#[test]
fn discords_signature_is_ed25519() {
    use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};

    let seed = "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60";
    let seed: Vec<u8> =
        (0..32).map(|at| u8::from_str_radix(&seed[2 * at..2 * at + 2], 16).unwrap()).collect();
    let pair = Ed25519KeyPair::from_seed_unchecked(&seed).unwrap();
    let public = hex(pair.public_key().as_ref());
    assert_eq!(public, "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a");

    let discord = Discord::new([&"ab".repeat(32), &public]);
    let body = r#"{"type":1}"#;
    let signature = pair.sign(format!("{NOW}{body}").as_bytes());
    let request = |signature: &[u8], time: &str| {
        let signature = hex(signature);
        post(body, &[("x-signature-ed25519", &signature), ("x-signature-timestamp", time)])
    };
    let now = NOW.to_string();
    let genuine = request(signature.as_ref(), &now);
    for time in [NOW, NOW + 1_000_000] {
        assert_eq!(ask(&discord, &genuine, time), Ok(()), "Discord states no tolerance");
    }
    let strict = discord.clone().tolerance(Duration::from_secs(60));
    assert_eq!(ask(&strict, &genuine, NOW + 60), Ok(()));
    assert_eq!(ask(&strict, &genuine, NOW + 61), Err(Cause::TooOld));
    assert_eq!(ask(&strict, &genuine, NOW - 61), Err(Cause::TooNew));

    let other_time = request(signature.as_ref(), &(NOW + 1).to_string());
    assert_eq!(ask(&discord, &other_time, NOW), Err(Cause::BadSignature));
    let no_time = request(signature.as_ref(), "now");
    assert_eq!(ask(&discord, &no_time, NOW), Err(Cause::NoSignature));
    assert_eq!(ask(&discord, &request(&[0; 63], &now), NOW), Err(Cause::BadSignature));

    // S + L is another spelling of the same signature, which a strict check refuses (RFC 8032,
    // section 5.1.7).
    let order = "edd3f55c1a631258d69cf7a2def9de1400000000000000000000000000000010";
    let mut malleable = signature.as_ref().to_vec();
    let mut carry = 0;
    for at in 0..32 {
        let digit = u16::from_str_radix(&order[2 * at..2 * at + 2], 16).unwrap();
        let sum = u16::from(malleable[32 + at]) + digit + carry;
        malleable[32 + at] = sum.to_le_bytes()[0];
        carry = sum >> 8;
    }
    assert_eq!(carry, 0);
    assert_eq!(ask(&discord, &request(&malleable, &now), NOW), Err(Cause::BadSignature));

    for unusable in ["", "xyz", &"00".repeat(32), &format!("01{}80", "00".repeat(30))] {
        assert!(Discord::new([unusable]).problem().is_some(), "{unusable}");
    }
    assert!(Discord::new([""; 0]).problem().is_some());
}

#[test]
fn meta_line_and_fields_are_checked() {
    let body = r#"{"object":"page"}"#;
    let tag = sha256_hmac("secret", body.as_bytes());
    let (in_hex, in_base64) = (hex(&tag), base64(&tag));
    let meta = post(body, &[("x-hub-signature-256", &format!("sha256={in_hex}"))]);
    assert_eq!(ask(&Hmac::meta("secret"), &meta, NOW), Ok(()));
    let without_prefix = post(body, &[("x-hub-signature-256", &in_hex)]);
    assert_eq!(ask(&Hmac::meta("secret"), &without_prefix, NOW), Err(Cause::NoSignature));
    let line = post(body, &[("x-line-signature", &in_base64)]);
    assert_eq!(ask(&Hmac::line("secret"), &line, NOW), Ok(()));
    assert_eq!(ask(&Hmac::line("other"), &line, NOW), Err(Cause::BadSignature));

    // As ElevenLabs signs.
    let tag = hex(&sha256_hmac("secret", format!("{NOW}.{body}").as_bytes()));
    let value = format!("t={NOW},v0={tag}");
    let request = post(body, &[("elevenlabs-signature", &value)]);
    let check = Hmac::new("elevenlabs-signature", "secret")
        .prefix("v0=")
        .separator(',')
        .timestamp_field("t=", Duration::from_secs(1800))
        .signs("{timestamp}.{body}");
    assert_eq!(ask(&check, &request, NOW + 1800), Ok(()));
    assert_eq!(ask(&check, &request, NOW + 1801), Err(Cause::TooOld));
    let other = post(body, &[("elevenlabs-signature", &value.replace("t=1", "t=2"))]);
    assert!(ask(&check, &other, NOW).is_err());
    let no_time = post(body, &[("elevenlabs-signature", &format!("v0={tag}"))]);
    assert_eq!(ask(&check, &no_time, NOW), Err(Cause::NoSignature));
}

#[test]
fn headers_are_compared_as_a_whole() {
    let telegram = FixedHeader::telegram(["new_token", "old-token"]);
    for (value, expected) in [
        ("new_token", Ok(())),
        ("old-token", Ok(())),
        ("new_tokem", Err(Cause::BadSignature)),
        ("new_token2", Err(Cause::BadSignature)),
        ("", Err(Cause::BadSignature)),
    ] {
        let request = post("{}", &[("x-telegram-bot-api-secret-token", value)]);
        assert_eq!(ask(&telegram, &request, NOW), expected, "{value}");
    }
    assert_eq!(ask(&telegram, &post("{}", &[]), NOW), Err(Cause::NoSignature));
    // The bot's token has a colon; the secret token cannot.
    assert!(FixedHeader::telegram("123:abc").problem().unwrap().contains("setWebhook"));
    assert!(FixedHeader::telegram("x".repeat(257)).problem().is_some());
    assert_eq!(FixedHeader::telegram("x".repeat(256)).problem(), None);

    // The example of https://www.rfc-editor.org/rfc/rfc7617#section-2.
    let basic = FixedHeader::basic("Aladdin", "open sesame");
    let right = post("{}", &[("authorization", "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==")]);
    assert_eq!(ask(&basic, &right, NOW), Ok(()));
    assert_eq!(ask(&FixedHeader::basic("Aladdin", "x"), &right, NOW), Err(Cause::BadSignature));
    assert!(FixedHeader::basic("Aladdin", "").problem().is_some());
}

#[test]
fn unusable_templates_are_problems() {
    let hmac = || Hmac::new("x-signature", "secret");
    assert_eq!(hmac().problem(), None);
    assert!(hmac().signs("{x-id}").problem().unwrap().contains("{body}"));
    assert!(hmac().timestamp("x-time", Duration::ZERO).problem().unwrap().contains("{timestamp}"));
    assert!(hmac().signs("{timestamp}{body}").problem().is_some());
    assert!(Hmac::new("x-signature", "").problem().is_some());
}
