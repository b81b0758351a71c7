//! The kubelet's paths.
//!
//! Counterpart in Kubernetes: `InstallDefaultHandlers` and `InstallDebuggingHandlers`. Invariant: pure.

use http::Method;
use url::form_urlencoded;

/// A container of a pod, or the pod itself where `container` is empty.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Target {
    /// Namespace of the pod.
    pub ns: String,
    /// Name of the pod.
    pub pod: String,
    /// Uid of the pod, where the path has one.
    pub uid: Option<String>,
    /// Name of the container.
    pub container: String,
}

/// What a path asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Route {
    /// Whether the kubelet is well.
    Healthz,
    /// The pods of this node.
    Pods,
    /// Metrics in Prometheus' text form.
    Metrics,
    /// A container's log.
    ContainerLogs(Target),
    /// A command, its output at once.
    Run(Target),
    /// A command, interactively.
    Exec(Target),
    /// The container's own process.
    Attach(Target),
    /// Connections to the pod's ports.
    PortForward(Target),
}

impl Route {
    /// What `path` asks for; `None` when there is nothing.
    pub fn parse(path: &str) -> Option<Self> {
        let decode = |part: &str| percent_decode(part);
        let parts: Vec<String> = path
            .strip_prefix('/')?
            .trim_end_matches('/')
            .split('/')
            .map(decode)
            .collect::<Option<_>>()?;
        let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
        let target = |ns: &str, pod: &str, uid: Option<&str>, container: &str| Target {
            ns: ns.to_owned(),
            pod: pod.to_owned(),
            uid: uid.map(str::to_owned),
            container: container.to_owned(),
        };
        match parts.as_slice() {
            ["healthz"] => Some(Route::Healthz),
            ["pods"] => Some(Route::Pods),
            ["metrics"] => Some(Route::Metrics),
            ["containerLogs", ns, pod, container] => {
                Some(Route::ContainerLogs(target(ns, pod, None, container)))
            }
            ["run", ns, pod, container] => Some(Route::Run(target(ns, pod, None, container))),
            ["run", ns, pod, uid, container] => {
                Some(Route::Run(target(ns, pod, Some(uid), container)))
            }
            ["exec", ns, pod, container] => Some(Route::Exec(target(ns, pod, None, container))),
            ["exec", ns, pod, uid, container] => {
                Some(Route::Exec(target(ns, pod, Some(uid), container)))
            }
            ["attach", ns, pod, container] => Some(Route::Attach(target(ns, pod, None, container))),
            ["attach", ns, pod, uid, container] => {
                Some(Route::Attach(target(ns, pod, Some(uid), container)))
            }
            ["portForward", ns, pod] => Some(Route::PortForward(target(ns, pod, None, ""))),
            ["portForward", ns, pod, uid] => {
                Some(Route::PortForward(target(ns, pod, Some(uid), "")))
            }
            _ => None,
        }
    }

    /// Whether the path takes this method.
    pub fn allows(&self, method: &Method) -> bool {
        match self {
            Route::Healthz | Route::Pods | Route::Metrics | Route::ContainerLogs(_) => {
                matches!(*method, Method::GET | Method::HEAD)
            }
            Route::Run(_) => *method == Method::POST,
            Route::Exec(_) | Route::Attach(_) | Route::PortForward(_) => {
                matches!(*method, Method::GET | Method::POST)
            }
        }
    }
}

fn percent_decode(part: &str) -> Option<String> {
    // Names of the API need no escapes but may have them; a plus is no space in a path.
    let escaped = part.replace('+', "%2B");
    form_urlencoded::parse(escaped.as_bytes())
        .next()
        .map(|(text, _)| text.into_owned())
        .filter(|text| !text.is_empty())
}

/// A query; the first value of a key counts.
#[derive(Clone, Debug, Default)]
pub struct Query(Vec<(String, String)>);

impl Query {
    /// Reads a query.
    pub fn parse(query: &str) -> Self {
        Self(form_urlencoded::parse(query.as_bytes()).into_owned().collect())
    }

    /// All values of a key.
    pub fn all(&self, key: &str) -> Vec<String> {
        self.0.iter().filter(|(name, _)| name == key).map(|(_, value)| value.clone()).collect()
    }

    /// The first value of a key, unless it is empty.
    pub fn first(&self, key: &str) -> Option<&str> {
        self.0
            .iter()
            .find(|(name, _)| name == key)
            .map(|(_, value)| value.as_str())
            .filter(|value| !value.is_empty())
    }

    /// Whether a key says yes.
    pub fn flag(&self, key: &str) -> bool {
        matches!(self.first(key), Some("1" | "true"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_name_their_target() {
        let target = |uid: Option<&str>, container: &str| Target {
            ns: "default".into(),
            pod: "web".into(),
            uid: uid.map(str::to_owned),
            container: container.into(),
        };
        let cases = [
            ("/healthz", Some(Route::Healthz)),
            ("/pods/", Some(Route::Pods)),
            ("/containerLogs/default/web/app", Some(Route::ContainerLogs(target(None, "app")))),
            ("/exec/default/web/u1/app", Some(Route::Exec(target(Some("u1"), "app")))),
            ("/attach/default/web/app", Some(Route::Attach(target(None, "app")))),
            ("/portForward/default/web", Some(Route::PortForward(target(None, "")))),
            ("/exec/default/web", None),
            ("/exec/default//app", None),
            ("/", None),
        ];
        for (path, expected) in cases {
            assert_eq!(Route::parse(path), expected, "{path}");
        }
    }

    #[test]
    fn methods_are_checked() {
        assert!(Route::Healthz.allows(&Method::GET) && !Route::Healthz.allows(&Method::POST));
        assert!(
            Route::Exec(Target::default()).allows(&Method::POST)
                && Route::Exec(Target::default()).allows(&Method::GET)
        );
    }

    #[test]
    fn query_keeps_every_word_of_a_command() {
        let query = Query::parse("input=1&command=echo&command=a+b&command=");
        assert_eq!(query.all("command"), ["echo", "a b", ""]);
        assert!(query.flag("input") && !query.flag("tty"));
    }
}
