//! Tables: services in; columns, defaults, changes, warnings and errors out.

use apimachinery::field::ErrorList;
use apimachinery::object::KubeObject;
use expect_test::{Expect, expect};
use k8s_openapi::api::core::v1::Service;
use serde_json::{Value, json};

use crate::kinds;
use crate::strategy::Strategy;

fn strategy() -> &'static dyn Strategy {
    kinds::of::<Service>().strategy
}

/// A service with this spec, with defaults.
fn service(spec: Value) -> Service {
    let meta = json!({"name": "s", "namespace": "default", "resourceVersion": "1"});
    let mut service: Service =
        serde_json::from_value(json!({"metadata": meta, "spec": spec})).expect("a service");
    strategy().default(&mut service);
    service
}

fn report(errors: &ErrorList, expected: Expect) {
    expected.assert_eq(&errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"));
}

#[test]
fn default_of_service_fills_ports_and_policies() {
    let service = service(json!({"ports": [{"port": 80}], "sessionAffinity": "ClientIP"}));
    expect![[r#"{"internalTrafficPolicy":"Cluster","ports":[{"port":80,"protocol":"TCP","targetPort":80}],"sessionAffinity":"ClientIP","sessionAffinityConfig":{"clientIP":{"timeoutSeconds":10800}},"type":"ClusterIP"}"#]].assert_eq(&service.to_value()["spec"].to_string());
    assert_eq!(service.to_value()["status"], json!({"loadBalancer": {}}));
}

#[test]
fn create_with_the_old_field_only_fills_the_new_one() {
    let mut service = service(json!({"clusterIP": "None"}));
    strategy().prepare_create(&mut service);
    assert_eq!(service.to_value()["spec"]["clusterIPs"], json!(["None"]));
    assert_eq!(strategy().validate(&service), ErrorList::new());
}

#[test]
fn row_of_every_type_reads_as_in_kubernetes() {
    let table = [
        (json!({"clusterIP": "None"}), ["ClusterIP", "<none>", "<none>", "<none>"]),
        (
            json!({"clusterIPs": ["10.96.0.9"], "externalIPs": ["1.2.3.4"], "ports": [{"port": 80}, {"port": 53, "protocol": "UDP"}]}),
            ["ClusterIP", "10.96.0.9", "1.2.3.4", "80/TCP,53/UDP"],
        ),
        (
            json!({"type": "NodePort", "ports": [{"port": 80, "nodePort": 30080}]}),
            ["NodePort", "<none>", "<none>", "80:30080/TCP"],
        ),
        (
            json!({"type": "LoadBalancer", "ports": [{"port": 1}]}),
            ["LoadBalancer", "<none>", "<pending>", "1/TCP"],
        ),
        (
            json!({"type": "ExternalName", "externalName": "a.b"}),
            ["ExternalName", "<none>", "a.b", "<none>"],
        ),
    ];
    for (spec, [type_, cluster_ip, external_ip, ports]) in table {
        let row = strategy().row(&service(spec.clone()), jiff::Timestamp::UNIX_EPOCH);
        let expected =
            ["s", type_, cluster_ip, external_ip, ports, "<unknown>", "<none>"].map(Value::from);
        assert_eq!(row, expected, "{spec}");
    }
    let row = strategy()
        .row(&service(json!({"selector": {"b": "2", "a": "1"}})), jiff::Timestamp::UNIX_EPOCH);
    assert_eq!(row[6], "a=1,b=2");
}

#[test]
fn validate_of_service_tells_all_errors_at_once() {
    let service = service(json!({
        "type": "Other", "clusterIP": "x", "clusterIPs": ["10.0.0.300", "None"], "ipFamilies": ["IPv4", "IPv4", "IPv5"],
        "ipFamilyPolicy": "Both", "sessionAffinity": "Cookie", "selector": {"a b": "c d"},
        "externalIPs": ["127.0.0.1", "169.254.0.1", "0.0.0.0", "x"], "externalTrafficPolicy": "Local", "healthCheckNodePort": 1,
        "internalTrafficPolicy": "Near", "trafficDistribution": "Far", "loadBalancerClass": "c", "allocateLoadBalancerNodePorts": true,
        "loadBalancerSourceRanges": [" 10.0.0.1/8"],
        "ports": [{"port": 0, "targetPort": "Too_Long_For_A_Port"}, {"name": "a", "port": 80, "protocol": "ICMP", "nodePort": 30000},
            {"name": "a", "port": 80, "protocol": "ICMP", "nodePort": 30000, "appProtocol": "//"}]}));
    report(
        &strategy().validate(&service),
        expect![[r#"
        spec.ports[0].name: Required value
        spec.ports[0].port: Invalid value: 0: must be between 1 and 65535, inclusive
        spec.ports[0].targetPort: Invalid value: "Too_Long_For_A_Port": must be no more than 15 characters
        spec.ports[0].targetPort: Invalid value: "Too_Long_For_A_Port": must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)
        spec.ports[1].protocol: Unsupported value: "ICMP": supported values: "SCTP", "TCP", "UDP"
        spec.ports[2].name: Duplicate value: "a"
        spec.ports[2].protocol: Unsupported value: "ICMP": supported values: "SCTP", "TCP", "UDP"
        spec.ports[2].appProtocol: Invalid value: "//": a valid label key must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]') with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')
        spec.selector: Invalid value: "a b": name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')
        spec.selector: Invalid value: "c d": a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')
        spec.sessionAffinity: Unsupported value: "Cookie": supported values: "ClientIP", "None"
        spec.clusterIPs: Invalid value: ["10.0.0.300","None"]: first value must match `clusterIP`
        spec.ipFamilies[1]: Duplicate value: "IPv4"
        spec.ipFamilies[2]: Unsupported value: "IPv5": supported values: "IPv4", "IPv6"
        spec.ipFamilyPolicy: Unsupported value: "Both": supported values: "PreferDualStack", "RequireDualStack", "SingleStack"
        spec.clusterIPs[0]: Invalid value: "10.0.0.300": must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)
        spec.clusterIPs[1]: Invalid value: "None": must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)
        spec.externalIPs[0]: Invalid value: "127.0.0.1": may not be in the loopback range (127.0.0.0/8, ::1/128)
        spec.externalIPs[1]: Invalid value: "169.254.0.1": may not be in the link-local range (169.254.0.0/16, fe80::/10)
        spec.externalIPs[2]: Invalid value: "0.0.0.0": may not be unspecified (0.0.0.0)
        spec.externalIPs[3]: Invalid value: "x": must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)
        spec.type: Unsupported value: "Other": supported values: "ClusterIP", "ExternalName", "LoadBalancer", "NodePort"
        spec.ports[2].nodePort: Duplicate value: 30000
        spec.ports[2]: Duplicate value: {"AppProtocol":null,"Name":"","NodePort":0,"Port":80,"Protocol":"ICMP","TargetPort":0}
        spec.LoadBalancerSourceRanges: Forbidden: may only be used when `type` is 'LoadBalancer'
        spec.LoadBalancerSourceRanges[0]: Invalid value: "10.0.0.1/8": must not have bits set beyond the prefix length
        spec.allocateLoadBalancerNodePorts: Forbidden: may only be used when `type` is 'LoadBalancer'
        spec.loadBalancerClass: Forbidden: may only be used when `type` is 'LoadBalancer'
        spec.externalTrafficPolicy: Invalid value: "Local": may only be set for externally-accessible services
        spec.healthCheckNodePort: Invalid value: 1: may only be set when `type` is 'LoadBalancer' and `externalTrafficPolicy` is 'Local'
        spec.internalTrafficPolicy: Unsupported value: "Near": supported values: "Cluster", "Local"
        spec.trafficDistribution: Unsupported value: "Far": supported values: "PreferClose", "PreferSameZone", "PreferSameNode""#]],
    );
}

