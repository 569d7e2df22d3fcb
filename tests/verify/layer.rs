//! The layer decides whose request it is, and fails closed.

use std::convert::Infallible;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::Full;
use tower::{Layer, Service, service_fn};
use tower_persistence::VerifyLayer;
use tower_persistence::platform::{JsonPlatform, Platform};
use tower_persistence::verify::{Cause, FixedHeader, Proof, Refusal, SignedRequest, Verifier};

use super::authority::Files;
use super::common::{ALEXA, MESSENGER, NOW, WEB, app, base64, meta, post, send, slack, status};

const SLACK: &str =
    r#"{"type":"event_callback","team_id":"T1","event_id":"Ev1","event":{"user":"U1"}}"#;

pub(crate) fn slack_platform() -> JsonPlatform {
    JsonPlatform::new("slack").detect_value("/type", "event_callback").user_id("/event/user")
}

#[tokio::test]
async fn a_genuine_request_reaches_the_handler_with_its_proof_and_its_bytes() {
    let (app, handler) = app(VerifyLayer::new().meta("secret", "token"));
    assert_eq!(status(&app, meta("secret", MESSENGER)).await, 200);
    let (verified, body) = handler.first();
    assert_eq!((verified.platform(), verified.is_trusted()), ("facebookmessenger", false));
    assert_eq!(body, MESSENGER);
}

#[tokio::test]
async fn a_forged_request_is_refused_and_the_answer_tells_no_cause() {
    let (app, handler) = app(VerifyLayer::new().meta(["new", "old"], "token"));
    for secret in ["new", "old"] {
        assert_eq!(status(&app, meta(secret, MESSENGER)).await, 200, "{secret}");
    }
    let forged = meta("other", MESSENGER);
    let unsigned = post(MESSENGER, &[]);
    let mut changed = meta("new", MESSENGER);
    *changed.body_mut() = Full::new(MESSENGER.replace("user-1", "user-2").into());
    for request in [forged, unsigned, changed] {
        let answer = send(&app, request).await;
        assert_eq!((answer.status, &answer.body[..]), (401, &b"the request was not verified"[..]));
        let error = answer.error.unwrap();
        assert!(error.is_unverified());
        assert_eq!(error.platform(), Some("facebookmessenger"));
    }
    assert_eq!(handler.platforms().len(), 2);
}

#[tokio::test]
async fn a_platform_without_a_verifier_is_refused_unless_it_is_trusted() {
    let (closed, handler) = app(VerifyLayer::new().meta("secret", "token"));
    for body in [ALEXA, WEB] {
        let answer = send(&closed, post(body, &[])).await;
        assert_eq!(answer.status, 401);
        assert!(answer.error.unwrap().to_string().contains("no verifier"));
    }
    assert!(handler.platforms().is_empty());

    let (trusting, handler) = app(VerifyLayer::new().trust("web"));
    assert_eq!(status(&trusting, post(WEB, &[])).await, 200);
    assert_eq!(status(&trusting, post(ALEXA, &[])).await, 401);
    let (verified, _) = handler.first();
    assert_eq!((verified.platform(), verified.is_trusted()), ("web", true));

    // A verifier takes precedence over trust.
    let check = FixedHeader::new("x-secret", "secret");
    let (both, _) = app(VerifyLayer::new().verifier("web", check).trust("web"));
    assert_eq!(status(&both, post(WEB, &[])).await, 401);
    assert_eq!(status(&both, post(WEB, &[("x-secret", "secret")])).await, 200);
}

#[tokio::test]
async fn what_no_platform_claims_passes_without_a_proof() {
    let (app, handler) = app(VerifyLayer::new());
    let get = Request::get("/healthz").body(Full::default()).unwrap();
    let text = Request::post("/").header("content-type", "text/plain").body(Full::from(ALEXA));
    for request in [get, text.unwrap(), post(r#"{"hello":"world"}"#, &[]), post("not JSON", &[])] {
        assert_eq!(status(&app, request).await, 200);
    }
    assert_eq!(handler.platforms(), [None, None, None, None]);
}

#[tokio::test]
async fn a_request_of_two_platforms_is_refused() {
    let both = ALEXA.replacen(
        '{',
        r#"{"object":"page","entry":[{"messaging":[{"sender":{"id":"u"},
        "timestamp":1,"message":{"mid":"m"}}]}],"#,
        1,
    );
    let (app, handler) = app(VerifyLayer::new().meta("secret", "token").trust("alexa"));
    let answer = send(&app, meta("secret", &both)).await;
    assert_eq!(answer.status, 400);
    assert!(answer.error.unwrap().is_ambiguous());
    assert!(handler.platforms().is_empty());
}

