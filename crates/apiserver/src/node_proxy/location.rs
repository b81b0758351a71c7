//! Which kubelet a request goes to, and under which path: pure functions of pod, node and query.
//!
//! Counterpart in Kubernetes: `LogLocation`, `streamLocation` and `PortForwardLocation` of `pkg/registry/core/pod`, and
//! `GetConnectionInfo` of `pkg/kubelet/client`.

use std::fmt;

use apimachinery::field::{self, ErrorList, Path};
use apimachinery::gvk::{GroupKind, GroupResource};
use apimachinery::status::StatusError;
use http::Uri;
use k8s_openapi::Resource;
use k8s_openapi::api::core::v1::{Node, Pod};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::StatusDetails;
use url::form_urlencoded;

/// The kubelet's port where its node does not say.
pub const DEFAULT_KUBELET_PORT: u16 = 10250;
/// The order in which a node's addresses are tried.
const PREFERRED_ADDRESSES: [&str; 3] = ["InternalIP", "ExternalIP", "Hostname"];

/// What is asked of a pod's kubelet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stream {
    /// A container's log.
    Log,
    /// A new process in a container.
    Exec,
    /// The container's own process.
    Attach,
    /// Connections to the pod's ports.
    PortForward,
}

/// Host and port of a kubelet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Authority {
    /// Address or name, without brackets.
    pub host: String,
    /// TCP port.
    pub port: u16,
}

impl fmt::Display for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            return write!(f, "[{}]:{}", self.host, self.port);
        }
        write!(f, "{}:{}", self.host, self.port)
    }
}

/// Where a request goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Location {
    /// The kubelet.
    pub authority: Authority,
    /// Path and query.
    pub path: String,
}

impl Stream {
    /// The stream a subresource stands for.
    pub fn of(resource: &str, subresource: &str) -> Option<Self> {
        if resource != Pod::URL_PATH_SEGMENT {
            return None;
        }
        match subresource {
            "log" => Some(Self::Log),
            "exec" => Some(Self::Exec),
            "attach" => Some(Self::Attach),
            "portforward" => Some(Self::PortForward),
            _ => None,
        }
    }

    fn kubelet_path(self) -> &'static str {
        match self {
            Self::Log => "containerLogs",
            Self::Exec => "exec",
            Self::Attach => "attach",
            Self::PortForward => "portForward",
        }
    }
}

/// The node a pod is bound to.
pub fn node_of(pod: &Pod) -> Option<&str> {
    pod.spec.as_ref()?.node_name.as_deref().filter(|name| !name.is_empty())
}

/// The kubelet's path and query for a stream of `pod` asked for with `query`.
///
/// # Errors
/// `BadRequest` for a missing or unknown container or a malformed option, `Invalid` for log options out of range.
pub fn pod_path(pod: &Pod, stream: Stream, query: &str) -> Result<String, StatusError> {
    let query = Query::parse(query);
    let name = pod.metadata.name.as_deref().unwrap_or_default();
    let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
    let mut path = format!("/{}/{namespace}/{name}", stream.kubelet_path());
    let parameters = match stream {
        Stream::Log => log_parameters(&query, name)?,
        Stream::Exec => stream_parameters(&query, true),
        Stream::Attach => stream_parameters(&query, false),
        Stream::PortForward => port_parameters(&query)?,
    };
    if stream != Stream::PortForward {
        path = format!("{path}/{}", container(pod, query.first("container").unwrap_or_default())?);
    }
    if parameters.is_empty() {
        return Ok(path);
    }
    let encoded = form_urlencoded::Serializer::new(String::new()).extend_pairs(parameters).finish();
    Ok(format!("{path}?{encoded}"))
}

