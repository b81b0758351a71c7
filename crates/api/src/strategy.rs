//! What one kind does differently from every other: defaults, what create and update may touch, validation, columns.
//!
//! Counterpart in Kubernetes: `rest.RESTCreateUpdateStrategy` and friends in `pkg/registry/*/*/strategy.go`.
//! [`KindStrategy`] is written per kind over its `k8s_openapi` type; [`Strategy`] is the same with the type erased, so that
//! endpoints are written once. What all kinds share (ObjectMeta rules, `generation`, status kept apart) is done here.
//!
//! Invariant: an object that went through `default`, `prepare_*` and `validate_*` without errors may be stored as it is.

mod unstored;

use std::marker::PhantomData;

use apimachinery::field::{self, ErrorList, Path};
use apimachinery::meta::{self, NameRule, Namespaced};
use apimachinery::object::KubeObject;
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde_json::Value;

use crate::kinds::{Column, Scope};
use crate::report::omit_empty;
use crate::versions::Typed;

pub(crate) use unstored::unstored;

/// The behaviour of a kind, over any object of it.
///
/// # Panics
/// Every method panics when it is given an object of another kind: the endpoint mixed up two rows.
pub trait Strategy: Send + Sync {
    /// Fills what the client left out and brings quantities to canonical form. Idempotent.
    fn default(&self, obj: &mut dyn KubeObject);
    /// Drops what a client may not set on create (status) and sets what the server sets (generation).
    fn prepare_create(&self, obj: &mut dyn KubeObject);
    /// Restores what a main update may not touch and counts `generation`.
    fn prepare_update(&self, new: &mut dyn KubeObject, old: &dyn KubeObject);
    /// Sets the moments that the server notes itself, after an object was prepared; `old` is `None` on create.
    fn stamp(&self, new: &mut dyn KubeObject, old: Option<&dyn KubeObject>, now: Timestamp);
    /// Restores everything but the status (and the metadata a status update may touch).
    fn prepare_status_update(&self, new: &mut dyn KubeObject, old: &dyn KubeObject);
    /// Restores everything but what the third part of a kind holds: `finalize` of namespaces, `approval` of signing requests.
    fn prepare_finalize_update(&self, new: &mut dyn KubeObject, old: &dyn KubeObject);
    /// Every reason why the object must not be created.
    fn validate(&self, obj: &dyn KubeObject) -> ErrorList;
    /// Every reason why `old` must not become `new`.
    fn validate_update(&self, new: &dyn KubeObject, old: &dyn KubeObject) -> ErrorList;
    /// Every reason why the status of `old` must not become that of `new`.
    fn validate_status_update(&self, new: &dyn KubeObject, old: &dyn KubeObject) -> ErrorList;
    /// Every reason why the `finalize` or `approval` subresource must not make `old` into `new`.
    fn validate_finalize_update(&self, new: &dyn KubeObject, old: &dyn KubeObject) -> ErrorList;
    /// Warnings to the client that creates (`old` is `None`) or updates.
    fn warnings(&self, new: &dyn KubeObject, old: Option<&dyn KubeObject>) -> Vec<String>;
    /// Values for field selectors, in the order of the row's `selectable`.
    fn fields(&self, obj: &dyn KubeObject) -> Vec<(&'static str, String)>;
    /// Cells of the object's row, in the order of the row's `columns`.
    fn row(&self, obj: &dyn KubeObject, now: Timestamp) -> Vec<Value>;
    /// Why the object will never do anything again (reason and message), for the condition `Completed` of its row.
    fn completed(&self, obj: &dyn KubeObject) -> Option<(&'static str, &'static str)>;
    /// Whether PUT of a name that does not exist creates it.
    fn allow_create_on_update(&self) -> bool;
    /// Whether an update without `resourceVersion` overwrites.
    fn allow_unconditional_update(&self) -> bool;
    /// Whether DELETE answers with the deleted object instead of a `Status`.
    fn returns_deleted_object(&self) -> bool;
    /// Whether a deletion that names no propagation policy leaves the dependents.
    fn orphans_dependents(&self) -> bool;
    /// Seconds of grace with which the object is to be deleted, given those the client asked for; `None` when the kind
    /// knows no grace and the object goes at once.
    fn check_graceful_delete(&self, obj: &dyn KubeObject, requested: Option<i64>) -> Option<i64>;
    /// Changes the object when its deletion begins but must wait (grace or finalizers).
    fn begin_delete(&self, obj: &mut dyn KubeObject);
    /// Whether a finalizer outside of `metadata` still holds the object back.
    fn held(&self, obj: &dyn KubeObject) -> bool;
    /// The `autoscaling/v1` Scale of the object, if the kind has one.
    fn scale(&self, obj: &dyn KubeObject) -> Option<crate::scale::Scale>;
    /// Sets the wished number of replicas, if the kind has one.
    fn set_replicas(&self, obj: &mut dyn KubeObject, replicas: i32);
}

/// The behaviour of one kind, over its own type. Everything has a default that suits a plain kind without spec.
pub trait KindStrategy: Typed {
    /// Where objects live.
    const SCOPE: Scope = Scope::Namespaced;
    /// Field selectors.
    const SELECTABLE: &'static [&'static str] = crate::fields::METADATA;
    /// Columns of the Table.
    const COLUMNS: &'static [Column] = crate::columns::NAME_AND_AGE;
    /// Whether PUT creates.
    const ALLOW_CREATE_ON_UPDATE: bool = false;
    /// Whether updates without `resourceVersion` overwrite.
    const ALLOW_UNCONDITIONAL_UPDATE: bool = true;
    /// Whether DELETE answers with the deleted object instead of a `Status`.
    const RETURNS_DELETED_OBJECT: bool = false;
    /// Whether a deletion that names no propagation policy leaves the dependents, as the oldest owners do.
    const ORPHANS_DEPENDENTS: bool = false;
    /// Whether the server counts `metadata.generation`.
    const GENERATION: bool = false;
    /// The rule for names.
    const NAME: NameRule = meta::name_is_dns_subdomain;

