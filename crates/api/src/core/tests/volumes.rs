//! Tables of persistent volumes and claims.

use expect_test::expect;
use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim};
use serde_json::{Value, json};

use crate::kinds;
use crate::strategy::KindStrategy;
use crate::testing::{cells, create_errors, defaulted, text, update_errors};

fn volume(spec: Value) -> PersistentVolume {
    defaulted(json!({"metadata": {"name": "v"}, "spec": spec}))
}

/// A good volume, with changes.
fn disk(changes: Value) -> PersistentVolume {
    let mut spec = json!({"capacity": {"storage": "1Gi"}, "accessModes": ["ReadWriteOnce"], "hostPath": {"path": "/d"}});
    merge(&mut spec, changes);
    volume(spec)
}

fn merge(into: &mut Value, changes: Value) {
    let changes = changes.as_object().expect("an object").clone();
    into.as_object_mut().expect("an object").extend(changes);
}

#[test]
fn volume_is_filled_in() {
    let (mut volume, now) = (disk(json!({})), "2026-01-01T00:00:00Z".parse().expect("a time"));
    volume.stamp(None, now);
    expect![[r#"{"apiVersion":"v1","kind":"PersistentVolume","metadata":{"name":"v"},"spec":{"accessModes":["ReadWriteOnce"],"capacity":{"storage":"1Gi"},"hostPath":{"path":"/d","type":""},"persistentVolumeReclaimPolicy":"Retain","volumeMode":"Filesystem"},"status":{"lastPhaseTransitionTime":"2026-01-01T00:00:00Z","phase":"Pending"}}"#]].assert_eq(&serde_json::to_string(&volume).expect("JSON"));
    volume.clear_status();
    volume.stamp(None, now);
    assert!(volume.status.is_some_and(|s| s.last_phase_transition_time.is_some()));
}

#[test]
fn volume_with_everything_wrong_names_every_field() {
    let bad = volume(
        json!({"accessModes": ["ReadWriteOncePod", "ReadOnlyMany", "Never"], "capacity": {"storage": "-1", "cpu": "0"},
        "persistentVolumeReclaimPolicy": "Burn", "volumeMode": "Tape", "storageClassName": "A", "volumeAttributesClassName": "",
        "nodeAffinity": {}, "nfs": {"server": "", "path": "x"}, "csi": {"driver": "", "volumeHandle": ""}}),
    );
    expect![[r#"
        spec.accessModes: Unsupported value: "Never": supported values: "ReadOnlyMany", "ReadWriteMany", "ReadWriteOnce", "ReadWriteOncePod"
        spec.accessModes: Forbidden: may not use ReadWriteOncePod with other access modes
        spec.capacity: Unsupported value: {"cpu":"0","storage":"-1"}: supported values: "storage"
        spec.capacity[cpu]: Invalid value: "0": must be greater than zero
        spec.capacity[storage]: Invalid value: -1: must be a valid resource quantity
        spec.capacity[storage]: Invalid value: "-1": must be greater than zero
        spec.persistentVolumeReclaimPolicy: Unsupported value: "Burn": supported values: "Delete", "Recycle", "Retain"
        spec.nodeAffinity.required: Required value: must specify required node constraints
        spec.nfs.server: Required value
        spec.nfs.path: Invalid value: "x": must be an absolute path
        spec.csi: Forbidden: may not specify more than 1 volume type
        spec.storageClassName: Invalid value: "A": a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')
        spec.volumeMode: Unsupported value: "Tape": supported values: "Block", "Filesystem"
        spec.volumeAttributesClassName: Required value: an empty string is disallowed"#]].assert_eq(&create_errors(bad));
    expect![[r#"
        spec.accessModes: Required value
        spec.capacity: Required value
        spec.capacity: Unsupported value: null: supported values: "storage"
        spec: Required value: must specify a volume type"#]]
    .assert_eq(&create_errors(volume(json!({}))));
}

#[test]
fn volume_sources_have_their_rules() {
    let sources = [
        json!({"hostPath": {"path": "/../x", "type": "Hole"}}),
        json!({"hostPath": {"path": "/"}, "persistentVolumeReclaimPolicy": "Recycle"}),
        json!({"gcePersistentDisk": {"pdName": "", "partition": 300}}),
        json!({"glusterfs": {"endpoints": "", "path": "", "endpointsNamespace": ""}}),
        json!({"cinder": {"volumeID": "", "secretRef": {}}}),
        json!({"azureFile": {"secretName": "", "shareName": "", "secretNamespace": ""}}),
        json!({"iscsi": {"targetPortal": "", "iqn": "x", "lun": 300, "chapAuthSession": true, "initiatorName": "y"}}),
        json!({"storageos": {"volumeName": "A", "secretRef": {}}}),
        json!({"local": {"path": "a/../b"}}),
        json!({"cephfs": {"monitors": []}}),
        json!({"rbd": {"monitors": [], "image": ""}}),
        json!({"scaleIO": {"gateway": "", "system": "", "secretRef": {}}}),
        json!({"flexVolume": {"driver": "", "options": {"k8s.io/x": ""}}}),
        json!({"csi": {"driver": "A_B", "volumeHandle": "h", "nodePublishSecretRef": {"name": "A"}}}),
    ];
    let errors = sources.into_iter().map(|source| {
        let mut spec = json!({"capacity": {"storage": "1Gi"}, "accessModes": ["ReadWriteOnce"]});
        merge(&mut spec, source);
        create_errors(volume(spec))
    });
    expect![[r#"
        spec.hostPath.path: Invalid value: "/../x": must not contain '..'
        spec.hostPath.type: Unsupported value: "Hole": supported values: "", "BlockDevice", "CharDevice", "Directory", "DirectoryOrCreate", "File", "FileOrCreate", "Socket"
        spec.persistentVolumeReclaimPolicy: Forbidden: may not be 'recycle' for a hostPath mount of '/'
        spec.persistentDisk.pdName: Required value
        spec.persistentDisk.partition: Invalid value: 300: must be between 1 and 255, inclusive
        spec.glusterfs.endpoints: Required value
        spec.glusterfs.path: Required value
        spec.glusterfs.endpointsNamespace: Invalid value: "": if the endpointnamespace is set, it must be a valid namespace name
        spec.cinder.volumeID: Required value
        spec.cinder.secretRef.name: Required value
        spec.cinder.secretRef.namespace: Required value
        spec.azureFile.secretName: Required value
        spec.azureFile.shareName: Required value
        spec.azureFile.secretNamespace: Required value
        spec.iscsi.targetPortal: Required value
        spec.iscsi.iqn: Invalid value: "x": must be valid format
        spec.iscsi.lun: Invalid value: 300: must be between 0 and 255, inclusive
        spec.iscsi.secretRef: Required value
        spec.iscsi.initiatorname: Invalid value: "y": must be valid format
        spec.storageos.volumeName: Invalid value: "A": a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')
        spec.storageos.secretRef.name: Required value
        spec.storageos.secretRef.namespace: Required value
        spec.local.path: Invalid value: "a/../b": must not contain '..'
        spec.nodeAffinity: Required value: Local volume requires node affinity
        spec.cephfs.monitors: Required value
        spec.rbd.monitors: Required value
        spec.rbd.image: Required value
        spec.scaleIO.gateway: Required value
        spec.scaleIO.system: Required value
        spec.scaleIO.volumeName: Required value
        spec.flexVolume.driver: Required value
        spec.flexVolume.options[k8s.io/x]: Invalid value: "k8s.io/x": kubernetes.io and k8s.io namespaces are reserved
        spec.csi.driver: Invalid value: "A_B": a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')
        spec.csi.nodePublishSecretRef.name: Invalid value: "A": a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')
        spec.csi.nodePublishSecretRef.namespace: Required value"#]].assert_eq(&errors.collect::<Vec<_>>().join("\n"));
}

#[test]
fn volume_keeps_where_its_data_lives() {
    let csi = |secret: bool| {
        let mut csi = json!({"driver": "d", "volumeHandle": "h"});
        if secret {
            csi["controllerExpandSecretRef"] = json!({"name": "s", "namespace": "n"});
        }
        disk(json!({"hostPath": null, "csi": csi}))
    };
    assert_eq!(update_errors(csi(true), csi(false)), "");
    let zone = |key: &str| {
        let term = json!({"matchExpressions": [{"key": key, "operator": "Exists"}]});
        disk(json!({"nodeAffinity": {"required": {"nodeSelectorTerms": [term]}}}))
    };
    let (old, new) = ("failure-domain.beta.kubernetes.io/zone", "topology.kubernetes.io/zone");
    assert_eq!(update_errors(zone(new), zone(old)), "");
    assert_eq!(zone(old).warnings(None).len(), 1);
    let moved = disk(json!({"hostPath": {"path": "/e"}, "volumeMode": "Block"}));
    expect![[r#"
        spec.persistentvolumesource: Forbidden: spec.persistentvolumesource is immutable after creation
        volumeMode: Invalid value: "Block": field is immutable
        nodeAffinity: Invalid value: null: field is immutable, except for updating from beta label to GA"#]].assert_eq(&update_errors(moved, zone(old)));
    let capacity =
        disk(json!({"capacity": {"storage": "2Gi"}, "claimRef": {"namespace": "n", "name": "c"}}));
    assert_eq!(update_errors(capacity, disk(json!({}))), "");
}

#[test]
fn volume_warns_of_what_is_old() {
    let old: PersistentVolume = defaulted(
        json!({"metadata": {"name": "v", "annotations": {"volume.beta.kubernetes.io/storage-class": "c"}},
        "spec": {"persistentVolumeReclaimPolicy": "Recycle", "glusterfs": {"endpoints": "e", "path": "p"}}}),
    );
    expect![[r#"
        metadata.annotations[volume.beta.kubernetes.io/storage-class]: deprecated since v1.8; use "storageClassName" attribute instead
        spec.persistentVolumeReclaimPolicy: The Recycle reclaim policy is deprecated. Instead, the recommended approach is to use dynamic provisioning.
        spec.glusterfs: deprecated in v1.25, non-functional in v1.26+"#]].assert_eq(&old.warnings(None).join("\n"));
}

#[test]
fn volume_row_reads_as_in_kubernetes() {
    assert_eq!(
        cells(&disk(json!({}))),
        "v|1Gi|RWO|Retain|Pending||||<unset>|<unknown>|Filesystem"
            .replace("||||<unset>|", "|||<unset>||")
    );
    let bound =
        disk(json!({"accessModes": ["ReadWriteMany", "ReadWriteOnce"], "storageClassName": "s",
        "claimRef": {"namespace": "n", "name": "c"}, "volumeAttributesClassName": "g"}));
    assert_eq!(cells(&bound), "v|1Gi|RWO,RWX|Retain|Pending|n/c|s|g||<unknown>|Filesystem");
}

fn claim(spec: Value, status: Value) -> PersistentVolumeClaim {
    let mut whole =
        json!({"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "2Gi"}}});
    merge(&mut whole, spec);
    defaulted(json!({"metadata": {"name": "c"}, "spec": whole, "status": status}))
}

#[test]
fn claim_is_filled_in_and_names_its_source_twice() {
    let snapshot =
        json!({"apiGroup": "snapshot.storage.k8s.io", "kind": "VolumeSnapshot", "name": "s"});
    let mut made = claim(json!({"dataSource": snapshot}), json!({}));
    made.on_create();
    expect![[r#"{"apiVersion":"v1","kind":"PersistentVolumeClaim","metadata":{"name":"c"},"spec":{"accessModes":["ReadWriteOnce"],"dataSource":{"apiGroup":"snapshot.storage.k8s.io","kind":"VolumeSnapshot","name":"s"},"dataSourceRef":{"apiGroup":"snapshot.storage.k8s.io","kind":"VolumeSnapshot","name":"s"},"resources":{"requests":{"storage":"2Gi"}},"volumeMode":"Filesystem"},"status":{"phase":"Pending"}}"#]].assert_eq(&serde_json::to_string(&made).expect("JSON"));
    for (given, kept) in [
        (json!({"dataSource": {"kind": "Pod", "name": "p"}}), [false, false]),
        (json!({"dataSourceRef": {"kind": "Any", "apiGroup": "g", "name": "p"}}), [true, true]),
        (json!({"dataSourceRef": {"kind": "Any", "name": "p", "namespace": "n"}}), [false, false]),
    ] {
        let mut made = claim(given.clone(), json!({}));
        made.on_create();
        let spec = made.spec.expect("a spec");
        assert_eq!([spec.data_source.is_some(), spec.data_source_ref.is_some()], kept, "{given}");
    }
}

#[test]
fn claim_with_everything_wrong_names_every_field() {
    let bad = claim(
        json!({"accessModes": ["ReadWriteOncePod", "ReadOnlyMany", "Never"], "resources": {"requests": {"storage": "0"}},
            "selector": {"matchLabels": {"a b": ""}}, "storageClassName": "A", "volumeAttributesClassName": "B", "volumeMode": "Tape",
            "dataSource": {"kind": "PersistentVolumeClaim", "name": "x"}, "dataSourceRef": {"kind": "", "name": "", "apiGroup": "G"}}),
        json!({}),
    );
    expect![[r#"
        spec.selector.matchLabels: Invalid value: "a b": name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')
        spec.accessModes: Unsupported value: "Never": supported values: "ReadOnlyMany", "ReadWriteMany", "ReadWriteOnce", "ReadWriteOncePod"
        spec.accessModes: Forbidden: may not use ReadWriteOncePod with other access modes
        spec.resources[storage]: Invalid value: "0": must be greater than zero
        spec.storageClassName: Invalid value: "A": a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')
        spec.volumeAttributesClassName: Invalid value: "B": a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')
        spec.volumeMode: Unsupported value: "Tape": supported values: "Block", "Filesystem"
        spec.dataSourceRef.name: Required value
        spec.dataSourceRef.kind: Required value
        spec.dataSourceRef.apiGroup: Invalid value: "G": a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')
        spec: Invalid value: "spec.dataSource": must match dataSourceRef"#]].assert_eq(&create_errors(bad));
    let empty: PersistentVolumeClaim = defaulted(json!({"metadata": {"name": "c"}}));
    expect![[r#"
        spec.accessModes: Required value: at least 1 access mode is required
        spec.resources[storage]: Required value"#]]
    .assert_eq(&create_errors(empty));
}

#[test]
fn claim_changes_within_its_bounds() {
    let size = |size: &str| json!({"resources": {"requests": {"storage": size}}});
    let bound = || json!({"phase": "Bound", "capacity": {"storage": "1Gi"}, "currentVolumeAttributesClassName": "g"});
    let update = |new: Value, old: Value, status: Value| {
        update_errors(claim(new, status.clone()), claim(old, status))
    };
    assert_eq!(
        update(json!({"volumeName": "v"}), json!({}), json!({})),
        "",
        "the binder names the volume"
    );
    assert_eq!(
        update(json!({"storageClassName": "s"}), json!({}), json!({})),
        "",
        "a default class comes late"
    );
    assert_eq!(update(size("3Gi"), size("2Gi"), bound()), "", "a bound claim grows");
    assert_eq!(update(size("2Gi"), size("3Gi"), bound()), "", "a wish is taken back");
    let all = [
        update(size("3Gi"), size("2Gi"), json!({})),
        update(size("1Gi"), size("2Gi"), bound()),
        update(
            json!({"volumeMode": "Block", "volumeName": "w"}),
            json!({"volumeName": "v"}),
            bound(),
        ),
        update(
            json!({"volumeAttributesClassName": ""}),
            json!({"volumeAttributesClassName": "g"}),
            bound(),
        ),
    ];
    expect![[r#"
        spec: Forbidden: spec is immutable after creation except resources.requests and volumeAttributesClassName for bound claims
        spec.resources.requests.storage: Forbidden: field can not be less than status.capacity
        spec: Forbidden: spec is immutable after creation except resources.requests and volumeAttributesClassName for bound claims
        volumeMode: Invalid value: "Block": field is immutable
        spec.volumeAttributesClassName: Forbidden: update to empty string is forbidden when status.currentVolumeAttributesClassName is not nil"#]].assert_eq(&all.join("\n"));
}

#[test]
fn claim_status_is_checked() {
    let strategy = kinds::of::<PersistentVolumeClaim>().strategy;
    let mut bad = claim(
        json!({}),
        json!({"capacity": {"storage": "-5"}, "allocatedResources": {"cpu": "1", "storage": "-1"},
        "allocatedResourceStatuses": {"storage": "Odd"}}),
    );
    bad.metadata.resource_version = Some("1".into());
    let errors = strategy.validate_status_update(&bad, &bad.clone());
    expect![[r#"
        status.capacity[storage]: Invalid value: -5: must be a valid resource quantity
        status.allocatedResourceStatuses: Unsupported value: "storage": supported values: "ControllerResizeInProgress", "ControllerResizeInfeasible", "NodeResizeInProgress", "NodeResizeInfeasible", "NodeResizePending"
        status.allocatedResources: Unsupported value: "cpu": supported values: "storage"
        status.allocatedResources[storage]: Invalid value: -1: must be a valid resource quantity"#]].assert_eq(&text(&errors));
}

#[test]
fn claim_row_and_warnings_read_as_in_kubernetes() {
    assert_eq!(cells(&claim(json!({}), json!({}))), "c|Pending|||||<unset>|<unknown>|Filesystem");
    let bound = claim(
        json!({"volumeName": "v", "storageClassName": "s", "volumeMode": "Block"}),
        json!({"phase": "Bound", "capacity": {"storage": "3Gi"}, "accessModes": ["ReadWriteOnce"]}),
    );
    assert_eq!(cells(&bound), "c|Bound|v|3Gi|RWO|s|<unset>|<unknown>|Block");
    let odd = claim(json!({"resources": {"requests": {"storage": "1500m"}}}), json!({}));
    assert_eq!(
        odd.warnings(None),
        [
            "spec.resources.requests[storage]: fractional byte value \"1500m\" is invalid, must be an integer"
        ]
    );
}
