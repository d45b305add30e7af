//! The language model as an agents file has it.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::{Config, Surroundings};

/// Where the language model is. What is not said here, the environment says (`OPENAI_BASE_URL`,
/// `OPENAI_API_KEY`, `OPENAI_MODEL`).
#[derive(Clone, Default, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct LanguageModel {
    /// The base of its chat-completions interface, such as `http://127.0.0.1:11434/v1`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub base_url: Option<String>,
    /// The key: `${secret:STORE/NAME}` or `${env:NAME}`, so that it is not in the file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// The model for agents that name none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
}

impl fmt::Debug for LanguageModel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let key = self.key.as_ref().map(|_| "(hidden)");
        f.debug_struct("LanguageModel")
            .field("base_url", &self.base_url)
            .field("key", &key)
            .field("model", &self.model)
            .finish()
    }
}

/// The surroundings with the language model that the file describes.
pub(super) fn told(config: &Config, around: &Surroundings) -> Surroundings {
    #[cfg(feature = "openai")]
    if let Some(said) = config.openai.clone() {
        let found = around.openai.clone().unwrap_or_default();
        return Surroundings {
            openai: Some(crate::model::openai::Settings {
                base_url: said.base_url.or(found.base_url),
                key: said.key.or(found.key),
                model: said.model.or(found.model),
            }),
            ..around.clone()
        };
    }
    #[cfg(not(feature = "openai"))]
    let _ = &config.openai;
    around.clone()
}
