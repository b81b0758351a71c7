//! Tables of the group.

use expect_test::expect;
use k8s_openapi::api::storage::v1::{
    CSIDriver, CSINode, CSIStorageCapacity, StorageClass, VolumeAttachment, VolumeAttributesClass,
};
use serde_json::{Value, json};

use crate::kinds;
use crate::strategy::KindStrategy;
use crate::testing::{cells, create_errors, defaulted, text, update_errors};

#[test]
fn rows_say_what_discovery_of_kubernetes_says() {
    expect![[r#"
        csidrivers csidriver  storage.k8s.io/v1 cluster CSIDriver create,delete,deletecollection,get,list,patch,update,watch 
        csinodes csinode  storage.k8s.io/v1 cluster CSINode create,delete,deletecollection,get,list,patch,update,watch 
        csistoragecapacities csistoragecapacity  storage.k8s.io/v1 namespaced CSIStorageCapacity create,delete,deletecollection,get,list,patch,update,watch 
        storageclasses storageclass sc storage.k8s.io/v1 cluster StorageClass create,delete,deletecollection,get,list,patch,update,watch 
        volumeattachments volumeattachment  storage.k8s.io/v1 cluster VolumeAttachment create,delete,deletecollection,get,list,patch,update,watch 
          status VolumeAttachment get,patch,update
        volumeattributesclasses volumeattributesclass vac storage.k8s.io/v1 cluster VolumeAttributesClass create,delete,deletecollection,get,list,patch,update,watch "#]].assert_eq(&crate::testing::listing(&super::rows()));
}

fn with<K: KindStrategy>(name: &str, fields: Value) -> K {
    let mut object = json!({"metadata": {"name": name}});
    object.as_object_mut().expect("an object").extend(fields.as_object().expect("fields").clone());
    defaulted(object)
}

#[test]
fn storage_class_with_everything_wrong_names_every_field() {
    let topologies = json!([{"matchLabelExpressions": [{"key": "a b", "values": []}, {"key": "k", "values": ["x", "x"]}, {"key": "k", "values": ["y"]}]},
        {"matchLabelExpressions": [{"key": "z", "values": ["y"]}]}, {"matchLabelExpressions": [{"key": "z", "values": ["y"]}]}]);
    let class: StorageClass = with(
        "s",
        json!({"provisioner": "a b", "parameters": {"": "x"}, "reclaimPolicy": "Recycle",
        "volumeBindingMode": "Never", "allowedTopologies": topologies}),
    );
    expect![[r#"
        provisioner: Invalid value: "a b": name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')
        parameters: Invalid value: "": field can not be empty.
        reclaimPolicy: Unsupported value: "Recycle": supported values: "Delete", "Retain"
        volumeBindingMode: Unsupported value: "Never": supported values: "Immediate", "WaitForFirstConsumer"
        allowedTopologies[0].matchLabelExpressions[0].values: Required value
        allowedTopologies[0].matchLabelExpressions[0].key: Invalid value: "a b": name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')
        allowedTopologies[0].matchLabelExpressions[1].values[1]: Duplicate value: "x"
        allowedTopologies[0].matchLabelExpressions[2].key: Duplicate value: "k"
        allowedTopologies[2].matchLabelExpressions: Duplicate value: """#]].assert_eq(&create_errors(class));
    let class: StorageClass = with("s", json!({"provisioner": ""}));
    expect!["provisioner: Required value"].assert_eq(&create_errors(class));
}

#[test]
fn storage_class_keeps_what_made_its_volumes() {
    let old: StorageClass = with("s", json!({"provisioner": "a/b"}));
    let new: StorageClass = with(
        "s",
        json!({"provisioner": "a/c", "parameters": {"a": "b"}, "reclaimPolicy": "Retain",
        "volumeBindingMode": "WaitForFirstConsumer", "allowVolumeExpansion": true}),
    );
    expect![[r#"
        parameters: Invalid value: {"a":"b"}: field is immutable
        provisioner: Invalid value: "a/c": field is immutable
        reclaimPolicy: Invalid value: "Retain": field is immutable
        volumeBindingMode: Invalid value: "WaitForFirstConsumer": field is immutable"#]]
    .assert_eq(&update_errors(new, old));
}

#[test]
fn storage_class_row_marks_the_default() {
    let class: StorageClass = with("s", json!({"provisioner": "a/b"}));
    assert_eq!(cells(&class), "s|a/b|Delete|Immediate|false|<unknown>");
    let class: StorageClass = defaulted(
        json!({"metadata": {"name": "s", "annotations": {"storageclass.kubernetes.io/is-default-class": "true"}},
        "provisioner": "a/b", "allowVolumeExpansion": true}),
    );
    assert_eq!(cells(&class), "s (default)|a/b|Delete|Immediate|true|<unknown>");
}

#[test]
fn volume_attributes_class_is_sealed() {
    let make = |driver: &str, parameters: Value| -> VolumeAttributesClass {
        with("v", json!({"driverName": driver, "parameters": parameters}))
    };
    expect![[r#"
        driverName: Required value
        parameters: Required value: must contain at least one key/value pair"#]]
    .assert_eq(&create_errors(make("", json!({}))));
    let (new, old) = (make("b", json!({"a": "c"})), make("a", json!({"a": "b"})));
    expect![[r#"
        driverName: Forbidden: updates to driverName are forbidden.
        parameters: Forbidden: updates to parameters are forbidden."#]]
    .assert_eq(&update_errors(new, old.clone()));
    assert_eq!(cells(&old), "v|a|<unknown>");
}

#[test]
fn csi_driver_is_filled_in() {
    let driver: CSIDriver = with("d", json!({"spec": {}}));
    expect![[r#"{"attachRequired":true,"fsGroupPolicy":"ReadWriteOnceWithFSType","podInfoOnMount":false,"requiresRepublish":false,"seLinuxMount":false,"storageCapacity":false,"volumeLifecycleModes":["Persistent"]}"#]].assert_eq(&serde_json::to_string(&driver.spec).expect("JSON"));
    assert_eq!(cells(&driver), "d|true|false|false|<unset>|false|Persistent|<unknown>");
    let audiences = json!({"spec": {"tokenRequests": [{"audience": "a"}, {"audience": "b"}]}});
    assert_eq!(
        cells::<CSIDriver>(&with("d", audiences)),
        "d|true|false|false|a,b|false|Persistent|<unknown>"
    );
}

#[test]
fn csi_driver_with_everything_wrong_names_every_field() {
    let tokens = json!([{"audience": "a", "expirationSeconds": 5}, {"audience": "a"}, {"audience": "b", "expirationSeconds": 5_000_000_000_i64}]);
    let driver: CSIDriver = with(
        "d",
        json!({"spec": {"fsGroupPolicy": "x", "volumeLifecycleModes": ["y"],
        "tokenRequests": tokens, "nodeAllocatableUpdatePeriodSeconds": 9}}),
    );
    expect![[r#"
        spec.fsGroupPolicy: Unsupported value: "x": supported values: "File", "None", "ReadWriteOnceWithFSType"
        spec.tokenRequests[0].expirationSeconds: Invalid value: 5: may not specify a duration less than 10 minutes
        spec.tokenRequests[1].audience: Duplicate value: "a"
        spec.tokenRequests[2].expirationSeconds: Invalid value: 5000000000: may not specify a duration larger than 2^32 seconds
        spec.volumeLifecycleModes: Unsupported value: "y": supported values: "Persistent", "Ephemeral"
        spec.nodeAllocatableUpdatePeriodSeconds: Invalid value: 9: must be greater than or equal to 10 seconds"#]].assert_eq(&create_errors(driver));
    let driver: CSIDriver = with("d", json!({"spec": {"serviceAccountTokenInSecrets": true}}));
    expect!["spec.serviceAccountTokenInSecrets: Invalid value: true: serviceAccountTokenInSecrets is set but no tokenRequests are specified"].assert_eq(&create_errors(driver));
}

#[test]
fn csi_driver_keeps_its_nature_and_counts_changes() {
    let strategy = kinds::of::<CSIDriver>().strategy;
    let make = |spec: Value| -> CSIDriver { with("d", json!({"spec": spec})) };
    let (mut new, old) = (
        make(json!({"attachRequired": false, "volumeLifecycleModes": ["Ephemeral"]})),
        make(json!({})),
    );
    expect![[r#"
        spec.attachedRequired: Invalid value: false: field is immutable
        spec.volumeLifecycleModes: Invalid value: ["Ephemeral"]: field is immutable"#]]
    .assert_eq(&update_errors(new.clone(), old.clone()));
    strategy.prepare_update(&mut new, &old);
    assert_eq!(new.metadata.generation, Some(1));
    let tokens = make(json!({"tokenRequests": [{"audience": "a"}]}));
    assert_eq!((tokens.warnings(None).len(), tokens.warnings(Some(&tokens)).len()), (1, 0));
}

#[test]
fn csi_node_with_everything_wrong_names_every_field() {
    let make = |drivers: Value| -> CSINode { with("n", json!({"spec": {"drivers": drivers}})) };
    let bad = make(
        json!([{"name": "", "nodeID": ""}, {"name": "a", "nodeID": "x".repeat(257), "allocatable": {"count": -1}},
        {"name": "a", "nodeID": "x", "topologyKeys": ["k", "k", ""]}]),
    );
    expect![[r#"
        spec.drivers[0].name: Required value
        spec.drivers[0].nodeID: Required value
        spec.drivers[1].nodeID: Invalid value: "<257>": must be 256 characters or less
        spec.drivers[1].allocatable.count: Invalid value: -1: must be greater than or equal to 0
        spec.drivers[2].name: Duplicate value: "a"
        spec.drivers[2]: Duplicate value: "k"
        spec.drivers[2]: Required value
        spec.drivers[2]: Invalid value: "": name part must be non-empty
        spec.drivers[2]: Invalid value: "": name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')"#]].assert_eq(&create_errors(bad).replace(&"x".repeat(257), "<257>"));
    let (old, new) =
        (make(json!([{"name": "a", "nodeID": "x"}])), make(json!([{"name": "a", "nodeID": "y"}])));
    let more = make(
        json!([{"name": "a", "nodeID": "x", "allocatable": {"count": 5}}, {"name": "b", "nodeID": "x"}]),
    );
    assert_eq!(update_errors(more.clone(), old.clone()), "");
    expect![[r#"spec.drivers: Invalid value: {"name":"a","nodeID":"y"}: field is immutable"#]]
        .assert_eq(&update_errors(new, old));
    assert_eq!(cells(&more), "n|2|<unknown>");
}

#[test]
fn csi_storage_capacity_keeps_its_place() {
    let make = |class: &str, capacity: &str, label: &str| -> CSIStorageCapacity {
        with(
            "c",
            json!({"storageClassName": class, "capacity": capacity, "nodeTopology": {"matchLabels": {label: "x"}}}),
        )
    };
    expect![[r#"
        nodeTopology.matchLabels: Invalid value: "a b": name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')
        storageClassName: Invalid value: "A": a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')
        capacity: Invalid value: "-1": must be greater than or equal to 0"#]].assert_eq(&create_errors(make("A", "-1", "a b")));
    expect![[r#"
        nodeTopology: Invalid value: {"matchLabels":{"b":"x"}}: field is immutable
        storageClassName: Invalid value: "b": field is immutable"#]]
    .assert_eq(&update_errors(make("b", "2", "b"), make("a", "1", "a")));
    let old = make("a", "1Gi", "beta.kubernetes.io/os");
    expect![[r#"nodeTopology.matchLabels.beta.kubernetes.io/os: deprecated since v1.14; use "kubernetes.io/os" instead"#]].assert_eq(&old.warnings(None).join("\n"));
    assert_eq!(cells(&old), "c|a|1Gi");
}

#[test]
fn volume_attachment_has_one_source_and_keeps_it() {
    let make = |source: Value| -> VolumeAttachment {
        with("a", json!({"spec": {"attacher": "x", "nodeName": "n", "source": source}}))
    };
    let inline = json!({"inlineVolumeSpec": {"accessModes": ["ReadWriteOnce"], "capacity": {"storage": "1"}, "nfs": {"server": "s", "path": "/p"},
        "storageClassName": "s", "persistentVolumeReclaimPolicy": "Delete", "volumeMode": "Block", "claimRef": {}, "nodeAffinity": {}}});
    let sources = [
        json!({}),
        json!({"persistentVolumeName": ""}),
        json!({"persistentVolumeName": "A"}),
        inline,
        json!({"persistentVolumeName": "v", "inlineVolumeSpec": {}}),
    ];
    let errors = sources.into_iter().map(|source| create_errors(make(source)));
    expect![[r#"
        spec.source: Required value: must specify exactly one of inlineVolumeSpec and persistentVolumeName
        spec.source.persistentVolumeName: Required value: must specify non empty persistentVolumeName
        spec.source.persistentVolumeName: Invalid value: "": a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')
        spec.source.persistentVolumeName: Invalid value: "A": a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')
        spec.source.inlineVolumeSpec.claimRef: Forbidden: may not be specified in the context of inline volumes
        spec.source.inlineVolumeSpec.capacity: Forbidden: may not be specified in the context of inline volumes
        spec.source.inlineVolumeSpec.csi: Required value: has to be specified in the context of inline volumes
        spec.source.inlineVolumeSpec.persistentVolumeReclaimPolicy: Forbidden: may only be Retain in the context of inline volumes
        spec.source.inlineVolumeSpec.nodeAffinity: Forbidden: may not be specified in the context of inline volumes
        spec.source.inlineVolumeSpec.storageClassName: Forbidden: may not be specified in the context of inline volumes
        spec.source.inlineVolumeSpec.volumeMode: Forbidden: may not specify volumeMode other than Filesystem in the context of inline volumes
        spec.source: Forbidden: must specify exactly one of inlineVolumeSpec and persistentVolumeName"#]].assert_eq(&errors.collect::<Vec<_>>().join("\n"));
    let bad: VolumeAttachment = with(
        "a",
        json!({"spec": {"attacher": "", "nodeName": "", "source": {"persistentVolumeName": "v"}}}),
    );
    expect![[r#"
        spec.attacher: Required value
        spec.nodeName: Invalid value: "": a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')"#]].assert_eq(&create_errors(bad));
    let (old, new) =
        (make(json!({"persistentVolumeName": "v"})), make(json!({"persistentVolumeName": "w"})));
    expect![[r#"spec: Invalid value: {"attacher":"x","nodeName":"n","source":{"persistentVolumeName":"w"}}: field is immutable"#]].assert_eq(&update_errors(new, old.clone()));
    assert_eq!(cells(&old), "a|x|v|n|false|<unknown>");
}

#[test]
fn volume_attachment_status_is_bounded() {
    let strategy = kinds::of::<VolumeAttachment>().strategy;
    let mut status: VolumeAttachment = with(
        "a",
        json!({"spec": {"attacher": "x", "nodeName": "n", "source": {"persistentVolumeName": "v"}},
        "status": {"attached": true, "attachError": {"message": "x".repeat(1025), "errorCode": -1}}}),
    );
    status.metadata.resource_version = Some("1".into());
    let errors = strategy.validate_status_update(&status, &status.clone());
    expect![[r#"
        status.attachError.message: Too long: may not be more than 262144 bytes
        status.attachError.errorCode: Invalid value: -1: must be between 0 and 2147483647, inclusive"#]].assert_eq(&text(&errors));
}
