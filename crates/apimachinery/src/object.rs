//! Objects of any kind behind one trait, and the codec that reads them from JSON or YAML; the counterpart of
//! `runtime.Object` and of the JSON serializer in `k8s.io/apimachinery`.
//!
//! Invariants: an [`Object`] always carries its `apiVersion` and `kind`; decoding is as tolerant as Go's (absent and `null`
//! are the zero value) and as strict as the caller asks; quantities and times come out canonical.

mod codec;
mod de;
mod tree;

use std::any::Any;
use std::fmt::Debug;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use k8s_openapi::{Metadata, Resource};
use serde::Serialize;
use serde_json::Value;

pub use codec::{Codec, DecodeError, Decoded, FieldValidation, codec, decode_plain};
pub use tree::MAX_DEPTH;

/// An object of any kind.
pub type Object = Box<dyn KubeObject>;

/// What every kind offers, so that code can be written once for all of them.
pub trait KubeObject: Any + Send + Sync + Debug {
    /// The metadata.
    fn meta(&self) -> &ObjectMeta;
    /// The metadata, to be changed.
    fn meta_mut(&mut self) -> &mut ObjectMeta;
    /// The `apiVersion`, such as `apps/v1`.
    fn api_version(&self) -> &str;
    /// The kind, such as `Deployment`.
    fn kind(&self) -> &str;
    /// The object as compact JSON.
    fn to_vec(&self) -> Vec<u8>;
    /// The object as a JSON tree.
    fn to_value(&self) -> Value;
    /// A deep copy.
    fn clone_object(&self) -> Object;
    /// The object, to be downcast to its type.
    fn as_any(&self) -> &dyn Any;
    /// The object, to be downcast to its type and changed.
    fn as_any_mut(&mut self) -> &mut dyn Any;
    /// The object itself, to be downcast to its type.
    fn into_any(self: Box<Self>) -> Box<dyn Any>;
}

impl<K> KubeObject for K
where
    K: Resource + Metadata<Ty = ObjectMeta> + Serialize + Clone + Debug + Send + Sync + 'static,
{
    fn meta(&self) -> &ObjectMeta {
        self.metadata()
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        self.metadata_mut()
    }

    fn api_version(&self) -> &str {
        K::API_VERSION
    }

    fn kind(&self) -> &str {
        K::KIND
    }

    fn to_vec(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("API types have string keys and no failing serializers")
    }

    fn to_value(&self) -> Value {
        serde_json::to_value(self).expect("API types have string keys and no failing serializers")
    }

    fn clone_object(&self) -> Object {
        Box::new(self.clone())
    }

    fn as_any(&self) -> &dyn Any {
        self
    }

    fn as_any_mut(&mut self) -> &mut dyn Any {
        self
    }

    fn into_any(self: Box<Self>) -> Box<dyn Any> {
        self
    }
}

impl dyn KubeObject {
    /// The object as a `K`, if it is one.
    pub fn downcast_ref<K: 'static>(&self) -> Option<&K> {
        self.as_any().downcast_ref()
    }

    /// The object as a `K`, to be changed, if it is one.
    pub fn downcast_mut<K: 'static>(&mut self) -> Option<&mut K> {
        self.as_any_mut().downcast_mut()
    }

    /// The name; empty if it has none yet.
    pub fn name(&self) -> &str {
        self.meta().name.as_deref().unwrap_or_default()
    }

    /// The namespace; empty for cluster-scoped objects.
    pub fn namespace(&self) -> &str {
        self.meta().namespace.as_deref().unwrap_or_default()
    }

    /// The uid; empty if it has none yet.
    pub fn uid(&self) -> &str {
        self.meta().uid.as_deref().unwrap_or_default()
    }
}

impl Clone for Object {
    fn clone(&self) -> Self {
        (**self).clone_object()
    }
}

/// The object as a `K`.
///
/// # Errors
/// The object itself, if it is of another type.
pub fn downcast<K: KubeObject>(object: Object) -> Result<K, Object> {
    if (*object).as_any().is::<K>() {
        let typed = object.into_any().downcast::<K>().expect("the type was just checked");
        return Ok(*typed);
    }
    Err(object)
}

#[cfg(test)]
mod tests;
