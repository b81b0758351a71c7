//! YAML to JSON trees and back, with the rules of YAML 1.1 that Kubernetes uses; the counterpart of `sigs.k8s.io/yaml`.
//!
//! Plain `yes`, `no`, `on`, `off`, `y`, `n` are booleans, `0777` is octal, `1_000` is a number, times stay strings, `<<`
//! merges. Invariants: keys are strings; the tree is never deeper than [`MAX_DEPTH`]; aliases cannot blow up a small text.

mod resolve;

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};
use serde_saphyr::granit_parser::{Event, Parser, ScalarStyle, ScanError, Span, StrInput, Tag};

use crate::field::quote;
pub use crate::object::MAX_DEPTH;

/// How large all values together may be that anchors keep and aliases copy, as [`weight`] counts them: the size of the
/// largest request body, above which a document is an attack.
const MAX_ALIASED_BYTES: usize = 4 * 1024 * 1024;

/// What a value costs beside its text.
const NODE_BYTES: usize = 16;

/// Why a text is no YAML that we take.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct YamlError(pub String);

/// One document of a text.
#[derive(Clone, Debug, PartialEq)]
pub struct Document {
    /// The value; of a repeated key the last one.
    pub value: Value,
    /// Repeated keys, each as Kubernetes reports it: `line 3: key "a" already set in map`.
    pub duplicates: Vec<String>,
}

impl Document {
    /// The error of strict decoding, if keys are repeated.
    pub fn strict_error(&self) -> Option<String> {
        (!self.duplicates.is_empty())
            .then(|| format!("yaml: unmarshal errors:\n  {}", self.duplicates.join("\n  ")))
    }
}

/// Parses the first document of a text; an empty text is `null`.
///
/// # Errors
/// If the text is not YAML, or too deep, or abuses aliases.
pub fn parse(text: &[u8]) -> Result<Document, YamlError> {
    let mut reader = Reader::new(text)?;
    Ok(reader.document()?.unwrap_or(Document { value: Value::Null, duplicates: Vec::new() }))
}

/// Parses every document of a text, leaving out empty ones.
///
/// # Errors
/// As [`parse`].
pub fn parse_all(text: &[u8]) -> Result<Vec<Document>, YamlError> {
    let mut reader = Reader::new(text)?;
    let mut documents = Vec::new();
    while let Some(document) = reader.document()? {
        documents.push(document);
    }
    documents.retain(|document| !document.value.is_null());
    Ok(documents)
}

/// Writes a value as YAML, with strings quoted that YAML 1.1 would take for something else.
pub fn to_string(value: &Value) -> String {
    let options = serde_saphyr::ser_options! { folded_wrap_chars: usize::MAX };
    serde_saphyr::to_string_with_options(value, options)
        .expect("a JSON tree has no keys or numbers YAML cannot write")
}

/// What a value costs: its text and a bit for every node.
fn weight(value: &Value) -> usize {
    NODE_BYTES
        + match value {
            Value::String(text) => text.len(),
            Value::Array(items) => items.iter().map(weight).sum(),
            Value::Object(map) => map.iter().map(|(key, value)| key.len() + weight(value)).sum(),
            Value::Null | Value::Bool(_) | Value::Number(_) => 0,
        }
}

fn scan_error(error: &ScanError) -> YamlError {
    YamlError(format!("yaml: line {}: {}", error.marker().line(), error.info()))
}

/// Builds values from the events of the parser.
struct Reader<'t> {
    parser: Parser<'t, StrInput<'t>>,
    anchors: BTreeMap<usize, Value>,
    aliased_bytes: usize,
    duplicates: Vec<String>,
}

/// A node's event and where it begins.
type Node<'t> = (Event<'t>, Span);

impl<'t> Reader<'t> {
    fn new(text: &'t [u8]) -> Result<Self, YamlError> {
        let text =
            std::str::from_utf8(text).map_err(|_| YamlError("yaml: invalid UTF-8".to_owned()))?;
        let parser = Parser::new_from_str(text.strip_prefix('\u{feff}').unwrap_or(text));
        Ok(Self { parser, anchors: BTreeMap::new(), aliased_bytes: 0, duplicates: Vec::new() })
    }

