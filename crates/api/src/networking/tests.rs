//! Tables of the group.

use expect_test::expect;
use k8s_openapi::api::networking::v1::{
    IPAddress, Ingress, IngressClass, NetworkPolicy, ServiceCIDR,
};
use serde_json::{Value, json};

use crate::kinds;
use crate::strategy::KindStrategy;
use crate::testing::{cells, create_errors, defaulted, text, update_errors};

fn backend() -> Value {
    json!({"service": {"name": "web", "port": {"number": 80}}})
}

fn ingress(spec: Value) -> Ingress {
    defaulted(json!({"metadata": {"name": "i"}, "spec": spec}))
}

#[test]
fn rows_say_what_discovery_of_kubernetes_says() {
    expect![[r#"
        ingressclasses ingressclass  networking.k8s.io/v1 cluster IngressClass create,delete,deletecollection,get,list,patch,update,watch 
        ingresses ingress ing networking.k8s.io/v1 namespaced Ingress create,delete,deletecollection,get,list,patch,update,watch 
          status Ingress get,patch,update
        ipaddresses ipaddress ip networking.k8s.io/v1 cluster IPAddress create,delete,deletecollection,get,list,patch,update,watch 
        networkpolicies networkpolicy netpol networking.k8s.io/v1 namespaced NetworkPolicy create,delete,deletecollection,get,list,patch,update,watch 
        servicecidrs servicecidr  networking.k8s.io/v1 cluster ServiceCIDR create,delete,deletecollection,get,list,patch,update,watch 
          status ServiceCIDR get,patch,update"#]].assert_eq(&crate::testing::listing(&super::rows()));
}

#[test]
fn ingress_with_everything_wrong_names_every_field() {
    let paths = json!([
        {"pathType": "Exact", "path": "a//b/..", "backend": {}},
        {"path": "/", "backend": backend()},
        {"pathType": "Regex", "path": "/", "backend": {"resource": {"kind": "", "name": "a/b", "apiGroup": "A"}}},
        {"pathType": "ImplementationSpecific", "path": "x", "backend": {"service": {"name": "A", "port": {"name": "-", "number": 1}}}},
        {"pathType": "Prefix", "path": "/", "backend": {"service": {"name": "", "port": {}}}},
        {"pathType": "Prefix", "path": "/", "backend": {"service": {"name": "a", "port": {"number": 70000}}}},
    ]);
    let bad = ingress(json!({"ingressClassName": "A",
        "defaultBackend": {"service": {"name": "a", "port": {"name": "-"}}, "resource": {"kind": "k", "name": "n"}},
        "rules": [{"host": "10.0.0.1"}, {"host": "*.*.x", "http": {"paths": []}}, {"host": "a", "http": {"paths": paths}}],
        "tls": [{"hosts": ["*x", "A"], "secretName": "A"}]}));
    expect![[r#"
        spec.defaultBackend: Invalid value: "": cannot set both resource and service backends
        spec.rules[0].host: Invalid value: "10.0.0.1": must be a DNS name, not an IP address
        spec.rules[1].host: Invalid value: "*.*.x": a wildcard DNS-1123 subdomain must start with '*.', followed by a valid DNS subdomain, which must consist of lower case alphanumeric characters, '-' or '.' and end with an alphanumeric character (e.g. '*.example.com', regex used for validation is '\*\.[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')
        spec.rules[1].http.paths: Required value
        spec.rules[2].http.paths[0].path: Invalid value: "a//b/..": must be an absolute path
        spec.rules[2].http.paths[0].path: Invalid value: "a//b/..": must not contain '//'
        spec.rules[2].http.paths[0].path: Invalid value: "a//b/..": cannot end with '/..'
        spec.rules[2].http.paths[0].backend: Invalid value: "": resource or service backend is required
        spec.rules[2].http.paths[1].pathType: Required value: pathType must be specified
        spec.rules[2].http.paths[2].pathType: Unsupported value: "Regex": supported values: "Exact", "ImplementationSpecific", "Prefix"
        spec.rules[2].http.paths[2].backend.resource.apiGroup: Invalid value: "A": a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')
        spec.rules[2].http.paths[2].backend.resource.kind: Required value
        spec.rules[2].http.paths[2].backend.resource.name: Invalid value: "a/b": may not contain '/'
        spec.rules[2].http.paths[3].path: Invalid value: "x": must be an absolute path
        spec.rules[2].http.paths[3].backend.service.name: Invalid value: "A": a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')
        spec.rules[2].http.paths[3].backend: Invalid value: "": cannot set both port name & port number
        spec.rules[2].http.paths[4].backend.service.name: Required value
        spec.rules[2].http.paths[4].backend: Required value: port name or number is required
        spec.rules[2].http.paths[5].backend.service.port.number: Invalid value: 70000: must be between 1 and 65535, inclusive
        spec.tls[0].hosts[0]: Invalid value: "*x": a wildcard DNS-1123 subdomain must start with '*.', followed by a valid DNS subdomain, which must consist of lower case alphanumeric characters, '-' or '.' and end with an alphanumeric character (e.g. '*.example.com', regex used for validation is '\*\.[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')
        spec.tls[0].hosts[1]: Invalid value: "A": a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')
        spec.tls[0].secretName: Invalid value: "A": a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')
        spec.ingressClassName: Invalid value: "A": a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')"#]].assert_eq(&create_errors(bad));
    expect!["spec: Invalid value: null: either `defaultBackend` or `rules` must be specified"]
        .assert_eq(&create_errors(ingress(json!({}))));
}

#[test]
fn ingress_class_annotation_must_agree_on_create_only() {
    let make = |class: Option<&str>| -> Ingress {
        defaulted(
            json!({"metadata": {"name": "i", "annotations": {"kubernetes.io/ingress.class": "x"}},
            "spec": {"ingressClassName": class, "defaultBackend": backend()}}),
        )
    };
    expect![[r#"annotations.kubernetes.io/ingress.class: Invalid value: "x": must match `ingressClassName` when both are specified"#]].assert_eq(&create_errors(make(Some("y"))));
    assert_eq!(update_errors(make(Some("y")), make(Some("y"))), "");
    assert_eq!(make(None).warnings(None).len(), 1);
    assert_eq!(make(None).warnings(Some(&make(None))).len(), 0);
}

#[test]
fn ingress_may_keep_what_older_rules_accepted() {
    let old = ingress(
        json!({"rules": [{"host": "*.a", "http": {"paths": []}}], "tls": [{"secretName": "A"}]}),
    );
    assert_eq!(update_errors(old.clone(), old), "");
}

#[test]
fn ingress_status_needs_addresses() {
    let strategy = kinds::of::<Ingress>().strategy;
    let make = |ip: &str, hostname: &str| -> Ingress {
        defaulted(json!({"metadata": {"name": "i", "namespace": "d", "resourceVersion": "1"},
            "status": {"loadBalancer": {"ingress": [{"ip": ip, "hostname": hostname}]}}}))
    };
    let errors = strategy.validate_status_update(&make("010.0.0.1", "10.0.0.1"), &make("", "a"));
    expect![[r#"
        status.loadBalancer.ingress[0].ip: Invalid value: "010.0.0.1": must not have leading 0s
        status.loadBalancer.ingress[0].hostname: Invalid value: "10.0.0.1": must be a DNS name, not an IP address"#]].assert_eq(&text(&errors));
    assert!(
        strategy.validate_status_update(&make("010.0.0.1", ""), &make("010.0.0.1", "")).is_empty()
    );
}

#[test]
fn ingress_row_reads_as_in_kubernetes() {
    let empty = ingress(json!({"defaultBackend": backend()}));
    assert_eq!(cells(&empty), "i|<none>|*||80|<unknown>");
    let full: Ingress = defaulted(json!({"metadata": {"name": "i"},
        "spec": {"ingressClassName": "c", "tls": [{}], "rules": [{"host": "a"}, {"host": "b"}, {"host": "c"}, {"host": "d"}]},
        "status": {"loadBalancer": {"ingress": [{"ip": "10.0.0.2"}, {"hostname": "h"}, {"ip": "10.0.0.1"}]}}}));
    assert_eq!(cells(&full), "i|c|a,b,c + 1 more...|10.0.0.1,10.0.0.2,h|80, 443|<unknown>");
}

fn class(spec: Value) -> IngressClass {
    defaulted(json!({"metadata": {"name": "c"}, "spec": spec}))
}

#[test]
fn ingress_class_with_everything_wrong_names_every_field() {
    let cluster = json!({"kind": "", "name": "a/b", "apiGroup": "A", "namespace": "n"});
    expect![[r#"
        spec.controller: Invalid value: "x": must be a domain-prefixed path (such as "acme.io/foo")
        spec.parameters.apiGroup: Invalid value: "A": a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')
        spec.parameters.kind: Required value
        spec.parameters.name: Invalid value: "a/b": may not contain '/'
        spec.parameters.namespace: Forbidden: `parameters.scope` is set to 'Cluster'"#]]
        .assert_eq(&create_errors(class(json!({"controller": "x", "parameters": cluster}))));
    let namespaced = json!({"kind": "k", "name": "n", "scope": "Namespace"});
    expect![[r#"
        spec.controller: Invalid value: "A": a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')
        spec.controller: Invalid value: "b c": Invalid path (regex used for validation is '[A-Za-z0-9/\-._~%!$&'()*+,;=:]+')
        spec.parameters.namespace: Required value: `parameters.scope` is set to 'Namespace'"#]].assert_eq(&create_errors(class(
        json!({"controller": "A/b c", "parameters": namespaced}),
    )));
    expect![[r#"
        spec.controller: Required value
        spec.parameters.scope: Unsupported value: "World": supported values: "Cluster", "Namespace""#]].assert_eq(&create_errors(class(
        json!({"controller": "", "parameters": {"kind": "k", "name": "n", "scope": "World"}}),
    )));
}

#[test]
fn ingress_class_keeps_its_controller_and_shows_the_default() {
    let make = |controller: &str| -> IngressClass {
        defaulted(
            json!({"metadata": {"name": "c", "annotations": {"ingressclass.kubernetes.io/is-default-class": "true"}},
            "spec": {"controller": controller, "parameters": {"kind": "K", "name": "n", "apiGroup": "g"}}}),
        )
    };
    expect![[r#"spec.controller: Invalid value: "a/b": field is immutable"#]]
        .assert_eq(&update_errors(make("a/b"), make("a/c")));
    assert_eq!(cells(&make("a/b")), "c (default)|a/b|K.g/n|<unknown>");
    assert_eq!(cells(&class(json!({"controller": "a/b"}))), "c|a/b|<none>|<unknown>");
}

fn policy(spec: Value) -> NetworkPolicy {
    defaulted(json!({"metadata": {"name": "p"}, "spec": spec}))
}

#[test]
fn network_policy_types_follow_its_rules() {
    let types = |spec: Value| policy(spec).spec.and_then(|s| s.policy_types).unwrap_or_default();
    assert_eq!(types(json!({})), ["Ingress"]);
    assert_eq!(types(json!({"egress": [{}]})), ["Ingress", "Egress"]);
    assert_eq!(types(json!({"egress": [{}], "policyTypes": ["Egress"]})), ["Egress"]);
}

#[test]
fn network_policy_with_everything_wrong_names_every_field() {
    let ports = json!([{"protocol": "ICMP"}, {"port": 0, "endPort": -1}, {"port": "-", "endPort": 5}, {"endPort": 5}]);
    let peers = json!([{}, {"ipBlock": {"cidr": "10.0.0.0/8", "except": ["10.0.0.0/8", "11.0.0.0/16", "x"]}, "podSelector": {}},
        {"ipBlock": {"cidr": ""}}, {"namespaceSelector": {"matchLabels": {"a b": ""}}}]);
    let bad = policy(json!({"podSelector": {"matchLabels": {"a": "b c"}},
        "ingress": [{"ports": ports, "from": peers}], "egress": [{"to": [{}]}], "policyTypes": ["Sideways"]}));
    expect![[r#"
        spec.podSelector.matchLabels: Invalid value: "b c": a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')
        spec.ingress[0].ports[0].protocol: Unsupported value: "ICMP": supported values: "TCP", "UDP", "SCTP"
        spec.ingress[0].ports[1].port: Invalid value: 0: must be between 1 and 65535, inclusive
        spec.ingress[0].ports[1].endPort: Invalid value: 0: must be greater than or equal to `port`
        spec.ingress[0].ports[1].endPort: Invalid value: -1: must be between 1 and 65535, inclusive
        spec.ingress[0].ports[2].endPort: Invalid value: 5: may not be specified when `port` is non-numeric
        spec.ingress[0].ports[2].port: Invalid value: "-": must contain at least one letter (a-z)
        spec.ingress[0].ports[2].port: Invalid value: "-": must not begin or end with a hyphen
        spec.ingress[0].ports[3].endPort: Invalid value: 5: may not be specified when `port` is not specified
        spec.ingress[0].from[0]: Required value: must specify a peer
        spec.ingress[0].from[1].ipBlock.except[0]: Invalid value: "10.0.0.0/8": must be a strict subset of `cidr`
        spec.ingress[0].from[1].ipBlock.except[1]: Invalid value: "11.0.0.0/16": must be a strict subset of `cidr`
        spec.ingress[0].from[1].ipBlock.except[2]: Invalid value: "x": must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)
        spec.ingress[0].from[1]: Forbidden: may not specify both ipBlock and another peer
        spec.ingress[0].from[2].ipBlock.cidr: Required value
        spec.ingress[0].from[3].namespaceSelector.matchLabels: Invalid value: "a b": name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')
        spec.egress[0].to[0]: Required value: must specify a peer
        spec.policyTypes[0]: Unsupported value: "Sideways": supported values: "Ingress", "Egress""#]].assert_eq(&create_errors(bad));
    let many = policy(json!({"policyTypes": ["Ingress", "Egress", "Ingress"]}));
    expect![[r#"spec.policyTypes: Invalid value: ["Ingress","Egress","Ingress"]: may not specify more than two policyTypes"#]].assert_eq(&create_errors(many));
}

#[test]
fn network_policy_may_keep_old_ranges_and_warns_of_odd_ones() {
    let old = policy(json!({"ingress": [{"from": [{"ipBlock": {"cidr": "10.0.0.1/8"}}]}]}));
    assert_eq!(update_errors(old.clone(), old), "");
    let odd = policy(json!({"egress": [{"to": [{"ipBlock": {"cidr": "FD00::/16"}}]}]}));
    assert_eq!(
        odd.warnings(None),
        [
            "spec.egress[0].to[0].ipBlock.cidr: IPv6 CIDR value \"FD00::/16\" should be in RFC 5952 canonical format (\"fd00::/16\")"
        ]
    );
    assert_eq!(
        cells(&policy(json!({"podSelector": {"matchLabels": {"a": "b"}}}))),
        "p|a=b|<unknown>"
    );
    assert_eq!(cells(&policy(json!({}))), "p|<none>|<unknown>");
}

#[test]
fn ip_address_needs_a_canonical_name_and_a_holder() {
    let make = |name: &str, parent: Value| -> IPAddress {
        defaulted(json!({"metadata": {"name": name}, "spec": {"parentRef": parent}}))
    };
    expect![[r#"
        metadata.name: Invalid value: "FD00::1": must be in canonical form ("fd00::1")
        spec.parentRef: Required value"#]]
    .assert_eq(&create_errors(make("FD00::1", json!({}))));
    expect![[r#"
        metadata.name: Invalid value: "x": must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)
        spec.parentRef.group: Invalid value: "A": a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')
        spec.parentRef.resource: Required value
        spec.parentRef.name: Invalid value: "a/b": may not contain '/'
        spec.parentRef.namespace: Invalid value: "%": may not contain '%'"#]].assert_eq(&create_errors(make("x", json!({"group": "A", "resource": "", "name": "a/b", "namespace": "%"}))));
    let (one, other) = (
        json!({"resource": "services", "name": "a", "namespace": "n"}),
        json!({"resource": "pods", "name": "a", "group": "X"}),
    );
    expect![[r#"spec.parentRef: Invalid value: {"name":"a","namespace":"n","resource":"services"}: field is immutable"#]].assert_eq(&update_errors(make("10.0.0.1", one.clone()), make("10.0.0.1", other.clone())));
    assert_eq!(cells(&make("10.0.0.1", one)), "10.0.0.1|services/n/a");
    assert_eq!(cells(&make("10.0.0.1", other)), "10.0.0.1|pods.x/a");
}

#[test]
fn service_cidr_holds_one_range_of_each_family() {
    let make = |ranges: Value| -> ServiceCIDR {
        defaulted(json!({"metadata": {"name": "s"}, "spec": {"cidrs": ranges}}))
    };
    for (ranges, error) in [
        (json!(["10.0.0.0/16", "fd00::/64"]), ""),
        (json!([]), "spec.cidrs: Required value: at least one CIDR required"),
        (json!(["10.0.0.0/16", "fd00::/64", "x"]), "may only hold up to 2 values"),
        (
            json!(["10.0.0.0/16", "11.0.0.0/16"]),
            "may specify no more than one IP for each IP family",
        ),
        (
            json!(["FD00::/64"]),
            "spec.cidrs[0]: Invalid value: \"FD00::/64\": must be in canonical form (\"fd00::/64\")",
        ),
        (json!(["10.0.0.1/16"]), "must not have bits set beyond the prefix length"),
    ] {
        let told = create_errors(make(ranges.clone()));
        assert!(told.contains(error) && told.is_empty() == error.is_empty(), "{ranges}: {told}");
    }
    let old = || make(json!(["10.0.0.0/16"]));
    assert_eq!(update_errors(make(json!(["10.0.0.0/16", "fd00::/64"])), old()), "");
    expect![[r#"spec.cidrs[0]: Invalid value: "11.0.0.0/16": field is immutable"#]]
        .assert_eq(&update_errors(make(json!(["11.0.0.0/16"])), old()));
    expect!["spec.cidrs: Invalid value: []: field is immutable"]
        .assert_eq(&update_errors(make(json!([])), old()));
    assert_eq!(
        cells(&make(json!(["10.0.0.0/16", "fd00::/64"]))),
        "s|10.0.0.0/16,fd00::/64|<unknown>"
    );
}