#[test]
fn validate_of_external_name_wants_a_name_and_no_addresses() {
    let named = service(json!({"type": "ExternalName", "externalName": "example.com."}));
    assert_eq!(strategy().validate(&named), ErrorList::new());
    let service = service(
        json!({"type": "ExternalName", "clusterIP": "10.0.0.1", "clusterIPs": ["10.0.0.1"], "ipFamilies": ["IPv4"],
        "ipFamilyPolicy": "SingleStack"}),
    );
    report(
        &strategy().validate(&service),
        expect![[r#"
        spec.clusterIPs: Forbidden: may not be set for ExternalName services
        spec.ipFamilies: Forbidden: may not be set for ExternalName services
        spec.ipFamilyPolicy: Forbidden: may not be set for ExternalName services
        spec.externalName: Required value"#]],
    );
}

#[test]
fn validate_of_cluster_ip_without_ports_or_with_node_ports_is_refused() {
    report(&strategy().validate(&service(json!({}))), expect!["spec.ports: Required value"]);
    report(
        &strategy().validate(&service(json!({"ports": [{"port": 80, "nodePort": 30000}]}))),
        expect!["spec.ports[0].nodePort: Forbidden: may not be used when `type` is 'ClusterIP'"],
    );
    let timeout = json!({"ports": [{"port": 80}], "sessionAffinity": "ClientIP", "sessionAffinityConfig": {"clientIP": {"timeoutSeconds": 86401}}});
    report(
        &strategy().validate(&service(timeout)),
        expect![
            "spec.sessionAffinityConfig.clientIP.timeoutSeconds: Invalid value: 86401: must be greater than 0 and less than 86400"
        ],
    );
}

fn update(old: Value, new: Value) -> (Service, ErrorList) {
    let (old, mut new) = (service(old), service(new));
    strategy().prepare_update(&mut new, &old);
    let errors = strategy().validate_update(&new, &old);
    (new, errors)
}

#[test]
fn update_of_the_cluster_ip_is_refused() {
    let old = json!({"clusterIP": "10.0.0.1", "clusterIPs": ["10.0.0.1"], "ipFamilies": ["IPv4"], "ports": [{"port": 80}]});
    let with = |field: &str, value: Value| {
        let mut new = old.clone();
        new[field] = value;
        update(old.clone(), new).1
    };
    report(
        &with("clusterIP", json!("10.0.0.2")),
        expect![[r#"spec.clusterIPs[0]: Invalid value: ["10.0.0.2"]: may not change once set"#]],
    );
    report(
        &with("clusterIPs", json!(["10.0.0.2"])),
        expect![[r#"
        spec.clusterIPs: Invalid value: ["10.0.0.2"]: first value must match `clusterIP`
        spec.clusterIPs[0]: Invalid value: ["10.0.0.2"]: may not change once set"#]],
    );
    report(
        &with("clusterIP", json!("")),
        expect!["spec.clusterIPs[0]: Invalid value: []: primary clusterIP can not be unset"],
    );
    report(
        &with("ipFamilies", json!(["IPv6"])),
        expect![[r#"
        spec.clusterIPs[0]: Invalid value: "10.0.0.1": expected an IPv6 value as indicated by `ipFamilies[0]`
        spec.ipFamilies[0]: Invalid value: ["IPv6"]: may not change once set"#]],
    );
    assert_eq!(with("clusterIPs", json!([])), ErrorList::new());
}

#[test]
fn update_to_another_type_drops_what_does_not_fit() {
    let old = json!({"clusterIP": "10.0.0.1", "clusterIPs": ["10.0.0.1"], "ipFamilies": ["IPv4"], "ipFamilyPolicy": "SingleStack",
        "ports": [{"port": 80}]});
    let mut new = old.clone();
    new["type"] = json!("ExternalName");
    new["externalName"] = json!("example.com");
    let (service, errors) = update(old, new);
    assert_eq!(errors, ErrorList::new());
    let spec = service.spec.expect("a spec");
    assert_eq!(
        (spec.cluster_ip, spec.cluster_ips, spec.ip_families, spec.ip_family_policy),
        (None, None, None, None)
    );

    let old = json!({"type": "NodePort", "clusterIP": "10.0.0.1", "clusterIPs": ["10.0.0.1"], "ports": [{"port": 80, "nodePort": 30000}]});
    let mut new = service_value(&old);
    new["type"] = json!("ClusterIP");
    let (service, errors) = update(old, new);
    assert_eq!(errors, ErrorList::new());
    let spec = service.spec.expect("a spec");
    assert_eq!(
        (spec.external_traffic_policy, spec.ports.expect("ports")[0].node_port),
        (None, None)
    );
}

/// The spec as a client reads it, with defaults.
fn service_value(spec: &Value) -> Value {
    service(spec.clone()).to_value()["spec"].clone()
}

#[test]
fn status_update_of_load_balancers_only() {
    let ingress = json!([{"ip": "x"}, {"hostname": "10.0.0.1"}, {"ip": "10.0.0.1", "ipMode": "Other"}, {"ipMode": "VIP"}]);
    let with_status = |type_: &str| {
        let mut service = service(json!({"type": type_, "ports": [{"port": 80}]}));
        let status = json!({"loadBalancer": {"ingress": ingress}});
        service.status = serde_json::from_value(status).expect("a status");
        strategy().default(&mut service);
        service
    };
    let (balanced, plain) = (with_status("LoadBalancer"), with_status("ClusterIP"));
    report(
        &strategy().validate_status_update(&balanced, &balanced),
        expect![[r#"
        status.loadBalancer.ingress[0].ip: Invalid value: "x": must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)
        status.loadBalancer.ingress[1].hostname: Invalid value: "10.0.0.1": must be a DNS name, not an IP address
        status.loadBalancer.ingress[2].ipMode: Unsupported value: "Other": supported values: "Proxy", "VIP"
        status.loadBalancer.ingress[3].ipMode: Forbidden: may not be specified when `ip` is not set"#]],
    );
    report(
        &strategy().validate_status_update(&plain, &plain),
        expect![
            "status.loadBalancer.ingress: Forbidden: may only be used when `spec.type` is 'LoadBalancer'"
        ],
    );
}

#[test]
fn warnings_tell_what_is_ignored_or_going_away() {
    let told = |spec| strategy().warnings(&service(spec), None).join("\n");
    expect![[r#"
        spec.loadBalancerIP is ignored for headless services
        spec.externalIPs is ignored for headless services
        spec.SessionAffinity is ignored for headless services
        spec.externalIPs[0]: IPv6 address "FD00::1" should be in RFC 5952 canonical format ("fd00::1")
        spec.loadBalancerIP: non-standard IP address "010.0.0.1" is invalid: use "10.0.0.1""#]].assert_eq(&told(json!({"clusterIP": "None", "externalIPs": ["FD00::1"], "loadBalancerIP": "010.0.0.1", "sessionAffinity": "ClientIP"})));
    expect![[r#"
        spec.externalIPs is deprecated and may no longer be implemented in some clusters
        spec.externalName is ignored when spec.type is not "ExternalName"
        spec.trafficDistribution: "PreferClose" is deprecated; use "PreferSameZone""#]].assert_eq(&told(json!({"externalIPs": ["1.2.3.4"], "externalName": "x", "trafficDistribution": "PreferClose"})));
    expect![[r#"spec.externalIPs is ignored when spec.type is "ExternalName""#]].assert_eq(&told(
        json!({"type": "ExternalName", "externalIPs": ["1.2.3.4"], "externalName": "x"}),
    ));
}
