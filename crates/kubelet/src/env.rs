//! The environment of a container.
//!
//! Counterpart in Kubernetes: `makeEnvironmentVariables` of `kubelet_pods.go`, `envvars` and `third_party/forked/golang/expansion`.
//! Invariants: pure; what the API has to be asked for is named first by [`references`] and comes in as [`Sources`].

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::core::v1::{ConfigMap, Container, EnvVarSource, Pod, Secret, Service};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

use crate::{names, resources};

/// Why the environment cannot be made; the message of a `CreateContainerConfigError`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EnvError {
    /// A referenced object is not there.
    #[error("{kind} \"{name}\" not found")]
    NotFound {
        /// `configmap` or `secret`.
        kind: &'static str,
        /// The object's name.
        name: String,
    },
    /// A referenced object lacks the key.
    #[error("couldn't find key {key} in {kind} {ns}/{name}")]
    NoKey {
        /// `ConfigMap` or `Secret`.
        kind: &'static str,
        /// The key.
        key: String,
        /// The namespace.
        ns: String,
        /// The object's name.
        name: String,
    },
    /// A secret's value is not text.
    #[error("key {key} in Secret {name} is not valid UTF-8 and cannot be an environment variable")]
    NotText {
        /// The key.
        key: String,
        /// The secret.
        name: String,
    },
    /// A field or resource reference is unknown.
    #[error("{0}")]
    Field(String),
}

/// Objects of the pod's namespace that a container's environment needs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct References {
    /// Names of ConfigMaps.
    pub config_maps: BTreeSet<String>,
    /// Names of Secrets.
    pub secrets: BTreeSet<String>,
}

/// What a container's environment is made from.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    /// ConfigMaps that exist, by name.
    pub config_maps: BTreeMap<String, ConfigMap>,
    /// Secrets that exist, by name.
    pub secrets: BTreeMap<String, Secret>,
    /// Variables of services, from [`service_variables`].
    pub services: BTreeMap<String, String>,
    /// The pod's addresses.
    pub pod_ips: Vec<String>,
    /// The node's addresses.
    pub host_ips: Vec<String>,
    /// What the node has to give.
    pub allocatable: BTreeMap<String, Quantity>,
}

/// The objects `container` refers to.
pub fn references(container: &Container) -> References {
    let mut found = References::default();
    for from in container.env_from.iter().flatten() {
        found.config_maps.extend(from.config_map_ref.iter().map(|it| it.name.clone()));
        found.secrets.extend(from.secret_ref.iter().map(|it| it.name.clone()));
    }
    for source in container.env.iter().flatten().filter_map(|env| env.value_from.as_ref()) {
        found.config_maps.extend(source.config_map_key_ref.iter().map(|it| it.name.clone()));
        found.secrets.extend(source.secret_key_ref.iter().map(|it| it.name.clone()));
    }
    found
}

/// The environment, sorted by name.
///
/// # Errors
/// When something referenced and not optional is missing.
pub fn environment(
    pod: &Pod,
    container: &Container,
    sources: &Sources,
) -> Result<BTreeMap<String, String>, EnvError> {
    let mut result = from_whole_objects(container, sources)?;
    for env in container.env.iter().flatten() {
        let plain = env.value.as_deref().filter(|value| !value.is_empty());
        let value = match (plain, &env.value_from) {
            (Some(value), _) => Some(expand(value, |name| {
                result.get(name).or_else(|| sources.services.get(name)).cloned()
            })),
            (None, Some(source)) => from_source(pod, container, source, sources)?,
            (None, None) => Some(String::new()),
        };
        if let Some(value) = value {
            result.insert(env.name.clone(), value);
        }
    }
    for (name, value) in &sources.services {
        result.entry(name.clone()).or_insert_with(|| value.clone());
    }
    Ok(result)
}

