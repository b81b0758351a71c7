//! Cluster addresses and node ports of Services, at their creation, update and deletion.
//!
//! Counterpart in Kubernetes: `pkg/registry/core/service/storage/alloc.go`. What needs an allocator this server does not have
//! (IPv6) is refused.
//! Invariant: a Service that is stored holds the reservations of its address and ports, and of no others.

mod ports;

use std::collections::BTreeSet;
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
use crate::node_port::PortError;
use crate::reservations::InUse;
use crate::service_ip::AddressError;
use crate::storage::{Change, Current, Encoded, Mode, Updated};
use ports::{PortWish, Slot};

const NONE: &str = "None";
const EXTERNAL_NAME: &str = "ExternalName";
const SINGLE_STACK: &str = "SingleStack";
const DUAL_STACK: &str = "RequireDualStack";

/// What a Service holds.
#[derive(Clone, Debug, Default, PartialEq)]
struct Held {
    address: Option<IpAddr>,
    ports: BTreeSet<u16>,
}

impl Held {
    /// What is in here and not in `other`.
    fn without(mut self, other: &Self) -> Self {
        self.address = self.address.filter(|address| other.address != Some(*address));
        self.ports.retain(|port| !other.ports.contains(port));
        self
    }
}

/// What a Service is to be given.
#[derive(Clone, Debug, PartialEq)]
struct Needs {
    uid: String,
    name: String,
    /// An address: the wished one, or any.
    address: Option<Option<String>>,
    ports: Vec<PortWish>,
}

/// What was reserved for needs, port by port.
#[derive(Clone, Debug, Default, PartialEq)]
struct Granted {
    address: Option<IpAddr>,
    ports: Vec<(Slot, u16)>,
}

impl Granted {
    fn held(&self) -> Held {
        Held { address: self.address, ports: self.ports.iter().map(|(_, port)| *port).collect() }
    }

    /// Writes what was granted into a Service.
    fn fill(&self, spec: &mut ServiceSpec) {
        if let Some(address) = self.address {
            set_address(spec, Some(&address.to_string()));
        }
        ports::fill(spec, &self.ports);
    }
}

/// Something reserved for a Service that is not stored yet.
pub(super) struct Reservation {
    held: Held,
    uid: String,
}

impl Reservation {
    /// Gives it back.
    pub(super) async fn release(self, server: &ApiServer) {
        let mut results = Vec::new();
        if let Some(address) = self.held.address {
            results.push(server.addresses.release(address, &self.uid).await);
        }
        for port in self.held.ports {
            results.push(server.node_ports.release(port, &self.uid).await);
        }
        for error in results.into_iter().filter_map(Result::err) {
            tracing::warn!(%error, uid = self.uid, "what a Service does not use stays reserved for a while");
        }
    }
}

/// Gives a new Service its address and ports.
///
/// # Errors
/// `Invalid` for what cannot be had, and for what is not supported.
pub(super) async fn reserve(
    server: &ApiServer,
    object: &mut dyn KubeObject,
) -> Result<Option<Reservation>, StatusError> {
    let Some(service) = object.as_any_mut().downcast_mut::<Service>() else {
        return Ok(None);
    };
    let name = service.metadata.name.clone().unwrap_or_default();
    let uid = service.metadata.uid.clone().unwrap_or_default();
    let spec = service.spec.get_or_insert_default();
    refuse(&name, settle_addresses(spec))?;
    refuse(&name, unsupported(spec))?;
    let ports = ports::of_new(spec);
    let needs = Needs { address: address_needed(spec), ports, uid: uid.clone(), name };
    let granted = obtain(server, &needs).await?;
    granted.fill(spec);
    Ok(Some(Reservation { held: granted.held(), uid }))
}

/// The address that a Service without one needs: none, any, or the wished one. A headless one is made whole.
fn address_needed(spec: &mut ServiceSpec) -> Option<Option<String>> {
    if is_external(spec) {
        return None;
    }
    let wished = spec.cluster_ip.clone().filter(|address| !address.is_empty());
    if wished.as_deref() == Some(NONE) {
        set_address(spec, Some(NONE));
        return None;
    }
    Some(wished)
}

