//! The samples of the platforms that Jovo does not know: everything that an event says.

use serde_json::Value;

use super::{claims, form, is_form, parsed, sample};
use crate::platform::{Event, Mcp, Platform, PlatformRequest};

/// A sample and its events, each in a line; the last line is the user's input.
#[rustfmt::skip]
pub(super) const TODAY: &[(&str, &[&str])] = &[
    ("dialogflow-cx/first", &["conversation=projects/tea/locations/global/agents/a/sessions/cx-session-1 session=projects/tea/locations/global/agents/a/sessions/cx-session-1 id=response-2", "TEXT: hi"]),
    ("dialogflow-cx/intent", &["conversation=projects/tea/locations/global/agents/a/sessions/cx-session-1 session=projects/tea/locations/global/agents/a/sessions/cx-session-1 data={\"cups\":2} id=response-1/order", "INTENT: OrderIntent: a cuppa please"]),
    ("dialogflow-cx/phone", &["user=+15550100 conversation=projects/tea/locations/global/agents/a/sessions/cx-session-1 session=projects/tea/locations/global/agents/a/sessions/cx-session-1 data={\"cups\":2} id=response-1/order", "INTENT: OrderIntent: a cuppa please"]),
    ("dialogflow-cx/phone_hidden", &["conversation=projects/tea/locations/global/agents/a/sessions/cx-session-1 session=projects/tea/locations/global/agents/a/sessions/cx-session-1 data={\"cups\":2} id=response-1/order", "INTENT: OrderIntent: a cuppa please"]),
    ("discord/authorized", &["user=2001 account=guild-1 id=event/… receipt", ""]),
    ("discord/button", &["user=2001 account=guild-1 conversation=thread-1 session=thread-1 id=3001", "TEXT: tea"]),
    ("discord/command", &["user=2001 account=guild-1 conversation=channel-1 session=channel-1 id=3001", "TEXT: tea"]),
    ("discord/direct_message", &["user=2001 conversation=channel-2 session=channel-2 id=3001", "TEXT: tea"]),
    ("discord/entitlement", &["user=2001 id=event/… receipt", ""]),
    ("discord/ping", &["", ""]),
    ("discord/webhook_ping", &["", ""]),
    ("googlechat/button", &["user=users/1001 conversation=spaces/S1 thread=spaces/S1/threads/M1 session=spaces/S1/threads/M1 id=spaces/S1/messages/M1.M2", ""]),
    ("googlechat/classic", &["user=users/1001 conversation=spaces/S1 thread=spaces/S1/threads/M1 session=spaces/S1/threads/M1 id=spaces/S1/messages/M1.M1", "TEXT: a tea please"]),
    ("googlechat/classic_removed", &["user=users/1001 conversation=spaces/S1 session=spaces/S1 receipt", ""]),
    ("googlechat/command", &["user=users/1001 conversation=spaces/S1 thread=spaces/S1/threads/M1 session=spaces/S1/threads/M1", ""]),
    ("googlechat/direct_message", &["user=users/1001 conversation=spaces/D1 thread=spaces/D1/threads/M1 session=spaces/D1 id=spaces/D1/messages/M1.M1", "TEXT: a tea please"]),
    ("googlechat/message", &["user=users/1001 conversation=spaces/S1 thread=spaces/S1/threads/M1 session=spaces/S1/threads/M1 id=spaces/S1/messages/M1.M1", "TEXT: a tea please"]),
    ("googlechat/pub_sub", &["user=users/1001 conversation=spaces/S1 thread=spaces/S1/threads/M1 session=spaces/S1/threads/M1 id=spaces/S1/messages/M1.M3", "TEXT: a tea please"]),
    ("googlechat/pub_sub_batch", &["id=17 receipt", ""]),
    ("googlechat/pub_sub_classic", &["user=users/1001 conversation=spaces/S1 thread=spaces/S1/threads/M1 session=spaces/S1/threads/M1 id=spaces/S1/messages/M1.M1", "TEXT: a tea please"]),
    ("googlechat/pub_sub_edited", &["user=users/1001 conversation=spaces/S1 thread=spaces/S1/threads/M1 session=spaces/S1/threads/M1 id=17 receipt", "TEXT: a tea please"]),
    ("googlechat/pub_sub_of_the_bot", &["conversation=spaces/S1 thread=spaces/S1/threads/M1 session=spaces/S1/threads/M1 id=17 receipt", "TEXT: a tea please"]),
    ("googlechat/pub_sub_reaction", &["user=users/1001 conversation=spaces/S1 session=spaces/S1 id=17 receipt", ""]),
    ("googlechat/removed", &["user=users/1001 conversation=spaces/S1 session=spaces/S1 receipt", ""]),
    ("line/batch", &["user=Uanna conversation=Uanna session=Uanna id=01FZ2 body", "user=Ubo conversation=Cgroup session=Cgroup id=01FZ3 body", "user=Uanna conversation=Uanna session=Uanna id=01FZ4 receipt body", "conversation=Rroom session=Rroom id=01FZ5 body", "TEXT: one"]),
    ("line/empty", &["", ""]),
    ("line/follow", &["user=Uanna conversation=Uanna session=Uanna id=01FZ7", ""]),
    ("line/message", &["user=Uanna conversation=Uanna session=Uanna id=01FZ1", "TEXT: a tea please"]),
    ("line/postback", &["user=Uanna conversation=Uanna session=Uanna id=01FZ8", "TEXT: tea"]),
    ("line/standby", &["user=Uanna conversation=Uanna session=Uanna id=01FZ6 receipt", "TEXT: hi"]),
    ("mcp/call", &["", "INTENT: order"]),
    ("mcp/chatgpt", &["conversation=v1/session-1 session=v1/session-1", "INTENT: order"]),
    ("mcp/discover", &["", ""]),
    ("mcp/initialize", &["", ""]),
    ("msteams/channel", &["user=00000000-0000-0000-0000-000000000001 conversation=19:channel-1@thread.tacv2;messageid=1767607200000 session=19:channel-1@thread.tacv2;messageid=1767607200000 id=1767607200000", "TEXT: <at>Tea</at> hi"]),
    ("msteams/delete_user_data", &["user=00000000-0000-0000-0000-000000000001 conversation=a:conversation-1 session=a:conversation-1 id=1767607200000 receipt deletion", ""]),
    ("msteams/invoke", &["user=00000000-0000-0000-0000-000000000001 conversation=a:conversation-1 session=a:conversation-1 id=1767607200000", ""]),
    ("msteams/members", &["user=00000000-0000-0000-0000-000000000001 conversation=a:conversation-1 session=a:conversation-1 id=1767607200000 receipt", ""]),
    ("msteams/message", &["user=00000000-0000-0000-0000-000000000001 conversation=a:conversation-1 session=a:conversation-1 id=1767607200000", "TEXT: a tea please"]),
    ("msteams/of_a_bot", &["conversation=a:conversation-1 session=a:conversation-1 id=1767607200000", "TEXT: hi"]),
    ("msteams/reaction", &["user=00000000-0000-0000-0000-000000000001 conversation=a:conversation-1 session=a:conversation-1 id=1767607200000 receipt", ""]),
    ("msteams/web_chat", &["user=dl_1 scope=webchat conversation=conversation-1 session=conversation-1 id=activity-1", "TEXT: hi"]),
    ("msteams/without_directory", &["user=29:1-guest conversation=a:conversation-1 session=a:conversation-1 id=1767607200000", "TEXT: hi"]),
    ("slack/block_actions", &["user=U1 scope=T1 conversation=C1 thread=1767607200.000100 session=C1/1767607200.000100", ""]),
    ("slack/block_actions_without_thread", &["user=U1 scope=T1 conversation=C1 thread=1767607201.000100 session=C1/1767607201.000100", ""]),
    ("slack/command", &["user=U1 scope=T1 conversation=C1 session=C1", "TEXT: /tea green"]),
    ("slack/direct_message", &["user=U1 scope=T1 conversation=D1 thread=1767607200.000200 session=D1 id=Ev3", "TEXT: hi"]),
    ("slack/edited", &["user=U1 scope=T1 conversation=C1 thread=1767607200.000100 session=C1/1767607200.000100 id=Ev6 receipt", ""]),
    ("slack/enterprise", &["user=W1 scope=E1 conversation=C1 thread=1767607200.000300 session=C1/1767607200.000300 id=Ev4", "TEXT: hi"]),
    ("slack/file", &["user=U1 scope=T1 conversation=C1 thread=1767607203.000100 session=C1/1767607203.000100 id=Ev11", "TEXT: see"]),
    ("slack/in_thread", &["user=U1 scope=T1 conversation=C1 thread=1767607200.000100 session=C1/1767607200.000100 id=Ev2", "TEXT: <@UBOT> tea"]),
    ("slack/message", &["user=U1 scope=T1 conversation=C1 thread=1767607200.000100 session=C1/1767607200.000100 id=Ev1", "TEXT: a tea please"]),
    ("slack/no_team", &["conversation=C1 thread=1767607200.000100 session=C1/1767607200.000100 id=Ev12", "TEXT: hi"]),
    ("slack/of_the_bot", &["scope=T1 conversation=C1 thread=1767607201.000100 session=C1/1767607201.000100 id=Ev7 receipt", "TEXT: Here you are"]),
    ("slack/rate_limited", &["", ""]),
    ("slack/reaction", &["user=U1 scope=T1 conversation=C1 session=C1 id=Ev9 receipt", ""]),
    ("slack/shortcut_of_enterprise", &["user=W1 scope=E1", ""]),
    ("slack/slackbot", &["scope=T1 conversation=D2 thread=1767607201.000200 session=D2 id=Ev8", "TEXT: Reminder"]),
    ("slack/ssl_check", &["", ""]),
    ("slack/team_join", &["user=U9 scope=T1 id=Ev10 receipt", ""]),
    ("slack/team_of_an_enterprise", &["user=W1 scope=T1 conversation=C1 thread=1767607200.000300 session=C1/1767607200.000300 id=Ev5", "TEXT: hi"]),
    ("slack/url_verification", &["", ""]),
    ("slack/view_closed", &["user=U1 scope=T1 receipt", ""]),
    ("slack/view_submission", &["user=U1 scope=T1", ""]),
    ("telegram/anonymous", &["conversation=-1002003004005 session=-1002003004005 id=7005/…", "TEXT: hi"]),
    ("telegram/blocked", &["user=1001 conversation=1001 session=1001 id=7015/… receipt", ""]),
    ("telegram/business", &["user=1001 conversation=1001 session=1001 id=7016/…", "TEXT: hi"]),
    ("telegram/callback", &["user=1001 conversation=1001 session=1001 id=7004/…", "TEXT: tea"]),
    ("telegram/channel_post", &["conversation=-100777 session=-100777 id=7008/…", "TEXT: news"]),
    ("telegram/checkout", &["user=1001 id=7017/…", ""]),
    ("telegram/chosen", &["user=1001 id=7011/… receipt", "TEXT: tea"]),
    ("telegram/edited", &["user=1001 conversation=1001 session=1001 id=7009/…", "TEXT: a coffee please"]),
    ("telegram/forwarded", &["conversation=-1002003004005 session=-1002003004005 id=7007/…", "TEXT: news"]),
    ("telegram/inline_query", &["user=9007199254740991 id=7010/…", "TEXT: tea"]),
    ("telegram/join_request", &["user=1001 conversation=-1002003004005 session=-1002003004005 id=7018/…", ""]),
    ("telegram/message", &["user=1001 conversation=1001 session=1001 id=7001/…", "TEXT: a tea please"]),
    ("telegram/on_behalf_of_channel", &["conversation=-1002003004005 session=-1002003004005 id=7006/…", "TEXT: hi"]),
    ("telegram/poll", &["id=7013/…", ""]),
    ("telegram/poll_answer", &["user=1001 id=7014/…", ""]),
    ("telegram/reaction", &["user=1001 conversation=-1002003004005 session=-1002003004005 id=7012/… receipt", ""]),
    ("telegram/reply_in_group", &["user=1001 conversation=-1002003004005 session=-1002003004005 id=7003/…", "TEXT: hi"]),
    ("telegram/topic", &["user=1001 conversation=-1002003004005 thread=45 session=-1002003004005/45 id=7002/…", "TEXT: hi"]),
    ("twilio/call", &["user=+15550100 account=AC1 conversation=CA1 session=CA1", ""]),
    ("twilio/call_ended", &["user=+15550100 account=AC1 conversation=CA1 session=CA1 receipt", ""]),
    ("twilio/digits", &["user=+15550100 account=AC1 conversation=CA1 session=CA1", "TEXT: 1"]),
    ("twilio/hidden", &["account=AC1 id=SM3", "TEXT: a tea please"]),
    ("twilio/hidden_call", &["account=AC1 conversation=CA2 session=CA2", ""]),
    ("twilio/outbound", &["user=+15550100 account=AC1 conversation=CA3 session=CA3", ""]),
    ("twilio/sms", &["user=+15550100 account=AC1 conversation=+15550100/+15550001 session=+15550100/+15550001 id=SM1", "TEXT: a tea please"]),
    ("twilio/speech", &["user=+15550100 account=AC1 conversation=CA1 session=CA1", "TRANSCRIBED_SPEECH: a tea please"]),
    ("twilio/status", &["account=AC1 receipt", ""]),
    ("twilio/whatsapp", &["user=whatsapp:+15550100 account=AC1 conversation=whatsapp:+15550100/whatsapp:+15550001 session=whatsapp:+15550100/whatsapp:+15550001 id=SM2", "TEXT: a tea please"]),
    ("unrecognised/a2a", &[]),
    ("unrecognised/a2a_task", &[]),
    ("unrecognised/ag_ui", &[]),
    ("unrecognised/connect", &[]),
    ("unrecognised/html", &[]),
    ("unrecognised/json_rpc", &[]),
    ("unrecognised/json_rpc_result", &[]),
    ("unrecognised/openai", &[]),
    ("unrecognised/payload", &[]),
    ("unrecognised/payload_not_json", &[]),
    ("unrecognised/pub_sub", &[]),
    ("unrecognised/viber", &[]),
    ("usechat/last_message", &["conversation=chat-1 session=chat-1 id=m3", "TEXT: a tea please"]),
    ("usechat/regenerate", &["conversation=chat-1 session=chat-1", "TEXT: hi"]),
    ("usechat/submit", &["conversation=chat-1 session=chat-1 id=m3", "TEXT: a tea please"]),
    ("whatsapp/batch", &["user=US.1001 also=15550100 account=number-1 conversation=US.1001 session=US.1001 id=wamid.6 body", "user=US.1002 also=15550101 account=number-1 conversation=US.1002 session=US.1002 id=wamid.7 body", "account=number-1 receipt body", "body", "user=15550100 account=number-1 conversation=15550100 session=15550100 id=wamid.8 receipt body", "TEXT: one"]),
    ("whatsapp/button", &["user=15550100 account=number-1 conversation=15550100 session=15550100 id=wamid.10", "TEXT: Tea"]),
    ("whatsapp/by_contact", &["user=US.1001 also=15550100 account=number-1 conversation=US.1001 session=US.1001 id=wamid.3", "TEXT: hi"]),
    ("whatsapp/group", &["user=US.1001 also=15550100 account=number-1 conversation=group-1 session=group-1 id=wamid.5", "TEXT: hi all"]),
    ("whatsapp/no_phone", &["user=US.1001 also=US.ENT.9001 account=number-1 conversation=US.1001 session=US.1001 id=wamid.4", "TEXT: hi"]),
    ("whatsapp/number_changed", &["user=US.2001 also=US.1001,15550177,15550100 account=number-1 conversation=US.2001 session=US.2001 id=wamid.9 receipt", ""]),
    ("whatsapp/phone_only", &["user=15550100 account=number-1 conversation=15550100 session=15550100 id=wamid.2", "TEXT: hi"]),
    ("whatsapp/status", &["account=number-1 receipt", ""]),
    ("whatsapp/text", &["user=US.1001 also=15550100 account=number-1 conversation=US.1001 session=US.1001 id=wamid.1", "TEXT: a tea please"]),
    ("whatsapp/user_id_update", &["user=US.2001 also=US.1001,15550177 account=number-1 receipt", ""]),
];

