//! What strategic merge and apply must know about the fields of a type: how lists merge, and which type a field has. The
//! counterpart of the `patchStrategy`, `patchMergeKey` and `listType` tags on Kubernetes' Go types.
//!
//! Invariant: a [`SchemaSet`] is built once, from the OpenAPI definitions, and only read afterwards.

use std::collections::BTreeMap;

use serde_json::Value;

/// Every type by its OpenAPI definition name, such as `io.k8s.api.core.v1.PodSpec`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SchemaSet {
    /// The types by name.
    pub types: BTreeMap<String, TypeSchema>,
}

/// The fields of one object type.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TypeSchema {
    /// The fields by their JSON name.
    pub fields: BTreeMap<String, FieldSchema>,
    /// True when apply replaces values of this type as a whole.
    pub atomic: bool,
}

/// One field: its type, and how patches treat it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FieldSchema {
    /// What the field holds.
    pub shape: Shape,
    /// How strategic merge treats a map or a list; [`PatchStrategy::Default`] replaces lists and merges maps.
    pub patch_strategy: PatchStrategy,
    /// True when a patch may clear the keys it does not list (`retainKeys`).
    pub retain_keys: bool,
    /// The key by which items of a merged list are matched.
    pub patch_merge_key: Option<String>,
    /// How apply treats a list.
    pub list_type: Option<ListType>,
    /// The keys that identify an item of a `map` list.
    pub list_map_keys: Vec<String>,
    /// Which scalars there are in the end, inside of lists and maps as well.
    pub scalar: ScalarType,
    /// True when apply replaces the map or object as a whole.
    pub atomic: bool,
    /// What stands in for the field where it is a key of a list's items and left out.
    pub default: Option<Value>,
    /// What Kubernetes writes for the field when nothing is set: embedded objects and required fields are always there.
    pub zero: Option<Value>,
}

/// What a scalar may be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ScalarType {
    /// A number, string or boolean.
    #[default]
    Any,
    /// A string.
    String,
    /// A number.
    Number,
    /// A boolean.
    Boolean,
}

/// What a field holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Shape {
    /// A number, string or boolean, or a type that is written as one.
    #[default]
    Scalar,
    /// An object of the named type.
    Object(String),
    /// A list of such items.
    List(Box<Shape>),
    /// A map from strings to such values.
    Map(Box<Shape>),
    /// Any JSON, without a schema.
    Any,
}

/// How strategic merge treats a map or a list.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PatchStrategy {
    /// Nothing said: maps merge, lists are replaced.
    #[default]
    Default,
    /// Items of a list are merged by key, or as a set of scalars.
    Merge,
    /// The value is replaced as a whole.
    Replace,
}

/// How apply treats a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ListType {
    /// Replaced as a whole.
    Atomic,
    /// A set of scalars.
    Set,
    /// Objects identified by [`FieldSchema::list_map_keys`].
    Map,
}

impl SchemaSet {
    /// The type of that definition name.
    pub fn get(&self, name: &str) -> Option<&TypeSchema> {
        self.types.get(name)
    }
}

impl FieldSchema {
    /// A field of that shape and nothing else said.
    pub fn of(shape: Shape) -> Self {
        Self { shape, ..Self::default() }
    }
}