/// Reserves all of what is needed, or nothing.
async fn obtain(server: &ApiServer, needs: &Needs) -> Result<Granted, StatusError> {
    let find = || in_use(server);
    let in_use = InUse::new(&find);
    let mut granted = Granted::default();
    let outcome = obtain_into(server, needs, &in_use, &mut granted).await;
    if outcome.is_err() {
        Reservation { held: granted.held(), uid: needs.uid.clone() }.release(server).await;
    }
    outcome.map(|()| granted)
}

async fn obtain_into(
    server: &ApiServer,
    needs: &Needs,
    in_use: &InUse<'_>,
    granted: &mut Granted,
) -> Result<(), StatusError> {
    if let Some(wished) = &needs.address {
        let address = find_address(server, wished.as_deref(), &needs.uid, in_use).await;
        granted.address =
            Some(address.map_err(|error| refused(&needs.name, wished.clone(), error))?);
    }
    for wish in &needs.ports {
        let port = server.node_ports.reserve(wish.wished, &needs.uid, in_use).await;
        let port = port.map_err(|error| port_refused(&needs.name, wish, error))?;
        granted.ports.push((wish.slot, port));
    }
    Ok(())
}

async fn find_address(
    server: &ApiServer,
    wished: Option<&str>,
    uid: &str,
    in_use: &InUse<'_>,
) -> Result<IpAddr, AddressError> {
    // What is no address is refused by validation, which sees it unchanged.
    let wished = wished.map(|text| text.parse().map_err(|_| AddressError::NotAnAddress));
    server.addresses.reserve(wished.transpose()?, uid, in_use).await
}

/// Addresses and ports with the uids of the Services that use them.
fn in_use(server: &ApiServer) -> BTreeSet<(String, String)> {
    let snapshot = server.cache.snapshot(kinds::of::<Service>());
    let mut used = BTreeSet::new();
    for service in snapshot.objects.values().filter_map(|object| service_of(object)) {
        let uid = service.metadata.uid.unwrap_or_default();
        let Held { address, ports } = service.spec.as_ref().map(held_by).unwrap_or_default();
        used.extend(address.map(|address| (address.to_string(), uid.clone())));
        used.extend(ports.into_iter().map(|port| (port.to_string(), uid.clone())));
    }
    used
}

/// What a Service holds.
fn held_by(spec: &ServiceSpec) -> Held {
    let address = spec.cluster_ip.as_deref().and_then(|ip| ip.parse().ok());
    Held { address, ports: ports::held_by(spec) }
}

fn is_external(spec: &ServiceSpec) -> bool {
    spec.type_.as_deref() == Some(EXTERNAL_NAME)
}

fn refuse(name: &str, errors: field::ErrorList) -> Result<(), StatusError> {
    if errors.is_empty() {
        return Ok(());
    }
    Err(StatusError::invalid(&kinds::of::<Service>().group_kind(), name, errors))
}

