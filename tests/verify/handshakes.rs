//! The questions that platforms ask are answered where the secret is.

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use http::Request;
use http_body_util::Full;
use tower_persistence::VerifyLayer;

use super::common::{HttpRequest, NOW, app, base64, hex, post, send, sha256_hmac, slack};

fn get(uri: &str) -> HttpRequest {
    Request::get(uri).body(Full::default()).unwrap()
}

#[tokio::test]
async fn meta_learns_that_the_app_knows_the_token() {
    let layer = VerifyLayer::new().meta("secret", ["new token", "old"]).meta("other", "third");
    let (app, handler) = app(layer);
    for token in ["new%20token", "new+token", "old", "third"] {
        let uri =
            format!("/hook?hub.mode=subscribe&hub.verify_token={token}&hub.challenge=1158201444");
        let answer = send(&app, get(&uri)).await;
        assert_eq!((answer.status, &answer.body[..]), (200, &b"1158201444"[..]), "{token}");
        assert_eq!(answer.headers["content-type"], "text/plain; charset=utf-8");
        assert_eq!(answer.headers["x-content-type-options"], "nosniff");
    }
    for uri in [
        "/?hub.mode=subscribe&hub.verify_token=wrong&hub.challenge=1",
        "/?hub.mode=subscribe&hub.verify_token=&hub.challenge=1",
        "/?hub.mode=subscribe&hub.verify_token=old&hub.challenge=%3Cscript%3E",
    ] {
        let answer = send(&app, get(uri)).await;
        assert_eq!(answer.status, 403, "{uri}");
        assert!(!answer.body.contains(&b'<'));
    }
    assert!(handler.platforms().is_empty());
    // Other requests are the handler's.
    for uri in ["/healthz", "/?hub.mode=other", "/?hub.mode=subscribe", "/?hub.challenge=1"] {
        assert_eq!(send(&app, get(uri)).await.body, "handled", "{uri}");
    }
    let uri = "/?hub.mode=subscribe&hub.verify_token=old&hub.challenge=1";
    let post = Request::post(uri).body(Full::default()).unwrap();
    assert_eq!(send(&app, post).await.body, "handled");
}

#[tokio::test]
async fn slack_gets_its_challenge_only_for_a_signature() {
    let body =
        r#"{"token":"t","challenge":"3eZbrw1aBm2rZgRNFdxV2595E9CY","type":"url_verification"}"#;
    let (with_slack, handler) = app(VerifyLayer::new().slack("secret"));
    let answer = send(&with_slack, slack("secret", NOW, body)).await;
    assert_eq!((answer.status, &answer.body[..]), (200, &b"3eZbrw1aBm2rZgRNFdxV2595E9CY"[..]));
    assert_eq!(send(&with_slack, slack("other", NOW, body)).await.status, 401);
    assert_eq!(send(&with_slack, post(body, &[])).await.status, 401);
    assert!(handler.platforms().is_empty());
    // Without Slack's secret, it is a request of a platform without a verifier.
    let (without, _) = app(VerifyLayer::new());
    assert_eq!(send(&without, post(body, &[])).await.status, 401);
}

#[tokio::test]
async fn discord_gets_its_pong_and_401_for_the_signatures_that_are_wrong_on_purpose() {
    let pair = Ed25519KeyPair::from_seed_unchecked(&[7; 32]).unwrap();
    let (app, handler) = app(VerifyLayer::new().discord([hex(pair.public_key().as_ref())]));
    let sign = |body: &str| {
        let signature = hex(pair.sign(format!("{NOW}{body}").as_bytes()).as_ref());
        let now = NOW.to_string();
        post(
            body.to_owned(),
            &[("x-signature-ed25519", &signature), ("x-signature-timestamp", &now)],
        )
    };
    let ping = r#"{"application_id":"1","id":"2","token":"t","type":1,"version":1}"#;
    let answer = send(&app, sign(ping)).await;
    assert_eq!((answer.status, &answer.body[..]), (200, &br#"{"type":1}"#[..]));
    assert_eq!(answer.headers["content-type"], "application/json");
    let mut forged = sign(ping);
    forged.headers_mut().insert("x-signature-ed25519", "00".repeat(64).parse().unwrap());
    assert_eq!(send(&app, forged).await.status, 401);
    let events = send(&app, sign(r#"{"version":1,"application_id":"1","type":0}"#)).await;
    assert_eq!((events.status, &events.body[..]), (204, &b""[..]));
    assert!(handler.platforms().is_empty());
}

#[tokio::test]
async fn line_gets_a_200_for_no_events() {
    let body = r#"{"destination":"U00000000000000000000000000000000","events":[]}"#;
    let signature = base64(&sha256_hmac("secret", body.as_bytes()));
    let (app, handler) = app(VerifyLayer::new().line("secret"));
    let answer = send(&app, post(body, &[("x-line-signature", &signature)])).await;
    assert_eq!((answer.status, &answer.body[..]), (200, &b""[..]));
    assert_eq!(send(&app, post(body, &[])).await.status, 401);
    assert!(handler.platforms().is_empty());
}
