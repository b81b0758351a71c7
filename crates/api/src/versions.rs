//! Versions of a resource besides the one its objects are stored in.
//!
//! Counterpart in Kubernetes: the conversion functions of the scheme, and the choice of a storage version. There is one difference:
//! the stored version is the hub, so nothing exists that is no version.
//!
//! A version is [`Version`], written over its own type and that of the stored version, or a plain name for the same shape
//! ([`Resource::same_shape`]). A body is decoded and defaulted in its own version, becomes an object of the stored one, and goes
//! the one way of all objects; what is shown is made from what is stored.
//!
//! Invariants: conversions are pure and lose nothing (what a version cannot say it keeps in annotations); a row that is stored has
//! no conversion, and every conversion leads to a row that is.

use std::marker::PhantomData;

use apimachinery::field::ErrorList;
use apimachinery::object::{KubeObject, Object, codec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use k8s_openapi::{ListableResource, Metadata};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::kinds::{self, Names, Resource, Subresource};
use crate::strategy::KindStrategy;

/// What every type of the kind table can do.
pub trait Typed:
    KubeObject
    + ListableResource
    + Metadata<Ty = ObjectMeta>
    + Serialize
    + DeserializeOwned
    + Clone
    + Default
{
}

impl<K> Typed for K where
    K: KubeObject
        + ListableResource
        + Metadata<Ty = ObjectMeta>
        + Serialize
        + DeserializeOwned
        + Clone
        + Default
{
}

/// A version whose objects look different from the stored ones.
pub trait Version: Typed {
    /// The type of the stored version.
    type Stored: KindStrategy;
    /// Selectable fields: their name in this version, and in the stored one.
    const FIELDS: &'static [(&'static str, &'static str)] = &[];

    /// Fills what clients of this version leave out.
    fn default_fields(&mut self) {}
    /// The object as it is stored.
    fn into_stored(self) -> Self::Stored;
    /// The stored object as this version shows it.
    fn from_stored(stored: Self::Stored) -> Self;
    /// Adds the rules that hold only for clients of this version to what the kind's rules say.
    fn validate(_new: &Self::Stored, _old: Option<&Self::Stored>, _errors: &mut ErrorList) {}
}

/// A [`Version`] with its types erased.
pub trait Conversion: Send + Sync {
    /// The row that is stored.
    fn stored(&self) -> &'static Resource;
    /// Whether only the `apiVersion` differs, so that stored bytes can be shown with another beginning.
    fn same_shape(&self) -> bool;
    /// Fills what clients of the version leave out.
    fn default(&self, object: &mut dyn KubeObject);
    /// The object as it is stored.
    fn store(&self, object: Object) -> Object;
    /// The stored object as the version shows it.
    fn show(&self, stored: Object) -> Object;
    /// The stored name of a selectable field of the version.
    fn stored_field(&self, name: &str) -> Option<&'static str>;
    /// Adds the rules for clients of the version to what the kind's rules say; both objects are stored ones.
    fn validate(&self, new: &dyn KubeObject, old: Option<&dyn KubeObject>, errors: &mut ErrorList);
}

impl Resource {
    /// The row whose objects are stored: this one, unless it is another version of it.
    pub fn stored(&'static self) -> &'static Resource {
        self.conversion.map_or(self, Conversion::stored)
    }

    /// Whether an object of this version differs from the stored one in its `apiVersion` at most.
    pub fn same_shape(&self) -> bool {
        self.conversion.is_none_or(Conversion::same_shape)
    }

    /// A decoded object of this version, defaulted, as an object of the stored version.
    pub fn accept(&self, mut object: Object) -> Object {
        if let Some(conversion) = self.conversion {
            conversion.default(object.as_mut());
            object = conversion.store(object);
        }
        self.strategy.default(object.as_mut());
        object
    }

    /// An object of this version as it is stored, not defaulted.
    pub fn store(&self, object: Object) -> Object {
        match self.conversion {
            Some(conversion) => conversion.store(object),
            None => object,
        }
    }

    /// A stored object as this version shows it.
    pub fn show(&self, stored: Object) -> Object {
        match self.conversion {
            Some(conversion) => conversion.show(stored),
            None => stored,
        }
    }

    /// Adds what the rules of this version say to a stored object to what those of its kind say.
    pub fn validate(
        &self,
        new: &dyn KubeObject,
        old: Option<&dyn KubeObject>,
        errors: &mut ErrorList,
    ) {
        if let Some(conversion) = self.conversion {
            conversion.validate(new, old, errors);
        }
    }

    /// The name under which values of a selectable field are stored.
    pub fn stored_field<'a>(&self, name: &'a str) -> &'a str {
        self.conversion.and_then(|c| c.stored_field(name)).unwrap_or(name)
    }
}

