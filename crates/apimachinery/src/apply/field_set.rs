//! Sets of fields, as trees that share their beginnings.
//!
//! Counterpart: `fieldpath.Set`. Invariant: nodes are sorted, no element is there twice, and every node is owned or has
//! something owned below it.

use std::cmp::Ordering;

use super::element::PathElement;
use super::schema::{TypeId, TypedSchema};

/// A set of fields.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FieldSet {
    pub(super) nodes: Vec<Node>,
}

/// A step, whether the field it leads to is in the set, and what is in the set below it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Node {
    pub(super) element: PathElement,
    pub(super) owned: bool,
    pub(super) below: FieldSet,
}

impl Node {
    fn kept(element: &PathElement, owned: bool, below: FieldSet) -> Option<Self> {
        (owned || !below.is_empty()).then(|| Self { element: element.clone(), owned, below })
    }
}

impl FieldSet {
    /// The set of those paths.
    pub fn of<'a>(paths: impl IntoIterator<Item = &'a [PathElement]>) -> Self {
        let mut set = Self::default();
        for path in paths {
            set.insert(path);
        }
        set
    }

    /// True when no field is in it.
    pub fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }

    /// Adds a field. The object as a whole is no field.
    pub fn insert(&mut self, path: &[PathElement]) {
        let Some((first, rest)) = path.split_first() else { return };
        let at = match self.find(first) {
            Ok(at) => at,
            Err(at) => {
                let node = Node { element: first.clone(), owned: false, below: Self::default() };
                self.nodes.insert(at, node);
                at
            }
        };
        let node = &mut self.nodes[at];
        if rest.is_empty() { node.owned = true } else { node.below.insert(rest) }
    }

    /// Adds a step at its place, where walks already know what is below it.
    pub(super) fn push(&mut self, element: PathElement, owned: bool, below: Self) {
        if !owned && below.is_empty() {
            return;
        }
        let node = Node { element, owned, below };
        if self.nodes.last().is_none_or(|last| last.element < node.element) {
            return self.nodes.push(node);
        }
        match self.find(&node.element) {
            Ok(at) => {
                let found = &mut self.nodes[at];
                found.owned |= node.owned;
                found.below = found.below.union(&node.below);
            }
            Err(at) => self.nodes.insert(at, node),
        }
    }

    fn find(&self, element: &PathElement) -> Result<usize, usize> {
        self.nodes.binary_search_by(|node| node.element.cmp(element))
    }

    /// Whether the field is in it.
    pub fn has(&self, path: &[PathElement]) -> bool {
        let Some((first, rest)) = path.split_first() else { return false };
        let Some(node) = self.node(first) else { return false };
        if rest.is_empty() { node.owned } else { node.below.has(rest) }
    }

    /// The node of the field of that name.
    pub(super) fn named(&self, name: &str) -> Option<&Node> {
        let order = |node: &Node| match node.element.name() {
            Some(element) => element.cmp(name),
            None => Ordering::Greater,
        };
        self.nodes.binary_search_by(order).ok().map(|at| &self.nodes[at])
    }

    pub(super) fn node(&self, element: &PathElement) -> Option<&Node> {
        self.find(element).ok().map(|at| &self.nodes[at])
    }

    /// What is in either.
    #[must_use]
    pub fn union(&self, other: &Self) -> Self {
        self.zip(other, |a, b| match (a, b) {
            (Some(a), Some(b)) => {
                Node::kept(&a.element, a.owned || b.owned, a.below.union(&b.below))
            }
            (one, another) => one.or(another).cloned(),
        })
    }

    /// What is in both.
    #[must_use]
    pub fn intersection(&self, other: &Self) -> Self {
        self.zip(other, |a, b| {
            let (a, b) = a.zip(b)?;
            Node::kept(&a.element, a.owned && b.owned, a.below.intersection(&b.below))
        })
    }

    /// What is in this one only. Taking away a field leaves what is below it.
    #[must_use]
    pub fn difference(&self, other: &Self) -> Self {
        self.zip(other, |a, b| match (a?, b) {
            (a, Some(b)) => {
                Node::kept(&a.element, a.owned && !b.owned, a.below.difference(&b.below))
            }
            (a, None) => Some(a.clone()),
        })
    }

    /// What is in this one only, where taking away a field takes what is below it along.
    #[must_use]
    pub fn without(&self, other: &Self) -> Self {
        self.zip(other, |a, b| match (a?, b) {
            (_, Some(b)) if b.owned => None,
            (a, Some(b)) => Node::kept(&a.element, a.owned, a.below.without(&b.below)),
            (a, None) => Some(a.clone()),
        })
    }

    /// Walks through both in order, and keeps what `decide` makes of each element.
    fn zip(
        &self,
        other: &Self,
        decide: impl Fn(Option<&Node>, Option<&Node>) -> Option<Node>,
    ) -> Self {
        let mut nodes = Vec::with_capacity(self.nodes.len());
        let (mut left, mut right) = (self.nodes.iter().peekable(), other.nodes.iter().peekable());
        loop {
            let order = match (left.peek(), right.peek()) {
                (None, None) => return Self { nodes },
                (Some(_), None) => Ordering::Less,
                (None, Some(_)) => Ordering::Greater,
                (Some(a), Some(b)) => a.element.cmp(&b.element),
            };
            let a = if order.is_le() { left.next() } else { None };
            let b = if order.is_ge() { right.next() } else { None };
            nodes.extend(decide(a, b));
        }
    }

    /// The fields in the order of Kubernetes' lists: those of a level, then those below each of them.
    pub fn paths(&self) -> Vec<Vec<PathElement>> {
        let mut found = Vec::new();
        self.collect(&mut Vec::new(), &mut found);
        found
    }

    fn collect(&self, prefix: &mut Vec<PathElement>, found: &mut Vec<Vec<PathElement>>) {
        for node in self.nodes.iter().filter(|node| node.owned) {
            let mut path = prefix.clone();
            path.push(node.element.clone());
            found.push(path);
        }
        for node in &self.nodes {
            prefix.push(node.element.clone());
            node.below.collect(prefix, found);
            prefix.pop();
        }
    }

    /// The set with every declared field in it that has something below it in the set: who owns `a.b.c` owns `a`, if `a` is
    /// a field of a type and not a key of a map.
    pub(super) fn with_named_fields(&self, schema: &TypedSchema, ty: Option<TypeId>) -> Self {
        let map = ty.and_then(|ty| schema.atom(ty).map.as_ref());
        let named = |node: &Node| {
            let (map, name) = (map?, node.element.name()?);
            map.fields.get(name)
        };
        let node = |node: &Node| {
            let owned = node.owned || (!node.below.is_empty() && named(node).is_some());
            let below = node.below.with_named_fields(schema, schema.below(ty, &node.element));
            Node { element: node.element.clone(), owned, below }
        };
        Self { nodes: self.nodes.iter().map(node).collect() }
    }
}

