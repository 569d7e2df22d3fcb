//! Requests and records to measure with.

use bytes::Bytes;
use serde_json::{Value, json};
use tower_persistence::Record;

/// The sizes of the records, in bytes of JSON: a counter, a small shop, a long history, and almost
/// as much as an item of DynamoDB's holds.
pub const SIZES: [usize; 4] = [181, 6_000, 49_000, 300_000];

/// Makes an IntentRequest of 3 KB, as a device with a screen sends it.
#[must_use]
pub fn alexa(user: usize) -> Bytes {
    let user = json!({ "userId": format!("amzn1.ask.account.{user:0180}") });
    let application =
        json!({ "applicationId": "amzn1.ask.skill.00000000-0000-0000-0000-000000000000" });
    let session_id = "amzn1.echo-api.session.00000000-0000-0000-0000-000000000000";
    let intent = json!({ "name": "OrderIntent", "confirmationStatus": "NONE",
        "slots": { "drink": slot("drink"), "food": slot("food") } });
    let body = json!({
        "version": "1.0",
        "session": { "new": false, "sessionId": session_id, "application": application,
            "attributes": {}, "user": user },
        "context": { "System": system(&application, &user), "Viewport": viewport() },
        "request": { "type": "IntentRequest",
            "requestId": "amzn1.echo-api.request.00000000-0000-0000-0000-000000000000",
            "locale": "en-GB", "timestamp": "2026-01-01T00:00:00Z", "dialogState": "STARTED",
            "intent": intent },
    });
    Bytes::from(body.to_string())
}

fn slot(name: &str) -> Value {
    let authority = "amzn1.er-authority.echo-sdk.amzn1.ask.skill.DRINK";
    json!({ "name": name, "value": "a cup of tea", "confirmationStatus": "NONE", "source": "USER",
        "resolutions": { "resolutionsPerAuthority": [{ "authority": authority,
            "status": { "code": "ER_SUCCESS_MATCH" },
            "values": [{ "value": { "name": "tea", "id": "TEA" } }] }] } })
}

fn system(application: &Value, user: &Value) -> Value {
    let interfaces = json!({ "Alexa.Presentation.APL": { "runtime": { "maxVersion": "2023.2" } },
        "AudioPlayer": {} });
    let device_id = format!("amzn1.ask.device.{}", "B".repeat(180));
    json!({ "application": application, "user": user,
        "device": { "deviceId": device_id, "supportedInterfaces": interfaces },
        "apiEndpoint": "https://api.eu.amazonalexa.com", "apiAccessToken": "t".repeat(700) })
}

fn viewport() -> Value {
    json!({ "experiences": [{ "arcMinuteWidth": 346, "arcMinuteHeight": 216, "canRotate": false,
            "canResize": false }],
        "mode": "HUB", "shape": "RECTANGLE", "pixelWidth": 1280, "pixelHeight": 800, "dpi": 160 })
}

/// Makes the data of a user of a small shop.
#[must_use]
pub fn data() -> Value {
    json!({ "name": "Anna", "visits": 41, "favourites": ["tea", "cake", "scones"],
        "address": { "city": "Berlin", "zip": "10115" },
        "lastOrder": { "at": "2026-01-01T00:00:00.000Z",
            "items": [{ "drink": "tea", "count": 2 }] } })
}

/// Makes a stored record of about this many bytes of JSON: a counter, and orders until it is full.
#[must_use]
pub fn record(bytes: usize) -> Record {
    let order = |number: usize| {
        json!({ "id": format!("order-{number:06}"), "at": "2026-01-01T00:00:00.000Z",
            "count": number % 7, "price": 4.25, "paid": true,
            "items": [{ "drink": "tea", "size": "large" }, { "food": "cake" }] })
    };
    let times = "2026-01-01T00:00:00.000Z";
    let mut record = json!({ "user": { "data": { "visits": 41, "name": "Anna", "orders": [] } },
        "session": { "id": "session-1", "data": {} }, "createdAt": times, "updatedAt": times });
    let each = order(0).to_string().len() + 1;
    let orders = bytes.saturating_sub(record.to_string().len()) / each;
    record["user"]["data"]["orders"] = (0..orders).map(order).collect();
    serde_json::from_value(record).expect("an object")
}
