//! Tables of the plain kinds: Namespace, ConfigMap, Secret, ServiceAccount, Event.

mod quotas;
mod volumes;

use apimachinery::object::FieldValidation;
use expect_test::expect;
use k8s_openapi::api::core::v1::{ConfigMap, Endpoints, Event, Namespace, Secret, ServiceAccount};
use serde_json::{Value, json};

use crate::kinds;
use crate::strategy::KindStrategy;
use crate::testing::{cells, create_errors, defaulted, text, update_errors};

#[test]
fn namespace_on_create_gets_finalizer_label_and_phase() {
    let mut namespace: Namespace =
        defaulted(json!({"metadata": {"generateName": "n-"}, "status": {"phase": "Terminating"}}));
    namespace.metadata.name = Some("n-1".into());
    namespace.on_create();
    namespace.on_create();
    let value = serde_json::to_value(&namespace).expect("JSON");
    assert_eq!(value["metadata"]["labels"], json!({"kubernetes.io/metadata.name": "n-1"}));
    assert_eq!(
        (&value["spec"], &value["status"]),
        (&json!({"finalizers": ["kubernetes"]}), &json!({"phase": "Active"}))
    );
}

#[test]
fn namespace_deletion_waits_for_its_finalizers() {
    let strategy = kinds::of::<Namespace>().strategy;
    let mut namespace: Namespace =
        defaulted(json!({"metadata": {"name": "n"}, "spec": {"finalizers": ["kubernetes"]}}));
    assert_eq!(strategy.check_graceful_delete(&namespace, Some(5)), None);
    assert!(strategy.held(&namespace));
    strategy.begin_delete(&mut namespace);
    assert_eq!(cells(&namespace), "n|Terminating|<unknown>");
    let old = namespace.clone();
    namespace.spec.get_or_insert_default().finalizers = None;
    let mut main = namespace.clone();
    strategy.prepare_update(&mut main, &old);
    assert!(strategy.held(&main), "a main update does not touch finalizers");
    strategy.prepare_finalize_update(&mut namespace, &old);
    assert!(!strategy.held(&namespace));
}

