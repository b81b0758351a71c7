//! Tables of documents: what decodes, what is warned of, what is refused and in which words.

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{ConfigMap, Event, Pod, Secret};
use k8s_openapi::api::events::v1::Event as EventsEvent;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::DeleteOptions;
use proptest::prelude::*;
use serde_json::json;

use super::*;

fn decode<K>(value: &Value, validation: FieldValidation) -> Result<Decoded, DecodeError>
where
    K: Resource + Metadata<Ty = ObjectMeta> + KubeObject + serde::de::DeserializeOwned + Default,
{
    codec::<K>().decode(value.to_string().as_bytes(), validation)
}

fn read<K>(value: &Value) -> K
where
    K: Resource + Metadata<Ty = ObjectMeta> + KubeObject + serde::de::DeserializeOwned + Default,
{
    let decoded = decode::<K>(value, FieldValidation::Strict)
        .unwrap_or_else(|error| panic!("{value}: {error}"));
    downcast(decoded.object).unwrap()
}

fn container(fields: Value) -> Value {
    json!({"spec": {"containers": [fields]}})
}

#[test]
fn object_keeps_its_type_behind_the_trait() {
    let object = codec::<Pod>().empty();
    assert_eq!((object.api_version(), object.kind()), ("v1", "Pod"));
    assert!(
        object.downcast_ref::<Pod>().is_some() && object.downcast_ref::<Deployment>().is_none()
    );
    let copy = object.clone();
    assert_eq!(copy.to_value(), object.to_value());
    assert_eq!(copy.to_vec(), object.to_value().to_string().into_bytes());
    assert!(downcast::<Deployment>(copy).is_err());
    assert_eq!(codec::<Deployment>().gvk().to_string(), "apps/v1, Kind=Deployment");
}

#[test]
fn absent_and_null_fields_are_zero_values() {
    let deployment: Deployment = read(&json!({"spec": null, "metadata": {"name": "a"}}));
    assert_eq!(deployment.metadata.name.as_deref(), Some("a"));
    let deployment: Deployment =
        read(&json!({"kind": null, "apiVersion": "", "spec": {"replicas": null, "template": {}}}));
    assert_eq!(deployment.spec.unwrap().replicas, None);
    let pod: Pod =
        read(&container(json!({"name": null, "env": [null], "args": [null], "ports": [{}]})));
    let container = &pod.spec.unwrap().containers[0];
    assert_eq!(container.name, "");
    assert_eq!(container.env.as_ref().unwrap()[0].name, "");
    assert_eq!(container.args.as_ref().unwrap()[0], "");
    assert_eq!(container.ports.as_ref().unwrap()[0].container_port, 0);
    let pod: Pod = read(&json!({"metadata": {"labels": {"a": null}}}));
    assert_eq!(pod.metadata.labels.unwrap()["a"], "");
    let event: EventsEvent =
        decode::<EventsEvent>(&json!({"series": {"count": 2, "zzz": 1}}), FieldValidation::Warn)
            .map(|decoded| downcast(decoded.object).unwrap())
            .unwrap();
    assert_eq!(event.series.unwrap().count, 2);
    assert!(codec::<Pod>().decode(b"null", FieldValidation::Strict).is_ok());
}

#[test]
fn quantities_and_times_come_out_canonical() {
    let pod: Pod = read(&container(
        json!({"name": "a", "resources": {"limits": {"cpu": 0.5, "memory": "1024Mi", "x": 2}}}),
    ));
    let limits = pod.spec.unwrap().containers[0].resources.clone().unwrap().limits.unwrap();
    let texts: Vec<&str> = limits.values().map(|quantity| quantity.0.as_str()).collect();
    assert_eq!(texts, ["500m", "1Gi", "2"]);
    let event: Event = read(
        &json!({"firstTimestamp": "2026-01-02T03:04:05.9+00:00", "eventTime": "2026-01-02T03:04:05.1234567Z"}),
    );
    let value = event.to_value();
    assert_eq!(
        (&value["firstTimestamp"], &value["eventTime"]),
        (&json!("2026-01-02T03:04:05Z"), &json!("2026-01-02T03:04:05.123456Z"))
    );
}