/// Describes an event in one line.
fn line(mut event: Event<'_>) -> String {
    let session = event.take_session_id();
    let id = event.id.map(|id| match id.rsplit_once('/') {
        // A hash of the whole event.
        Some((before, hash)) if hash.len() == 32 => format!("{before}/…"),
        _ => id.into_owned(),
    });
    let also = (!event.also_known_as.is_empty()).then(|| event.also_known_as.join(","));
    let data = event.session_data.as_deref();
    let data = data.map(|data| -> Value { serde_json::from_str(data.get()).expect("JSON") });
    let data = data.map(|data| data.to_string());
    let parts = [
        ("user", event.user_id.as_deref()),
        ("also", also.as_deref()),
        ("scope", event.scope.as_deref()),
        ("account", event.account.as_deref()),
        ("conversation", event.conversation.as_deref()),
        ("thread", event.thread.as_deref()),
        ("session", session.as_deref()),
        ("data", data.as_deref()),
        ("id", id.as_deref()),
    ];
    let parts = parts.into_iter().filter_map(|(name, part)| Some(format!("{name}={}", part?)));
    let marks = [
        ("receipt", event.is_receipt),
        ("outside", event.sessionless && !event.is_receipt),
        ("deletion", event.deletion_requested),
        ("body", event.body.is_some()),
    ];
    let marks = marks.into_iter().filter(|(_, is_set)| *is_set).map(|(mark, _)| mark.to_owned());
    parts.chain(marks).collect::<Vec<_>>().join(" ")
}