fn from_whole_objects(
    container: &Container,
    sources: &Sources,
) -> Result<BTreeMap<String, String>, EnvError> {
    let mut result = BTreeMap::new();
    for from in container.env_from.iter().flatten() {
        let prefix = from.prefix.as_deref().unwrap_or_default();
        if let Some(reference) = &from.config_map_ref {
            let object =
                find(&sources.config_maps, "configmap", &reference.name, reference.optional)?;
            let data = object.into_iter().flat_map(|object| object.data.iter().flatten());
            result.extend(data.map(|(key, value)| (format!("{prefix}{key}"), value.clone())));
        } else if let Some(reference) = &from.secret_ref {
            let object = find(&sources.secrets, "secret", &reference.name, reference.optional)?;
            for (key, value) in object.into_iter().flat_map(|object| object.data.iter().flatten()) {
                result.insert(format!("{prefix}{key}"), text(&value.0, key, &reference.name)?);
            }
        }
    }
    Ok(result)
}

fn find<'a, K>(
    objects: &'a BTreeMap<String, K>,
    kind: &'static str,
    name: &str,
    optional: Option<bool>,
) -> Result<Option<&'a K>, EnvError> {
    match objects.get(name) {
        Some(object) => Ok(Some(object)),
        None if optional == Some(true) => Ok(None),
        None => Err(EnvError::NotFound { kind, name: name.to_owned() }),
    }
}

fn text(bytes: &[u8], key: &str, name: &str) -> Result<String, EnvError> {
    String::from_utf8(bytes.to_vec())
        .map_err(|_| EnvError::NotText { key: key.to_owned(), name: name.to_owned() })
}

/// `None` when an optional reference has no value: the variable is then not set at all.
fn from_source(
    pod: &Pod,
    container: &Container,
    source: &EnvVarSource,
    sources: &Sources,
) -> Result<Option<String>, EnvError> {
    if let Some(field) = &source.field_ref {
        return pod_field(pod, &field.field_path, sources).map(Some);
    }
    if let Some(field) = &source.resource_field_ref {
        let value = resources::resource_field(
            container,
            &field.resource,
            field.divisor.as_ref(),
            &sources.allocatable,
        );
        return value.map(Some).map_err(EnvError::Field);
    }
    if let Some(key) = &source.config_map_key_ref {
        let object = find(&sources.config_maps, "configmap", &key.name, key.optional)?;
        let Some(object) = object else { return Ok(None) };
        let value = object.data.as_ref().and_then(|data| data.get(&key.key)).cloned();
        return value.map_or_else(
            || missing_key(pod, "ConfigMap", &key.key, &key.name, key.optional),
            |value| Ok(Some(value)),
        );
    }
    if let Some(key) = &source.secret_key_ref {
        let object = find(&sources.secrets, "secret", &key.name, key.optional)?;
        let Some(object) = object else { return Ok(None) };
        let value = object.data.as_ref().and_then(|data| data.get(&key.key));
        return match value {
            Some(value) => text(&value.0, &key.key, &key.name).map(Some),
            None => missing_key(pod, "Secret", &key.key, &key.name, key.optional),
        };
    }
    Err(EnvError::Field("unsupported valueFrom".into()))
}

fn missing_key(
    pod: &Pod,
    kind: &'static str,
    key: &str,
    name: &str,
    optional: Option<bool>,
) -> Result<Option<String>, EnvError> {
    if optional == Some(true) {
        return Ok(None);
    }
    Err(EnvError::NoKey {
        kind,
        key: key.to_owned(),
        ns: names::namespace(pod).to_owned(),
        name: name.to_owned(),
    })
}