#[test]
fn namespace_with_bad_values_names_every_field() {
    let namespace: Namespace = defaulted(
        json!({"metadata": {"name": "a.b"}, "spec": {"finalizers": ["mine", "example.com/ours"]}}),
    );
    expect![[r#"
        metadata.name: Invalid value: "a.b": must not contain dots
        spec.finalizers: Invalid value: "mine": name is neither a standard finalizer name nor is it fully qualified"#]]
    .assert_eq(&create_errors(namespace));
}

#[test]
fn namespace_status_must_tell_whether_it_goes() {
    let strategy = kinds::of::<Namespace>().strategy;
    let make = |phase: &str| -> Namespace {
        defaulted(
            json!({"metadata": {"name": "n", "resourceVersion": "1"}, "status": {"phase": phase}}),
        )
    };
    let errors = strategy.validate_status_update(&make("Terminating"), &make("Active"));
    expect![[r#"status.Phase: Invalid value: "Terminating": may only be 'Active' if `deletionTimestamp` is empty"#]]
        .assert_eq(&text(&errors));
}

#[test]
fn config_map_with_bad_keys_and_sealed_is_refused() {
    let map: ConfigMap = defaulted(
        json!({"metadata": {"name": "c"}, "data": {"a b": "", "x": "1", "..": ""}, "binaryData": {"x": "AA=="}}),
    );
    expect![[r#"
        data[..]: Invalid value: "..": must not be '..'
        data[a b]: Invalid value: "a b": a valid config key must consist of alphanumeric characters, '-', '_' or '.' (e.g. 'key.name',  or 'KEY_NAME',  or 'key-name', regex used for validation is '[-._a-zA-Z0-9]+')
        data[x]: Invalid value: "x": duplicate of key present in binaryData"#]]
    .assert_eq(&create_errors(map));
    let big: ConfigMap =
        defaulted(json!({"metadata": {"name": "c"}, "data": {"x": "x".repeat(1 << 20), "y": "y"}}));
    expect![": Too long: may not be more than 1048576 bytes"].assert_eq(&create_errors(big));
    let sealed: ConfigMap =
        defaulted(json!({"metadata": {"name": "c"}, "immutable": true, "data": {"x": "1"}}));
    let opened: ConfigMap = defaulted(json!({"metadata": {"name": "c"}, "data": {"x": "2"}}));
    expect![[r#"
        immutable: Forbidden: field is immutable when `immutable` is set
        data: Forbidden: field is immutable when `immutable` is set"#]]
    .assert_eq(&update_errors(opened, sealed));
    assert_eq!(
        cells::<ConfigMap>(&defaulted(
            json!({"metadata": {"name": "c"}, "data": {"a": ""}, "binaryData": {"b": ""}})
        )),
        "c|2|<unknown>"
    );
}

#[test]
fn secret_folds_strings_into_data() {
    let secret: Secret = defaulted(
        json!({"metadata": {"name": "s"}, "stringData": {"a": "new", "b": "b"}, "data": {"a": "b2xk"}}),
    );
    let value = serde_json::to_value(&secret).expect("JSON");
    assert_eq!(
        (&value["data"], &value["type"]),
        (&json!({"a": "bmV3", "b": "Yg=="}), &json!("Opaque"))
    );
    assert!(value.get("stringData").is_none());
    assert_eq!(cells(&secret), "s|Opaque|2|<unknown>");
}

#[test]
fn secret_with_bad_base64_does_not_decode() {
    let codec = kinds::of::<Secret>().codec;
    let bad = json!({"metadata": {"name": "s"}, "data": {"password": "paswrd"}});
    assert!(codec.from_value(bad, FieldValidation::Ignore).is_err());
}

#[test]
fn secret_of_every_type_needs_its_keys() {
    let table: [(&str, Value, &str); 8] = [
        (
            "kubernetes.io/service-account-token",
            json!({}),
            "metadata.annotations[kubernetes.io/service-account.name]: Required value",
        ),
        ("kubernetes.io/dockercfg", json!({}), "data[.dockercfg]: Required value"),
        (
            "kubernetes.io/dockerconfigjson",
            json!({".dockerconfigjson": "{"}),
            "data[.dockerconfigjson]: Invalid value: \"<secret contents redacted>\": unexpected end of JSON input",
        ),
        (
            "kubernetes.io/basic-auth",
            json!({}),
            "data[username]: Required value\ndata[password]: Required value",
        ),
        ("kubernetes.io/basic-auth", json!({"password": "x"}), ""),
        ("kubernetes.io/ssh-auth", json!({}), "data[ssh-privatekey]: Required value"),
        ("kubernetes.io/tls", json!({"tls.crt": ""}), "data[tls.key]: Required value"),
        ("example.com/own", json!({}), ""),
    ];
    for (type_, data, expected) in table {
        let secret: Secret =
            defaulted(json!({"metadata": {"name": "s"}, "type": type_, "stringData": data}));
        assert_eq!(create_errors(secret), expected, "{type_}");
    }
}

#[test]
fn secret_type_is_immutable() {
    let make =
        |type_: &str| -> Secret { defaulted(json!({"metadata": {"name": "s"}, "type": type_})) };
    expect![[r#"type: Invalid value: "b": field is immutable"#]]
        .assert_eq(&update_errors(make("b"), make("a")));
}

#[test]
fn service_account_keeps_only_names_of_secrets() {
    let mut account: ServiceAccount = defaulted(
        json!({"metadata": {"name": "a"}, "secrets": [{"name": "s", "kind": "Secret", "uid": "1"}]}),
    );
    account.on_create();
    assert_eq!(serde_json::to_value(&account.secrets).expect("JSON"), json!([{"name": "s"}]));
    assert_eq!(cells(&account), "a|<unknown>");
}

fn event(changes: Value) -> Event {
    let mut event = json!({"metadata": {"name": "e", "namespace": "default"}, "involvedObject": {"kind": "Pod", "namespace": "default", "name": "p"}});
    event
        .as_object_mut()
        .expect("an object")
        .extend(changes.as_object().expect("an object").clone());
    defaulted(event)
}

#[test]
fn event_must_live_with_its_object() {
    assert_eq!(create_errors(event(json!({}))), "");
    assert_eq!(create_errors(event(json!({"involvedObject": {"kind": "Node", "name": "n"}}))), "");
    expect![[
        r#"involvedObject.namespace: Invalid value: "other": does not match event.namespace"#
    ]]
    .assert_eq(&create_errors(event(json!({"involvedObject": {"namespace": "other"}}))));
    expect![[r#"
        reportingComponent: Required value
        reportingComponent: Invalid value: "": name part must be non-empty
        reportingComponent: Invalid value: "": name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')
        reportingInstance: Required value
        action: Required value
        reason: Invalid value: "": can have at most 128 characters"#]]
    .assert_eq(&create_errors(event(json!({"eventTime": "2026-01-01T00:00:00.000000Z", "reason": "r".repeat(129)}))));
}

#[test]
fn event_row_reads_as_in_kubernetes() {
    let old = event(
        json!({"type": "Normal", "reason": "Pulled", "message": "Pulled it\n", "count": 3,
        "source": {"component": "kubelet", "host": "n1"}, "involvedObject": {"kind": "Pod", "name": "p", "fieldPath": "spec.containers{a}"},
        "firstTimestamp": "2025-12-31T23:50:00Z", "lastTimestamp": "2025-12-31T23:59:55Z"}),
    );
    assert_eq!(
        cells(&old),
        "5s|Normal|Pulled|pod/p|spec.containers{a}|kubelet, n1|Pulled it|10m|3|e"
    );
    let new = event(
        json!({"type": "Warning", "reason": "Failed", "eventTime": "2025-12-31T23:58:00.000000Z",
        "reportingComponent": "scheduler", "series": {"count": 7, "lastObservedTime": "2025-12-31T23:59:00.000000Z"}}),
    );
    assert_eq!(cells(&new), "60s|Warning|Failed|pod/p||scheduler||2m|7|e");
}

#[test]
fn rows_say_what_discovery_of_kubernetes_says() {
    expect![[r#"
        namespaces namespace ns v1 cluster Namespace create,delete,get,list,patch,update,watch 
          finalize Namespace update
          status Namespace get,patch,update
        nodes node no v1 cluster Node create,delete,deletecollection,get,list,patch,update,watch 
          proxy NodeProxyOptions create,delete,get,patch,update
          status Node get,patch,update
        pods pod po v1 namespaced Pod create,delete,deletecollection,get,list,patch,update,watch all
          attach PodAttachOptions create,get
          binding Binding create
          ephemeralcontainers Pod get,patch,update
          eviction policy/Eviction create
          exec PodExecOptions create,get
          log Pod get
          portforward PodPortForwardOptions create,get
          proxy PodProxyOptions create,delete,get,patch,update
          resize Pod get,patch,update
          status Pod get,patch,update
        services service svc v1 namespaced Service create,delete,deletecollection,get,list,patch,update,watch all
          proxy ServiceProxyOptions create,delete,get,patch,update
          status Service get,patch,update
        configmaps configmap cm v1 namespaced ConfigMap create,delete,deletecollection,get,list,patch,update,watch 
        secrets secret  v1 namespaced Secret create,delete,deletecollection,get,list,patch,update,watch 
        serviceaccounts serviceaccount sa v1 namespaced ServiceAccount create,delete,deletecollection,get,list,patch,update,watch 
          token authentication.k8s.io/TokenRequest create
        events event ev v1 namespaced Event create,delete,deletecollection,get,list,patch,update,watch 
        endpoints endpoints ep v1 namespaced Endpoints create,delete,deletecollection,get,list,patch,update,watch 
        limitranges limitrange limits v1 namespaced LimitRange create,delete,deletecollection,get,list,patch,update,watch 
        persistentvolumeclaims persistentvolumeclaim pvc v1 namespaced PersistentVolumeClaim create,delete,deletecollection,get,list,patch,update,watch 
          status PersistentVolumeClaim get,patch,update
        persistentvolumes persistentvolume pv v1 cluster PersistentVolume create,delete,deletecollection,get,list,patch,update,watch 
          status PersistentVolume get,patch,update
        resourcequotas resourcequota quota v1 namespaced ResourceQuota create,delete,deletecollection,get,list,patch,update,watch 
          status ResourceQuota get,patch,update
        podtemplates podtemplate  v1 namespaced PodTemplate create,delete,deletecollection,get,list,patch,update,watch 
        replicationcontrollers replicationcontroller rc v1 namespaced ReplicationController create,delete,deletecollection,get,list,patch,update,watch all
          scale autoscaling/Scale get,patch,update
          status ReplicationController get,patch,update
        componentstatuses componentstatus cs v1 cluster ComponentStatus get,list "#]].assert_eq(&crate::testing::listing(&super::rows()));
}

#[test]
fn endpoints_with_everything_wrong_name_every_field() {
    let bad: Endpoints = defaulted(json!({"metadata": {"name": "e"}, "subsets": [{},
        {"addresses": [{"ip": "127.0.0.1", "hostname": "A", "nodeName": "B"}], "notReadyAddresses": [{"ip": "x"}],
            "ports": [{"port": 0, "protocol": "ICMP"}, {"port": 80, "name": "A", "appProtocol": "/"}]}]}));
    assert_eq!(update_errors(bad.clone(), bad.clone()), "");
    expect![[r#"
        subsets[0]: Required value: must specify `addresses` or `notReadyAddresses`
        subsets[1].addresses[0].hostname: Invalid value: "A": a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')
        subsets[1].addresses[0].nodeName: Invalid value: "B": a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')
        subsets[1].addresses[0].ip: Invalid value: "127.0.0.1": may not be in the loopback range (127.0.0.0/8, ::1/128)
        subsets[1].notReadyAddresses[0].ip: Invalid value: "x": must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)
        subsets[1].notReadyAddresses[0].ip: Invalid value: "x": must be a valid IP address
        subsets[1].ports[0].name: Required value
        subsets[1].ports[0].port: Invalid value: 0: must be between 1 and 65535, inclusive
        subsets[1].ports[0].protocol: Unsupported value: "ICMP": supported values: "SCTP", "TCP", "UDP"
        subsets[1].ports[1].name: Invalid value: "A": a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')
        subsets[1].ports[1].appProtocol: Invalid value: "/": prefix part must be non-empty
        subsets[1].ports[1].appProtocol: Invalid value: "/": name part must be non-empty
        subsets[1].ports[1].appProtocol: Invalid value: "/": name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')"#]].assert_eq(&create_errors(bad));
}

#[test]
fn endpoints_row_joins_addresses_and_ports() {
    let make = |subsets: Value| -> Endpoints {
        defaulted(json!({"metadata": {"name": "e"}, "subsets": subsets}))
    };
    assert_eq!(cells(&make(json!([]))), "e|<none>|<unknown>");
    let addresses = json!([{"ip": "10.0.0.1"}, {"ip": "fd00::1"}]);
    let ports = json!([{"port": 80}, {"port": 443, "name": "tls"}]);
    assert_eq!(
        cells(&make(json!([{"addresses": addresses, "ports": ports}]))),
        "e|10.0.0.1:80,[fd00::1]:80,10.0.0.1:443 + 1 more...|<unknown>"
    );
    assert_eq!(cells(&make(json!([{"addresses": addresses}]))), "e|10.0.0.1,fd00::1|<unknown>");
}
