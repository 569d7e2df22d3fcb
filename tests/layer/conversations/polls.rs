//! Users who act on one message: their events have its id, and each counts.

use super::*;

fn click(user: &str) -> Value {
    json!({
        "type": "CARD_CLICKED",
        "eventTime": "2026-01-05T10:00:00Z",
        "user": { "name": format!("users/{user}"), "type": "HUMAN" },
        "space": { "name": "spaces/1", "type": "ROOM" },
        "message": { "name": "spaces/1/messages/poll", "thread": { "name": "spaces/1/threads/1" } },
        "action": { "actionMethodName": "vote" },
    })
}

#[tokio::test]
async fn each_click_on_a_poll_counts() {
    let layer = PersistenceLayer::new(MemoryDb::new()).deduplicate(true);
    let app = visits(&layer);
    for user in ["1", "2", "1"] {
        send_json(&app, &click(user)).await.assert_ok();
    }
    let poll = layer.export_conversation("googlechat", "spaces/1").await.unwrap().unwrap();
    assert_eq!(poll["conversation"]["data"], json!({ "count": 3 }));
    let first = layer.export("googlechat", "users/1").await.unwrap().unwrap();
    assert_eq!(first["user"]["data"], json!({ "visits": 2 }));
}
