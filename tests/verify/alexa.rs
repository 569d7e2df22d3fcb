//! Alexa's requests, with a certificate authority in Amazon's place.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use http::Request;
use http_body_util::Full;
use serde_json::{Value, json};
use tower_persistence::VerifyLayer;
use tower_persistence::verify::{Alexa, Cause, SignedRequest, Verifier};

use super::authority::{Authority, Files, Leaf, rsa_sign};
use super::common::{HttpRequest, NOW, app, app_at, at, base64, send, status};

const URL: &str = "https://s3.amazonaws.com/echo.api/echo-api-cert-10.pem";
const NAME: &str = "echo-api.amazon.com";
const SKILL: &str = "amzn1.ask.skill.1";

static AUTHORITY: LazyLock<Authority> = LazyLock::new(Authority::new);
static LEAF: LazyLock<Leaf> = LazyLock::new(|| AUTHORITY.leaf(NAME));

/// The time of [`NOW`], as Alexa writes it.
const TIME: &str = "2018-07-12T18:36:58Z";

fn launch() -> Value {
    json!({
        "version": "1.0",
        "session": {
            "new": true,
            "sessionId": "session-1",
            "application": { "applicationId": SKILL },
            "user": { "userId": "user-1" },
        },
        "context": { "System": {
            "application": { "applicationId": SKILL },
            "user": { "userId": "user-1" },
        } },
        "request": { "type": "LaunchRequest", "requestId": "request-1", "timestamp": TIME },
    })
}

fn signed_at(url: &str, leaf: &Leaf, body: &str) -> HttpRequest {
    Request::post("/")
        .header("content-type", "application/json")
        .header("SignatureCertChainUrl", url)
        .header("Signature-256", base64(&rsa_sign(&leaf.key, body.as_bytes())))
        .body(Full::from(body.to_owned()))
        .unwrap()
}

fn signed(body: &Value) -> HttpRequest {
    signed_at(URL, &LEAF, &body.to_string())
}

fn files() -> Files {
    let files = Files::default();
    files.put(URL, &*LEAF.pem);
    files
}

fn alexa(files: &Files) -> Alexa {
    Alexa::new(["amzn1.ask.skill.0", SKILL], files.clone()).root(&AUTHORITY.root)
}

async fn ask(alexa: &Alexa, request: &HttpRequest, seconds: u64) -> Result<(), Cause> {
    let (head, body) = request.clone().into_parts();
    let body = http_body_util::BodyExt::collect(body).await.unwrap().to_bytes();
    let asked = alexa.verify(SignedRequest::new(&head, &body, at(seconds))).await;
    asked.map(drop).map_err(|refusal| {
        assert_eq!(refusal.status(), 400, "as Amazon asks for");
        refusal.cause()
    })
}

#[tokio::test]
async fn a_genuine_request_passes_and_its_certificate_is_fetched_once() {
    let files = files();
    let (app, handler) = app(VerifyLayer::new().verifier("alexa", alexa(&files)));
    for _ in 0..3 {
        assert_eq!(status(&app, signed(&launch())).await, 200);
    }
    // The same certificate under another spelling.
    let other = "https://S3.amazonaws.com:443/echo.api/../echo.api/echo-api-cert-10.pem";
    assert_eq!(status(&app, signed_at(other, &LEAF, &launch().to_string())).await, 200);
    assert_eq!(files.fetched(), [URL]);
    assert_eq!(handler.platforms().len(), 4);
    let answer = send(&app, super::common::post(launch().to_string(), &[])).await;
    assert_eq!((answer.status, &answer.body[..]), (400, &b"the request was not verified"[..]));
}

