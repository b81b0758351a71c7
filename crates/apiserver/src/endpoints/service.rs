//! Cluster addresses of Services, at their creation, update and deletion.
//!
//! Counterpart in Kubernetes: `pkg/registry/core/service/storage/alloc.go`. What needs an allocator this server does not have
//! (node ports, IPv6) is refused.
//! Invariant: a Service that is stored holds the reservation of its address; one of type `ExternalName` holds none.

use std::net::IpAddr;
use std::sync::Mutex;

use api::core::service::settle_addresses;
use api::kinds;
use apimachinery::field::{self, Path};
use apimachinery::object::KubeObject;
use apimachinery::status::StatusError;
use k8s_openapi::api::core::v1::{Service, ServiceSpec};

use super::{Call, update};
use crate::ApiServer;
use crate::service_ip::AddressError;
use crate::storage::{Change, Current, Encoded, Mode, Updated};

const NONE: &str = "None";
const EXTERNAL_NAME: &str = "ExternalName";
const SINGLE_STACK: &str = "SingleStack";
const DUAL_STACK: &str = "RequireDualStack";

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
    refuse(&name, settle_addresses(spec))?;
    refuse(&name, unsupported(spec))?;
    if is_external(spec) {
        return Ok(None);
    }
    let wished = wished(spec);
    if wished.as_deref() == Some(NONE) || mode == Mode::DryRun {
        set_address(spec, wished.as_deref());
        return Ok(None);
    }
    let address = find(server, wished.as_deref(), &uid)
        .await
        .map_err(|error| refused(&name, wished, error))?;
    set_address(spec, Some(&address.to_string()));
    Ok(Some(Reservation { address, uid }))
}

fn is_external(spec: &ServiceSpec) -> bool {
    spec.type_.as_deref() == Some(EXTERNAL_NAME)
}

fn wished(spec: &ServiceSpec) -> Option<String> {
    spec.cluster_ip.clone().filter(|address| !address.is_empty())
}

fn refuse(name: &str, errors: field::ErrorList) -> Result<(), StatusError> {
    if errors.is_empty() {
        return Ok(());
    }
    Err(StatusError::invalid(&kinds::of::<Service>().group_kind(), name, errors))
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
    if selects_nothing(spec) {
        return errors;
    }
    errors.extend(unconfigured_families(spec, &at));
    let policy = spec.ip_family_policy.as_deref().unwrap_or(SINGLE_STACK);
    let at = at.child("ipFamilyPolicy");
    let two = |list: &Option<Vec<String>>| list.as_ref().is_some_and(|list| list.len() == 2);
    let doubled =
        [("cluster IPs", two(&spec.cluster_ips)), ("IP families", two(&spec.ip_families))];
    for (what, _) in doubled.iter().filter(|(_, two)| *two && policy == SINGLE_STACK) {
        let reason = format!(
            "must be 'RequireDualStack' or 'PreferDualStack' when multiple {what} are specified"
        );
        errors.push(field::invalid(&at, policy, reason));
    }
    if policy == DUAL_STACK {
        let reason = "this cluster is not configured for dual-stack services";
        errors.push(field::invalid(&at, policy, reason));
    }
    errors
}

/// Addresses and families of IPv6, for which there is no range.
fn unconfigured_families(spec: &ServiceSpec, at: &Path) -> field::ErrorList {
    let mut errors = field::ErrorList::new();
    let ips = spec.cluster_ips.as_deref().unwrap_or_default();
    let families = spec.ip_families.as_deref().unwrap_or_default();
    for (index, _) in ips.iter().enumerate().filter(|(_, ip)| ip.contains(':')) {
        if index >= families.len() {
            let at = at.child("clusterIPs").index(index);
            errors.push(field::invalid(&at, ips, "IPv6 is not configured on this cluster"));
        }
    }
    for (index, family) in families.iter().enumerate().filter(|(_, family)| *family != "IPv4") {
        let at = at.child("ipFamilies").index(index);
        errors.push(field::invalid(&at, family, "not configured on this cluster"));
    }
    errors
}

/// A headless Service without selector: whoever writes its endpoints may write them in both families.
fn selects_nothing(spec: &ServiceSpec) -> bool {
    let selects = spec.selector.as_ref().is_some_and(|selector| !selector.is_empty());
    spec.cluster_ip.as_deref() == Some(NONE) && !selects
}

/// Gives a Service its address, and the families and their policy if they are not given.
fn set_address(spec: &mut ServiceSpec, address: Option<&str>) {
    spec.cluster_ip = address.map(str::to_owned);
    spec.cluster_ips = address.map(|address| vec![address.to_owned()]);
    let free = selects_nothing(spec);
    let default = if free { DUAL_STACK } else { SINGLE_STACK };
    let policy = spec.ip_family_policy.get_or_insert_with(|| default.to_owned()).clone();
    let families = spec.ip_families.get_or_insert_default();
    if families.is_empty() {
        families.push("IPv4".to_owned());
    }
    if free && policy != SINGLE_STACK && families.len() == 1 {
        let other = if families[0] == "IPv4" { "IPv6" } else { "IPv4" };
        families.push(other.to_owned());
    }
}