#[test]
fn strict_decoding_names_unknown_and_repeated_fields() {
    let body = br#"{"apiVersion":"apps/v1","kind":"Deployment","foo":1,"metadata":{"name":"a","name":"b","labels":{"x":"1","x":"2"}},
        "spec":{"bar":{},"template":{"spec":{"containers":[{"name":"a"},{"name":"b","foo":1,"foo":2}]}}}}"#;
    let want = [
        "unknown field \"foo\"",
        "duplicate field \"metadata.name\"",
        "duplicate field \"metadata.labels.x\"",
        "unknown field \"spec.bar\"",
        "unknown field \"spec.template.spec.containers[1].foo\"",
    ];
    let warned = codec::<Deployment>().decode(body, FieldValidation::Warn).unwrap();
    assert_eq!(warned.warnings, want);
    assert_eq!(warned.object.name(), "b");
    let ignored = codec::<Deployment>().decode(body, FieldValidation::Ignore).unwrap();
    assert!(ignored.warnings.is_empty());
    let error = codec::<Deployment>().decode(body, FieldValidation::Strict).unwrap_err();
    assert_eq!(error.to_string(), format!("strict decoding error: {}", want.join(", ")));
    assert!(error.to_status().message().starts_with(
        "Deployment in version \"v1\" cannot be handled as a Deployment: strict decoding error: unknown field \"foo\""
    ));
}

#[test]
fn wrong_types_worded_as_go_does() {
    let table = [
        (
            json!({"spec": {"replicas": "3"}}),
            "json: cannot unmarshal string into Go struct field DeploymentSpec.spec.replicas of type int32",
        ),
        (
            json!({"spec": {"replicas": 1.5}}),
            "json: cannot unmarshal number 1.5 into Go struct field DeploymentSpec.spec.replicas of type int32",
        ),
        (
            json!({"spec": {"replicas": 3_000_000_000u64}}),
            "json: cannot unmarshal number 3000000000 into Go struct field DeploymentSpec.spec.replicas of type int32",
        ),
        (
            json!({"spec": {"paused": "yes"}}),
            "json: cannot unmarshal string into Go struct field DeploymentSpec.spec.paused of type bool",
        ),
        (
            json!({"spec": []}),
            "json: cannot unmarshal array into Go struct field Deployment.spec of type v1.DeploymentSpec",
        ),
        (
            json!({"metadata": {"name": 1}}),
            "json: cannot unmarshal number into Go struct field ObjectMeta.metadata.name of type string",
        ),
        (
            json!({"metadata": {"labels": "x"}}),
            "json: cannot unmarshal string into Go struct field ObjectMeta.metadata.labels of type map[string]string",
        ),
        (
            json!({"metadata": {"labels": {"a": 1}}}),
            "json: cannot unmarshal number into Go struct field ObjectMeta.metadata.labels of type string",
        ),
        (
            json!({"spec": {"template": {"spec": {"containers": {"name": "a"}}}}}),
            "json: cannot unmarshal object into Go struct field PodSpec.spec.template.spec.containers of type []v1.Container",
        ),
        (
            json!({"spec": {"template": {"spec": {"containers": [{"env": "x"}]}}}}),
            "json: cannot unmarshal string into Go struct field Container.spec.template.spec.containers.env of type []v1.EnvVar",
        ),
        (
            json!({"spec": {"template": {"spec": {"containers": [{"resources": {"limits": {"cpu": "much"}}}]}}}}),
            "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'",
        ),
        (
            json!({"metadata": {"creationTimestamp": "now"}}),
            "parsing time \"now\" as \"2006-01-02T15:04:05Z07:00\": cannot parse \"now\" as \"2006\"",
        ),
    ];
    for (value, message) in table {
        let error = decode::<Deployment>(&value, FieldValidation::Ignore).unwrap_err();
        assert_eq!(error.to_string(), message, "{value}");
        let status = error.to_status();
        let want =
            format!("Deployment in version \"v1\" cannot be handled as a Deployment: {message}");
        assert_eq!((status.code(), status.message()), (400, want.as_str()));
    }
}

