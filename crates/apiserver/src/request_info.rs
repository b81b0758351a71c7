//! What a request asks for, read from its method, path and query.
//!
//! Counterpart in Kubernetes: `k8s.io/apiserver/pkg/endpoints/request.RequestInfo`.
//! Invariant: authorization and routing look at the same [`RequestInfo`], so what was authorized is what is done.

use http::Method;

/// What a request asks for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RequestInfo {
    /// False for paths outside `/api/VERSION/…` and `/apis/GROUP/VERSION/…`.
    pub resource_request: bool,
    /// The path, without the query.
    pub path: String,
    /// `get`, `list`, `watch`, `create`, `update`, `patch`, `delete`, `deletecollection`; the lower-case method for
    /// non-resource requests.
    pub verb: String,
    /// `api` or `apis`; empty for non-resource requests.
    pub api_prefix: String,
    /// The group; empty for the core group.
    pub api_group: String,
    /// The version.
    pub api_version: String,
    /// The namespace; empty for cluster-scoped resources and for all namespaces.
    pub namespace: String,
    /// The plural resource.
    pub resource: String,
    /// The subresource; empty for none.
    pub subresource: String,
    /// The object's name; empty for collections. For `list` and `watch` it is the name that the field selector pins.
    pub name: String,
    /// What follows a subresource, such as the path of a proxied request.
    pub rest: Vec<String>,
    /// True if the name stands in the path (and not only in a field selector).
    pub name_in_path: bool,
}

/// Why a path cannot be understood.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RequestInfoError {
    /// `/api/v1/watch` without a resource.
    #[error("unable to determine kind and namespace from url, {0}")]
    Incomplete(String),
}

const NAMESPACE_SUBRESOURCES: [&str; 2] = ["status", "finalize"];

impl RequestInfo {
    /// Reads a request.
    ///
    /// # Errors
    /// [`RequestInfoError::Incomplete`] for a special verb without a resource.
    pub fn parse(method: &Method, uri: &http::Uri) -> Result<Self, RequestInfoError> {
        let path = uri.path();
        let mut info = Self {
            path: path.to_owned(),
            verb: method.as_str().to_ascii_lowercase(),
            ..Self::default()
        };
        let decoded: Vec<String> = split(path).map(percent_decode).collect();
        let Some(parts) = info.take_group_version(&decoded) else {
            return Ok(info);
        };
        info.resource_request = true;
        let parts = info.take_verb(method, parts)?;
        let parts = info.take_namespace(parts);
        info.take_resource(parts);
        info.settle_collection_verbs(uri.query().unwrap_or_default());
        Ok(info)
    }

    fn take_group_version<'a>(&mut self, parts: &'a [String]) -> Option<&'a [String]> {
        let (group, version, rest) = match parts {
            [prefix, version, rest @ ..] if prefix == "api" => ("", version, rest),
            [prefix, group, version, rest @ ..] if prefix == "apis" => {
                (group.as_str(), version, rest)
            }
            _ => return None,
        };
        if rest.is_empty() {
            return None;
        }
        self.api_prefix.clone_from(&parts[0]);
        self.api_group = group.to_owned();
        self.api_version.clone_from(version);
        Some(rest)
    }

    fn take_verb<'a>(
        &mut self,
        method: &Method,
        parts: &'a [String],
    ) -> Result<&'a [String], RequestInfoError> {
        if parts[0] == "watch" || parts[0] == "proxy" {
            if parts.len() < 2 {
                return Err(RequestInfoError::Incomplete(self.path.clone()));
            }
            self.verb.clone_from(&parts[0]);
            return Ok(&parts[1..]);
        }
        self.verb = match *method {
            Method::POST => "create",
            Method::GET | Method::HEAD => "get",
            Method::PUT => "update",
            Method::PATCH => "patch",
            Method::DELETE => "delete",
            _ => "",
        }
        .to_owned();
        Ok(parts)
    }

    fn take_namespace<'a>(&mut self, parts: &'a [String]) -> &'a [String] {
        if parts[0] != "namespaces" || parts.len() < 2 {
            return parts;
        }
        self.namespace.clone_from(&parts[1]);
        if parts.len() > 2 && !NAMESPACE_SUBRESOURCES.contains(&parts[2].as_str()) {
            &parts[2..]
        } else {
            parts
        }
    }

    fn take_resource(&mut self, parts: &[String]) {
        let word = |index: usize| parts.get(index).cloned().unwrap_or_default();
        self.resource = word(0);
        self.name = word(1);
        self.name_in_path = !self.name.is_empty();
        if !matches!(self.verb.as_str(), "proxy" | "watch") {
            self.subresource = word(2);
            self.rest = parts.get(3..).unwrap_or_default().to_vec();
        }
    }

    fn settle_collection_verbs(&mut self, query: &str) {
        if !self.name.is_empty() {
            return;
        }
        match self.verb.as_str() {
            "get" => self.settle_list_or_watch(query),
            "delete" => self.verb = "deletecollection".to_owned(),
            _ => {}
        }
    }

    fn settle_list_or_watch(&mut self, query: &str) {
        let value = |wanted: &str| {
            url::form_urlencoded::parse(query.as_bytes())
                .find(|(key, _)| key == wanted)
                .map(|(_, value)| value.into_owned())
        };
        let watch = value("watch").is_some_and(|text| query_bool(&text));
        self.verb = if watch { "watch" } else { "list" }.to_owned();
        if let Some(name) = value("fieldSelector").as_deref().and_then(pinned_name) {
            self.name = name;
        }
    }
}