fn port_refused(name: &str, wish: &PortWish, error: PortError) -> StatusError {
    match (error, wish.slot, wish.wished) {
        (PortError::Store(status), ..) => status,
        (error, Slot::Port(index), Some(wished)) => {
            let at = Path::new("spec").child("ports").index(index).child("nodePort");
            let errors = vec![field::invalid(&at, wished, error.to_string())];
            StatusError::invalid(&kinds::of::<Service>().group_kind(), name, errors)
        }
        (error, Slot::HealthCheck, Some(wished)) => StatusError::internal(format!(
            "failed to allocate requested HealthCheck NodePort {wished}: {error}"
        )),
        (error, Slot::Port(_), None) => {
            StatusError::internal(format!("failed to allocate a nodePort: {error}"))
        }
        (error, Slot::HealthCheck, None) => {
            StatusError::internal(format!("failed to allocate a HealthCheck NodePort 0: {error}"))
        }
    }
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

/// What an update asks of the allocators: deciding does not wait, so what it needs is had in between.
#[derive(Debug, Default)]
pub(crate) struct Allocation(Mutex<Asked>);

#[derive(Debug, Default)]
struct Asked {
    /// What the last decision could not do without.
    lacking: Option<Needs>,
    /// What was reserved, and for which needs.
    granted: Option<(Needs, Granted)>,
    /// What the last decision makes the Service give up, and its uid.
    dropped: Option<(Held, String)>,
}

impl Allocation {
    fn lock(&self) -> std::sync::MutexGuard<'_, Asked> {
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// What was granted for exactly these needs.
    fn granted(&self, needs: &Needs) -> Option<Granted> {
        let asked = self.lock();
        asked.granted.as_ref().filter(|(granted_for, _)| granted_for == needs).map(|g| g.1.clone())
    }
}

/// Updates an object of any kind; when it is a Service that comes to need an address or ports, reserves them and decides again.
///
/// # Errors
/// As [`crate::storage::Storage::update`]; `Invalid` for what cannot be had.
pub(super) async fn update(
    call: &Call,
    mode: Mode,
    mut decide: impl FnMut(Option<&Current>) -> Result<Change, StatusError>,
) -> Result<Updated, StatusError> {
    let storage = &call.server.storage;
    let mut updated = storage.update(call.resource, &call.key(), mode, &mut decide).await;
    let lacking = call.allocation.lock().lacking.take();
    if let Some(needs) = lacking {
        let granted = obtain(&call.server, &needs).await?;
        call.allocation.lock().granted = Some((needs.clone(), granted.clone()));
        updated = storage.update(call.resource, &call.key(), mode, &mut decide).await;
        let used = match &updated {
            Ok(Updated::Put(object)) if mode == Mode::Commit => held(object),
            _ => Held::default(),
        };
        let unused = granted.held().without(&used);
        Reservation { held: unused, uid: needs.uid }.release(&call.server).await;
    }
    let dropped = call.allocation.lock().dropped.take();
    if let (Ok(Updated::Put(_)), Mode::Commit, Some((held, uid))) = (&updated, mode, dropped) {
        Reservation { held, uid }.release(&call.server).await;
    }
    updated
}

/// Keeps what was allocated when an update leaves it out, and asks for what the Service comes to need.
///
/// # Errors
/// `Invalid` for what is not supported; `Conflict` when something must be had first (see [`update`]).
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
    let uid = old.metadata.uid.clone().unwrap_or_default();
    let (Some(spec), Some(before)) = (&mut new.spec, &old.spec) else {
        return Ok(());
    };
    let address = if is_external(before) && !is_external(spec) {
        refuse(&name, settle_addresses(spec))?;
        refuse(&name, unsupported(spec))?;
        address_needed(spec)
    } else {
        keep_address(&name, spec, before)?;
        None
    };
    ports::keep(spec, before);
    let needs = Needs { uid, name, address, ports: ports::of_changed(spec, before) };
    let Some(granted) = grant(call, &needs) else {
        let conflict = StatusError::conflict(&call.group_resource(), &needs.name, update::MODIFIED);
        call.allocation.lock().lacking = Some(needs);
        return Err(conflict);
    };
    granted.fill(spec);
    call.allocation.lock().dropped = Some((given_up(before, spec), needs.uid));
    Ok(())
}

fn grant(call: &Call, needs: &Needs) -> Option<Granted> {
    if needs.address.is_none() && needs.ports.is_empty() {
        return Some(Granted::default());
    }
    call.allocation.granted(needs)
}

/// What a Service does not hold any longer. What does not fit its type is taken from it later on its way.
fn given_up(before: &ServiceSpec, spec: &ServiceSpec) -> Held {
    let mut after = held_by(spec);
    if is_external(spec) {
        after.address = None;
    }
    after.ports.retain(|port| ports::may_hold(spec, *port));
    held_by(before).without(&after)
}

fn keep_address(
    name: &str,
    spec: &mut ServiceSpec,
    before: &ServiceSpec,
) -> Result<(), StatusError> {
    if is_external(spec) {
        return Ok(());
    }
    fill(&mut spec.cluster_ip, &before.cluster_ip);
    fill(&mut spec.cluster_ips, &before.cluster_ips);
    fill(&mut spec.ip_families, &before.ip_families);
    fill(&mut spec.ip_family_policy, &before.ip_family_policy);
    refuse(name, unsupported(spec))
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

/// Gives back what a deleted Service held.
pub(super) async fn release(server: &ApiServer, deleted: &Encoded) {
    let Some(service) = service_of(deleted) else { return };
    let held = service.spec.as_ref().map(held_by).unwrap_or_default();
    let uid = service.metadata.uid.unwrap_or_default();
    Reservation { held, uid }.release(server).await;
}

/// What a stored Service holds.
fn held(object: &Encoded) -> Held {
    service_of(object).and_then(|service| service.spec).as_ref().map(held_by).unwrap_or_default()
}

fn service_of(object: &Encoded) -> Option<Service> {
    apimachinery::object::downcast::<Service>(object.decode(kinds::of::<Service>()).ok()?).ok()
}
