//! Types as apply sees them: what a value may be, how lists identify their items, what is replaced as a whole.
//!
//! Counterpart: `schema.Schema` of structured-merge-diff, made of OpenAPI by `schemaconv`. Invariant: compiled once; every
//! [`TypeId`] of a schema names a type of it.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use serde_json::{Map, Value};

use super::element::PathElement;
use crate::schema::{
    FieldSchema, ListType, PatchStrategy, ScalarType, SchemaSet, Shape, TypeSchema,
};

/// A type of a [`TypedSchema`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TypeId(usize);

/// The compiled types.
#[derive(Debug)]
pub struct TypedSchema {
    atoms: Vec<Atom>,
    named: BTreeMap<String, TypeId>,
}

/// What a value of a type may be: any of those that are set.
#[derive(Clone, Debug, Default)]
pub(super) struct Atom {
    pub(super) scalar: Option<ScalarType>,
    pub(super) list: Option<ListAtom>,
    pub(super) map: Option<MapAtom>,
}

/// A list.
#[derive(Clone, Debug)]
pub(super) struct ListAtom {
    pub(super) kind: ListKind,
    pub(super) item: TypeId,
}

/// How a list identifies its items.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum ListKind {
    /// Not at all: it is replaced as a whole.
    Atomic,
    /// By their value.
    Set,
    /// By these keys, with what stands in for a key that is left out.
    Keyed(Vec<(Box<str>, Option<Value>)>),
}

/// An object or a map.
#[derive(Clone, Debug)]
pub(super) struct MapAtom {
    pub(super) atomic: bool,
    /// Declared fields.
    pub(super) fields: BTreeMap<Box<str>, TypeId>,
    /// The type of every other key; none are allowed without.
    pub(super) rest: Option<TypeId>,
    /// Fields that Kubernetes always writes, with what it writes when nothing is set.
    pub(super) always: Vec<(Box<str>, Value)>,
}

impl MapAtom {
    pub(super) fn field(&self, name: &str) -> Option<TypeId> {
        self.fields.get(name).copied().or(self.rest)
    }

    pub(super) fn zero(&self, name: &str) -> Option<&Value> {
        self.always.iter().find(|(field, _)| **field == *name).map(|(_, zero)| zero)
    }
}

/// Anything, merged key by key.
const DEDUCED: TypeId = TypeId(0);
/// Anything, replaced as a whole.
const UNTYPED: TypeId = TypeId(1);

impl TypedSchema {
    /// Compiles the types of a schema.
    pub fn compile(set: &SchemaSet) -> Self {
        let mut compiler = Compiler::new(set);
        for (name, schema) in &set.types {
            let atom = compiler.object(schema);
            let TypeId(at) = compiler.named[name];
            compiler.atoms[at] = atom;
        }
        Self { atoms: compiler.atoms, named: compiler.named }
    }

    /// The type of that OpenAPI definition; a type that is not known merges key by key.
    pub fn of(&self, name: &str) -> TypeId {
        self.named.get(name).copied().unwrap_or(DEDUCED)
    }

    pub(super) fn atom(&self, TypeId(at): TypeId) -> &Atom {
        &self.atoms[at]
    }

    /// The type behind a step.
    pub(super) fn below(&self, ty: Option<TypeId>, element: &PathElement) -> Option<TypeId> {
        let atom = self.atom(ty?);
        match element {
            PathElement::Field(name) => atom.map.as_ref()?.field(name),
            PathElement::Key(_) => Some(atom.list.as_ref()?.item),
            PathElement::Value(_) | PathElement::Index(_) => None,
        }
    }
}

struct Compiler<'s> {
    set: &'s SchemaSet,
    atoms: Vec<Atom>,
    named: BTreeMap<String, TypeId>,
}

