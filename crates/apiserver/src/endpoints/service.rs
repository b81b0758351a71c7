//! Cluster addresses of Services, at their creation, update and deletion.
//!
//! Counterpart in Kubernetes: `pkg/registry/core/service/storage/alloc.go`. What needs an allocator this server does not have
//! (node ports, IPv6) is refused.

use std::net::IpAddr;

use api::kinds;
use apimachinery::field::{self, Path};
use apimachinery::object::KubeObject;
use apimachinery::status::StatusError;
use k8s_openapi::api::core::v1::{Service, ServiceSpec};

use crate::ApiServer;
use crate::service_ip::AddressError;
use crate::storage::{Encoded, Mode};

const NONE: &str = "None";

/// An address reserved for a Service that is not stored yet.
pub(super) struct Reservation {
    address: IpAddr,
    uid: String,
}

impl Reservation {
    /// Gives the address back.
    pub(super) async fn release(self, server: &ApiServer) {
        if let Err(error) = server.addresses.release(self.address, &self.uid).await {
            tracing::warn!(%error, address = %self.address, "an unused Service address stays reserved for a while");
        }
    }
}

/// Gives a new Service its address.
///
/// # Errors
/// `Invalid` for an address that cannot be had, and for what is not supported.
pub(super) async fn reserve(
    server: &ApiServer,
    object: &mut dyn KubeObject,
    mode: Mode,
) -> Result<Option<Reservation>, StatusError> {
    let Some(service) = object.as_any_mut().downcast_mut::<Service>() else {
        return Ok(None);
    };
    let name = service.metadata.name.clone().unwrap_or_default();
    let uid = service.metadata.uid.clone().unwrap_or_default();
    let spec = service.spec.get_or_insert_default();
    let errors = unsupported(spec);
    if !errors.is_empty() {
        return Err(StatusError::invalid(&kinds::of::<Service>().group_kind(), &name, errors));
    }
    if spec.type_.as_deref() == Some("ExternalName") {
        return Ok(None);
    }
    let wished = spec.cluster_ip.clone().filter(|address| !address.is_empty());
    if wished.as_deref() == Some(NONE) || mode == Mode::DryRun {
        single_stack(spec, wished.as_deref());
        return Ok(None);
    }
    let address = find(server, wished.as_deref(), &uid)
        .await
        .map_err(|error| refused(&name, wished, error))?;
    single_stack(spec, Some(&address.to_string()));
    Ok(Some(Reservation { address, uid }))
}

async fn find(server: &ApiServer, wished: Option<&str>, uid: &str) -> Result<IpAddr, AddressError> {
    let services = kinds::of::<Service>();
    let alive = |uid: &str| {
        let snapshot = server.cache.snapshot(services);
        snapshot.objects.values().any(|object| has_uid(object, uid))
    };
    match wished.map(str::parse) {
        Some(Ok(address)) => server.addresses.reserve(Some(address), uid, alive).await,
        // What is no address is refused by validation, which sees it unchanged.
        Some(Err(_)) => Err(AddressError::NotAnAddress),
        None => server.addresses.reserve(None, uid, alive).await,
    }
}

fn has_uid(object: &Encoded, uid: &str) -> bool {
    let services = kinds::of::<Service>();
    object.decode(services).is_ok_and(|service| service.uid() == uid)
}

fn refused(name: &str, wished: Option<String>, error: AddressError) -> StatusError {
    let at = Path::new("spec").child("clusterIPs");
    match error {
        AddressError::Store(status) => status,
        AddressError::Full => {
            StatusError::internal(format!("failed to allocate a serviceIP: {}", AddressError::Full))
        }
        AddressError::NotAnAddress => {
            let errors = vec![field::invalid(
                &at.index(0),
                wished,
                "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)",
            )];
            StatusError::invalid(&kinds::of::<Service>().group_kind(), name, errors)
        }
        error @ (AddressError::OutOfRange(..) | AddressError::Taken) => {
            let list: Vec<String> = wished.into_iter().collect();
            let errors = vec![field::invalid(&at, list, format!("failed to allocate IP: {error}"))];
            StatusError::invalid(&kinds::of::<Service>().group_kind(), name, errors)
        }
    }
}

