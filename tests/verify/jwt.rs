//! Tokens: of Google, of the Bot Framework, of Entra, of any OpenID provider.

use std::sync::LazyLock;
use std::time::Duration;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair,
    KeyPair, RSA_PKCS1_SHA256, RSA_PKCS1_SHA384, RSA_PKCS1_SHA512, RSA_PSS_SHA256, RSA_PSS_SHA384,
    RSA_PSS_SHA512, RsaEncoding, RsaKeyPair,
};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use tower_persistence::VerifyLayer;
use tower_persistence::platform::JsonPlatform;
use tower_persistence::verify::{Cause, Jwt, Keys, SignedRequest, Verifier};

use super::authority::{Files, rsa_sign};
use super::common::{HttpRequest, NOW, app, at, post, send, sha256_hmac};

static RSA: LazyLock<RsaKeyPair> =
    LazyLock::new(|| RsaKeyPair::generate(KeySize::Rsa2048).unwrap());
static OTHER: LazyLock<RsaKeyPair> =
    LazyLock::new(|| RsaKeyPair::generate(KeySize::Rsa2048).unwrap());

const ISSUER: &str = "https://issuer.example.com";
const APP: &str = "my-app";

fn encode(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// Returns the key as its issuer publishes it.
fn published(key: &RsaKeyPair, id: &str) -> Value {
    // RSAPublicKey of 2,048 bits in DER: the modulus begins behind nine bytes.
    let der = key.public_key().as_ref().to_vec();
    assert_eq!((der.len(), &der[265..]), (270, &[2, 3, 1, 0, 1][..]));
    json!({ "kty": "RSA", "use": "sig", "kid": id, "n": encode(&der[9..265]), "e": "AQAB" })
}

fn set(keys: &[Value]) -> String {
    json!({ "keys": keys }).to_string()
}

fn claims() -> Value {
    json!({ "iss": ISSUER, "aud": APP, "sub": "user-1", "exp": NOW + 300, "iat": NOW })
}

fn unsigned(header: &Value, claims: &Value) -> String {
    format!("{}.{}", encode(header.to_string()), encode(claims.to_string()))
}

fn token_with(header: &Value, claims: &Value, key: &RsaKeyPair) -> String {
    let message = unsigned(header, claims);
    format!("{message}.{}", encode(rsa_sign(key, message.as_bytes())))
}

fn token(claims: &Value) -> String {
    token_with(&json!({ "alg": "RS256", "kid": "key-1" }), claims, &RSA)
}

fn bearer(token: &str, body: &str) -> HttpRequest {
    post(body.to_owned(), &[("authorization", &format!("Bearer {token}"))])
}

fn fixed() -> Keys {
    Keys::fixed(set(&[published(&RSA, "key-1"), published(&OTHER, "key-2")]))
}

fn check() -> Jwt {
    Jwt::new([ISSUER], [APP], fixed())
}

async fn ask(check: &Jwt, request: &HttpRequest, seconds: u64) -> Result<(), Cause> {
    let (head, body) = request.clone().into_parts();
    let body = http_body_util::BodyExt::collect(body).await.unwrap().to_bytes();
    let asked = check.verify(SignedRequest::new(&head, &body, at(seconds))).await;
    asked.map(drop).map_err(|refusal| refusal.cause())
}

async fn ask_token(check: &Jwt, token: &str) -> Result<(), Cause> {
    ask(check, &bearer(token, "{}"), NOW).await
}

/// <https://www.rfc-editor.org/rfc/rfc7515#appendix-A.2> and A.3: the signatures are right, and the
/// tokens for nobody.
#[tokio::test]
async fn the_examples_of_the_rfc_are_signed() {
    let rsa = json!({
        "kty": "RSA",
        "n": "ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddxHmfHQp-Vaw-4qPCJrcS2mJPMEzP1Pt0Bm4d4QlL-yRT-SFd2lZS-pCgNMsD1W_YpRPEwOWvG6b32690r2jZ47soMZo9wGzjb_7OMg0LOL-bSf63kpaSHSXndS5z5rexMdbBYUsLA9e-KXBdQOS-UTo7WTBEMa2R2CapHg665xsmtdVMTBQY4uDZlxvb3qCo5ZwKh9kG4LT6_I5IhlJH7aGhyxXFvUK-DWNmoudF8NAco9_h9iaGNj8q2ethFkMLs91kzk2PAcDTW9gb54h4FRWyuXpoQ",
        "e": "AQAB",
    });
    let rsa_token = "eyJhbGciOiJSUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ.cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7AAuHIm4Bh-0Qc_lF5YKt_O8W2Fp5jujGbds9uJdbF9CUAr7t1dnZcAcQjbKBYNX4BAynRFdiuB--f_nZLgrnbyTyWzO75vRK5h6xBArLIARNPvkSjtQBMHlb1L07Qe7K0GarZRmB_eSN9383LcOLn6_dO--xi12jzDwusC-eOkHWEsqtFZESc6BfI7noOPqvhJ1phCnvWh6IeYI2w9QOYEUipUTI8np6LbgGY9Fs98rqVt5AXLIhWkWywlVmtVrBp0igcN_IoypGlUPQGe77Rw";
    let ec = json!({
        "kty": "EC",
        "crv": "P-256",
        "x": "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
        "y": "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0",
    });
    let ec_token = "eyJhbGciOiJFUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ.DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q";
    let at_the_time = 1_300_819_300;
    for (key, token) in [(&rsa, rsa_token), (&ec, ec_token)] {
        let check = Jwt::new(["joe"], ["app"], Keys::fixed(set(std::slice::from_ref(key))));
        let asked = ask(&check, &bearer(token, "{}"), at_the_time).await;
        assert_eq!(asked, Err(Cause::WrongAudience), "signed, without an audience");
        let asked = ask(&check, &bearer(token, "{}"), at_the_time + 1000).await;
        assert_eq!(asked, Err(Cause::TooOld));
        let (message, signature) = token.rsplit_once('.').unwrap();
        let changed = format!("{message}.A{}", &signature[1..]);
        let changed = bearer(&changed, "{}");
        assert_eq!(ask(&check, &changed, at_the_time).await, Err(Cause::BadSignature));
    }
}

#[tokio::test]
async fn a_token_passes_with_its_claims() {
    let kiosk = JsonPlatform::new("kiosk").detect("/kiosk").user_id("/kiosk");
    let layer = VerifyLayer::new().platform(kiosk).verifier("kiosk", check());
    let (app, handler) = app(layer);
    let body = r#"{"kiosk":"badge"}"#;
    assert_eq!(send(&app, bearer(&token(&claims()), body)).await.status, 200);
    let (verified, _) = handler.first();
    assert_eq!((verified.platform(), verified.subject()), ("kiosk", Some("user-1")));
    assert_eq!(verified.claim("aud"), Some(&json!(APP)));
    assert!(!format!("{verified:?}").contains("user-1"));
    let answer = send(&app, post(body, &[])).await;
    assert_eq!(
        (answer.status, answer.headers["www-authenticate"].to_str().unwrap()),
        (401, "Bearer")
    );
    let answer = send(&app, bearer("x.y.z", body)).await;
    assert_eq!(answer.status, 401);
}

#[tokio::test]
async fn each_claim_counts() {
    let check = check().claim("scope", "chat");
    let with = |name: &str, value: Value| {
        let mut claims = claims();
        claims["scope"] = "chat".into();
        claims[name] = value;
        token(&claims)
    };
    for (name, value) in [
        ("sub", json!("user-2")),
        ("aud", json!(["other", APP])),
        ("exp", json!(NOW - 59)),
        ("exp", json!(NOW as f64 + 0.5)),
        ("nbf", json!(NOW + 60)),
        ("iat", json!(NOW + 60)),
    ] {
        assert_eq!(ask_token(&check, &with(name, value.clone())).await, Ok(()), "{name} {value}");
    }
    for (name, value, cause) in [
        ("iss", json!("https://issuer.example.com/"), Cause::WrongAudience),
        ("iss", json!(null), Cause::WrongAudience),
        ("iss", json!([ISSUER]), Cause::WrongAudience),
        ("aud", json!("my-app2"), Cause::WrongAudience),
        ("aud", json!(["other"]), Cause::WrongAudience),
        ("aud", json!([]), Cause::WrongAudience),
        ("aud", json!(null), Cause::WrongAudience),
        ("scope", json!("chat admin"), Cause::WrongAudience),
        ("scope", json!(["chat"]), Cause::WrongAudience),
        ("exp", json!(NOW - 60), Cause::TooOld),
        ("exp", json!(null), Cause::TooOld),
        ("exp", json!((NOW + 300).to_string()), Cause::TooOld),
        ("nbf", json!(NOW + 61), Cause::TooNew),
        ("iat", json!(NOW + 61), Cause::TooNew),
    ] {
        let asked = ask_token(&check, &with(name, value.clone())).await;
        assert_eq!(asked, Err(cause), "{name} {value}");
    }
    let mut without_end = claims();
    without_end.as_object_mut().unwrap().remove("exp");
    without_end["scope"] = "chat".into();
    assert_eq!(ask_token(&check, &token(&without_end)).await, Err(Cause::TooOld));
}

#[tokio::test]
async fn the_algorithm_is_not_the_tokens_choice() {
    let check = check();
    let header = |alg: &str| json!({ "alg": alg, "kid": "key-1" });
    assert_eq!(ask_token(&check, &token_with(&header("RS256"), &claims(), &RSA)).await, Ok(()));
    // Without a signature, and with the public key for a shared secret.
    for alg in ["none", "None", ""] {
        for signature in ["", "AA"] {
            let forged = format!("{}.{signature}", unsigned(&header(alg), &claims()));
            assert!(ask_token(&check, &forged).await.is_err(), "{alg} {signature}");
        }
    }
    for secret in [set(&[published(&RSA, "key-1")]), published(&RSA, "key-1")["n"].to_string()] {
        let message = unsigned(&header("HS256"), &claims());
        let forged = format!("{message}.{}", encode(sha256_hmac(&secret, message.as_bytes())));
        assert_eq!(ask_token(&check, &forged).await, Err(Cause::BadSignature));
    }
    // An algorithm that is allowed, but not this key's.
    assert_eq!(
        ask_token(&check, &token_with(&header("ES256"), &claims(), &RSA)).await,
        Err(Cause::BadSignature)
    );
    // Known, but not allowed here; and allowed, but not for this key.
    for alg in ["RS512", "PS256"] {
        let token = token_with(&header(alg), &claims(), &RSA);
        assert_eq!(ask_token(&check, &token).await, Err(Cause::BadSignature), "{alg}");
    }
    let mut other_algorithm = published(&RSA, "key-1");
    other_algorithm["alg"] = "RS512".into();
    let strict = Jwt::new([ISSUER], [APP], Keys::fixed(set(&[other_algorithm])));
    assert_eq!(ask_token(&strict, &token(&claims())).await, Err(Cause::BadSignature));
    for algorithms in [&["none"][..], &["HS256"], &[]] {
        let check = Jwt::new([ISSUER], [APP], fixed()).algorithms(algorithms.iter().copied());
        assert!(check.problem().unwrap().contains("algorithm"), "{algorithms:?}");
    }
}

#[tokio::test]
async fn an_rsa_key_signs_in_six_ways() {
    let ways: [(&str, &'static dyn RsaEncoding); 6] = [
        ("RS256", &RSA_PKCS1_SHA256),
        ("RS384", &RSA_PKCS1_SHA384),
        ("RS512", &RSA_PKCS1_SHA512),
        ("PS256", &RSA_PSS_SHA256),
        ("PS384", &RSA_PSS_SHA384),
        ("PS512", &RSA_PSS_SHA512),
    ];
    for (alg, _) in ways {
        let message = unsigned(&json!({ "alg": alg, "kid": "key-1" }), &claims());
        for (way, encoding) in ways {
            let mut signature = vec![0; RSA.public_modulus_len()];
            RSA.sign(encoding, &SystemRandom::new(), message.as_bytes(), &mut signature).unwrap();
            let token = format!("{message}.{}", encode(signature));
            let expected = if alg == way { Ok(()) } else { Err(Cause::BadSignature) };
            let asked = ask_token(&check().algorithms([alg]), &token).await;
            assert_eq!(asked, expected, "{alg}, signed as {way}");
        }
    }
}

#[tokio::test]
async fn other_kinds_of_keys_sign_as_well() {
    let random = SystemRandom::new();
    let ec = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
    let large = EcdsaKeyPair::generate(&ECDSA_P384_SHA384_FIXED_SIGNING).unwrap();
    let point = ec.public_key().as_ref().to_vec();
    let large_point = large.public_key().as_ref().to_vec();
    let ed = Ed25519KeyPair::from_seed_unchecked(&[9; 32]).unwrap();
    let keys = set(&[
        json!({ "kty": "EC", "crv": "P-256", "kid": "ec", "x": encode(&point[1..33]), "y": encode(&point[33..]) }),
        json!({ "kty": "EC", "crv": "P-384", "kid": "large", "x": encode(&large_point[1..49]), "y": encode(&large_point[49..]) }),
        json!({ "kty": "EC", "crv": "P-256", "kid": "short", "x": encode(&point[1..33]), "y": "AA" }),
        json!({ "kty": "OKP", "crv": "Ed25519", "kid": "ed", "x": encode(ed.public_key()) }),
        json!({ "kty": "oct", "kid": "secret", "k": "AAAA" }),
        json!({ "kty": "RSA", "kid": "no number" }),
        json!(7),
    ]);
    let check =
        Jwt::new([ISSUER], [APP], Keys::fixed(keys)).algorithms(["ES256", "ES384", "EdDSA"]);
    for (alg, id, key) in [("ES256", "ec", &ec), ("ES384", "large", &large)] {
        let message = unsigned(&json!({ "alg": alg, "kid": id }), &claims());
        let signature = key.sign(&random, message.as_bytes()).unwrap();
        let token = format!("{message}.{}", encode(signature));
        assert_eq!(ask_token(&check, &token).await, Ok(()), "{alg}");
    }
    let message = unsigned(&json!({ "alg": "ES256", "kid": "short" }), &claims());
    let signature = ec.sign(&random, message.as_bytes()).unwrap();
    let with_short = format!("{message}.{}", encode(signature));
    assert_eq!(ask_token(&check, &with_short).await, Err(Cause::UnknownKey));
    let message = unsigned(&json!({ "alg": "EdDSA", "kid": "ed" }), &claims());
    let with_ed = format!("{message}.{}", encode(ed.sign(message.as_bytes())));
    assert_eq!(ask_token(&check, &with_ed).await, Ok(()));
    let message = unsigned(&json!({ "alg": "HS256", "kid": "secret" }), &claims());
    let forged = format!("{message}.{}", encode(sha256_hmac("\0\0\0", message.as_bytes())));
    assert!(ask_token(&check, &forged).await.is_err());
}

#[tokio::test]
async fn tokens_have_up_to_16_kb_and_sets_of_keys_256() {
    let mut long = claims();
    long["pad"] = "x".repeat(11_801).into();
    let header = |pad: usize| json!({ "alg": "RS256", "kid": "key-1", "pad": "x".repeat(pad) });
    // The signature has 342 characters behind its dot.
    let is_longest = |pad: &usize| unsigned(&header(*pad), &long).len() + 343 == 16 * 1024;
    let pad = (0..200).find(is_longest).expect("a header of such a length");
    let longest = token_with(&header(pad), &long, &RSA);
    assert_eq!(longest.len(), 16 * 1024);
    assert_eq!(ask_token(&check(), &longest).await, Ok(()));

    for (length, expected) in [(256 * 1024, Ok(())), (256 * 1024 + 1, Err(Cause::KeysUnavailable))]
    {
        let files = Files::default();
        let keys = set(&[published(&RSA, "key-1")]);
        let spaces = " ".repeat(length - keys.len());
        files.put(KEYS_URL, keys + &spaces);
        let check = Jwt::new([ISSUER], [APP], Keys::jwks(KEYS_URL, files));
        assert_eq!(ask_token(&check, &token(&claims())).await, expected, "{length}");
    }
}

#[tokio::test]
async fn malformed_tokens_are_no_tokens() {
    let check = check();
    let good = token(&claims());
    let crit = json!({ "alg": "RS256", "kid": "key-1", "crit": ["b64"], "b64": false });
    let long = format!("{good}{}", "A".repeat(16 * 1024));
    let padded = format!("{good}==");
    let five = format!("{good}.A.A");
    for token in
        ["", ".", "..", "a.b", &*five, &*long, &*padded, &*token_with(&crit, &claims(), &RSA)]
    {
        let asked = ask_token(&check, token).await;
        assert_eq!(asked, Err(Cause::NoSignature), "{token}");
    }
    for value in [good.clone(), format!("Basic {good}"), "Bearer".to_owned()] {
        let request = post("{}", &[("authorization", &value)]);
        assert_eq!(ask(&check, &request, NOW).await, Err(Cause::NoSignature), "{value}");
    }
    let lower = post("{}", &[("authorization", &format!("bearer {good}"))]);
    assert_eq!(ask(&check, &lower, NOW).await, Ok(()));
    // A changed byte anywhere.
    for at in (0..good.len()).step_by(7) {
        let mut changed = good.clone().into_bytes();
        changed[at] = if changed[at] == b'x' { b'y' } else { b'x' };
        let changed = String::from_utf8(changed).unwrap();
        assert!(ask_token(&check, &changed).await.is_err(), "{at}");
    }
    // Of two keys, a token without an id names none.
    let without_id = token_with(&json!({ "alg": "RS256" }), &claims(), &RSA);
    assert_eq!(ask_token(&check, &without_id).await, Err(Cause::UnknownKey));
    let only = Jwt::new([ISSUER], [APP], Keys::fixed(set(&[published(&RSA, "key-1")])));
    assert_eq!(ask_token(&only, &without_id).await, Ok(()));
    let foreign = token_with(&json!({ "alg": "RS256", "kid": "key-2" }), &claims(), &RSA);
    assert_eq!(ask_token(&check, &foreign).await, Err(Cause::BadSignature));
    for unusable in ["", "{}", r#"{"keys":[]}"#, r#"{"keys":[{"kty":"oct","k":"AA"}]}"#] {
        let check = Jwt::new([ISSUER], [APP], Keys::fixed(unusable));
        assert!(check.problem().unwrap().contains("keys"), "{unusable}");
    }
    assert!(Jwt::new([ISSUER], [""], fixed()).problem().unwrap().contains("audience"));
    assert!(Jwt::new([""; 0], [APP], fixed()).problem().unwrap().contains("issuer"));
    assert!(
        Jwt::new([ISSUER], [APP], fixed()).claim("email", "").problem().unwrap().contains("claim")
    );
}

const KEYS_URL: &str = "https://issuer.example.com/keys";

#[tokio::test]
async fn keys_are_kept_rotated_and_asked_for_at_most_every_30_seconds() {
    let files = Files::default();
    files.put(KEYS_URL, set(&[published(&RSA, "key-1")]));
    files.max_age(Duration::from_secs(600));
    let check = Jwt::new([ISSUER], [APP], Keys::jwks(KEYS_URL, files.clone()));
    let mut claims = claims();
    claims["exp"] = (NOW + 1_000_000).into();
    let (old, new) = (
        bearer(&token(&claims), "{}"),
        bearer(&token_with(&json!({ "alg": "RS256", "kid": "key-2" }), &claims, &OTHER), "{}"),
    );
    assert_eq!(ask(&check, &old, NOW).await, Ok(()));
    // A token that names an unknown key cannot cause a fetch each time.
    for seconds in 0..30 {
        assert_eq!(ask(&check, &new, NOW + seconds).await, Err(Cause::UnknownKey));
    }
    assert_eq!(files.fetched().len(), 1);
    // The issuer rotates its keys, and the new one is known at once.
    files.put(KEYS_URL, set(&[published(&OTHER, "key-2")]));
    assert_eq!(ask(&check, &new, NOW + 30).await, Ok(()));
    assert_eq!(files.fetched().len(), 2);
    // The old one is not used any more.
    assert_eq!(ask(&check, &old, NOW + 31).await, Err(Cause::UnknownKey));
    // They are fresh for as long as the server says.
    assert_eq!(ask(&check, &new, NOW + 30 + 599).await, Ok(()));
    assert_eq!(files.fetched().len(), 2);
    assert_eq!(ask(&check, &new, NOW + 30 + 600).await, Ok(()));
    assert_eq!(files.fetched().len(), 3);
    // The issuer fails: the last keys are used for a day, and it is asked every 30 seconds.
    files.remove(KEYS_URL);
    let fetched = NOW + 630;
    assert_eq!(ask(&check, &new, fetched + 700).await, Ok(()));
    assert_eq!(ask(&check, &new, fetched + 729).await, Ok(()));
    assert_eq!(files.fetched().len(), 4);
    assert_eq!(ask(&check, &new, fetched + 730).await, Ok(()));
    assert_eq!(files.fetched().len(), 5);
    let day = 24 * 3600;
    assert_eq!(ask(&check, &new, fetched + day - 1).await, Ok(()));
    assert_eq!(ask(&check, &new, fetched + day).await, Err(Cause::KeysUnavailable));
    assert_eq!(ask(&check, &old, fetched + day).await, Err(Cause::KeysUnavailable));
}

#[tokio::test]
async fn keys_are_fresh_for_five_minutes_to_a_day_and_by_default_an_hour() {
    const DAY: u64 = 24 * 3600;
    let mut claims = claims();
    claims["exp"] = (NOW + 1_000_000).into();
    let request = bearer(&token(&claims), "{}");
    for (max_age, fresh) in [(Some(1), 300), (None, 3600), (Some(2 * DAY), DAY)] {
        let files = Files::default();
        // As long as a provider with many applications publishes it.
        let mut keys = vec![published(&OTHER, "other"); 40];
        keys.push(published(&RSA, "key-1"));
        files.put(KEYS_URL, set(&keys));
        if let Some(seconds) = max_age {
            files.max_age(Duration::from_secs(seconds));
        }
        let check = Jwt::new([ISSUER], [APP], Keys::jwks(KEYS_URL, files.clone()));
        for (seconds, fetched) in [(0, 1), (fresh - 1, 1), (fresh, 2)] {
            assert_eq!(ask(&check, &request, NOW + seconds).await, Ok(()), "{max_age:?}");
            assert_eq!(files.fetched().len(), fetched, "{max_age:?} {seconds}");
        }
    }
}

#[tokio::test]
async fn requests_that_come_together_fetch_the_keys_once() {
    let files = Files::default();
    files.put(KEYS_URL, set(&[published(&RSA, "key-1")]));
    let check = Jwt::new([ISSUER], [APP], Keys::jwks(KEYS_URL, files.clone()));
    let request = bearer(&token(&claims()), "{}");
    let asked = (0..20).map(|_| ask(&check, &request, NOW));
    assert!(futures_util::future::join_all(asked).await.iter().all(Result::is_ok));
    assert_eq!(files.fetched().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn an_issuer_that_hangs_costs_three_seconds_once() {
    let files = Files::default();
    files.hang();
    let check = Jwt::new([ISSUER], [APP], Keys::jwks(KEYS_URL, files.clone()));
    let request = bearer(&token(&claims()), "{}");
    let began = tokio::time::Instant::now();
    let asked = (0..20).map(|_| ask(&check, &request, NOW));
    for asked in futures_util::future::join_all(asked).await {
        assert_eq!(asked, Err(Cause::KeysUnavailable));
    }
    assert_eq!((began.elapsed(), files.fetched().len()), (Duration::from_secs(3), 1));
    let answer = {
        let kiosk = JsonPlatform::new("kiosk").detect("/kiosk").user_id("/kiosk");
        let (app, _) = app(VerifyLayer::new().platform(kiosk).verifier("kiosk", check));
        send(&app, bearer(&token(&claims()), r#"{"kiosk":"badge"}"#)).await
    };
    assert_eq!(answer.status, 503);
}

#[tokio::test]
async fn keys_are_found_by_the_configuration_of_their_issuer_only() {
    let url = "https://issuer.example.com/.well-known/openid-configuration";
    for (configuration, expected) in [
        (json!({ "issuer": ISSUER, "jwks_uri": KEYS_URL }), Ok(())),
        (json!({ "issuer": "https://other", "jwks_uri": KEYS_URL }), Err(Cause::KeysUnavailable)),
        (json!({ "jwks_uri": KEYS_URL }), Err(Cause::KeysUnavailable)),
        (
            json!({ "issuer": ISSUER, "jwks_uri": "http://issuer.example.com/keys" }),
            Err(Cause::KeysUnavailable),
        ),
        (json!({ "issuer": ISSUER }), Err(Cause::KeysUnavailable)),
    ] {
        let files = Files::default();
        files.put(url, configuration.to_string());
        let keys = set(&[published(&RSA, "key-1")]);
        files.put(KEYS_URL, &*keys);
        files.put("http://issuer.example.com/keys", keys);
        let check = Jwt::oidc(ISSUER, APP, files.clone());
        assert_eq!(ask_token(&check, &token(&claims())).await, expected, "{configuration}");
        assert!(files.fetched().iter().all(|url| url.starts_with("https://")));
    }
    let long = Files::default();
    long.put(KEYS_URL, format!("{}{}", set(&[published(&RSA, "key-1")]), " ".repeat(256 * 1024)));
    let check = Jwt::new([ISSUER], [APP], Keys::jwks(KEYS_URL, long));
    assert_eq!(ask_token(&check, &token(&claims())).await, Err(Cause::KeysUnavailable));
    let insecure = Jwt::new([ISSUER], [APP], Keys::jwks("http://x/keys", Files::default()));
    assert!(insecure.problem().unwrap().contains("https"));
}

fn google(files: &Files) {
    files.put("https://www.googleapis.com/oauth2/v3/certs", set(&[published(&RSA, "key-1")]));
    files.put(
        "https://www.googleapis.com/service_accounts/v1/jwk/chat@system.gserviceaccount.com",
        set(&[published(&OTHER, "key-2")]),
    );
}

#[tokio::test]
async fn google_chat_signs_for_a_url_or_a_project() {
    let files = Files::default();
    google(&files);
    let chat = "chat@system.gserviceaccount.com";
    let url = "https://bot.example.com/chat";
    let for_url = json!({
        "iss": "https://accounts.google.com", "aud": url, "exp": NOW + 300,
        "email": chat, "email_verified": true,
    });
    let check = Jwt::google_chat_url(url, files.clone());
    assert_eq!(ask_token(&check, &token(&for_url)).await, Ok(()));
    for (name, value) in [
        ("email", json!("service-1@gcp-sa-gsuiteaddons.iam.gserviceaccount.com")),
        ("email", json!("chat@system.gserviceaccount.com.example.com")),
        ("email_verified", json!(false)),
        ("email_verified", json!("true")),
        ("email_verified", json!(null)),
        ("aud", json!("https://bot.example.com/other")),
        ("iss", json!("https://accounts.example.com")),
    ] {
        let mut claims = for_url.clone();
        claims[name] = value.clone();
        let asked = ask_token(&check, &token(&claims)).await;
        assert_eq!(asked, Err(Cause::WrongAudience), "{name} {value}");
    }
    // One's own add-on, exactly.
    let mine = "service-7@gcp-sa-gsuiteaddons.iam.gserviceaccount.com";
    let mut claims = for_url.clone();
    claims["email"] = mine.into();
    let add_on = Jwt::google(url, mine, files.clone());
    assert_eq!(ask_token(&add_on, &token(&claims)).await, Ok(()));
    assert_eq!(ask_token(&add_on, &token(&for_url)).await, Err(Cause::WrongAudience));
    assert!(Jwt::google(url, "", files.clone()).problem().is_some());

    let project = json!({ "iss": chat, "aud": "1234567890", "exp": NOW + 300 });
    let check = Jwt::google_chat_project("1234567890", files);
    let header = json!({ "alg": "RS256", "kid": "key-2" });
    assert_eq!(ask_token(&check, &token_with(&header, &project, &OTHER)).await, Ok(()));
    let mut other = project.clone();
    other["aud"] = "1234567891".into();
    let asked = ask_token(&check, &token_with(&header, &other, &OTHER)).await;
    assert_eq!(asked, Err(Cause::WrongAudience));
    // A key of Google's other tokens does not sign for Chat.
    assert_eq!(ask_token(&check, &token(&project)).await, Err(Cause::UnknownKey));
}

#[tokio::test]
async fn the_bot_framework_signs_for_a_service_url_and_a_channel() {
    let files = Files::default();
    let keys = "https://login.botframework.com/v1/.well-known/keys";
    files.put(
        "https://login.botframework.com/v1/.well-known/openidconfiguration",
        json!({ "issuer": "https://api.botframework.com", "jwks_uri": keys }).to_string(),
    );
    let mut teams = published(&RSA, "key-1");
    teams["endorsements"] = json!(["msteams", "webchat"]);
    files.put(keys, set(&[teams, published(&OTHER, "key-2")]));
    let check = Jwt::bot_framework(APP, files);
    let service_url = "https://smba.trafficmanager.net/emea/";
    let mut claims = claims();
    claims["iss"] = "https://api.botframework.com".into();
    claims["serviceurl"] = service_url.into();
    let body =
        |channel: &str, url: &str| json!({ "channelId": channel, "serviceUrl": url }).to_string();
    let genuine = bearer(&token(&claims), &body("msteams", service_url));
    for seconds in [NOW, NOW + 599] {
        assert_eq!(ask(&check, &genuine, seconds).await, Ok(()), "five minutes of leeway");
    }
    assert_eq!(ask(&check, &genuine, NOW + 600).await, Err(Cause::TooOld));
    let within_teams = bearer(&token(&claims), &body("msteams:Copilot", service_url));
    assert_eq!(ask(&check, &within_teams, NOW).await, Ok(()));
    for body in [
        body("msteams", "https://evil.example.com/"),
        body("slack", service_url),
        json!({ "channelId": "msteams" }).to_string(),
        json!({ "serviceUrl": service_url }).to_string(),
        "[]".to_owned(),
    ] {
        let asked = ask(&check, &bearer(&token(&claims), &body), NOW).await;
        assert_eq!(asked, Err(Cause::WrongAudience), "{body}");
    }
    // A key without endorsements speaks for no channel, and a token without the claim for no URL.
    let header = json!({ "alg": "RS256", "kid": "key-2" });
    let other = bearer(&token_with(&header, &claims, &OTHER), &body("msteams", service_url));
    assert_eq!(ask(&check, &other, NOW).await, Err(Cause::WrongAudience));
    let mut without = claims.clone();
    without.as_object_mut().unwrap().remove("serviceurl");
    let without = bearer(&token(&without), &body("msteams", service_url));
    assert_eq!(ask(&check, &without, NOW).await, Err(Cause::WrongAudience));
}

#[tokio::test]
async fn entra_signs_for_ones_own_tenants() {
    let (mine, other) =
        ("11111111-1111-1111-1111-111111111111", "22222222-2222-2222-2222-222222222222");
    let files = Files::default();
    let mut common = published(&RSA, "key-1");
    common["issuer"] = "https://login.microsoftonline.com/{tenantid}/v2.0".into();
    let mut of_other = published(&OTHER, "key-2");
    of_other["issuer"] = format!("https://login.microsoftonline.com/{other}/v2.0").into();
    let url = "https://login.microsoftonline.com/common/discovery/v2.0/keys";
    files.put(url, set(&[common, of_other]));
    let check = Jwt::entra(APP, [mine], files.clone());
    let claims = |tenant: &str, issuer: &str| {
        let mut claims = claims();
        claims["tid"] = tenant.into();
        claims["iss"] = issuer.replace("{}", tenant).into();
        claims
    };
    let (v2, v1) = ("https://login.microsoftonline.com/{}/v2.0", "https://sts.windows.net/{}/");
    for issuer in [v2, v1] {
        assert_eq!(ask_token(&check, &token(&claims(mine, issuer))).await, Ok(()), "{issuer}");
        let foreign = token(&claims(other, issuer));
        assert_eq!(ask_token(&check, &foreign).await, Err(Cause::WrongAudience), "{issuer}");
    }
    for forged in [
        claims(mine, "https://login.example.com/{}/v2.0"),
        claims(mine, &v2.replace("{}", other)),
        claims("", v2),
    ] {
        assert_eq!(ask_token(&check, &token(&forged)).await, Err(Cause::WrongAudience));
    }
    let mut no_tenant = claims(mine, v2);
    no_tenant.as_object_mut().unwrap().remove("tid");
    assert_eq!(ask_token(&check, &token(&no_tenant)).await, Err(Cause::WrongAudience));
    // A key that is published for one tenant signs for no other.
    let header = json!({ "alg": "RS256", "kid": "key-2" });
    let forged = token_with(&header, &claims(mine, v2), &OTHER);
    assert_eq!(ask_token(&check, &forged).await, Err(Cause::WrongAudience));
    let both = Jwt::entra(APP, [mine, other], files.clone());
    assert_eq!(ask_token(&both, &token_with(&header, &claims(other, v2), &OTHER)).await, Ok(()));
    assert!(Jwt::entra(APP, [""; 0], files).problem().unwrap().contains("tenants"));
}

#[tokio::test]
async fn mcp_has_a_token_an_origin_and_a_challenge() {
    let mcp = JsonPlatform::new("mcp").detect_value("/jsonrpc", "2.0").user_id("/params/user");
    let metadata = "https://mcp.example.com/.well-known/oauth-protected-resource";
    let jwt = || check().resource_metadata(metadata);
    let (open, _) = app(VerifyLayer::new().platform(mcp.clone()).mcp(jwt()));
    let (with_origin, _) =
        app(VerifyLayer::new().platform(mcp).mcp(jwt().origins(["https://app.example.com"])));
    let body = r#"{"jsonrpc":"2.0","id":1,"method":"tools/call"}"#;
    let from = |origin: Option<&str>| {
        let mut request = bearer(&token(&claims()), body);
        if let Some(origin) = origin {
            request.headers_mut().insert("origin", origin.parse().unwrap());
        }
        request
    };
    for (app, origin, expected) in [
        (&open, None, 200),
        (&open, Some("https://app.example.com"), 403),
        (&with_origin, None, 200),
        (&with_origin, Some("https://app.example.com"), 200),
        (&with_origin, Some("https://app.example.com.evil.example"), 403),
        (&with_origin, Some("null"), 403),
    ] {
        assert_eq!(send(app, from(origin)).await.status, expected, "{origin:?}");
    }
    let mut twice = from(Some("https://app.example.com"));
    twice.headers_mut().append("origin", "https://evil.example".parse().unwrap());
    assert_eq!(send(&with_origin, twice).await.status, 403);
    let challenge = |answer: super::common::Answer| {
        assert_eq!(answer.status, 401);
        answer.headers["www-authenticate"].to_str().unwrap().to_owned()
    };
    let expected = format!(r#"Bearer resource_metadata="{metadata}""#);
    assert_eq!(challenge(send(&open, post(body, &[])).await), expected);
    let mut old = claims();
    old["exp"] = (NOW - 1000).into();
    let expected = format!(r#"Bearer error="invalid_token", resource_metadata="{metadata}""#);
    assert_eq!(challenge(send(&open, bearer(&token(&old), body)).await), expected);
}