    /// Fills what the client left out.
    fn default_fields(&mut self) {}
    /// What create changes besides the status and the generation.
    fn on_create(&mut self) {}
    /// What a main update changes besides the status and the generation.
    fn on_update(&mut self, _old: &Self) {}
    /// What a status update changes besides keeping the spec.
    fn on_status_update(&mut self, _old: &Self) {}
    /// Sets the moments that the server notes itself, whatever part was changed.
    fn stamp(&mut self, _old: Option<&Self>, _now: Timestamp) {}
    /// What the `finalize` or `approval` subresource may change.
    fn on_finalize(&mut self, old: &Self) {
        *self = old.clone();
    }
    /// Rules for the object itself, on create and on update; ObjectMeta is checked beside it.
    fn validate(&self, _errors: &mut ErrorList) {}
    /// Further rules for a new object.
    fn validate_create(&self, _errors: &mut ErrorList) {}
    /// Further rules for a change.
    fn validate_update(&self, _old: &Self, _errors: &mut ErrorList) {}
    /// Rules for a change of the status.
    fn validate_status_update(&self, _old: &Self, _errors: &mut ErrorList) {}
    /// Rules for what the `finalize` or `approval` subresource changes.
    fn validate_finalize_update(&self, _old: &Self, _errors: &mut ErrorList) {}
    /// Warnings to the client.
    fn warnings(&self, _old: Option<&Self>) -> Vec<String> {
        Vec::new()
    }
    /// Values of [`Self::SELECTABLE`].
    fn fields(&self) -> Vec<(&'static str, String)> {
        crate::fields::metadata(self.metadata(), Self::SCOPE)
    }
    /// Cells of [`Self::COLUMNS`].
    fn row(&self, now: Timestamp) -> Vec<Value> {
        crate::columns::name_and_age(self.metadata(), now)
    }
    /// Reason and message when the object has run to its end.
    fn completed(&self) -> Option<(&'static str, &'static str)> {
        None
    }
    /// Seconds of grace for a deletion.
    fn grace(&self, _requested: Option<i64>) -> Option<i64> {
        None
    }
    /// What the beginning of a deletion changes.
    fn on_delete(&mut self) {}
    /// Whether a finalizer outside of `metadata` holds the object.
    fn held(&self) -> bool {
        false
    }
    /// Copies the spec of another object.
    fn take_spec(&mut self, _from: &Self) {}
    /// Copies the status of another object.
    fn take_status(&mut self, _from: &Self) {}
    /// Empties the status.
    fn clear_status(&mut self) {}
    /// Whether two objects wish the same.
    fn same_spec(&self, _other: &Self) -> bool {
        true
    }
    /// The Scale of the object.
    fn scale(&self) -> Option<crate::scale::Scale> {
        None
    }
    /// Sets the wished number of replicas.
    fn set_replicas(&mut self, _replicas: i32) {}
}