#[tokio::test]
async fn each_part_of_the_signature_counts() {
    let (files, body) = (files(), launch().to_string());
    let alexa = alexa(&files);
    let genuine = signed(&launch());
    assert_eq!(ask(&alexa, &genuine, NOW).await, Ok(()));
    let mut changed = genuine.clone();
    *changed.body_mut() = Full::from(body.replace("user-1", "user-2"));
    assert_eq!(ask(&alexa, &changed, NOW).await, Err(Cause::BadSignature));
    let other = AUTHORITY.leaf(NAME);
    let mut forged = genuine.clone();
    let signature = base64(&rsa_sign(&other.key, body.as_bytes()));
    forged.headers_mut().insert("signature-256", signature.parse().unwrap());
    assert_eq!(ask(&alexa, &forged, NOW).await, Err(Cause::BadSignature));
    for missing in ["signature-256", "signaturecertchainurl"] {
        let mut request = genuine.clone();
        request.headers_mut().remove(missing);
        assert_eq!(ask(&alexa, &request, NOW).await, Err(Cause::NoSignature), "{missing}");
    }
    // The old header, which others check alone.
    let mut old = genuine.clone();
    let value = old.headers_mut().remove("signature-256").unwrap();
    old.headers_mut().insert("signature", value);
    assert_eq!(ask(&alexa, &old, NOW).await, Err(Cause::NoSignature));
    let elsewhere = signed_at("https://example.com/echo.api/cert.pem", &LEAF, &body);
    assert_eq!(ask(&alexa, &elsewhere, NOW).await, Err(Cause::UnknownKey));
    assert_eq!(files.fetched(), [URL], "nothing was fetched from elsewhere");
}

#[tokio::test]
async fn the_chain_must_lead_from_alexas_name_to_the_root() {
    let stranger = Authority::new();
    for (case, leaf, pem) in [
        ("another name", AUTHORITY.leaf("echo-api.example.com"), None),
        ("a name below", AUTHORITY.leaf("x.echo-api.amazon.com"), None),
        ("another root", stranger.leaf(NAME), None),
        ("without the intermediate", AUTHORITY.leaf(NAME), Some(())),
        ("below a certificate that is no authority", AUTHORITY.below_a_leaf(NAME), None),
        (
            "for another use",
            AUTHORITY.leaf_with(NAME, 2018, |params| {
                params.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ClientAuth];
            }),
            None,
        ),
    ] {
        let files = Files::default();
        files.put(URL, if pem.is_some() { &*leaf.alone } else { &*leaf.pem });
        let request = signed_at(URL, &leaf, &launch().to_string());
        assert_eq!(ask(&alexa(&files), &request, NOW).await, Err(Cause::UnknownKey), "{case}");
    }
    // A wildcard is a matter of the certificate's name, and this one matches.
    let leaf = AUTHORITY.leaf("*.amazon.com");
    let files = Files::default();
    files.put(URL, &*leaf.pem);
    let request = signed_at(URL, &leaf, &launch().to_string());
    assert_eq!(ask(&alexa(&files), &request, NOW).await, Ok(()));
    // Mozilla's roots do not know this authority.
    let public = Alexa::new([SKILL], files);
    assert_eq!(ask(&public, &request, NOW).await, Err(Cause::UnknownKey));
}

#[tokio::test]
async fn certificates_are_valid_in_their_time_only() {
    for (year, expected) in [(2017, Err(Cause::TooOld)), (2018, Ok(())), (2019, Err(Cause::TooNew))]
    {
        let leaf = AUTHORITY.leaf_with(NAME, year, |_| {});
        let files = Files::default();
        files.put(URL, &*leaf.pem);
        let request = signed_at(URL, &leaf, &launch().to_string());
        assert_eq!(ask(&alexa(&files), &request, NOW).await, expected, "{year}");
    }
    // Also while it is kept: it expires at the end of the year.
    let (files, mut body) = (files(), launch());
    let alexa = alexa(&files);
    for (time, seconds, expected) in [
        ("2018-12-31T23:59:00Z", 1_546_300_740, Ok(())),
        ("2019-01-01T00:01:00Z", 1_546_300_860, Err(Cause::TooOld)),
    ] {
        body["request"]["timestamp"] = time.into();
        assert_eq!(ask(&alexa, &signed(&body), seconds).await, expected, "{time}");
    }
    assert_eq!(files.fetched().len(), 1);
}