fn pod_field(pod: &Pod, path: &str, sources: &Sources) -> Result<String, EnvError> {
    let spec = pod.spec.as_ref();
    let keyed = |prefix: &str| {
        path.strip_prefix(prefix)
            .and_then(|rest| rest.strip_prefix("['"))
            .and_then(|rest| rest.strip_suffix("']"))
    };
    let lookup = |map: &Option<BTreeMap<String, String>>, key: &str| {
        map.as_ref().and_then(|map| map.get(key)).cloned().unwrap_or_default()
    };
    if let Some(key) = keyed("metadata.labels") {
        return Ok(lookup(&pod.metadata.labels, key));
    }
    if let Some(key) = keyed("metadata.annotations") {
        return Ok(lookup(&pod.metadata.annotations, key));
    }
    Ok(match path {
        "metadata.name" => names::name(pod).to_owned(),
        "metadata.namespace" => names::namespace(pod).to_owned(),
        "metadata.uid" => names::uid(pod).to_owned(),
        "spec.nodeName" => spec.and_then(|spec| spec.node_name.clone()).unwrap_or_default(),
        "spec.serviceAccountName" => {
            spec.and_then(|spec| spec.service_account_name.clone()).unwrap_or_default()
        }
        "status.hostIP" => sources.host_ips.first().cloned().unwrap_or_default(),
        "status.hostIPs" => sources.host_ips.join(","),
        "status.podIP" => sources.pod_ips.first().cloned().unwrap_or_default(),
        "status.podIPs" => sources.pod_ips.join(","),
        _ => return Err(EnvError::Field(format!("unsupported fieldPath: {path}"))),
    })
}

/// Replaces `$(NAME)`; `$$` is a dollar sign, and what `lookup` does not know stays as it is.
pub fn expand(input: &str, lookup: impl Fn(&str) -> Option<String>) -> String {
    let mut output = String::with_capacity(input.len());
    let mut rest = input;
    while let Some(at) = rest.find('$') {
        output.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        if let Some(after) = rest.strip_prefix('$') {
            output.push('$');
            rest = after;
        } else if let Some((name, after)) =
            rest.strip_prefix('(').and_then(|rest| rest.split_once(')'))
        {
            output.push_str(&lookup(name).unwrap_or_else(|| format!("$({name})")));
            rest = after;
        } else {
            output.push('$');
        }
    }
    output.push_str(rest);
    output
}

/// The variables that tell a pod of namespace `ns` of services: those of its namespace when it wants them, and always the API's.
pub fn service_variables<'a>(
    services: impl Iterator<Item = &'a Service>,
    ns: &str,
    links: bool,
) -> BTreeMap<String, String> {
    let mut own = BTreeMap::new();
    let mut api = BTreeMap::new();
    for service in services {
        let (service_ns, name) =
            (service.metadata.namespace.as_deref(), service.metadata.name.as_deref());
        let is_api = service_ns == Some("default") && name == Some("kubernetes");
        if is_api {
            api.extend(variables_of(service));
        } else if links && service_ns == Some(ns) {
            own.extend(variables_of(service));
        }
    }
    api.extend(own);
    api
}

fn variables_of(service: &Service) -> Vec<(String, String)> {
    let Some(spec) = &service.spec else { return Vec::new() };
    let Some(ip) = spec.cluster_ip.as_deref().filter(|ip| !ip.is_empty() && *ip != "None") else {
        return Vec::new();
    };
    let upper = |name: &str| name.replace('-', "_").to_uppercase();
    let prefix = upper(service.metadata.name.as_deref().unwrap_or_default());
    let host = if ip.contains(':') { format!("[{ip}]") } else { ip.to_owned() };
    let mut all = vec![(format!("{prefix}_SERVICE_HOST"), ip.to_owned())];
    for (index, port) in spec.ports.iter().flatten().enumerate() {
        let number = port.port.to_string();
        let protocol = port.protocol.as_deref().unwrap_or("TCP");
        let (lower, url) =
            (protocol.to_lowercase(), format!("{}://{host}:{number}", protocol.to_lowercase()));
        if index == 0 {
            all.push((format!("{prefix}_SERVICE_PORT"), number.clone()));
            all.push((format!("{prefix}_PORT"), url.clone()));
        }
        if let Some(name) = port.name.as_deref().filter(|name| !name.is_empty()) {
            all.push((format!("{prefix}_SERVICE_PORT_{}", upper(name)), number.clone()));
        }
        let port_prefix = format!("{prefix}_PORT_{number}_{}", protocol.to_uppercase());
        all.push((format!("{port_prefix}_PROTO"), lower));
        all.push((format!("{port_prefix}_PORT"), number));
        all.push((format!("{port_prefix}_ADDR"), ip.to_owned()));
        all.push((port_prefix, url));
    }
    all
}

#[cfg(test)]
mod tests;