/// For the body of a `KindStrategy` implementation: the kind has `spec` and `status`, and they are kept apart.
macro_rules! spec_and_status {
    () => {
        fn take_spec(&mut self, from: &Self) {
            self.spec.clone_from(&from.spec);
        }
        fn take_status(&mut self, from: &Self) {
            self.status.clone_from(&from.status);
        }
        fn clear_status(&mut self) {
            self.status = Some(Default::default());
        }
        fn same_spec(&self, other: &Self) -> bool {
            self.spec == other.spec
        }
    };
}
pub(crate) use spec_and_status;

/// The strategy of `K` with its type erased.
pub const fn erased<K: KindStrategy>() -> &'static dyn Strategy {
    const { &Erased::<K>(PhantomData) }
}

struct Erased<K>(PhantomData<fn() -> K>);

fn typed<K: KindStrategy>(obj: &dyn KubeObject) -> &K {
    obj.as_any()
        .downcast_ref()
        .unwrap_or_else(|| panic!("{} handed to the strategy of {}", obj.kind(), K::KIND))
}

fn typed_mut<K: KindStrategy>(obj: &mut dyn KubeObject) -> &mut K {
    obj.as_any_mut()
        .downcast_mut()
        .unwrap_or_else(|| panic!("another kind handed to the strategy of {}", K::KIND))
}

impl<K: KindStrategy> Strategy for Erased<K> {
    fn default(&self, obj: &mut dyn KubeObject) {
        let obj = typed_mut::<K>(obj);
        let meta = obj.metadata_mut();
        omit_empty!(meta; labels, annotations, finalizers, owner_references);
        obj.default_fields();
    }

    fn prepare_create(&self, obj: &mut dyn KubeObject) {
        let obj = typed_mut::<K>(obj);
        obj.metadata_mut().generation = K::GENERATION.then_some(1);
        obj.clear_status();
        obj.on_create();
    }

    fn prepare_update(&self, new: &mut dyn KubeObject, old: &dyn KubeObject) {
        let (new, old) = (typed_mut::<K>(new), typed::<K>(old));
        new.take_status(old);
        new.metadata_mut().generation = old.metadata().generation;
        new.on_update(old);
        if K::GENERATION && !new.same_spec(old) {
            new.metadata_mut().generation = Some(old.metadata().generation.unwrap_or(0) + 1);
        }
    }

    fn stamp(&self, new: &mut dyn KubeObject, old: Option<&dyn KubeObject>, now: Timestamp) {
        typed_mut::<K>(new).stamp(old.map(typed::<K>), now);
    }

    fn prepare_status_update(&self, new: &mut dyn KubeObject, old: &dyn KubeObject) {
        let (new, old) = (typed_mut::<K>(new), typed::<K>(old));
        new.take_spec(old);
        new.metadata_mut().generation = old.metadata().generation;
        new.on_status_update(old);
    }

    fn prepare_finalize_update(&self, new: &mut dyn KubeObject, old: &dyn KubeObject) {
        typed_mut::<K>(new).on_finalize(typed::<K>(old));
    }

    fn validate(&self, obj: &dyn KubeObject) -> ErrorList {
        let obj = typed::<K>(obj);
        let namespaced =
            if K::SCOPE == Scope::Namespaced { Namespaced::Yes } else { Namespaced::No };
        let mut errors =
            meta::validate_object_meta(obj.metadata(), namespaced, K::NAME, &Path::new("metadata"));
        errors.extend(bare_finalizers(obj.metadata()));
        obj.validate(&mut errors);
        obj.validate_create(&mut errors);
        errors
    }

