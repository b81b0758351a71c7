//! Tables of EndpointSlice.

use expect_test::expect;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use serde_json::{Value, json};

use crate::kinds;
use crate::strategy::KindStrategy;
use crate::testing::{cells, create_errors, defaulted, update_errors};

fn slice(type_: &str, addresses: Value) -> EndpointSlice {
    defaulted(json!({"metadata": {"name": "s"}, "addressType": type_,
        "endpoints": [{"addresses": addresses}], "ports": [{"port": 80}]}))
}

#[test]
fn rows_say_what_discovery_of_kubernetes_says() {
    expect!["endpointslices endpointslice  discovery.k8s.io/v1 namespaced EndpointSlice create,delete,deletecollection,get,list,patch,update,watch "].assert_eq(&crate::testing::listing(&super::rows()));
}

#[test]
fn slice_gets_protocols_names_and_conditions() {
    expect![[r#"{"apiVersion":"discovery.k8s.io/v1","kind":"EndpointSlice","addressType":"IPv4","endpoints":[{"addresses":["10.0.0.1"],"conditions":{}}],"metadata":{"name":"s"},"ports":[{"name":"","port":80,"protocol":"TCP"}]}"#]]
        .assert_eq(&serde_json::to_string(&slice("IPv4", json!(["10.0.0.1"]))).expect("JSON"));
}

#[test]
fn slice_with_everything_wrong_names_every_field() {
    let hints = json!({"forZones": [{"name": "z"}, {"name": "z"}], "forNodes": [{"name": "N"}]});
    let endpoint = json!({"addresses": ["127.0.0.1", "fd00::1", "010.0.0.1"], "nodeName": "A", "hostname": "a.b",
        "hints": hints});
    let slice: EndpointSlice = defaulted(json!({"metadata": {"name": "s"}, "addressType": "IPv4",
        "endpoints": [{"addresses": []}, endpoint],
        "ports": [{"name": "a", "protocol": "ICMP"}, {"name": "a"}, {"name": "A", "appProtocol": "/"}]}));
    expect![[r#"
        ports[0].protocol: Unsupported value: "ICMP": supported values: "SCTP", "TCP", "UDP"
        ports[1].name: Duplicate value: "a"
        ports[2].name: Invalid value: "A": a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')
        ports[2].appProtocol: Invalid value: "/": prefix part must be non-empty
        ports[2].appProtocol: Invalid value: "/": name part must be non-empty
        ports[2].appProtocol: Invalid value: "/": name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')
        endpoints[0].addresses: Required value: must contain at least 1 address
        endpoints[1].addresses[0]: Invalid value: "127.0.0.1": may not be in the loopback range (127.0.0.0/8, ::1/128)
        endpoints[1].addresses: Invalid value: "fd00::1": must be an IPv4 address
        endpoints[1].addresses[2]: Invalid value: "010.0.0.1": must not have leading 0s
        endpoints[1].nodeName: Invalid value: "A": a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')
        endpoints[1].hostname: Invalid value: "a.b": must not contain dots
        endpoints[1].hints.forZones[1].name: Duplicate value: "z"
        endpoints[1].hints.forNodes[0].name: Invalid value: "N": a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')"#]].assert_eq(&create_errors(slice));
}

#[test]
fn slice_addresses_fit_their_type() {
    for (type_, address, problem) in [
        ("IPv4", "10.0.0.1", ""),
        ("IPv6", "fd00::1", ""),
        ("IPv6", "FD00::1", "must be in canonical form (\"fd00::1\")"),
        ("IPv6", "10.0.0.1", "must be an IPv6 address"),
        ("IPv6", "fe80::1", "may not be in the link-local range (169.254.0.0/16, fe80::/10)"),
        ("IPv4", "224.0.0.1", "link-local multicast range (224.0.0.0/24, ff02::/10)"),
        ("IPv4", "0.0.0.0", "may not be unspecified (0.0.0.0)"),
        ("FQDN", "a.example.com", ""),
        ("FQDN", "com", "should be a domain with at least two segments separated by dots"),
        ("", "10.0.0.1", "addressType: Required value"),
        ("MAC", "10.0.0.1", "supported values: \"FQDN\", \"IPv4\", \"IPv6\""),
    ] {
        let told = create_errors(slice(type_, json!([address])));
        let fits = told.contains(problem) && told.is_empty() == problem.is_empty();
        assert!(fits, "{type_} {address}: {told}");
    }
}

#[test]
fn slice_keeps_its_type_and_old_addresses() {
    let old = slice("IPv4", json!(["127.0.0.1"]));
    assert_eq!(update_errors(old.clone(), old.clone()), "");
    let mut new = old.clone();
    new.address_type = "IPv6".to_owned();
    expect![[r#"addressType: Invalid value: "IPv6": field is immutable"#]]
        .assert_eq(&update_errors(new, old));
}

#[test]
fn slice_generation_counts_labels_too() {
    let strategy = kinds::of::<EndpointSlice>().strategy;
    let mut old = slice("IPv4", json!(["10.0.0.1"]));
    old.metadata.generation = Some(3);
    for (label, annotation, generation) in [(None, Some("x"), 3), (Some("x"), None, 4)] {
        let mut new = old.clone();
        let map = |value: &str| [(value.to_owned(), String::new())].into();
        new.metadata.labels = label.map(map);
        new.metadata.annotations = annotation.map(map);
        strategy.prepare_update(&mut new, &old);
        assert_eq!(new.metadata.generation, Some(generation));
    }
}

#[test]
fn slice_warns_of_names_and_odd_addresses() {
    assert_eq!(slice("IPv6", json!(["FD00::1"])).warnings(None).len(), 1);
    let names = slice("FQDN", json!(["a.b"]));
    assert_eq!(names.warnings(None), ["spec.addressType: FQDN endpoints are deprecated"]);
    assert_eq!(names.warnings(Some(&names)).len(), 0);
}

#[test]
fn slice_row_reads_as_in_kubernetes() {
    let four = json!(["10.0.0.1", "10.0.0.2", "10.0.0.3", "10.0.0.4"]);
    assert_eq!(
        cells(&slice("IPv4", four)),
        "s|IPv4|80|10.0.0.1,10.0.0.2,10.0.0.3 + 1 more...|<unknown>"
    );
    let empty: EndpointSlice = defaulted(json!({"metadata": {"name": "s"}, "addressType": "IPv4"}));
    assert_eq!(cells(&empty), "s|IPv4|<unset>|<unset>|<unknown>");
}