/// What needs an allocator that this server does not have.
fn unsupported(spec: &ServiceSpec) -> field::ErrorList {
    let at = Path::new("spec");
    let mut errors = field::ErrorList::new();
    if let Some(kind @ ("NodePort" | "LoadBalancer")) = spec.type_.as_deref() {
        errors.push(field::not_supported(&at.child("type"), kind, &["ClusterIP", "ExternalName"]));
    }
    let families = spec.ip_families.iter().flatten().enumerate();
    for (index, family) in families.filter(|(_, family)| *family != "IPv4") {
        let at = at.child("ipFamilies").index(index);
        errors.push(field::invalid(&at, family, "not configured on this cluster"));
    }
    if spec.ip_family_policy.as_deref() == Some("RequireDualStack") {
        let at = at.child("ipFamilyPolicy");
        errors.push(field::invalid(
            &at,
            "RequireDualStack",
            "this cluster is not configured for dual-stack services",
        ));
    }
    errors
}

fn single_stack(spec: &mut ServiceSpec, address: Option<&str>) {
    spec.cluster_ip = address.map(str::to_owned);
    spec.cluster_ips = address.map(|address| vec![address.to_owned()]);
    spec.ip_families = Some(vec!["IPv4".to_owned()]);
    spec.ip_family_policy.get_or_insert_with(|| "SingleStack".to_owned());
}

/// Keeps what was allocated when an update leaves it out.
///
/// # Errors
/// `Invalid` for changes of type that would need a new allocation.
pub(super) fn keep_allocated(
    new: &mut dyn KubeObject,
    old: &dyn KubeObject,
) -> Result<(), StatusError> {
    let (Some(new), Some(old)) =
        (new.as_any_mut().downcast_mut::<Service>(), old.as_any().downcast_ref::<Service>())
    else {
        return Ok(());
    };
    let name = old.metadata.name.clone().unwrap_or_default();
    let (Some(spec), Some(before)) = (&mut new.spec, &old.spec) else {
        return Ok(());
    };
    let mut errors = unsupported(spec);
    let external = |spec: &ServiceSpec| spec.type_.as_deref() == Some("ExternalName");
    if external(before) && !external(spec) {
        let at = Path::new("spec").child("type");
        errors.push(field::forbidden(
            &at,
            "a Service of type ExternalName cannot get a cluster IP; create it again",
        ));
    }
    if !errors.is_empty() {
        return Err(StatusError::invalid(&kinds::of::<Service>().group_kind(), &name, errors));
    }
    if !external(spec) {
        fill(&mut spec.cluster_ip, &before.cluster_ip);
        fill(&mut spec.cluster_ips, &before.cluster_ips);
        fill(&mut spec.ip_families, &before.ip_families);
        fill(&mut spec.ip_family_policy, &before.ip_family_policy);
    }
    Ok(())
}

trait IsEmpty {
    fn is_empty(&self) -> bool;
}

impl IsEmpty for String {
    fn is_empty(&self) -> bool {
        self.as_str().is_empty()
    }
}

impl IsEmpty for Vec<String> {
    fn is_empty(&self) -> bool {
        self.as_slice().is_empty()
    }
}

fn fill<T: Clone + IsEmpty>(field: &mut Option<T>, before: &Option<T>) {
    if field.as_ref().is_none_or(IsEmpty::is_empty) {
        field.clone_from(before);
    }
}

/// Gives the address of a deleted Service back.
pub(super) async fn release(server: &ApiServer, deleted: &Encoded) {
    let decoded = deleted.decode(kinds::of::<Service>());
    let Some(service) =
        decoded.ok().and_then(|object| apimachinery::object::downcast::<Service>(object).ok())
    else {
        return;
    };
    let address =
        service.spec.and_then(|spec| spec.cluster_ip).and_then(|address| address.parse().ok());
    if let (Some(address), Some(uid)) = (address, service.metadata.uid) {
        Reservation { address, uid }.release(server).await;
    }
}