fn request<'a>(name: &str, body: &'a [u8]) -> PlatformRequest<'a> {
    if is_form(name) { form(body) } else { parsed(body).expect(name) }
}

/// Returns the names of the platforms that recognise the sample, and what they find in it.
fn found(name: &str) -> (Vec<String>, Vec<String>) {
    let body = sample(name);
    let request = request(name, &body);
    let (mut names, mut lines) = (Vec::new(), Vec::new());
    for (platform, events) in claims(&request) {
        names.push(platform.name().to_owned());
        lines.extend(events.into_iter().map(line));
        let said = platform.input(&request);
        let part = |name: &str| said.input.as_ref()?.get(name)?.as_str().map(str::to_owned);
        let parts = ["type", "intent", "text"].into_iter().filter_map(part);
        lines.push(parts.collect::<Vec<_>>().join(": "));
    }
    (names, lines)
}

#[test]
fn every_sample_is_recognised_by_one_platform_with_all_that_it_says() {
    for (name, expected) in TODAY {
        let platform = name.split('/').next().expect("a directory");
        let (names, lines) = found(name);
        let expected_names = if platform == "unrecognised" { vec![] } else { vec![platform] };
        assert_eq!(names, expected_names, "{name}");
        assert_eq!(lines, *expected, "{name}");
    }
}

