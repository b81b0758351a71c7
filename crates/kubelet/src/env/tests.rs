//! Tables of the environment's pure functions.

use super::*;
use crate::fixtures::pod;
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::{
    ConfigMapEnvSource, ConfigMapKeySelector, EnvFromSource, EnvVar, ObjectFieldSelector,
    SecretKeySelector, ServicePort, ServiceSpec,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

fn var(name: &str, value: &str) -> EnvVar {
    EnvVar { name: name.into(), value: Some(value.into()), value_from: None }
}

fn from(name: &str, source: EnvVarSource) -> EnvVar {
    EnvVar { name: name.into(), value: None, value_from: Some(source) }
}

fn container(env: Vec<EnvVar>) -> Container {
    Container { name: "a".into(), env: Some(env), ..Container::default() }
}

fn config(optional: bool, key: &str) -> EnvVarSource {
    let selector =
        ConfigMapKeySelector { name: "cfg".into(), key: key.into(), optional: Some(optional) };
    EnvVarSource { config_map_key_ref: Some(selector), ..EnvVarSource::default() }
}

fn with_config() -> Sources {
    let object =
        ConfigMap { data: Some([("k".to_owned(), "v".to_owned())].into()), ..ConfigMap::default() };
    Sources { config_maps: [("cfg".to_owned(), object)].into(), ..Sources::default() }
}

#[test]
fn expand_replaces_known_names_only() {
    let lookup = |name: &str| (name == "A").then(|| "1".to_owned());
    let cases = [
        ("$(A)", "1"),
        ("x$(A)y$(A)", "x1y1"),
        ("$$(A)", "$(A)"),
        ("$$$(A)", "$1"),
        ("$(B)", "$(B)"),
        ("$(A", "$(A"),
        ("$A", "$A"),
        ("$", "$"),
        ("", ""),
        ("$()", "$()"),
    ];
    for (input, expected) in cases {
        assert_eq!(expand(input, lookup), expected, "{input}");
    }
}

#[test]
fn environment_sees_earlier_variables_only() {
    let made = environment(
        &pod(&["a"]),
        &container(vec![var("B", "$(A)"), var("A", "1"), var("C", "$(A)2")]),
        &Sources::default(),
    );
    let expected =
        [("A", "1"), ("B", "$(A)"), ("C", "12")].map(|(k, v)| (k.to_owned(), v.to_owned()));
    assert_eq!(made, Ok(expected.into()));
}

#[test]
fn environment_reads_fields_of_the_pod() {
    let mut pod = pod(&["a"]);
    pod.metadata.labels = Some([("app".to_owned(), "web".to_owned())].into());
    let sources = Sources {
        pod_ips: vec!["10.42.0.5".into(), "fd00::5".into()],
        host_ips: vec!["192.0.2.1".into()],
        ..Sources::default()
    };
    let cases = [
        ("metadata.name", "web"),
        ("metadata.labels['app']", "web"),
        ("metadata.annotations['none']", ""),
        ("spec.nodeName", "node"),
        ("status.podIP", "10.42.0.5"),
        ("status.podIPs", "10.42.0.5,fd00::5"),
        ("status.hostIP", "192.0.2.1"),
    ];
    for (path, expected) in cases {
        let field = ObjectFieldSelector { field_path: path.into(), api_version: None };
        let source = EnvVarSource { field_ref: Some(field), ..EnvVarSource::default() };
        let made = environment(&pod, &container(vec![from("X", source)]), &sources).expect(path);
        assert_eq!(made["X"], expected, "{path}");
    }
}

#[test]
fn environment_missing_reference_is_an_error_unless_optional() {
    let of = |source: EnvVarSource, sources: &Sources| {
        environment(&pod(&["a"]), &container(vec![from("X", source)]), sources)
    };
    assert_eq!(of(config(false, "k"), &with_config()).expect("found")["X"], "v");
    let message = |result: Result<_, EnvError>| {
        result.map(|_: BTreeMap<String, String>| ()).expect_err("missing").to_string()
    };
    assert_eq!(
        message(of(config(false, "z"), &with_config())),
        "couldn't find key z in ConfigMap default/cfg"
    );
    assert_eq!(message(of(config(false, "k"), &Sources::default())), "configmap \"cfg\" not found");
    assert_eq!(of(config(true, "k"), &Sources::default()), Ok(BTreeMap::new()));
    assert_eq!(of(config(true, "z"), &with_config()), Ok(BTreeMap::new()));
    let secret = SecretKeySelector { name: "s".into(), key: "k".into(), optional: None };
    let source = EnvVarSource { secret_key_ref: Some(secret), ..EnvVarSource::default() };
    assert_eq!(message(of(source.clone(), &Sources::default())), "secret \"s\" not found");
    let object = Secret {
        data: Some([("k".to_owned(), ByteString(b"pw".to_vec()))].into()),
        ..Secret::default()
    };
    let sources = Sources { secrets: [("s".to_owned(), object)].into(), ..Sources::default() };
    assert_eq!(of(source, &sources).expect("found")["X"], "pw");
}

#[test]
fn environment_own_variables_win_over_whole_objects() {
    let mut container = container(vec![var("P_k", "mine")]);
    let reference = ConfigMapEnvSource { name: "cfg".into(), optional: None };
    container.env_from = Some(vec![EnvFromSource {
        config_map_ref: Some(reference),
        prefix: Some("P_".into()),
        secret_ref: None,
    }]);
    assert_eq!(references(&container).config_maps, ["cfg".to_owned()].into());
    assert_eq!(environment(&pod(&["a"]), &container, &with_config()).expect("made")["P_k"], "mine");
    container.env = None;
    assert_eq!(environment(&pod(&["a"]), &container, &with_config()).expect("made")["P_k"], "v");
}

#[test]
fn services_are_announced_as_docker_did() {
    let service = |ns: &str, name: &str, ip: &str| Service {
        metadata: ObjectMeta {
            name: Some(name.into()),
            namespace: Some(ns.into()),
            ..ObjectMeta::default()
        },
        spec: Some(ServiceSpec {
            cluster_ip: Some(ip.into()),
            ports: Some(vec![ServicePort {
                name: Some("https".into()),
                port: 443,
                ..ServicePort::default()
            }]),
            ..ServiceSpec::default()
        }),
        status: None,
    };
    let all = [
        service("default", "kubernetes", "10.43.0.1"),
        service("shop", "my-db", "10.43.0.7"),
        service("shop", "headless", "None"),
    ];
    let made = service_variables(all.iter(), "shop", true);
    assert_eq!(made["KUBERNETES_SERVICE_HOST"], "10.43.0.1");
    assert_eq!(made["MY_DB_SERVICE_PORT_HTTPS"], "443");
    assert_eq!(made["MY_DB_PORT_443_TCP"], "tcp://10.43.0.7:443");
    assert_eq!(made.len(), 16);
    assert_eq!(service_variables(all.iter(), "shop", false).len(), 8);
}
