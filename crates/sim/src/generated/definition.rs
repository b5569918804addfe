//! An endpoint definition that the simulator was given.

use std::path::Path;
use std::sync::Arc;

use super::model::Model;

pub struct EndpointDefinition {
    pub(super) model: Arc<Model>,
}

impl EndpointDefinition {
    /// # Errors
    /// If the file cannot be read or is no endpoint definition.
    pub fn read(path: &Path) -> std::io::Result<EndpointDefinition> {
        let told = |error: &dyn std::fmt::Display| format!("{}: {error}", path.display());
        let text = std::fs::read(path).map_err(|e| std::io::Error::new(e.kind(), told(&e)))?;
        let model =
            Model::parse(text).map_err(|e| std::io::Error::new(std::io::ErrorKind::InvalidData, told(&e)))?;
        Ok(EndpointDefinition { model: Arc::new(model) })
    }

    pub fn endpoint(&self) -> &str {
        &self.model.endpoint
    }

    pub fn version(&self) -> &str {
        &self.model.version
    }

    pub fn is(&self, endpoint: &str, version: &str) -> bool {
        self.endpoint().eq_ignore_ascii_case(endpoint) && self.version() == version
    }
}