/// The header belongs to versions of the protocol up to 2025-11-25.
#[test]
fn the_session_of_mcp_stands_in_the_body_or_in_a_header() {
    for (sample, expected) in [("mcp/call", "header-1"), ("mcp/chatgpt", "v1/session-1")] {
        let body = super::sample(sample);
        let request = http::Request::builder().header("mcp-session-id", "header-1");
        let (head, ()) = request.body(()).unwrap().into_parts();
        let request = PlatformRequest::parse(&head, &body).unwrap();
        let events = Mcp.recognise(&request).unwrap();
        assert_eq!(events[0].conversation.as_deref(), Some(expected));
        assert_eq!(events[0].user_id, None);
    }
}

/// Each body is a request of its own with one event, the same as in the whole.
#[test]
fn a_body_of_several_events_holds_each_in_a_body_of_its_own() {
    for name in ["whatsapp/batch", "line/batch"] {
        let body = sample(name);
        let request = parsed(&body).unwrap();
        let (platform, events) = claims(&request).remove(0);
        for mut event in events {
            let own = event.body.take().expect("a body of its own");
            let request = parsed(&own).unwrap();
            let mut found = platform.recognise(&request).expect("the same platform's");
            assert_eq!(found.len(), 1, "{name}");
            assert_eq!(line(found.remove(0)), line(event), "{name}");
        }
    }
}