    fn validate_update(&self, new: &dyn KubeObject, old: &dyn KubeObject) -> ErrorList {
        let (new, old) = (typed::<K>(new), typed::<K>(old));
        let mut errors = update_meta(new, old);
        new.validate(&mut errors);
        new.validate_update(old, &mut errors);
        errors
    }

    fn validate_status_update(&self, new: &dyn KubeObject, old: &dyn KubeObject) -> ErrorList {
        let (new, old) = (typed::<K>(new), typed::<K>(old));
        let mut errors = update_meta(new, old);
        new.validate_status_update(old, &mut errors);
        errors
    }

    fn validate_finalize_update(&self, new: &dyn KubeObject, old: &dyn KubeObject) -> ErrorList {
        let (new, old) = (typed::<K>(new), typed::<K>(old));
        let mut errors = update_meta(new, old);
        new.validate_finalize_update(old, &mut errors);
        errors
    }

    fn warnings(&self, new: &dyn KubeObject, old: Option<&dyn KubeObject>) -> Vec<String> {
        typed::<K>(new).warnings(old.map(typed::<K>))
    }

    fn fields(&self, obj: &dyn KubeObject) -> Vec<(&'static str, String)> {
        typed::<K>(obj).fields()
    }

    fn row(&self, obj: &dyn KubeObject, now: Timestamp) -> Vec<Value> {
        typed::<K>(obj).row(now)
    }

    fn completed(&self, obj: &dyn KubeObject) -> Option<(&'static str, &'static str)> {
        typed::<K>(obj).completed()
    }

    fn allow_create_on_update(&self) -> bool {
        K::ALLOW_CREATE_ON_UPDATE
    }

    fn returns_deleted_object(&self) -> bool {
        K::RETURNS_DELETED_OBJECT
    }

    fn orphans_dependents(&self) -> bool {
        K::ORPHANS_DEPENDENTS
    }

    fn allow_unconditional_update(&self) -> bool {
        K::ALLOW_UNCONDITIONAL_UPDATE
    }

    fn check_graceful_delete(&self, obj: &dyn KubeObject, requested: Option<i64>) -> Option<i64> {
        typed::<K>(obj).grace(requested)
    }

    fn begin_delete(&self, obj: &mut dyn KubeObject) {
        typed_mut::<K>(obj).on_delete();
    }

    fn held(&self, obj: &dyn KubeObject) -> bool {
        typed::<K>(obj).held()
    }

    fn scale(&self, obj: &dyn KubeObject) -> Option<crate::scale::Scale> {
        typed::<K>(obj).scale()
    }

    fn set_replicas(&self, obj: &mut dyn KubeObject, replicas: i32) {
        typed_mut::<K>(obj).set_replicas(replicas);
    }
}

/// A status update changes nothing of the metadata that people set.
pub(crate) fn keep_metadata(new: &mut ObjectMeta, old: &ObjectMeta) {
    new.labels.clone_from(&old.labels);
    new.annotations.clone_from(&old.annotations);
    new.finalizers.clone_from(&old.finalizers);
    new.owner_references.clone_from(&old.owner_references);
    new.deletion_timestamp.clone_from(&old.deletion_timestamp);
}

fn update_meta<K: KindStrategy>(new: &K, old: &K) -> ErrorList {
    let path = Path::new("metadata");
    let mut errors = meta::validate_object_meta_update(new.metadata(), old.metadata(), &path);
    errors.extend(bare_finalizers(new.metadata()));
    errors
}

/// Finalizers of built-in kinds are qualified names, except for the three that are older than this rule.
fn bare_finalizers(metadata: &ObjectMeta) -> ErrorList {
    let standard = [
        crate::core::namespace::FINALIZER,
        meta::FINALIZER_ORPHAN_DEPENDENTS,
        meta::FINALIZER_DELETE_DEPENDENTS,
    ];
    let path = Path::new("metadata").child("finalizers");
    let bare = |name: &str| !name.contains('/') && !standard.contains(&name);
    let finalizers = metadata.finalizers.iter().flatten().enumerate();
    let refused = finalizers.filter(|(_, name)| bare(name)).map(|(n, name)| {
        let detail = "name is neither a standard finalizer name nor is it fully qualified";
        field::invalid(&path.index(n), name.as_str(), detail)
    });
    refused.collect()
}