/// A row of a version that is converted.
pub(crate) fn version<V: Version>(
    names: Names,
    verbs: &'static [&'static str],
    subresources: &'static [Subresource],
    schema_name: &'static str,
) -> Resource {
    let selectable = match V::FIELDS {
        [] => V::Stored::SELECTABLE,
        fields => fields.iter().map(|(name, _)| *name).collect::<Vec<_>>().leak(),
    };
    let conversion: &'static dyn Conversion = const { &Converted::<V>(PhantomData) };
    let row =
        Resource { selectable, ..kinds::row::<V::Stored>(names, verbs, subresources, schema_name) };
    named::<V>(row, conversion)
}

/// A row of a version that differs in its name only.
pub(crate) fn renamed<V: Typed, S: KindStrategy>(
    names: Names,
    verbs: &'static [&'static str],
    subresources: &'static [Subresource],
    schema_name: &'static str,
) -> Resource {
    let conversion: &'static dyn Conversion = const { &Renamed::<V, S>(PhantomData) };
    named::<V>(kinds::row::<S>(names, verbs, subresources, schema_name), conversion)
}

/// The row of the stored version, under the names of `V`.
fn named<V: Typed>(row: Resource, conversion: &'static dyn Conversion) -> Resource {
    Resource {
        group: V::GROUP,
        version: V::VERSION,
        kind: V::KIND,
        list_kind: V::LIST_KIND,
        plural: V::URL_PATH_SEGMENT,
        codec: codec::<V>(),
        conversion: Some(conversion),
        ..row
    }
}

fn take<K: Typed>(object: Object) -> K {
    let kind = object.kind().to_owned();
    apimachinery::object::downcast(object)
        .unwrap_or_else(|_| panic!("{kind} handed to a conversion of {}", K::KIND))
}

fn typed<K: Typed>(object: &dyn KubeObject) -> &K {
    object
        .downcast_ref()
        .unwrap_or_else(|| panic!("{} handed to a conversion of {}", object.kind(), K::KIND))
}

struct Converted<V>(PhantomData<fn() -> V>);

impl<V: Version> Conversion for Converted<V> {
    fn stored(&self) -> &'static Resource {
        kinds::of::<V::Stored>()
    }

    fn same_shape(&self) -> bool {
        false
    }

    fn default(&self, object: &mut dyn KubeObject) {
        if let Some(object) = object.downcast_mut::<V>() {
            object.default_fields();
        }
    }

    fn store(&self, object: Object) -> Object {
        Box::new(take::<V>(object).into_stored())
    }

    fn show(&self, stored: Object) -> Object {
        Box::new(V::from_stored(take(stored)))
    }

    fn stored_field(&self, name: &str) -> Option<&'static str> {
        V::FIELDS.iter().find(|(own, _)| *own == name).map(|(_, stored)| *stored)
    }

    fn validate(&self, new: &dyn KubeObject, old: Option<&dyn KubeObject>, errors: &mut ErrorList) {
        V::validate(typed(new), old.map(typed), errors);
    }
}

struct Renamed<V, S>(PhantomData<fn() -> (V, S)>);

/// The same fields in a type of the same shape.
fn retyped<From: Typed, To: Typed>(from: From) -> To {
    let mut value = from.to_value();
    value["apiVersion"] = To::API_VERSION.into();
    serde_json::from_value(value).unwrap_or_else(|error| {
        panic!("{} and {} differ: {error}", From::API_VERSION, To::API_VERSION)
    })
}

impl<V: Typed, S: KindStrategy> Conversion for Renamed<V, S> {
    fn stored(&self) -> &'static Resource {
        kinds::of::<S>()
    }

    fn same_shape(&self) -> bool {
        true
    }

    fn default(&self, _object: &mut dyn KubeObject) {}

    fn store(&self, object: Object) -> Object {
        Box::new(retyped::<V, S>(take(object)))
    }

    fn show(&self, stored: Object) -> Object {
        Box::new(retyped::<S, V>(take(stored)))
    }

    fn stored_field(&self, _name: &str) -> Option<&'static str> {
        None
    }

    fn validate(&self, _: &dyn KubeObject, _: Option<&dyn KubeObject>, _: &mut ErrorList) {}
}
