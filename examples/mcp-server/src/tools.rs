//! The tools of the MCP server.

use axum::http::request::Parts;
use rmcp::handler::server::common::Extension;
use rmcp::handler::server::wrapper::Parameters;
use rmcp::model::{ServerCapabilities, ServerConfig};
use rmcp::{ErrorData, ServerHandler, schemars, tool, tool_handler, tool_router};
use serde::Deserialize;
use tower_persistence::{Error, User};

/// A notebook for each user.
#[derive(Clone)]
pub(crate) struct Notes;

#[derive(Deserialize, schemars::JsonSchema)]
pub(crate) struct Note {
    /// The text to remember.
    text: String,
}

#[tool_router]
impl Notes {
    #[tool(description = "Remembers a note for the user")]
    fn remember(
        &self,
        Extension(parts): Extension<Parts>,
        Parameters(note): Parameters<Note>,
    ) -> Result<String, ErrorData> {
        let mut notes = notes(&parts)?;
        notes.push(note.text);
        user(&parts)?.set("notes", &notes).map_err(failed)?;
        Ok(format!("Remembered. There are {} notes.", notes.len()))
    }

    #[tool(description = "Lists the notes of the user")]
    fn recall(&self, Extension(parts): Extension<Parts>) -> Result<String, ErrorData> {
        Ok(notes(&parts)?.join("\n"))
    }
}

#[tool_handler]
impl ServerHandler for Notes {
    fn get_info(&self) -> ServerConfig {
        ServerConfig::new(ServerCapabilities::builder().enable_tools().build())
    }
}

/// Returns the user of the request that called the tool.
fn user(parts: &Parts) -> Result<&User, ErrorData> {
    let user = parts.extensions.get::<User>();
    user.ok_or_else(|| ErrorData::invalid_request("this request has no user", None))
}

fn notes(parts: &Parts) -> Result<Vec<String>, ErrorData> {
    Ok(user(parts)?.get("notes").map_err(failed)?.unwrap_or_default())
}

/// The client learns only that it failed: the error may name what is stored.
#[expect(clippy::needless_pass_by_value, reason = "it is passed to `map_err`")]
fn failed(error: Error) -> ErrorData {
    eprintln!("{error}");
    ErrorData::internal_error("the notes are not available", None)
}