#[test]
fn number_or_string_read_as_go_does() {
    let strategy =
        |value: Value| json!({"spec": {"strategy": {"rollingUpdate": {"maxSurge": value}}}});
    for good in [json!(1), json!("25%"), json!(null)] {
        assert!(decode::<Deployment>(&strategy(good), FieldValidation::Strict).is_ok());
    }
    let table = [
        (json!(true), "bool"),
        (json!(1.5), "number 1.5"),
        (json!(5_000_000_000u64), "number 5000000000"),
        (json!([]), "array"),
    ];
    for (bad, found) in table {
        let error = decode::<Deployment>(&strategy(bad), FieldValidation::Ignore).unwrap_err();
        assert_eq!(
            error.to_string(),
            format!("json: cannot unmarshal {found} into Go value of type int32")
        );
    }
}

#[test]
fn bytes_read_as_go_reads_base64() {
    let secret: Secret = read(&json!({"data": {"a": "aGVs\nbG8=", "b": null}}));
    let data = secret.data.unwrap();
    assert_eq!(
        (data["a"].0.as_slice(), data["b"].0.as_slice()),
        (b"hello".as_slice(), b"".as_slice())
    );
    let error =
        decode::<Secret>(&json!({"data": {"a": "a*c="}}), FieldValidation::Ignore).unwrap_err();
    assert_eq!(error.to_string(), "illegal base64 data at input byte 1");
}

#[test]
fn other_kinds_refused() {
    let error =
        decode::<Deployment>(&json!({"apiVersion": "v1", "kind": "Pod"}), FieldValidation::Ignore)
            .unwrap_err();
    let status = error.to_status();
    assert_eq!(status.code(), 400);
    assert_eq!(
        status.message(),
        "Pod in version \"v1\" cannot be handled as a Deployment: no kind \"Pod\" is registered for version \"v1\" in scheme \"knarr\""
    );
    let error =
        decode::<Deployment>(&json!({"apiVersion": "a/b/c"}), FieldValidation::Ignore).unwrap_err();
    assert!(error.to_string().contains("unexpected GroupVersion string: a/b/c"), "{error}");
}

#[test]
fn unreadable_bodies_refused_in_go_words() {
    let table: [(&[u8], &str); 10] = [
        (b"", "unexpected end of JSON input"),
        (b"{", "unexpected end of JSON input"),
        (b"{\"a\":", "unexpected end of JSON input"),
        (b"hello", "invalid character 'h' looking for beginning of value"),
        (b"{a:1}", "invalid character 'a' looking for beginning of object key string"),
        (b"{\"a\" 1}", "invalid character '1' after object key"),
        (b"{\"a\":1 \"b\":2}", "invalid character '\"' after object key:value pair"),
        (b"{\"a\":[1 2]}", "invalid character '2' after array element"),
        (b"{} x", "invalid character 'x' after top-level value"),
        (b"[]", "json: cannot unmarshal array into Go value of type struct"),
    ];
    for (body, message) in table {
        let status = codec::<Pod>().decode(body, FieldValidation::Ignore).unwrap_err().to_status();
        assert_eq!(status.code(), 400);
        let want = format!(
            "the object provided is unrecognized (must be of type Pod): couldn't get version/kind; json parse error: {message} ("
        );
        assert!(status.message().starts_with(&want), "{} is not {want}", status.message());
    }
}