    /// The next event; comments are no data.
    fn next(&mut self) -> Result<Node<'t>, YamlError> {
        loop {
            match self.parser.next_event() {
                Some(Ok((Event::Comment(..), _))) => {}
                Some(Ok(event)) => return Ok(event),
                Some(Err(error)) => return Err(scan_error(&error)),
                None => return Err(YamlError("yaml: unexpected end of stream".to_owned())),
            }
        }
    }

    /// The next document, or none at the end of the stream.
    fn document(&mut self) -> Result<Option<Document>, YamlError> {
        self.anchors.clear();
        loop {
            match self.next()?.0 {
                Event::StreamStart | Event::DocumentEnd => {}
                Event::StreamEnd => return Ok(None),
                Event::DocumentStart(..) => {
                    let root = self.next()?;
                    let value = self.value(root, 0)?;
                    return Ok(Some(Document {
                        value,
                        duplicates: std::mem::take(&mut self.duplicates),
                    }));
                }
                other => return Err(YamlError(format!("yaml: unexpected event {other:?}"))),
            }
        }
    }

    fn value(&mut self, node: Node<'t>, depth: usize) -> Result<Value, YamlError> {
        let (event, span) = node;
        if depth > MAX_DEPTH {
            return Err(YamlError("yaml: exceeded max depth".to_owned()));
        }
        let (value, anchor) = match event {
            Event::Alias(id) => return self.alias(id),
            Event::Scalar(text, style, anchor, tag) => {
                (scalar(&text, style, tag.as_deref(), &span)?, anchor)
            }
            Event::SequenceStart(_, anchor, _) => (self.sequence(depth)?, anchor),
            Event::MappingStart(_, anchor, _) => (self.mapping(depth)?, anchor),
            other => return Err(YamlError(format!("yaml: unexpected event {other:?}"))),
        };
        if anchor != 0 {
            self.spend(&value)?;
            self.anchors.insert(anchor, value.clone());
        }
        Ok(value)
    }

    fn alias(&mut self, id: usize) -> Result<Value, YamlError> {
        let value = self.anchors.get(&id).cloned();
        let value =
            value.ok_or_else(|| YamlError("yaml: anchor value contains itself".to_owned()))?;
        self.spend(&value)?;
        Ok(value)
    }

    /// Counts a copy of a value against the limit.
    fn spend(&mut self, value: &Value) -> Result<(), YamlError> {
        self.aliased_bytes += weight(value);
        match self.aliased_bytes > MAX_ALIASED_BYTES {
            true => Err(YamlError("yaml: document contains excessive aliasing".to_owned())),
            false => Ok(()),
        }
    }

    fn sequence(&mut self, depth: usize) -> Result<Value, YamlError> {
        let mut items = Vec::new();
        loop {
            let node = self.next()?;
            if matches!(node.0, Event::SequenceEnd) {
                return Ok(Value::Array(items));
            }
            items.push(self.value(node, depth + 1)?);
        }
    }

    fn mapping(&mut self, depth: usize) -> Result<Value, YamlError> {
        let mut map = Map::new();
        let mut merged = BTreeSet::new();
        loop {
            let node = self.next()?;
            if matches!(node.0, Event::MappingEnd) {
                return Ok(Value::Object(map));
            }
            let line = node.1.start.line();
            let is_merge =
                matches!(&node.0, Event::Scalar(text, ScalarStyle::Plain, _, None) if text == "<<");
            let key = self.value(node, depth + 1)?;
            let value = self.next()?;
            let value = self.value(value, depth + 1)?;
            if is_merge {
                merge(&mut map, &mut merged, value)?;
                continue;
            }
            let key = key_text(key)?;
            if map.contains_key(&key) && !merged.remove(&key) {
                self.duplicates
                    .push(format!("line {line}: key {} already set in map", quote(&key)));
            }
            map.insert(key, value);
        }
    }
}

/// Merges what `<<` names: a mapping or a list of mappings. Keys already there win, and so do those of earlier mappings.
fn merge(
    map: &mut Map<String, Value>,
    merged: &mut BTreeSet<String>,
    value: Value,
) -> Result<(), YamlError> {
    match value {
        Value::Object(other) => {
            for (key, value) in other {
                if !map.contains_key(&key) {
                    merged.insert(key.clone());
                    map.insert(key, value);
                }
            }
            Ok(())
        }
        Value::Array(items) if items.iter().all(Value::is_object) => {
            items.into_iter().try_for_each(|item| merge(map, merged, item))
        }
        _ => Err(YamlError(
            "yaml: map merge requires map or sequence of maps as the value".to_owned(),
        )),
    }
}

/// A key as JSON has it.
fn key_text(key: Value) -> Result<String, YamlError> {
    match key {
        Value::String(text) => Ok(text),
        Value::Bool(flag) => Ok(flag.to_string()),
        Value::Number(number) => Ok(number.to_string()),
        other => Err(YamlError(format!("unsupported map key: {other}"))),
    }
}

/// A scalar by its tag, its style and its text.
fn scalar(
    text: &str,
    style: ScalarStyle,
    tag: Option<&Tag>,
    span: &Span,
) -> Result<Value, YamlError> {
    let line = span.start.line();
    let resolved = match tag.map(|tag| tag.suffix_in_namespace("tag:yaml.org,2002:")) {
        None if style == ScalarStyle::Plain => resolve::plain(text),
        None | Some(None) => Ok(Value::String(text.to_owned())),
        Some(Some(name)) => resolve::tagged(text, &name),
    };
    resolved.map_err(|error| YamlError(format!("yaml: line {line}: {error}")))
}

#[cfg(test)]
mod tests;
