//! Which fields a message has: the rows of `wire` joined with what the definitions say the fields hold.
//!
//! Counterpart in Kubernetes: the generated protobuf code. Invariant: the fields of a message stand in the order of their
//! numbers, which is the order Go writes them in.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::LazyLock;

use serde_json::Value;

use crate::kinds::{self, Resource};
use crate::schema::{
    self, Definitions, INT_OR_STRING, LIST_META, QUANTITY, REF_PREFIX, definitions, list_name,
    long_name, wire,
};

/// What a field holds.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Kind {
    Text,
    Bytes,
    Integer,
    Double,
    Boolean,
    /// A message, by its place among all.
    Message(usize),
    Quantity,
    IntOrString,
    Time,
    MicroTime,
    /// JSON carried as it is.
    Raw,
    /// A schema, which is this message, or something else.
    SchemaOr(usize, Other),
    List(Box<Kind>),
    /// A list of such items that stands in a message of its own.
    Wrapped(Box<Kind>),
    Map(Box<Kind>),
}

/// What may stand where a schema is expected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Other {
    Boolean,
    Schemas,
    Texts,
}

/// The fields of a message, by ascending number.
pub(super) type Fields = Vec<Slot>;

#[derive(Debug)]
pub(super) struct Slot {
    pub(super) number: u32,
    pub(super) content: Content,
}

#[derive(Debug)]
pub(super) enum Content {
    /// A field; `pointer` says that its absence is told apart from its zero value.
    Field { name: String, kind: Kind, pointer: bool },
    /// A message whose fields stand in the object around it.
    Inline(Fields),
}

/// Every message.
pub(super) struct Messages {
    fields: Vec<Fields>,
    places: HashMap<String, usize>,
}

/// Built when the first such body or answer comes up.
static MESSAGES: LazyLock<Messages> = LazyLock::new(Messages::build);

/// The fields of a message by its place.
pub(super) fn fields(place: usize) -> &'static Fields {
    &MESSAGES.fields[place]
}

/// The fields of the message of that definition.
pub(super) fn of_definition(name: &str) -> Option<&'static Fields> {
    MESSAGES.places.get(name).map(|place| fields(*place))
}

/// The fields of a kind: of a row, of a row's list, or of what subresources and discovery send.
pub(super) fn of_kind(api_version: &str, kind: &str) -> Option<&'static Fields> {
    let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
    of_definition(&definition_name(group, version, kind)?)
}

fn definition_name(group: &str, version: &str, kind: &str) -> Option<Cow<'static, str>> {
    if let Some(row) = kinds::by_kind(group, version, kind) {
        return Some(row.schema_name.into());
    }
    if let Some(name) = schema::body_definition(group, version, kind) {
        return Some(name.into());
    }
    let unlisted = wire::unlisted::KINDS.iter().find(|(gvk, _)| *gvk == (group, version, kind));
    if let Some((_, short)) = unlisted {
        return Some(long_name(short).into());
    }
    let is_list = |r: &&Resource| r.list_kind == kind && r.group == group && r.version == version;
    let list = kinds::all().iter().find(is_list).map(|row| list_name(row).into());
    let shared = || schema::SHARED_KINDS.iter().find(|(_, shared)| *shared == kind);
    list.or_else(|| shared().map(|(name, _)| (*name).into()))
}

impl Messages {
    fn build() -> Self {
        let definitions = definitions();
        let described = |name: &str, row: &str| definitions.contains_key(name) || row.contains('=');
        let rows: Vec<(String, &str)> = wire::messages()
            .map(|(short, row)| (long_name(short), *row))
            .filter(|(name, row)| described(name, row))
            .collect();
        let places = rows.iter().enumerate().map(|(at, (name, _))| (name.clone(), at)).collect();
        let builder = Builder { definitions, places };
        let fields = rows.iter().map(|(name, row)| {
            let properties =
                builder.definitions.get(name).map_or(&Value::Null, |d| &d["properties"]);
            builder.fields(properties, row)
        });
        let mut messages = Self { fields: fields.collect(), places: HashMap::new() };
        messages.places = builder.places;
        messages.add_lists();
        messages
    }

