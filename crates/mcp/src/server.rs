//! The server: which tools there are and what each is called, described and annotated as.
//!
//! The descriptions are read by models, also by one that only matches words: they name the words that
//! people use for the thing.

use std::{path::PathBuf, sync::Arc};

use jiff::Timestamp;
use rmcp::{
    Json, ServerHandler,
    handler::server::{router::tool::ToolRouter, wrapper::Parameters},
    model::{Implementation, ServerCapabilities, ServerConfig, Tool},
    schemars, tool, tool_handler, tool_router,
};
use serde::{Deserialize, Serialize};

use crate::{
    calculate, clock, files,
    notes::{self, Notes},
    serve::Error,
    text,
};

/// What the server may touch.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// The folder that may be read. Without one the file tools do not exist.
    pub root: Option<PathBuf>,
    /// The file that keeps the notes. Without one they are gone with the process.
    pub notes: Option<PathBuf>,
}

/// One server. Cheap to clone; clones share the notes.
#[derive(Clone, Debug)]
pub struct Server {
    notes: Arc<Notes>,
    root: Option<Arc<files::Root>>,
    tool_router: ToolRouter<Self>,
}

impl Server {
    /// Opens the root, if there is one.
    ///
    /// # Errors
    /// [`Error::Root`] when the root is no folder that can be read.
    pub fn new(settings: &Settings) -> Result<Self, Error> {
        let mut tool_router = Self::tool_router();
        let root = match &settings.root {
            Some(path) => {
                let root = files::Root::open(path).map_err(|source| Error::Root {
                    path: path.clone(),
                    source,
                })?;
                Some(Arc::new(root))
            }
            None => {
                tool_router.remove_route("read_file");
                tool_router.remove_route("list_files");
                None
            }
        };
        let notes = settings
            .notes
            .clone()
            .map_or_else(Notes::default, Notes::File);
        Ok(Self {
            notes: Arc::new(notes),
            root,
            tool_router,
        })
    }

    /// The tools as a client sees them, in the order of their names.
    #[must_use]
    pub fn tools(&self) -> Vec<Tool> {
        self.tool_router.list_all()
    }
}

/// A note to keep.
#[derive(Debug, Deserialize, schemars::JsonSchema)]
#[schemars(crate = "rmcp::schemars")]
#[serde(deny_unknown_fields)]
struct PutAsk {
    /// The name of the note.
    key: String,
    /// What to remember.
    text: String,
}

/// A note that is kept.
#[derive(Debug, Serialize, schemars::JsonSchema)]
#[schemars(crate = "rmcp::schemars")]
struct Put {
    /// The name of the note.
    key: String,
    /// Whether it took the place of an older note.
    replaced: bool,
}

/// Which note.
#[derive(Debug, Deserialize, schemars::JsonSchema)]
#[schemars(crate = "rmcp::schemars")]
#[serde(deny_unknown_fields)]
struct GetAsk {
    /// The name of the note.
    key: String,
}

/// A note.
#[derive(Debug, Serialize, schemars::JsonSchema)]
#[schemars(crate = "rmcp::schemars")]
struct Note {
    /// The name of the note.
    key: String,
    /// What was to be remembered.
    text: String,
}

/// The names of all notes.
#[derive(Debug, Serialize, schemars::JsonSchema)]
#[schemars(crate = "rmcp::schemars")]
struct Keys {
    /// In alphabetical order.
    keys: Vec<String>,
}

