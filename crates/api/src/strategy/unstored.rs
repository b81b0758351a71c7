//! Kinds that are questions: they are created, answered, and never kept.
//!
//! Counterpart in Kubernetes: the REST storages that only implement `rest.Creater`, such as those of the reviews. What the answer
//! is, the endpoint decides; here is only what the table asks of every row.

use std::marker::PhantomData;

use apimachinery::field::ErrorList;
use apimachinery::object::KubeObject;
use jiff::Timestamp;
use serde_json::Value;

use super::Strategy;
use crate::fields::METADATA;

/// The strategy of a kind that is never kept. `K` only names the kind in messages.
pub(crate) struct Unstored<K>(PhantomData<fn() -> K>);

/// The strategy of the question `K`.
pub(crate) const fn unstored<K: KubeObject>() -> &'static dyn Strategy {
    const { &Unstored::<K>(PhantomData) }
}

impl<K: KubeObject> Strategy for Unstored<K> {
    fn default(&self, _obj: &mut dyn KubeObject) {}
    fn prepare_create(&self, _obj: &mut dyn KubeObject) {}
    fn prepare_update(&self, _new: &mut dyn KubeObject, _old: &dyn KubeObject) {}
    fn stamp(&self, _new: &mut dyn KubeObject, _old: Option<&dyn KubeObject>, _now: Timestamp) {}
    fn prepare_status_update(&self, _new: &mut dyn KubeObject, _old: &dyn KubeObject) {}
    fn prepare_finalize_update(&self, _new: &mut dyn KubeObject, _old: &dyn KubeObject) {}
    fn validate(&self, _obj: &dyn KubeObject) -> ErrorList {
        ErrorList::new()
    }
    fn validate_update(&self, _new: &dyn KubeObject, _old: &dyn KubeObject) -> ErrorList {
        ErrorList::new()
    }
    fn validate_status_update(&self, _new: &dyn KubeObject, _old: &dyn KubeObject) -> ErrorList {
        ErrorList::new()
    }
    fn validate_finalize_update(&self, _new: &dyn KubeObject, _old: &dyn KubeObject) -> ErrorList {
        ErrorList::new()
    }
    fn warnings(&self, _new: &dyn KubeObject, _old: Option<&dyn KubeObject>) -> Vec<String> {
        Vec::new()
    }
    fn fields(&self, obj: &dyn KubeObject) -> Vec<(&'static str, String)> {
        let meta = obj.meta();
        let values = [&meta.name, &meta.namespace].map(|text| text.clone().unwrap_or_default());
        METADATA.iter().copied().zip(values).collect()
    }
    fn row(&self, obj: &dyn KubeObject, now: Timestamp) -> Vec<Value> {
        crate::columns::name_and_age(obj.meta(), now)
    }
    fn completed(&self, _obj: &dyn KubeObject) -> Option<(&'static str, &'static str)> {
        None
    }
    fn allow_create_on_update(&self) -> bool {
        false
    }
    fn allow_unconditional_update(&self) -> bool {
        false
    }
    fn returns_deleted_object(&self) -> bool {
        false
    }

    fn orphans_dependents(&self) -> bool {
        false
    }
    fn check_graceful_delete(&self, _obj: &dyn KubeObject, _requested: Option<i64>) -> Option<i64> {
        None
    }
    fn begin_delete(&self, _obj: &mut dyn KubeObject) {}
    fn held(&self, _obj: &dyn KubeObject) -> bool {
        false
    }
    fn scale(&self, _obj: &dyn KubeObject) -> Option<crate::scale::Scale> {
        None
    }
    fn set_replicas(&self, _obj: &mut dyn KubeObject, _replicas: i32) {}
}