/// Which fields count for a request: a request for the status owns nothing of the spec.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Filter {
    /// All of them.
    #[default]
    All,
    /// All but these, and what is below them.
    Except(FieldSet),
    /// Only what is at or below one of these; a step of `None` is any step.
    Only(Vec<Vec<Option<PathElement>>>),
}

impl Filter {
    /// All but the fields at these paths of names, and what is below them.
    pub fn except(paths: &[&[&str]]) -> Self {
        let mut set = FieldSet::default();
        for path in paths {
            let path: Vec<PathElement> =
                path.iter().map(|name| PathElement::field(*name)).collect();
            set.insert(&path);
        }
        Self::Except(set)
    }

    /// Only what is at or below these paths of names; `*` is any step.
    pub fn only(paths: &[&[&str]]) -> Self {
        let step = |name: &&str| (*name != "*").then(|| PathElement::field(*name));
        Self::Only(paths.iter().map(|path| path.iter().map(step).collect()).collect())
    }

    /// What of a set counts.
    pub fn apply(&self, set: FieldSet) -> FieldSet {
        match self {
            Self::All => set,
            Self::Except(except) => set.without(except),
            Self::Only(patterns) => {
                let patterns: Vec<&[Option<PathElement>]> =
                    patterns.iter().map(Vec::as_slice).collect();
                matching(&set, &patterns)
            }
        }
    }
}

/// What of a set is at or below one of the patterns, or on the way to it.
fn matching(set: &FieldSet, patterns: &[&[Option<PathElement>]]) -> FieldSet {
    if patterns.iter().any(|pattern| pattern.is_empty()) {
        return set.clone();
    }
    let mut found = FieldSet::default();
    for node in &set.nodes {
        let fits =
            |step: &Option<PathElement>| step.as_ref().is_none_or(|step| *step == node.element);
        let rest: Vec<&[Option<PathElement>]> = patterns
            .iter()
            .filter_map(|pattern| pattern.split_first())
            .filter(|(first, _)| fits(first))
            .map(|(_, rest)| rest)
            .collect();
        if !rest.is_empty() {
            found.push(node.element.clone(), node.owned, matching(&node.below, &rest));
        }
    }
    found
}
