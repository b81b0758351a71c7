//! Every kind that needs nothing but to be kept, in one manifest; and what `kubectl auth` asks.

use testkit::kubectl::Kubectl;
use testkit::suite::Test;

pub const TESTS: &[Test] = testkit::tests![
    every: [
        kctl_every_kind_is_applied_and_read_back,
        auth_can_i_answers,
    ],
    once: [auth_whoami_answers],
];

/// Resource, name and document. `NS` stands for the namespace, since many of these belong to the whole cluster.
const OBJECTS: &[(&str, &str, &str)] = &[
    (
        "roles.rbac.authorization.k8s.io",
        "role",
        "rules: [{apiGroups: [''], resources: [pods], verbs: [get]}]",
    ),
    (
        "rolebindings.rbac.authorization.k8s.io",
        "binding",
        "roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: role}\nsubjects: [{kind: User, name: jane}]",
    ),
    (
        "clusterroles.rbac.authorization.k8s.io",
        "NS-role",
        "rules: [{nonResourceURLs: [/healthz], verbs: [get]}]",
    ),
    (
        "clusterrolebindings.rbac.authorization.k8s.io",
        "NS-binding",
        "roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: NS-role}",
    ),
    (
        "endpointslices.discovery.k8s.io",
        "slice",
        "addressType: IPv4\nports: []\nendpoints: [{addresses: [10.1.2.3]}]",
    ),
    ("endpoints", "points", "subsets: [{addresses: [{ip: 10.1.2.3}], ports: [{port: 80}]}]"),
    ("priorityclasses.scheduling.k8s.io", "NS-class", "value: 7"),
    ("runtimeclasses.node.k8s.io", "NS-runtime", "handler: fast"),
    (
        "ingresses.networking.k8s.io",
        "ingress",
        "spec: {defaultBackend: {service: {name: web, port: {number: 80}}}}",
    ),
    (
        "ingressclasses.networking.k8s.io",
        "NS-ingress",
        "spec: {controller: example.com/controller}",
    ),
    ("networkpolicies.networking.k8s.io", "policy", "spec: {podSelector: {}}"),
    ("limitranges", "limits", "spec: {limits: [{type: Container, max: {cpu: '8'}}]}"),
    ("resourcequotas", "quota", "spec: {hard: {secrets: '900'}}"),
    (
        "persistentvolumes",
        "NS-volume",
        "spec: {capacity: {storage: 1Gi}, accessModes: [ReadWriteOnce], hostPath: {path: /tmp/v}}",
    ),
    (
        "persistentvolumeclaims",
        "claim",
        "spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Gi}}}",
    ),
    ("storageclasses.storage.k8s.io", "NS-storage", "provisioner: example.com/disk"),
    ("csidrivers.storage.k8s.io", "NS-driver", "spec: {}"),
    ("csinodes.storage.k8s.io", "NS-node", "spec: {drivers: []}"),
    ("csistoragecapacities.storage.k8s.io", "capacity", "storageClassName: fast\ncapacity: 1Gi"),
    (
        "volumeattachments.storage.k8s.io",
        "NS-attachment",
        "spec: {attacher: example.com, nodeName: node-1, source: {persistentVolumeName: volume-1}}",
    ),
    (
        "volumeattributesclasses.storage.k8s.io",
        "NS-attributes",
        "driverName: example.com\nparameters: {iops: '5'}",
    ),
    (
        "flowschemas.flowcontrol.apiserver.k8s.io",
        "NS-flow",
        "spec: {priorityLevelConfiguration: {name: NS-level}}",
    ),
    (
        "prioritylevelconfigurations.flowcontrol.apiserver.k8s.io",
        "NS-level",
        "spec: {type: Limited, limited: {limitResponse: {type: Reject}}}",
    ),
];

/// Version and kind of a resource, as the server tells them.
fn version_and_kind(table: &str, resource: &str) -> (String, String) {
    let (plural, group) = resource.split_once('.').unwrap_or((resource, ""));
    let rows = table.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    let found = rows.into_iter().find_map(|row| {
        let [.., version, _, kind] = row[..] else { return None };
        let of_group = version.rsplit_once('/').map_or("", |(group, _)| group) == group;
        (row[0] == plural && of_group).then(|| (version.to_owned(), kind.to_owned()))
    });
    found.unwrap_or_else(|| panic!("{resource} in\n{table}"))
}

fn kctl_every_kind_is_applied_and_read_back(k: &Kubectl<'_>) {
    let table = k.ok("api-resources");
    let documents = OBJECTS.iter().map(|(resource, name, rest)| {
        let (version, kind) = version_and_kind(&table, resource);
        format!("apiVersion: {version}\nkind: {kind}\nmetadata: {{name: {name}}}\n{rest}\n")
    });
    let manifest = documents.collect::<Vec<_>>().join("---\n").replace("NS", k.namespace());
    let applied = k.ok_with("apply -f -", &manifest);
    assert_eq!(applied.matches(" created").count(), OBJECTS.len(), "{applied}");
    for (resource, name, _) in OBJECTS {
        let name = name.replace("NS", k.namespace());
        let shown = k.ok(&format!("get {resource} {name} -o wide"));
        let row = shown.lines().nth(1).unwrap_or_default();
        assert!(row.starts_with(&name), "{shown}");
    }
    let again = k.ok_with("apply -f -", &manifest);
    // Lists that are one value are sent whole, without what the server filled in; kubectl says so each time.
    let known = again.lines().filter(|l| l.ends_with(" unchanged") || l.ends_with(" configured"));
    assert_eq!(known.count(), OBJECTS.len(), "{again}");
    let deleted = k.ok_with("delete --wait=false -f -", &manifest);
    assert_eq!(deleted.matches(" deleted").count(), OBJECTS.len(), "{deleted}");
    assert!(k.ok("get componentstatuses").contains("Healthy"));
}

fn auth_can_i_answers(k: &Kubectl<'_>) {
    assert_eq!(k.ok("auth can-i create deployments"), "yes\n");
    assert!(k.ok("auth can-i --list").contains("*.*"));
}

fn auth_whoami_answers(k: &Kubectl<'_>) {
    let shown = k.ok("auth whoami");
    assert!(shown.contains("Username") && shown.contains("system:masters"), "{shown}");
}