/// The container asked for, or the only one there is.
fn container<'a>(pod: &'a Pod, asked: &'a str) -> Result<&'a str, StatusError> {
    let name = pod.metadata.name.as_deref().unwrap_or_default();
    let containers = pod.spec.as_ref().map(|spec| spec.containers.as_slice()).unwrap_or_default();
    let all = container_names(pod);
    match (asked, containers) {
        ("", [only]) => Ok(&only.name),
        ("", []) => Err(StatusError::bad_request(format!(
            "a container name must be specified for pod {name}"
        ))),
        ("", _) => Err(StatusError::bad_request(format!(
            "a container name must be specified for pod {name}, choose one of: [{}]",
            all.join(" ")
        ))),
        (asked, _) if all.contains(&asked) => Ok(asked),
        (asked, _) => {
            Err(StatusError::bad_request(format!("container {asked} is not valid for pod {name}")))
        }
    }
}

/// Init containers, containers, ephemeral containers: the order in which Kubernetes visits them.
fn container_names(pod: &Pod) -> Vec<&str> {
    let Some(spec) = &pod.spec else { return Vec::new() };
    let init = spec.init_containers.iter().flatten().map(|c| c.name.as_str());
    let ephemeral = spec.ephemeral_containers.iter().flatten().map(|c| c.name.as_str());
    init.chain(spec.containers.iter().map(|c| c.name.as_str())).chain(ephemeral).collect()
}

