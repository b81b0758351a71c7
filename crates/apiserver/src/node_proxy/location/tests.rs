//! Tables of where requests go.

use k8s_openapi::api::core::v1::{Container, EphemeralContainer, NodeAddress};

use super::*;
use crate::node_proxy::tests::{node, pod};

fn path(stream: Stream, query: &str) -> String {
    pod_path(&pod(&["app"], Some("n1")), stream, query).unwrap()
}

fn refusal(pod: &Pod, stream: Stream, query: &str) -> (u16, String) {
    let error = pod_path(pod, stream, query).unwrap_err();
    (error.code(), error.message().to_owned())
}

#[test]
fn pod_path_is_the_kubelets() {
    for (stream, query, expected) in [
        (Stream::Log, "", "/containerLogs/default/web/app?stream=All"),
        (
            Stream::Log,
            "previous=true&timestamps=&sinceSeconds=60&limitBytes=10",
            "/containerLogs/default/web/app?previous=true&timestamps=true&sinceSeconds=60&limitBytes=10&stream=All",
        ),
        (
            Stream::Log,
            "sinceTime=2026-01-02T03%3A04%3A05%2B01%3A00&stream=Stderr",
            "/containerLogs/default/web/app?sinceTime=2026-01-02T02%3A04%3A05Z&stream=Stderr",
        ),
        (
            Stream::Exec,
            "command=a%20b&tty=1&stderr=true",
            "/exec/default/web/app?error=1&tty=1&command=a+b",
        ),
        (Stream::Attach, "container=app&stdin=1&command=x", "/attach/default/web/app?input=1"),
        (Stream::PortForward, "", "/portForward/default/web"),
        (Stream::PortForward, "ports=80&ports=443", "/portForward/default/web?port=80%2C443"),
    ] {
        assert_eq!(path(stream, query), expected);
    }
}

#[test]
fn container_must_be_named_when_there_are_several() {
    let mut several = pod(&["app", "sidecar"], Some("n1"));
    let spec = several.spec.as_mut().unwrap();
    spec.init_containers = Some(vec![Container { name: "init".into(), ..Container::default() }]);
    spec.ephemeral_containers =
        Some(vec![EphemeralContainer { name: "debug".into(), ..Default::default() }]);
    let message =
        "a container name must be specified for pod web, choose one of: [init app sidecar debug]"
            .to_owned();
    assert_eq!(refusal(&several, Stream::Log, ""), (400, message.clone()));
    assert_eq!(refusal(&several, Stream::Exec, "command=ls"), (400, message));
    let unknown = (400, "container nope is not valid for pod web".to_owned());
    assert_eq!(refusal(&several, Stream::Attach, "container=nope"), unknown);
    for name in ["init", "sidecar", "debug"] {
        let path = pod_path(&several, Stream::Attach, &format!("container={name}")).unwrap();
        assert_eq!(path, format!("/attach/default/web/{name}"));
    }
    let none = (400, "a container name must be specified for pod web".to_owned());
    assert_eq!(refusal(&pod(&[], None), Stream::Log, ""), none);
}

#[test]
fn log_options_out_of_range_are_invalid() {
    let pod = pod(&["app"], Some("n1"));
    let invalid = |what: &str| (422, format!("PodLogOptions \"web\" is invalid: {what}"));
    for (query, what) in [
        ("tailLines=-1", "tailLines: Invalid value: -1: must be greater than or equal to 0"),
        ("limitBytes=0", "limitBytes: Invalid value: 0: must be greater than 0"),
        ("sinceSeconds=0", "sinceSeconds: Invalid value: 0: must be greater than 0"),
    ] {
        assert_eq!(refusal(&pod, Stream::Log, query), invalid(what), "{query}");
    }
    let both = refusal(&pod, Stream::Log, "sinceSeconds=1&sinceTime=2026-01-02T03:04:05Z");
    assert!(
        both.1.ends_with("at most one of `sinceTime` or `sinceSeconds` may be specified"),
        "{}",
        both.1
    );
    let stream = refusal(&pod, Stream::Log, "stream=Other");
    assert_eq!(
        stream,
        invalid(
            "stream: Unsupported value: \"Other\": supported values: \"All\", \"Stderr\", \"Stdout\""
        )
    );
    let tail = refusal(&pod, Stream::Log, "stream=Stdout&tailLines=1");
    assert!(
        tail.1.ends_with("`tailLines` and specific `stream` are mutually exclusive for now"),
        "{}",
        tail.1
    );
}

#[test]
fn log_options_malformed_are_bad_requests() {
    let pod = pod(&["app"], Some("n1"));
    let number = (400, "strconv.ParseInt: parsing \"ten\": invalid syntax".to_owned());
    assert_eq!(refusal(&pod, Stream::Log, "tailLines=ten"), number);
    assert_eq!(refusal(&pod, Stream::Log, "sinceTime=yesterday").0, 400);
    assert_eq!(refusal(&pod, Stream::PortForward, "ports=http").0, 400);
}

#[test]
fn kubelet_is_where_its_node_says() {
    let mut node = node("10.0.0.7", 10255);
    assert_eq!(kubelet(&node).unwrap().to_string(), "10.0.0.7:10255");
    let status = node.status.as_mut().unwrap();
    status.daemon_endpoints = None;
    status.addresses = Some(vec![
        NodeAddress { type_: "Hostname".into(), address: "n1".into() },
        NodeAddress { type_: "InternalIP".into(), address: "fd00::7".into() },
    ]);
    assert_eq!(kubelet(&node).unwrap().to_string(), "[fd00::7]:10250");
    node.status.as_mut().unwrap().addresses =
        Some(vec![NodeAddress { type_: "InternalDNS".into(), address: "n1.local".into() }]);
    let error = kubelet(&node).unwrap_err();
    assert_eq!(
        error.message(),
        "no preferred addresses found; known addresses: [{InternalDNS n1.local}]"
    );
}

#[test]
fn node_proxy_reaches_the_kubelet_only() {
    let node = node("10.0.0.7", 10250);
    let uri: Uri = "/api/v1/nodes/n1/proxy/logs/a%20b?x=1".parse().unwrap();
    let location = node_proxy(&node, Some(10250), &uri).unwrap();
    assert_eq!((location.authority.port, location.path.as_str()), (10250, "/logs/a%20b?x=1"));
    assert_eq!(
        node_proxy(&node, None, &"/api/v1/nodes/n1/proxy".parse().unwrap()).unwrap().path,
        "/"
    );
    assert_eq!(node_proxy(&node, Some(22), &uri).unwrap_err().code(), 400);
    assert_eq!(node_proxy_target("n1").unwrap(), ProxyTarget { node: "n1", port: None });
    assert_eq!(
        node_proxy_target("https:n1:10250").unwrap(),
        ProxyTarget { node: "n1", port: Some(10250) }
    );
    for wrong in ["", "http:n1:80", "n1:http", "a:b:c:d", ":1"] {
        assert_eq!(
            node_proxy_target(wrong).unwrap_err().message(),
            format!("invalid node request {wrong:?}")
        );
    }
}