#[test]
fn deep_documents_refused() {
    for depth in [MAX_DEPTH + 1, 500, 100_000] {
        let body = ["[".repeat(depth), "]".repeat(depth)].concat();
        let body = format!("{{\"x\":{body}}}");
        let error = codec::<Pod>().decode(body.as_bytes(), FieldValidation::Ignore).unwrap_err();
        assert!(error.to_string().ends_with("exceeded max depth"), "{error}");
    }
    let fine = "[".repeat(MAX_DEPTH - 2) + &"]".repeat(MAX_DEPTH - 2);
    assert!(
        codec::<Pod>()
            .decode(format!("{{\"x\":{fine}}}").as_bytes(), FieldValidation::Ignore)
            .is_ok()
    );
}

#[test]
fn trees_and_yaml_decode_alike() {
    let value = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}, "data": {"k": "v"}, "x": 1});
    let from_tree = codec::<ConfigMap>().from_value(value.clone(), FieldValidation::Warn).unwrap();
    let text = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\ndata:\n  k: v\nx: 1\n";
    let from_yaml =
        codec::<ConfigMap>().decode_yaml(text.as_bytes(), FieldValidation::Warn).unwrap();
    assert_eq!(from_tree.object.to_value(), from_yaml.object.to_value());
    assert_eq!(from_tree.warnings, ["unknown field \"x\""]);
    assert_eq!(from_yaml.warnings, ["unknown field \"x\""]);
    let error = codec::<ConfigMap>()
        .decode_yaml(b"data:\n  k: v\n  k: w\n", FieldValidation::Strict)
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        "strict decoding error: yaml: unmarshal errors:\n  line 3: key \"k\" already set in map"
    );
    assert!(codec::<ConfigMap>().decode_yaml(b"a: [", FieldValidation::Warn).is_err());
}

#[test]
fn options_decode_without_metadata() {
    let body = br#"{"kind":"DeleteOptions","apiVersion":"policy/v1","gracePeriodSeconds":3,"x":1}"#;
    let (options, warnings): (DeleteOptions, _) =
        decode_plain(body, "DeleteOptions", FieldValidation::Warn).unwrap();
    assert_eq!(
        (options.grace_period_seconds, warnings),
        (Some(3), vec!["unknown field \"x\"".to_owned()])
    );
    let other = decode_plain::<DeleteOptions>(
        b"{\"kind\":\"Pod\"}",
        "DeleteOptions",
        FieldValidation::Warn,
    );
    assert_eq!(other.unwrap_err().to_status().code(), 400);
}

proptest! {
    #[test]
    fn any_bytes_decode_or_are_refused(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _decided = codec::<Pod>().decode(&bytes, FieldValidation::Strict).is_ok();
        let _decided = codec::<Pod>().decode_yaml(&bytes, FieldValidation::Strict).is_ok();
    }

    #[test]
    fn any_json_like_text_decodes_or_is_refused(text in "[\\[\\]{}:,\"a-c0-2 \n.-]{0,80}") {
        let _decided = codec::<Pod>().decode(text.as_bytes(), FieldValidation::Strict).is_ok();
        let _decided = codec::<Pod>().decode_yaml(text.as_bytes(), FieldValidation::Strict).is_ok();
    }
}

#[test]
fn field_validation_parsed() {
    assert_eq!(FieldValidation::parse(""), Some(FieldValidation::Warn));
    assert_eq!(FieldValidation::parse("Strict"), Some(FieldValidation::Strict));
    assert_eq!(FieldValidation::parse("strict"), None);
}

#[test]
fn empty_optional_lists_and_maps_are_left_out_but_empty_objects_stay() {
    let json = br#"{"metadata":{"name":"a","labels":{},"finalizers":[]},
        "spec":{"containers":[],"nodeSelector":{},"securityContext":{}}}"#;
    let decoded = codec::<Pod>().decode(json, FieldValidation::Strict).unwrap();
    let value = decoded.object.to_value();
    assert_eq!(value["metadata"], serde_json::json!({"name": "a"}));
    assert_eq!(value["spec"], serde_json::json!({"containers": [], "securityContext": {}}));
}