type Parameters = Vec<(&'static str, String)>;

/// A query as Kubernetes decodes options: the first value of a key counts.
struct Query(Vec<(String, String)>);

impl Query {
    fn parse(query: &str) -> Self {
        Self(form_urlencoded::parse(query.as_bytes()).into_owned().collect())
    }

    fn all<'a>(&'a self, key: &'a str) -> impl Iterator<Item = &'a str> {
        self.0.iter().filter(move |(k, _)| k == key).map(|(_, v)| v.as_str())
    }

    fn first<'a>(&'a self, key: &'a str) -> Option<&'a str> {
        self.all(key).next()
    }

    /// Only absence, `0` and `false` are false.
    fn flag(&self, key: &str) -> bool {
        self.first(key).is_some_and(|value| value != "0" && !value.eq_ignore_ascii_case("false"))
    }

    fn integer(&self, key: &str) -> Result<Option<i64>, StatusError> {
        self.first(key)
            .map(|value| parse_integer(value).map_err(StatusError::bad_request))
            .transpose()
    }
}

/// Go's `strconv.ParseInt` with its words.
fn parse_integer(value: &str) -> Result<i64, String> {
    value.parse().map_err(|error: std::num::ParseIntError| {
        let why = match error.kind() {
            std::num::IntErrorKind::PosOverflow | std::num::IntErrorKind::NegOverflow => {
                "value out of range"
            }
            _ => "invalid syntax",
        };
        format!("strconv.ParseInt: parsing {}: {why}", field::quote(value))
    })
}

fn stream_parameters(query: &Query, with_command: bool) -> Parameters {
    // The kubelet's own names differ from the API's: `input` stands for `stdin` and so on.
    let streams = [("stdin", "input"), ("stdout", "output"), ("stderr", "error"), ("tty", "tty")];
    let mut parameters: Parameters = streams
        .iter()
        .filter(|(flag, _)| query.flag(flag))
        .map(|(_, name)| (*name, "1".to_owned()))
        .collect();
    if with_command {
        parameters.extend(query.all("command").map(|word| ("command", word.to_owned())));
    }
    parameters
}

fn port_parameters(query: &Query) -> Result<Parameters, StatusError> {
    let mut ports = Vec::new();
    for value in query.all("ports").flat_map(|v| v.split(',')).filter(|v| !v.is_empty()) {
        ports.push(parse_integer(value).map_err(StatusError::bad_request)?.to_string());
    }
    Ok(if ports.is_empty() { Vec::new() } else { vec![("port", ports.join(","))] })
}

fn log_parameters(query: &Query, pod: &str) -> Result<Parameters, StatusError> {
    let mut parameters: Parameters = Vec::new();
    for flag in ["follow", "previous", "timestamps"] {
        if query.flag(flag) {
            parameters.push((flag, "true".to_owned()));
        }
    }
    let since_time = query.first("sinceTime").filter(|t| !t.is_empty());
    let options = LogOptions {
        tail_lines: query.integer("tailLines")?,
        limit_bytes: query.integer("limitBytes")?,
        since_seconds: query.integer("sinceSeconds")?,
        since_time: since_time.map(parse_time).transpose()?,
        stream: query.first("stream").unwrap_or("All").to_owned(),
    };
    let errors = options.validate();
    if !errors.is_empty() {
        return Err(StatusError::invalid(&GroupKind::new("", "PodLogOptions"), pod, errors));
    }
    parameters.extend(options.since_seconds.map(|v| ("sinceSeconds", v.to_string())));
    parameters.extend(options.since_time.map(|v| ("sinceTime", v)));
    parameters.extend(options.tail_lines.map(|v| ("tailLines", v.to_string())));
    parameters.extend(options.limit_bytes.map(|v| ("limitBytes", v.to_string())));
    parameters.push(("stream", options.stream));
    Ok(parameters)
}

struct LogOptions {
    tail_lines: Option<i64>,
    limit_bytes: Option<i64>,
    since_seconds: Option<i64>,
    since_time: Option<String>,
    stream: String,
}

const LOG_STREAMS: [&str; 3] = ["All", "Stderr", "Stdout"];

impl LogOptions {
    fn validate(&self) -> ErrorList {
        let mut errors = ErrorList::default();
        if let Some(lines) = self.tail_lines.filter(|v| *v < 0) {
            errors.push(field::invalid(
                &Path::new("tailLines"),
                lines,
                "must be greater than or equal to 0",
            ));
        }
        if let Some(bytes) = self.limit_bytes.filter(|v| *v < 1) {
            errors.push(field::invalid(&Path::new("limitBytes"), bytes, "must be greater than 0"));
        }
        match (self.since_seconds, &self.since_time) {
            (Some(_), Some(_)) => errors.push(field::forbidden(
                &Path::new(""),
                "at most one of `sinceTime` or `sinceSeconds` may be specified",
            )),
            (Some(seconds), None) if seconds < 1 => {
                errors.push(field::invalid(
                    &Path::new("sinceSeconds"),
                    seconds,
                    "must be greater than 0",
                ));
            }
            _ => {}
        }
        if !LOG_STREAMS.contains(&self.stream.as_str()) {
            errors.push(field::not_supported(&Path::new("stream"), &self.stream, &LOG_STREAMS));
        } else if self.stream != "All" && self.tail_lines.is_some() {
            errors.push(field::forbidden(
                &Path::new(""),
                "`tailLines` and specific `stream` are mutually exclusive for now",
            ));
        }
        errors
    }
}

/// RFC 3339 in, RFC 3339 with whole seconds out.
fn parse_time(value: &str) -> Result<String, StatusError> {
    let time: jiff::Timestamp = value.parse().map_err(|_| {
        let quoted = field::quote(value);
        StatusError::bad_request(format!(
            "parsing time {quoted} as \"2006-01-02T15:04:05Z07:00\": cannot parse {quoted}"
        ))
    })?;
    Ok(time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string())
}

/// Where a node's kubelet listens.
///
/// # Errors
/// 500 when the node has told no address that can be used.
pub fn kubelet(node: &Node) -> Result<Authority, StatusError> {
    let status = node.status.as_ref();
    let addresses = status.and_then(|s| s.addresses.as_deref()).unwrap_or_default();
    let host = PREFERRED_ADDRESSES
        .iter()
        .find_map(|kind| addresses.iter().find(|a| a.type_ == *kind))
        .map(|address| address.address.clone());
    let Some(host) = host else {
        let known: Vec<String> =
            addresses.iter().map(|a| format!("{{{} {}}}", a.type_, a.address)).collect();
        let message =
            format!("no preferred addresses found; known addresses: [{}]", known.join(" "));
        return Err(StatusError::new(500, "", message, None));
    };
    let told = status.and_then(|s| s.daemon_endpoints.as_ref()?.kubelet_endpoint.as_ref());
    let port = told
        .and_then(|e| u16::try_from(e.port).ok())
        .filter(|p| *p != 0)
        .unwrap_or(DEFAULT_KUBELET_PORT);
    Ok(Authority { host, port })
}

/// The node that `nodes/NAME/proxy` names, and the port if one is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProxyTarget<'a> {
    /// The node's name.
    pub node: &'a str,
    /// The port asked for.
    pub port: Option<u16>,
}