/// What an update asks of the allocator: deciding does not wait, so the address is had in between.
#[derive(Debug, Default)]
pub(crate) struct Allocation(Mutex<Asked>);

#[derive(Debug, Default)]
enum Asked {
    #[default]
    Nothing,
    /// The Service with this uid and name needs an address: the wished one, or any.
    Needed { uid: String, name: String, wished: Option<String> },
    /// This address is reserved.
    Reserved(IpAddr),
}

impl Allocation {
    fn take(&self) -> Asked {
        std::mem::take(&mut *self.lock())
    }

    fn set(&self, asked: Asked) {
        *self.lock() = asked;
    }

    /// The reserved address, if it is what is wished for.
    fn granted(&self, wished: Option<&str>) -> Option<IpAddr> {
        match *self.lock() {
            Asked::Reserved(address) if wished.is_none_or(|text| text.parse() == Ok(address)) => {
                Some(address)
            }
            _ => None,
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Asked> {
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

/// Updates an object of any kind; when it is a Service that comes to need an address, reserves one and decides again.
///
/// # Errors
/// As [`crate::storage::Storage::update`]; `Invalid` for an address that cannot be had.
pub(super) async fn update(
    call: &Call,
    mode: Mode,
    mut decide: impl FnMut(Option<&Current>) -> Result<Change, StatusError>,
) -> Result<Updated, StatusError> {
    let storage = &call.server.storage;
    let first = storage.update(call.resource, &call.key(), mode, &mut decide).await;
    let Asked::Needed { uid, name, wished } = call.allocation.take() else {
        return first;
    };
    let address = find(&call.server, wished.as_deref(), &uid)
        .await
        .map_err(|error| refused(&name, wished, error))?;
    call.allocation.set(Asked::Reserved(address));
    let second = storage.update(call.resource, &call.key(), mode, &mut decide).await;
    let used = |object: &Encoded| address_of(object).is_some_and(|(used, _)| used == address);
    let kept = matches!(&second, Ok(Updated::Put(object)) if used(object));
    if !kept || mode == Mode::DryRun {
        Reservation { address, uid }.release(&call.server).await;
    }
    second
}

/// Keeps what was allocated when an update leaves it out, and asks for an address when the Service comes to need one.
///
/// # Errors
/// `Invalid` for what is not supported; `Conflict` when an address must be had first (see [`update`]).
pub(super) fn keep_allocated(
    call: &Call,
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
    if is_external(spec) {
        return Ok(());
    }
    if is_external(before) {
        let uid = old.metadata.uid.clone().unwrap_or_default();
        return allocate(call, spec, uid, name);
    }
    fill(&mut spec.cluster_ip, &before.cluster_ip);
    fill(&mut spec.cluster_ips, &before.cluster_ips);
    fill(&mut spec.ip_families, &before.ip_families);
    fill(&mut spec.ip_family_policy, &before.ip_family_policy);
    refuse(&name, unsupported(spec))
}

/// Gives a Service that had no address the one that was reserved for it, or asks for it.
fn allocate(
    call: &Call,
    spec: &mut ServiceSpec,
    uid: String,
    name: String,
) -> Result<(), StatusError> {
    refuse(&name, settle_addresses(spec))?;
    refuse(&name, unsupported(spec))?;
    let wished = wished(spec);
    if wished.as_deref() == Some(NONE) {
        set_address(spec, wished.as_deref());
        return Ok(());
    }
    let Some(address) = call.allocation.granted(wished.as_deref()) else {
        let conflict = StatusError::conflict(&call.group_resource(), &name, update::MODIFIED);
        call.allocation.set(Asked::Needed { uid, name, wished });
        return Err(conflict);
    };
    set_address(spec, Some(&address.to_string()));
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
    if let Some((address, uid)) = address_of(deleted) {
        Reservation { address, uid }.release(server).await;
    }
}

/// Gives back what a Service held before it became one without address.
pub(super) async fn release_unused(server: &ApiServer, stored: &Encoded) {
    let Some(service) = service_of(stored) else { return };
    if !service.spec.as_ref().is_some_and(is_external) {
        return;
    }
    let uid = service.metadata.uid.unwrap_or_default();
    if let Err(error) = server.addresses.release_all(&uid).await {
        tracing::warn!(%error, uid, "an unused Service address stays reserved");
    }
}

fn service_of(object: &Encoded) -> Option<Service> {
    apimachinery::object::downcast::<Service>(object.decode(kinds::of::<Service>()).ok()?).ok()
}

/// The cluster address of a stored Service, and its uid.
fn address_of(object: &Encoded) -> Option<(IpAddr, String)> {
    let service = service_of(object)?;
    let address = service.spec?.cluster_ip?.parse().ok()?;
    Some((address, service.metadata.uid?))
}
