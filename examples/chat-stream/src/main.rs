//! A chat that streams the words of a made-up language model as server-sent events, and remembers
//! the conversation.
//!
//! ```text
//! cargo run -p chat-stream
//! ```
//!
//! `PORT` (3000) and `DATABASE_URL` (`file:db/db.json`) change where it listens and stores.

use std::env;
use std::net::Ipv4Addr;
use std::time::Duration;

use axum::response::sse::{Event, Sse};
use axum::routing::post;
use axum::{Json, Router};
use futures_util::{Stream, stream};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::time::sleep;
use tower_persistence::platform::JsonPlatform;
use tower_persistence::{
    Database, Error, History, PersistenceLayer, StreamedTurn, TurnEnd, connect,
};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let port = env::var("PORT").unwrap_or_else(|_| "3000".to_owned()).parse::<u16>()?;
    let database_url = env::var("DATABASE_URL").unwrap_or_else(|_| "file:db/db.json".to_owned());
    let database = connect(&database_url).await?;
    database.ensure_ready().await?;

    // In production, a layer that checks who the user is goes around this one.
    let chat = JsonPlatform::new("chat").detect("/user").user_id("/user");
    let layer = PersistenceLayer::new(database)
        .platforms(vec![Box::new(chat)])
        .require_user(true)
        // Without this, the turn would end before the first word.
        .turn_end(TurnEnd::Body);
    let app = Router::new()
        .route("/chat", post(chat_with_model))
        .route("/transcript", post(transcript))
        .layer(layer.clone());

    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await?;
    let url = format!("http://{}", listener.local_addr()?);
    let json = "-H 'content-type: application/json' -d";
    println!("Chat, and look at the conversation, also after a restart:\n");
    println!("curl -N {url}/chat {json} '{{\"user\":\"anna\",\"message\":\"Hello\"}}'");
    println!("curl {url}/transcript {json} '{{\"user\":\"anna\"}}'\n");

    let stop = async { drop(tokio::signal::ctrl_c().await) };
    axum::serve(listener, app).with_graceful_shutdown(stop).await?;
    // Turns may go on whose client has hung up.
    layer.close().await?;
    Ok(())
}

#[derive(Deserialize)]
struct Question {
    message: String,
}

/// Answers word by word. The turn is open until the stream ends: whatever was written is stored,
/// also if the client hangs up in the middle of a sentence.
async fn chat_with_model(
    history: History,
    turn: StreamedTurn,
    Json(Question { message }): Json<Question>,
) -> Result<Sse<impl Stream<Item = Result<Event, Error>>>, Error> {
    // A model would get as many of them as it can read.
    let earlier = history.messages_within(4_000, |message| message.bytes());
    let words = answer(&message, earlier.len()).into_iter();
    history.push_message("user", message)?;

    let answer = Answer { words, said: String::new(), history, turn, is_done: false };
    Ok(Sse::new(stream::try_unfold(answer, |mut answer| async move {
        Ok(answer.next().await?.map(|event| (event, answer)))
    })))
}

/// An answer that is being given.
struct Answer {
    words: std::vec::IntoIter<String>,
    said: String,
    history: History,
    turn: StreamedTurn,
    is_done: bool,
}

impl Answer {
    /// Returns the next event: a word, and `[DONE]` at the end.
    async fn next(&mut self) -> Result<Option<Event>, Error> {
        let Some(word) = self.words.next() else {
            if self.is_done {
                return Ok(None);
            }
            self.keep()?;
            // Clients take the marker for the end, so the turn is stored before.
            self.turn.finish().await?;
            return Ok(Some(Event::default().data("[DONE]")));
        };
        sleep(Duration::from_millis(50)).await;
        self.said += &word;
        Ok(Some(Event::default().data(word)))
    }

    fn keep(&mut self) -> Result<(), Error> {
        self.is_done = true;
        self.history.push_message("assistant", &self.said).map(drop)
    }
}

/// The client has hung up: what was said until then has been paid for.
impl Drop for Answer {
    fn drop(&mut self) {
        if !self.is_done && !self.said.is_empty() {
            let _ = self.keep();
        }
    }
}

/// Stands in for a language model.
fn answer(question: &str, earlier: usize) -> Vec<String> {
    let remark = match earlier {
        0 => "We have not talked before.".to_owned(),
        messages => format!("We have exchanged {messages} messages before."),
    };
    let text = format!("You said \"{question}\". {remark} That is all I know.");
    text.split_inclusive(' ').map(str::to_owned).collect()
}

/// Returns the conversation so far.
async fn transcript(history: History) -> Json<Value> {
    let messages = history.messages();
    let messages = messages.iter().map(|it| json!({ "role": it.role, "content": it.content }));
    Json(messages.collect())
}