impl<'s> Compiler<'s> {
    fn new(set: &'s SchemaSet) -> Self {
        let mut compiler = Self { set, atoms: Vec::new(), named: BTreeMap::new() };
        compiler.add(anything(false, DEDUCED));
        compiler.add(anything(true, UNTYPED));
        for name in set.types.keys() {
            let id = compiler.add(Atom::default());
            compiler.named.insert(name.clone(), id);
        }
        compiler
    }

    fn add(&mut self, atom: Atom) -> TypeId {
        self.atoms.push(atom);
        TypeId(self.atoms.len() - 1)
    }

    fn object(&mut self, schema: &TypeSchema) -> Atom {
        let fields = schema
            .fields
            .iter()
            .map(|(name, field)| (name.as_str().into(), self.shape(&field.shape, field, true)))
            .collect();
        let always = schema
            .fields
            .iter()
            .filter_map(|(name, field)| Some((name.as_str().into(), field.zero.clone()?)))
            .collect();
        Atom {
            map: Some(MapAtom { atomic: schema.atomic, fields, rest: None, always }),
            ..Atom::default()
        }
    }

    /// The type of a field's shape; `outermost` says whether what is said of the field is said of this shape, and not of the
    /// items inside.
    fn shape(&mut self, shape: &Shape, field: &FieldSchema, outermost: bool) -> TypeId {
        let atomic = outermost && field.atomic;
        match shape {
            Shape::Any if atomic => UNTYPED,
            Shape::Any => DEDUCED,
            Shape::Scalar => self.add(Atom { scalar: Some(field.scalar), ..Atom::default() }),
            Shape::Object(name) if atomic => {
                let atom = self.set.get(name).map(|schema| self.object(schema));
                let mut atom = atom.unwrap_or_default();
                atom.map.iter_mut().for_each(|map| map.atomic = true);
                self.add(atom)
            }
            Shape::Object(name) => self.named.get(name).copied().unwrap_or(DEDUCED),
            Shape::List(inner) => {
                let kind = if outermost { self.list_kind(inner, field) } else { ListKind::Atomic };
                let item = self.shape(inner, field, false);
                self.add(Atom { list: Some(ListAtom { kind, item }), ..Atom::default() })
            }
            Shape::Map(inner) => {
                let rest = Some(self.shape(inner, field, false));
                let (fields, always) = (BTreeMap::new(), Vec::new());
                let map = Some(MapAtom { atomic, fields, rest, always });
                self.add(Atom { map, ..Atom::default() })
            }
        }
    }

    fn list_kind(&self, item: &Shape, field: &FieldSchema) -> ListKind {
        let merged = field.patch_strategy == PatchStrategy::Merge;
        match (field.list_type, &field.patch_merge_key) {
            (Some(ListType::Atomic), _) => ListKind::Atomic,
            (Some(ListType::Set), _) => ListKind::Set,
            (Some(ListType::Map), _) => self.keyed(item, field.list_map_keys.iter()),
            (None, Some(key)) if merged => self.keyed(item, [key].into_iter()),
            (None, None) if merged => ListKind::Set,
            (None, _) => ListKind::Atomic,
        }
    }

    fn keyed<'k>(&self, item: &Shape, keys: impl Iterator<Item = &'k String>) -> ListKind {
        let fields = match item {
            Shape::Object(name) => self.set.get(name).map(|schema| &schema.fields),
            _ => None,
        };
        let default = |key: &str| fields?.get(key)?.default.clone();
        ListKind::Keyed(keys.map(|key| (key.as_str().into(), default(key))).collect())
    }
}

fn anything(atomic: bool, item: TypeId) -> Atom {
    let map = MapAtom { atomic, fields: BTreeMap::new(), rest: Some(item), always: Vec::new() };
    Atom {
        scalar: Some(ScalarType::Any),
        list: Some(ListAtom { kind: ListKind::Atomic, item: UNTYPED }),
        map: Some(map),
    }
}

/// An object with nothing in it.
pub(super) fn nothing() -> &'static Value {
    static NOTHING: LazyLock<Value> = LazyLock::new(|| Value::Object(Map::new()));
    &NOTHING
}
