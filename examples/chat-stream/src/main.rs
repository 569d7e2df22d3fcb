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
use serde::{Deserialize, Serialize};
use tokio::net::TcpListener;
use tokio::time::sleep;
use tower_persistence::platform::JsonPlatform;
use tower_persistence::{Database, Error, PersistenceLayer, StreamedTurn, TurnEnd, User, connect};

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

#[derive(Deserialize, Serialize)]
struct Message {
    role: String,
    content: String,
}

/// The key of the user's data under which the conversation stands.
const TRANSCRIPT: &str = "transcript";

/// Answers word by word. The turn is open until the stream ends: whatever was written is stored,
/// also if the client hangs up in the middle of a sentence.
async fn chat_with_model(
    user: User,
    turn: StreamedTurn,
    Json(Question { message }): Json<Question>,
) -> Result<Sse<impl Stream<Item = Result<Event, Error>>>, Error> {
    let mut transcript: Vec<Message> = user.get(TRANSCRIPT)?.unwrap_or_default();
    let words = answer(&message, transcript.len());
    transcript.push(Message { role: "user".to_owned(), content: message });
    transcript.push(Message { role: "assistant".to_owned(), content: String::new() });
    user.set(TRANSCRIPT, &transcript)?;

    let answer = Answer { words: words.into_iter(), transcript, user, turn, is_done: false };
    Ok(Sse::new(stream::try_unfold(answer, |mut answer| async move {
        Ok(answer.next().await?.map(|event| (event, answer)))
    })))
}

/// An answer that is being given.
struct Answer {
    words: std::vec::IntoIter<String>,
    transcript: Vec<Message>,
    user: User,
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
            self.is_done = true;
            // Clients take the marker for the end, so the turn is stored before.
            self.turn.finish().await?;
            return Ok(Some(Event::default().data("[DONE]")));
        };
        sleep(Duration::from_millis(50)).await;
        if let Some(message) = self.transcript.last_mut() {
            message.content += &word;
        }
        self.user.set(TRANSCRIPT, &self.transcript)?;
        Ok(Some(Event::default().data(word)))
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
async fn transcript(user: User) -> Result<Json<Vec<Message>>, Error> {
    Ok(Json(user.get(TRANSCRIPT)?.unwrap_or_default()))
}