#[tool_router]
impl Server {
    #[tool(
        description = "Clock: what time is it now, and which date and day, in a city or time zone.",
        annotations(read_only_hint = true, open_world_hint = false)
    )]
    async fn clock(
        &self,
        Parameters(ask): Parameters<clock::Ask>,
    ) -> Result<Json<clock::Reading>, String> {
        clock::read(&ask, Timestamp::now())
            .map(Json)
            .map_err(|error| error.to_string())
    }

    #[tool(
        description = "Calculator: calculate, compute or evaluate an arithmetic expression (add, subtract, multiply, divide, remainder, power).",
        annotations(read_only_hint = true, open_world_hint = false)
    )]
    async fn calculate(
        &self,
        Parameters(ask): Parameters<calculate::Ask>,
    ) -> Result<Json<calculate::Answer>, String> {
        calculate::evaluate(&ask.expression)
            .map(Json)
            .map_err(|error| error.to_string())
    }

    #[tool(
        description = "Text statistics: count how many words, characters, letters, lines and sentences a text has.",
        annotations(read_only_hint = true, open_world_hint = false)
    )]
    async fn text_stats(
        &self,
        Parameters(ask): Parameters<text::Ask>,
    ) -> Result<Json<text::Counts>, String> {
        text::count(&ask.text)
            .map(Json)
            .map_err(|error| error.to_string())
    }

    #[tool(
        description = "Remember, save or store a note under a key. A note of the same key is replaced.",
        annotations(
            destructive_hint = true,
            idempotent_hint = true,
            open_world_hint = false
        )
    )]
    async fn note_put(&self, Parameters(ask): Parameters<PutAsk>) -> Result<Json<Put>, String> {
        self.notes(move |notes| {
            let replaced = notes.put(&ask.key, &ask.text)?;
            Ok(Json(Put {
                key: ask.key,
                replaced,
            }))
        })
        .await
    }

    #[tool(
        description = "Recall, read or get the note that was saved under a key.",
        annotations(read_only_hint = true, open_world_hint = false)
    )]
    async fn note_get(&self, Parameters(ask): Parameters<GetAsk>) -> Result<Json<Note>, String> {
        self.notes(move |notes| {
            let text = notes.read(&ask.key)?;
            Ok(Json(Note { key: ask.key, text }))
        })
        .await
    }

    #[tool(
        description = "List the keys of all saved notes.",
        annotations(read_only_hint = true, open_world_hint = false)
    )]
    async fn note_list(&self) -> Result<Json<Keys>, String> {
        self.notes(|notes| {
            Ok(Json(Keys {
                keys: notes.keys()?,
            }))
        })
        .await
    }

    #[tool(
        description = "Read or show a text file below the root folder, in parts.",
        annotations(read_only_hint = true, open_world_hint = false)
    )]
    async fn read_file(
        &self,
        Parameters(ask): Parameters<files::ReadAsk>,
    ) -> Result<Json<files::Content>, String> {
        self.files(move |root| root.read(&ask).map(Json)).await
    }

    #[tool(
        description = "List the files and folders in a folder below the root.",
        annotations(read_only_hint = true, open_world_hint = false)
    )]
    async fn list_files(
        &self,
        Parameters(ask): Parameters<files::ListAsk>,
    ) -> Result<Json<files::Listing>, String> {
        self.files(move |root| root.list(&ask).map(Json)).await
    }
}

impl Server {
    /// Runs on the blocking pool: notes in a file wait for a lock.
    async fn notes<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Notes) -> Result<T, notes::Error> + Send + 'static,
    ) -> Result<T, String> {
        let notes = Arc::clone(&self.notes);
        blocking(move || work(&notes).map_err(|error| error.to_string())).await
    }

    async fn files<T: Send + 'static>(
        &self,
        work: impl FnOnce(&files::Root) -> Result<T, files::Error> + Send + 'static,
    ) -> Result<T, String> {
        let root = self.root.clone().ok_or("no folder may be read here")?;
        blocking(move || work(&root).map_err(|error| error.to_string())).await
    }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, String> + Send + 'static,
) -> Result<T, String> {
    tokio::task::spawn_blocking(work)
        .await
        .unwrap_or_else(|_| Err("the tool stopped before it had an answer".to_owned()))
}

#[tool_handler(router = self.tool_router)]
impl ServerHandler for Server {
    fn get_info(&self) -> ServerConfig {
        ServerConfig::new(ServerCapabilities::builder().enable_tools().build())
            .with_server_info(Implementation::new("daca-mcp", env!("CARGO_PKG_VERSION")))
            .with_instructions(
                "Clock, calculator, text statistics, notes, and files below one folder.",
            )
    }
}