    fn add_lists(&mut self) {
        for row in kinds::all() {
            let (Some(meta), Some(item)) =
                (self.places.get(LIST_META), self.places.get(row.schema_name))
            else {
                continue;
            };
            let field = |number, name: &str, kind| Slot {
                number,
                content: Content::Field { name: name.to_owned(), kind, pointer: false },
            };
            let items = Kind::List(Box::new(Kind::Message(*item)));
            let fields = vec![field(1, "metadata", Kind::Message(*meta)), field(2, "items", items)];
            self.places.insert(list_name(row), self.fields.len());
            self.fields.push(fields);
        }
    }
}

struct Builder {
    definitions: Definitions,
    places: HashMap<String, usize>,
}

impl Builder {
    /// Reads a row: number, name, number, name, …
    fn fields(&self, properties: &Value, row: &str) -> Fields {
        let words: Vec<&str> = row.split_whitespace().collect();
        let slot = |pair: &[&str]| -> Option<Slot> {
            let [number, name] = pair else { return None };
            let content = match name.strip_prefix('>') {
                Some(inner) => Content::Inline(self.fields(properties, row_of(inner)?)),
                None => self.field(properties, name)?,
            };
            Some(Slot { number: number.parse().ok()?, content })
        };
        let mut fields: Fields = words.chunks(2).filter_map(slot).collect();
        fields.sort_by_key(|slot| slot.number);
        fields
    }

    fn field(&self, properties: &Value, word: &str) -> Option<Content> {
        let (word, wrapped) = word.strip_suffix("[]").map_or((word, false), |word| (word, true));
        let (word, pointer) = word.strip_suffix('?').map_or((word, false), |word| (word, true));
        let (name, kind) = match word.split_once('=') {
            Some((name, type_)) => (name, self.named(type_)),
            None => (word, self.kind(properties.get(word)?)),
        };
        let kind = if wrapped { wrap(kind) } else { kind };
        Some(Content::Field { name: name.to_owned(), kind, pointer })
    }

    /// A type as `unlisted` names it.
    fn named(&self, type_: &str) -> Kind {
        match type_.strip_prefix("[]") {
            Some(item) => Kind::List(Box::new(self.named(item))),
            None if type_ == "text" => Kind::Text,
            None => self.referenced(&long_name(type_)),
        }
    }

    fn kind(&self, schema: &Value) -> Kind {
        if let Some(name) =
            schema.get("$ref").and_then(Value::as_str).and_then(|r| r.strip_prefix(REF_PREFIX))
        {
            return self.referenced(name);
        }
        let word = |key: &str| schema.get(key).and_then(Value::as_str);
        match (word("type"), schema.get("additionalProperties")) {
            (Some("array"), _) => Kind::List(Box::new(self.kind(&schema["items"]))),
            (Some("object"), Some(values)) => Kind::Map(Box::new(self.kind(values))),
            (Some("integer"), _) => Kind::Integer,
            (Some("number"), _) => Kind::Double,
            (Some("boolean"), _) => Kind::Boolean,
            (Some("string"), _) if word("format") == Some("byte") => Kind::Bytes,
            (Some("string"), _) => Kind::Text,
            _ => Kind::Raw,
        }
    }

    fn referenced(&self, name: &str) -> Kind {
        match name {
            QUANTITY => return Kind::Quantity,
            INT_OR_STRING => return Kind::IntOrString,
            "io.k8s.apimachinery.pkg.apis.meta.v1.Time" => return Kind::Time,
            "io.k8s.apimachinery.pkg.apis.meta.v1.MicroTime" => return Kind::MicroTime,
            _ => {}
        }
        if let Some(kind) = self.schema_or(name) {
            return kind;
        }
        self.places.get(name).map_or(Kind::Raw, |place| Kind::Message(*place))
    }

    fn schema_or(&self, name: &str) -> Option<Kind> {
        let (schema, other) = name.rsplit_once("Or")?;
        let other = match other {
            "Array" => Other::Schemas,
            "Bool" => Other::Boolean,
            // The second half of `OrStringArray`.
            "StringArray" => Other::Texts,
            _ => return None,
        };
        Some(Kind::SchemaOr(*self.places.get(schema)?, other))
    }
}

fn row_of(short: &str) -> Option<&'static str> {
    let short = short.trim_end_matches('?');
    wire::messages().find(|(name, _)| *name == short).map(|(_, row)| *row)
}

/// The innermost list stands in a message of its own.
fn wrap(kind: Kind) -> Kind {
    match kind {
        Kind::List(item) => Kind::Wrapped(item),
        Kind::Map(values) => Kind::Map(Box::new(wrap(*values))),
        other => other,
    }
}