#[tokio::test]
async fn files_that_are_no_chain_are_refused_and_not_asked_for_again_at_once() {
    let many = LEAF.pem.repeat(5);
    for text in
        ["", "no certificate", "-----BEGIN CERTIFICATE-----\nAA\n", &many, &" ".repeat(70_000)]
    {
        let files = Files::default();
        files.put(URL, text);
        let alexa = alexa(&files);
        for now in [NOW, NOW + 10] {
            let asked = ask(&alexa, &signed(&launch()), now).await;
            assert_eq!(asked, Err(Cause::KeysUnavailable), "{} bytes", text.len());
        }
        assert_eq!(files.fetched().len(), 1);
        files.put(URL, &*LEAF.pem);
        assert_eq!(ask(&alexa, &signed(&launch()), NOW + 11).await, Ok(()));
    }
}

#[tokio::test]
async fn time_stamps_have_a_window() {
    let alexa = alexa(&files());
    let events = [
        "AlexaSkillEvent.SkillEnabled",
        "AlexaSkillEvent.SkillDisabled",
        "AlexaSkillEvent.SkillPermissionChanged",
        "AlexaSkillEvent.SkillPermissionAccepted",
        "AlexaSkillEvent.SkillAccountLinked",
    ];
    let others = ["LaunchRequest", "IntentRequest", "AlexaSkillEvent.ProactiveSubscriptionChanged"];
    let kinds = events.map(|kind| (kind, 3600)).into_iter().chain(others.map(|kind| (kind, 150)));
    for (kind, age) in kinds {
        let mut body = launch();
        body["request"]["type"] = kind.into();
        let request = signed(&body);
        assert_eq!(ask(&alexa, &request, NOW + age).await, Ok(()), "{kind}");
        assert_eq!(ask(&alexa, &request, NOW + age + 1).await, Err(Cause::TooOld), "{kind}");
        assert_eq!(ask(&alexa, &request, NOW - 150).await, Ok(()), "{kind}");
        assert_eq!(ask(&alexa, &request, NOW - 151).await, Err(Cause::TooNew), "{kind}");
    }
    for time in [json!(null), json!("now"), json!(NOW), json!("")] {
        let mut body = launch();
        body["request"]["timestamp"] = time.clone();
        assert_eq!(ask(&alexa, &signed(&body), NOW).await, Err(Cause::NoSignature), "{time}");
    }
}

#[tokio::test]
async fn the_request_must_be_for_ones_own_skill() {
    let alexa = alexa(&files());
    let mut only_session = launch();
    only_session["context"]["System"].as_object_mut().unwrap().remove("application");
    let mut only_context = launch();
    only_context["session"].as_object_mut().unwrap().remove("application");
    for body in [&launch(), &only_session, &only_context] {
        assert_eq!(ask(&alexa, &signed(body), NOW).await, Ok(()), "{body}");
    }
    let mut none = only_session.clone();
    none["session"].as_object_mut().unwrap().remove("application");
    let mut in_context = launch();
    in_context["context"]["System"]["application"]["applicationId"] = "another".into();
    let mut in_session = launch();
    in_session["session"]["application"]["applicationId"] = "another".into();
    for body in [&none, &in_context, &in_session] {
        assert_eq!(ask(&alexa, &signed(body), NOW).await, Err(Cause::WrongAudience), "{body}");
    }
    for ids in [&[][..], &[""]] {
        let alexa = Alexa::new(ids.iter().copied(), files());
        assert!(alexa.problem().unwrap().contains("skill id"));
    }
    assert!(Alexa::new([SKILL], files()).root(b"x").problem().unwrap().contains("root"));
}

