//! The same signed request does not come twice, if the layer is told to remember.

use tower_persistence::VerifyLayer;

use super::common::{MESSENGER, NOW, app, meta, send, slack, status};
use super::layer::slack_platform;

const EVENT: &str = r#"{"type":"event_callback","event_id":"Ev1","event":{"user":"U1"}}"#;

#[tokio::test]
async fn a_replay_is_refused_and_a_repeat_is_not() {
    let layer = VerifyLayer::new().platform(slack_platform()).slack(["secret", "new"]);
    let (app_with_memory, handler) = app(layer.clone().meta("secret", "token").remember(100));
    assert_eq!(status(&app_with_memory, slack("secret", NOW, EVENT)).await, 200);
    assert_eq!(status(&app_with_memory, slack("secret", NOW, EVENT)).await, 401);
    // The same message under another secret is the same.
    assert_eq!(status(&app_with_memory, slack("new", NOW, EVENT)).await, 401);
    // Slack signs its retries anew, and Meta signs no time.
    assert_eq!(status(&app_with_memory, slack("secret", NOW + 1, EVENT)).await, 200);
    for _ in 0..2 {
        assert_eq!(status(&app_with_memory, meta("secret", MESSENGER)).await, 200);
    }
    // A forged request leaves nothing behind.
    assert_eq!(status(&app_with_memory, slack("other", NOW + 2, EVENT)).await, 401);
    assert_eq!(status(&app_with_memory, slack("secret", NOW + 2, EVENT)).await, 200);
    assert_eq!(handler.platforms().len(), 5);

    let (without_memory, _) = app(layer);
    for _ in 0..2 {
        let answer = send(&without_memory, slack("secret", NOW, EVENT)).await;
        assert_eq!(answer.status, 200);
    }
}