#[tokio::test]
async fn platforms_of_ones_own_are_checked_and_come_first() {
    let layer = VerifyLayer::new().platform(slack_platform()).slack("secret");
    let (app_with_slack, handler) = app(layer);
    assert_eq!(status(&app_with_slack, slack("secret", NOW, SLACK)).await, 200);
    assert_eq!(status(&app_with_slack, slack("other", NOW, SLACK)).await, 401);
    assert_eq!(status(&app_with_slack, slack("secret", NOW - 301, SLACK)).await, 401);
    assert_eq!(handler.platforms(), [Some("slack".to_owned())]);

    let own: Vec<Box<dyn Platform>> = vec![Box::new(slack_platform())];
    let (only_slack, _) = app(VerifyLayer::new().platforms(own));
    assert_eq!(status(&only_slack, post(SLACK, &[])).await, 401);
    assert_eq!(status(&only_slack, post(ALEXA, &[])).await, 200, "no platform claims it");
}

#[tokio::test]
async fn one_of_several_verifiers_is_enough() {
    let layer = VerifyLayer::new()
        .verifier("web", FixedHeader::new("x-secret", "one"))
        .verifier("web", FixedHeader::basic("user", "two"));
    let (app, _) = app(layer);
    let basic = format!("Basic {}", base64(b"user:two"));
    assert_eq!(status(&app, post(WEB, &[("x-secret", "one")])).await, 200);
    assert_eq!(status(&app, post(WEB, &[("authorization", &basic)])).await, 200);
    assert_eq!(status(&app, post(WEB, &[("x-secret", "two")])).await, 401);
}

#[tokio::test]
async fn wrong_settings_refuse_everything_and_are_told() {
    let layer =
        VerifyLayer::new().platform(slack_platform()).slack("").meta("", "").telegram("a:b");
    let error = layer.check_settings().unwrap_err();
    assert!(error.is_configuration());
    for platform in ["slack", "facebookmessenger", "instagram", "whatsapp", "telegram"] {
        assert!(error.to_string().contains(&format!("{platform}: ")), "{error}");
    }
    let (app, handler) = app(layer);
    for request in [slack("", NOW, SLACK), meta("", MESSENGER)] {
        let answer = send(&app, request).await;
        assert_eq!(answer.status, 500);
    }
    assert!(handler.platforms().is_empty());
    let layer = VerifyLayer::new().meta("secret", "token");
    assert!(layer.check_settings().is_ok());
    assert_eq!(layer.verified(), ["facebookmessenger", "instagram", "whatsapp"]);
    assert!(!layer.refused().contains(&"instagram") && layer.refused().contains(&"lex"));
    let error = VerifyLayer::new().meta("secret", " ").check_settings().unwrap_err();
    assert!(error.to_string().contains("verify token"), "{error}");
}

#[tokio::test]
async fn bodies_have_limits_and_none_escapes_by_its_length() {
    let (app, handler) = app(VerifyLayer::new().meta("secret", "token").body_limit(300));
    let long = format!("{}{}", MESSENGER, " ".repeat(200));
    assert_eq!(status(&app, meta("secret", &long)).await, 413);
    // The persistence layer reads a body without a content type if its length is announced; its
    // limit may be higher, so the body must not pass unread.
    let mut undeclared = post(long, &[]);
    undeclared.headers_mut().remove("content-type");
    assert_eq!(status(&app, undeclared).await, 413);
    let mut undeclared = post(MESSENGER, &[]);
    undeclared.headers_mut().remove("content-type");
    assert_eq!(status(&app, undeclared).await, 401);
    assert!(handler.platforms().is_empty());
}

/// A verifier that answers what the test says, and notes what it saw.
#[derive(Clone, Default)]
struct Scripted {
    seen: Arc<Mutex<Vec<Vec<u8>>>>,
    refusal: Option<Refusal>,
    hangs: bool,
}

impl Verifier for Scripted {
    async fn verify(&self, request: SignedRequest<'_>) -> Result<Proof, Refusal> {
        self.seen.lock().unwrap().push(request.body.to_vec());
        if self.hangs {
            std::future::pending::<()>().await;
        }
        self.refusal.clone().map_or(Ok(Proof::new()), Err)
    }
}