#[tokio::test]
async fn what_is_kept_is_bounded_and_strangers_push_nothing_out() {
    let files = files();
    let alexa = alexa(&files);
    assert_eq!(ask(&alexa, &signed(&launch()), NOW).await, Ok(()));
    for number in 0..40 {
        let url = format!("https://s3.amazonaws.com/echo.api/none-{number}.pem");
        let request = signed_at(&url, &LEAF, &launch().to_string());
        assert_eq!(ask(&alexa, &request, NOW + number / 4).await, Err(Cause::KeysUnavailable));
    }
    assert_eq!(ask(&alexa, &signed(&launch()), NOW).await, Ok(()));
    assert_eq!(files.fetched().iter().filter(|url| *url == URL).count(), 1);
    // Of those that failed, only the last are still known.
    let request = |number: u32| {
        let url = format!("https://s3.amazonaws.com/echo.api/none-{number}.pem");
        signed_at(&url, &LEAF, &launch().to_string())
    };
    let before = files.fetched().len();
    for number in [38, 39] {
        let asked = ask(&alexa, &request(number), NOW + 9).await;
        assert_eq!(asked, Err(Cause::KeysUnavailable));
    }
    assert_eq!(files.fetched().len(), before);
    assert_eq!(ask(&alexa, &request(0), NOW + 9).await, Err(Cause::KeysUnavailable));
    assert_eq!(files.fetched().len(), before + 1);
    // After a day, the certificate is fetched again.
    let mut body = launch();
    body["request"]["timestamp"] = "2018-07-13T06:36:59Z".into();
    assert_eq!(ask(&alexa, &signed(&body), NOW + 12 * 3600).await, Ok(()));
    assert_eq!(files.fetched().iter().filter(|url| *url == URL).count(), 1);
    body["request"]["timestamp"] = "2018-07-13T18:36:59Z".into();
    assert_eq!(ask(&alexa, &signed(&body), NOW + 24 * 3600 + 1).await, Ok(()));
    assert_eq!(files.fetched().iter().filter(|url| *url == URL).count(), 2);
    // While that fails, the last one is used, also after strangers have come.
    files.remove(URL);
    body["request"]["timestamp"] = "2018-07-14T18:37:00Z".into();
    let stranger = "https://s3.amazonaws.com/echo.api/none.pem";
    let stranger = signed_at(stranger, &LEAF, &body.to_string());
    for seconds in 2..4 {
        let now = NOW + 2 * 24 * 3600 + seconds;
        assert_eq!(ask(&alexa, &stranger, now).await, Err(Cause::KeysUnavailable));
        assert_eq!(ask(&alexa, &signed(&body), now).await, Ok(()));
    }
    assert_eq!(files.fetched().iter().filter(|url| *url == URL).count(), 3);
}

#[tokio::test]
async fn a_chain_has_at_most_eight_certificates() {
    let intermediate = &LEAF.pem[LEAF.alone.len()..];
    for (above, expected) in [(7, Ok(())), (8, Err(Cause::KeysUnavailable))] {
        let files = Files::default();
        files.put(URL, LEAF.alone.clone() + &intermediate.repeat(above));
        assert_eq!(ask(&alexa(&files), &signed(&launch()), NOW).await, expected, "{above}");
    }
}

#[tokio::test]
async fn requests_that_come_together_fetch_once() {
    let files = files();
    let alexa = Arc::new(alexa(&files));
    // More than fetch at a time wait, and find what the first have fetched.
    let request = signed(&launch());
    let asked = (0..32).map(|_| ask(&alexa, &request, NOW));
    for asked in futures_util::future::join_all(asked).await {
        assert_eq!(asked, Ok(()));
    }
    assert!(files.fetched().len() <= 4, "{}", files.fetched().len());
}

#[tokio::test(start_paused = true)]
async fn a_server_that_hangs_costs_three_seconds() {
    let files = files();
    files.hang();
    let alexa = alexa(&files);
    let began = tokio::time::Instant::now();
    assert_eq!(ask(&alexa, &signed(&launch()), NOW).await, Err(Cause::KeysUnavailable));
    assert_eq!(began.elapsed(), Duration::from_secs(3));
}

#[tokio::test]
async fn a_replay_is_refused_by_a_layer_that_remembers() {
    let clock = Arc::new(AtomicU64::new(NOW));
    let reader = Arc::clone(&clock);
    let layer = VerifyLayer::new().verifier("alexa", alexa(&files())).remember(10);
    let (app, _) = app_at(layer.clock(move || at(reader.load(Ordering::SeqCst))));
    assert_eq!(status(&app, signed(&launch())).await, 200);
    clock.store(NOW + 150, Ordering::SeqCst);
    assert_eq!(status(&app, signed(&launch())).await, 401);
    let mut other = launch();
    other["request"]["requestId"] = "request-2".into();
    assert_eq!(status(&app, signed(&other)).await, 200);
}
