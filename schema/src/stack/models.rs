//! Language models.

use serde::{Deserialize, Serialize};

/// A top-level model.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Model {
    /// Reference of the artifact.
    pub model: String,
    /// Name on the host.
    pub name: Option<String>,
    /// Tokens of context; `None` is the model's own.
    pub context_size: Option<u32>,
    /// Flags of the engine that runs it.
    pub runtime_flags: Vec<String>,
}

/// A model as a service sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServiceModel {
    /// Variable that gets the model's address.
    pub endpoint_var: String,
    /// Variable that gets the model's name.
    pub model_var: String,
}