/// Reads `NAME`, `NAME:PORT` or `https:NAME:PORT`.
///
/// # Errors
/// `BadRequest` for anything else; plain HTTP is refused because kubelets speak TLS only.
pub fn node_proxy_target(name: &str) -> Result<ProxyTarget<'_>, StatusError> {
    let invalid =
        || StatusError::bad_request(format!("invalid node request {}", field::quote(name)));
    let (node, port) = match name.split(':').collect::<Vec<_>>().as_slice() {
        [node] => (*node, ""),
        [node, port] => (*node, *port),
        ["https", node, port] => (*node, *port),
        _ => return Err(invalid()),
    };
    let port = if port.is_empty() { None } else { Some(port.parse().map_err(|_| invalid())?) };
    if node.is_empty() { Err(invalid()) } else { Ok(ProxyTarget { node, port }) }
}

/// Where a request below `nodes/NAME/proxy` goes: the kubelet, and the rest of the path as the client wrote it.
///
/// # Errors
/// `BadRequest` for a port that is not the kubelet's: only the kubelet is reached with the API server's certificate.
pub fn node_proxy(node: &Node, port: Option<u16>, uri: &Uri) -> Result<Location, StatusError> {
    let authority = kubelet(node)?;
    if port.is_some_and(|asked| asked != authority.port) {
        let message =
            format!("the proxy reaches only the kubelet's port {} on a node", authority.port);
        return Err(StatusError::bad_request(message));
    }
    let rest = uri.path().splitn(7, '/').nth(6).unwrap_or_default();
    let path = match uri.query() {
        Some(query) => format!("/{rest}?{query}"),
        None => format!("/{rest}"),
    };
    Ok(Location { authority, path })
}

/// The words for a kubelet's answer that is no success, by its status code.
pub(super) fn server_response(
    code: u16,
    resource: &GroupResource,
    name: &str,
    text: &str,
) -> StatusError {
    let fixed = |reason: &'static str, message: &str| (reason, message.to_owned());
    let (reason, message) = match code {
        401 => fixed("Unauthorized", "the server has asked for the client to provide credentials"),
        403 => fixed("Forbidden", text),
        404 => fixed("NotFound", "the server could not find the requested resource"),
        405 => fixed(
            "MethodNotAllowed",
            "the server does not allow this method on the requested resource",
        ),
        409 => fixed("Conflict", "the server reported a conflict"),
        429 => fixed(
            "TooManyRequests",
            "the server has received too many requests and has asked us to try again later",
        ),
        503 => fixed("ServiceUnavailable", "the server is currently unable to handle the request"),
        504 => fixed(
            "Timeout",
            "the server was unable to return a response in the time allotted, but may still be processing the request",
        ),
        code if code >= 500 => {
            let quoted = field::quote(text);
            (
                "InternalError",
                format!(
                    "an error on the server ({quoted}) has prevented the request from succeeding"
                ),
            )
        }
        code => (
            "",
            format!(
                "the server responded with the status code {code} but did not return more information"
            ),
        ),
    };
    let details = StatusDetails {
        kind: Some(resource.resource.to_string()),
        name: Some(name.to_owned()),
        ..StatusDetails::default()
    };
    StatusError::new(code, reason, format!("{message} ( {resource} {name})"), Some(details))
}

#[cfg(test)]
mod tests;