impl RequestInfo {
    /// True for requests that last as long as the client wants: watches and streams.
    pub fn is_long_running(&self) -> bool {
        const STREAMS: [&str; 5] = ["attach", "exec", "log", "portforward", "proxy"];
        matches!(self.verb.as_str(), "watch" | "proxy")
            || STREAMS.contains(&self.subresource.as_str())
    }

    /// True for requests that change nothing.
    pub fn is_read_only(&self) -> bool {
        matches!(self.verb.as_str(), "get" | "list" | "watch" | "head" | "options")
    }
}

/// Kubernetes' reading of a boolean query parameter: everything but `false` and `0` is true, empty included.
pub fn query_bool(text: &str) -> bool {
    !text.eq_ignore_ascii_case("false") && text != "0"
}

/// The name a field selector pins with `metadata.name=NAME`, if it can be one.
fn pinned_name(selector: &str) -> Option<String> {
    selector.split(',').find_map(|term| {
        let (key, value) = term.split_once('=')?;
        let value = value.strip_prefix('=').unwrap_or(value);
        let plain =
            !value.is_empty() && !value.contains(['/', '%']) && value != "." && value != "..";
        (key == "metadata.name" && plain).then(|| value.to_owned())
    })
}

fn split(path: &str) -> impl Iterator<Item = &str> {
    let path = path.trim_matches('/');
    path.split('/').take(if path.is_empty() { 0 } else { usize::MAX })
}

/// Decodes `%XX`; what is no valid escape stays as it is.
pub fn percent_decode(text: &str) -> String {
    if !text.contains('%') {
        return text.to_owned();
    }
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        match escaped(bytes, at) {
            Some(byte) => {
                out.push(byte);
                at += 3;
            }
            None => {
                out.push(bytes[at]);
                at += 1;
            }
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

fn escaped(bytes: &[u8], at: usize) -> Option<u8> {
    let digit = |index: usize| char::from(*bytes.get(index)?).to_digit(16);
    if bytes[at] != b'%' {
        return None;
    }
    u8::try_from(digit(at + 1)? * 16 + digit(at + 2)?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn summary(method: Method, path: &str) -> String {
        let info = RequestInfo::parse(&method, &path.parse().expect("a uri")).expect("a request");
        format!(
            "{} {}/{} ns={} {}/{}/{}",
            info.verb,
            info.api_group,
            info.api_version,
            info.namespace,
            info.resource,
            info.name,
            info.subresource
        )
    }

    #[test]
    fn request_info_paths_are_read_as_kubernetes_does() {
        let table = [
            (Method::GET, "/api/v1/pods", "list /v1 ns= pods//"),
            (Method::GET, "/api/v1/pods?watch=1", "watch /v1 ns= pods//"),
            (Method::GET, "/api/v1/pods?watch=false", "list /v1 ns= pods//"),
            (Method::GET, "/api/v1/watch/pods", "watch /v1 ns= pods//"),
            (Method::GET, "/api/v1/watch/namespaces/a/pods/x", "watch /v1 ns=a pods/x/"),
            (Method::GET, "/api/v1/namespaces", "list /v1 ns= namespaces//"),
            (Method::GET, "/api/v1/namespaces/a", "get /v1 ns=a namespaces/a/"),
            (Method::PUT, "/api/v1/namespaces/a/status", "update /v1 ns=a namespaces/a/status"),
            (Method::PUT, "/api/v1/namespaces/a/finalize", "update /v1 ns=a namespaces/a/finalize"),
            (Method::GET, "/api/v1/namespaces/a/pods/x/log", "get /v1 ns=a pods/x/log"),
            (
                Method::POST,
                "/apis/apps/v1/namespaces/a/deployments",
                "create apps/v1 ns=a deployments//",
            ),
            (
                Method::DELETE,
                "/apis/apps/v1/namespaces/a/deployments",
                "deletecollection apps/v1 ns=a deployments//",
            ),
            (
                Method::DELETE,
                "/apis/apps/v1/namespaces/a/deployments/d",
                "delete apps/v1 ns=a deployments/d/",
            ),
            (
                Method::PATCH,
                "/apis/apps/v1/namespaces/a/deployments/d/scale",
                "patch apps/v1 ns=a deployments/d/scale",
            ),
            (
                Method::GET,
                "/api/v1/nodes?fieldSelector=metadata.name%3Dn1",
                "list /v1 ns= nodes/n1/",
            ),
            (Method::GET, "/apis/apps/v1", "get / ns= //"),
            (Method::GET, "/healthz", "get / ns= //"),
            (Method::GET, "/", "get / ns= //"),
        ];
        for (method, path, expected) in table {
            assert_eq!(summary(method, path), expected, "{path}");
        }
    }

    #[test]
    fn request_info_special_verb_without_resource_is_refused() {
        let uri = "/api/v1/watch".parse().expect("a uri");
        assert!(RequestInfo::parse(&Method::GET, &uri).is_err());
    }

    #[test]
    fn percent_decode_keeps_broken_escapes() {
        assert_eq!(percent_decode("a%2Fb%zz%4"), "a/b%zz%4");
    }
}
