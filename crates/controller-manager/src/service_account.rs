//! Keeps a `default` ServiceAccount in every active namespace. Counterpart: `pkg/controller/serviceaccount`.
//!
//! Invariant: only makes it; what a user made of it is left alone.

use client::{Action, Caches, Controller, ObjectKey, Plan, Watches};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Namespace, ServiceAccount};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use crate::namespaces::{is_active, key_of_namespace};

/// The name of the account that pods get which name none.
const DEFAULT: &str = "default";

/// The ServiceAccount controller; keys are namespaces.
#[derive(Debug)]
pub struct ServiceAccountController;

/// A namespace that lacks the account.
#[derive(Debug)]
pub struct Missing {
    namespace: String,
}

impl Controller for ServiceAccountController {
    const NAME: &'static str = "serviceaccount-controller";
    const WORKERS: usize = 1;
    type Key = ObjectKey;
    type Observed = Missing;

    fn watches(&self) -> Watches<ObjectKey> {
        Watches::new().own::<Namespace>().map::<ServiceAccount>(|_, change| {
            // Only a deletion makes work.
            if change.new.is_some() {
                Vec::new()
            } else {
                change.old.iter().filter_map(|old| key_of_namespace(&old.metadata)).collect()
            }
        })
    }

    fn observe(&self, caches: &Caches, key: &ObjectKey) -> Option<Missing> {
        let namespace =
            caches.of::<Namespace>().get(key).filter(|namespace| is_active(namespace))?;
        let name = namespace.metadata.name.clone()?;
        let present = caches
            .of::<ServiceAccount>()
            .get(&ObjectKey::namespaced(name.as_str(), DEFAULT))
            .is_some();
        (!present).then_some(Missing { namespace: name })
    }

    fn reconcile(&self, observed: &Missing, _now: Timestamp) -> Plan {
        let metadata = ObjectMeta {
            name: Some(DEFAULT.to_owned()),
            namespace: Some(observed.namespace.clone()),
            ..ObjectMeta::default()
        };
        Action::ensure(&ServiceAccount { metadata, ..ServiceAccount::default() }).into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::namespaces::testing::namespaces;
    use crate::testing::{at, describe, meta};
    use client::informer::{Cache, Sink};

    #[test]
    fn account_is_made_where_it_is_missing_and_only_there() {
        let accounts: Cache<ServiceAccount> = Cache::default();
        let mut present = meta(DEFAULT);
        present.namespace = Some("has".into());
        accounts
            .replace(vec![ServiceAccount { metadata: present, ..ServiceAccount::default() }], 1);
        let caches = Caches::default()
            .with(namespaces(&[("has", "Active"), ("lacks", "Active"), ("going", "Terminating")]))
            .with(accounts);
        for (name, expected) in [
            ("has", None),
            ("lacks", Some("create serviceaccounts lacks/default")),
            ("going", None),
            ("gone", None),
        ] {
            let observed = ServiceAccountController.observe(&caches, &ObjectKey::cluster(name));
            let line = observed.map(|observed| {
                describe(&ServiceAccountController.reconcile(&observed, at(0)).actions).join("")
            });
            assert_eq!(line.as_deref(), expected, "{name}");
        }
    }
}
