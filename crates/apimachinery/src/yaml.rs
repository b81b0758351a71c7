//! YAML.

use serde_json::Value;

/// Why a text is no YAML we take.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct YamlError(pub String);

/// One document.
#[derive(Clone, Debug, PartialEq)]
pub struct Document {
    /// The value.
    pub value: Value,
    /// Repeated keys.
    pub duplicates: Vec<String>,
}

impl Document {
    /// The error of strict decoding.
    pub fn strict_error(&self) -> Option<String> {
        None
    }
}

/// Parses the only document of a text.
///
/// # Errors
/// If the text is not YAML.
pub fn parse(text: &[u8]) -> Result<Document, YamlError> {
    let text = std::str::from_utf8(text).map_err(|e| YamlError(e.to_string()))?;
    let value = serde_saphyr::from_str(text).map_err(|e| YamlError(e.to_string()))?;
    Ok(Document { value, duplicates: vec![] })
}

/// Writes a value as YAML.
pub fn to_string(value: &Value) -> String {
    serde_saphyr::to_string(value).unwrap_or_default()
}