#[tokio::test(start_paused = true)]
async fn a_verifier_has_its_own_status_and_a_time_limit() {
    let refusal = Refusal::new(Cause::BadSignature, StatusCode::IM_A_TEAPOT);
    let scripted = Scripted { refusal: Some(refusal), ..Scripted::default() };
    let (refusing, _) = app(VerifyLayer::new().verifier("web", scripted));
    assert_eq!(status(&refusing, post(WEB, &[])).await, 418);

    let scripted = Scripted { hangs: true, ..Scripted::default() };
    let layer = VerifyLayer::new().verifier("web", scripted);
    let (hanging, handler) = app(layer.verify_timeout(Duration::from_secs(3)));
    let began = tokio::time::Instant::now();
    assert_eq!(status(&hanging, post(WEB, &[])).await, 503);
    assert_eq!(began.elapsed(), Duration::from_secs(3));
    assert!(handler.platforms().is_empty());
}

#[tokio::test]
async fn debug_texts_tell_what_is_set_but_no_secret() {
    use tower_persistence::verify::{Alexa, Hmac, Jwt, Keys, Secrets, Twilio};
    let layer = VerifyLayer::new()
        .meta("hunter2", "hunter3")
        .slack("hunter4")
        .telegram("hunter5")
        .twilio("hunter6")
        .verifier("web", FixedHeader::basic("hunter7", "hunter8"));
    let (app, handler) = app(layer.clone());
    assert_eq!(status(&app, meta("hunter2", MESSENGER)).await, 200);
    let mut service = layer.layer(service_fn(|_: Request<Full<Bytes>>| async {
        Ok::<_, Infallible>(Response::new(Full::<Bytes>::default()))
    }));
    let future = service.call(meta("hunter2", MESSENGER));
    let jwt = Jwt::new(["issuer-1"], ["app-1"], Keys::jwks("https://a.example", Files::default()));
    let shown = [
        (format!("{layer:?}"), "facebookmessenger"),
        (format!("{layer:#?}"), "VerifyLayer"),
        (format!("{service:?}"), "Verify {"),
        (format!("{future:?}"), "VerifyFuture"),
        (format!("{:?}", handler.first().0), r#"Verified { platform: "facebookmessenger""#),
        (format!("{:?}", Hmac::slack("hunter4")), "Hmac"),
        (format!("{:?}", Twilio::new("hunter6").public_url("https://b.example")), "b.example"),
        (format!("{:?}", FixedHeader::telegram("hunter5")), "x-telegram-bot-api-secret-token"),
        (format!("{:?}", Secrets::from(["hunter4", "hunter9"])), "2"),
        (format!("{:?}", Alexa::new(["skill-1"], Files::default())), "skill-1"),
        (format!("{jwt:?}"), "a.example"),
        (format!("{jwt:?}"), "issuer-1"),
    ];
    for (text, expected) in shown {
        assert!(text.contains(expected), "{text}");
        assert!(!text.contains("hunter"), "{text}");
        assert!(!text.contains(&base64(b"hunter7:hunter8")), "{text}");
    }
}

#[test]
fn short_forms_set_the_verifier_of_their_platform() {
    use tower_persistence::verify::{Jwt, Keys};
    let jwt = || Jwt::new(["issuer"], ["app"], Keys::fixed("{}"));
    let new = VerifyLayer::new;
    for (layer, platform) in [
        #[cfg(feature = "verify-http")]
        (new().alexa(["amzn1.ask.skill.1"]), "alexa"),
        (new().alexa_with(["amzn1.ask.skill.1"], Files::default()), "alexa"),
        (new().slack("secret"), "slack"),
        (new().line("secret"), "line"),
        (new().telegram("secret"), "telegram"),
        (new().twilio("secret"), "twilio"),
        (new().discord(["00"]), "discord"),
        (new().google_chat(jwt()), "googlechat"),
        (new().teams(jwt()), "msteams"),
        (new().mcp(jwt()), "mcp"),
    ] {
        assert_eq!(layer.verified(), [platform]);
    }
}

#[test]
fn settings_tell_which_platforms_are_checked_trusted_and_refused() {
    let layer = VerifyLayer::new().slack("secret").trust("web").trust("slack").trust("core");
    assert_eq!((layer.verified(), layer.trusted()), (vec!["slack"], vec!["core", "web"]));
    let refused = layer.refused();
    assert!(refused.contains(&"alexa") && refused.contains(&"telegram"));
    assert!(!["slack", "web", "core"].iter().any(|name| refused.contains(name)));
}
