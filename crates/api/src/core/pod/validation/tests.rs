//! Tables of pods, part by part: defaults of the parts, and everything that is refused.

use expect_test::expect;
use k8s_openapi::api::core::v1::Pod;
use serde_json::{Value, json};

use crate::strategy::KindStrategy;
use crate::testing::{create_errors, defaulted, text, update_errors};

fn pod(spec: Value) -> Pod {
    defaulted(json!({"metadata": {"name": "p"}, "spec": spec}))
}

/// A pod with one container that has these fields besides name and image.
fn with(container: Value) -> Pod {
    let mut container = container;
    container["name"] = json!("a");
    container["image"] = json!("nginx");
    pod(json!({"containers": [container]}))
}

fn errors(spec: Value) -> String {
    create_errors(pod(spec))
}

#[test]
fn default_of_parts_is_that_of_kubernetes() {
    let pod = pod(json!({
        "serviceAccount": "sa", "hostNetwork": true,
        "containers": [{
            "name": "a", "image": "nginx:1.0", "ports": [{"containerPort": 80}], "stdin": false,
            "resources": {"limits": {"cpu": "1000m", "memory": "0.5Gi"}, "requests": {"cpu": "100m"}},
            "livenessProbe": {"httpGet": {"port": 80}}, "lifecycle": {"preStop": {"httpGet": {"port": "web", "scheme": "HTTPS"}}},
            "env": [{"name": "N", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
                    {"name": "C", "valueFrom": {"resourceFieldRef": {"resource": "limits.cpu"}}}]
        }],
        "volumes": [{"name": "s", "secret": {"secretName": "s"}}, {"name": "h", "hostPath": {"path": "/"}},
                    {"name": "t", "projected": {"sources": [{"serviceAccountToken": {"path": "t"}}]}}]
    }));
    let spec = serde_json::to_value(&pod).expect("JSON")["spec"].take();
    assert_eq!(spec["serviceAccountName"], "sa");
    let container = &spec["containers"][0];
    assert_eq!(container["imagePullPolicy"], "IfNotPresent");
    assert_eq!(
        container["ports"],
        json!([{"containerPort": 80, "hostPort": 80, "protocol": "TCP"}])
    );
    assert_eq!(
        container["resources"],
        json!({"limits": {"cpu": "1", "memory": "512Mi"}, "requests": {"cpu": "100m", "memory": "512Mi"}})
    );
    assert_eq!(
        container["livenessProbe"],
        json!({"httpGet": {"path": "/", "port": 80, "scheme": "HTTP"}, "timeoutSeconds": 1, "periodSeconds": 10,
               "successThreshold": 1, "failureThreshold": 3})
    );
    assert_eq!(
        container["lifecycle"]["preStop"]["httpGet"],
        json!({"path": "/", "port": "web", "scheme": "HTTPS"})
    );
    assert_eq!(container["env"][0]["valueFrom"]["fieldRef"]["apiVersion"], "v1");
    assert_eq!(container["env"][1]["valueFrom"]["resourceFieldRef"]["divisor"], "0");
    assert!(container.get("stdin").is_none());
    assert_eq!(spec["volumes"][0]["secret"]["defaultMode"], 420);
    assert_eq!(spec["volumes"][1]["hostPath"]["type"], "");
    assert_eq!(
        spec["volumes"][2]["projected"]["sources"][0]["serviceAccountToken"]["expirationSeconds"],
        3600
    );
}

#[test]
fn default_twice_is_default_once() {
    let once = with(
        json!({"resources": {"limits": {"cpu": "2"}}, "livenessProbe": {"exec": {"command": ["x"]}}}),
    );
    let mut twice = once.clone();
    twice.default_fields();
    assert_eq!(once, twice);
}

#[test]
fn create_of_good_pod_is_accepted() {
    assert_eq!(create_errors(with(json!({}))), "");
    assert_eq!(
        errors(json!({
            "containers": [{"name": "a", "image": "nginx", "volumeMounts": [{"name": "v", "mountPath": "/v"}],
                            "env": [{"name": "odd.name-1", "value": "x"}], "ports": [{"name": "web", "containerPort": 80}]}],
            "initContainers": [{"name": "s", "image": "s", "restartPolicy": "Always", "livenessProbe": {"tcpSocket": {"port": "x"}}}],
            "volumes": [{"name": "v", "configMap": {"name": "c"}}],
            "tolerations": [{"operator": "Exists"}], "nodeSelector": {"a": "b"}, "dnsConfig": {"searches": ["_x.y", "."]},
            "affinity": {"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [
                {"topologyKey": "kubernetes.io/hostname", "labelSelector": {"matchLabels": {"a": "b"}}}]}}
        })),
        ""
    );
}

#[test]
fn create_with_bad_container_names_every_field() {
    let bad = json!({"containers": [
        {"name": "A_", "image": " nginx", "imagePullPolicy": "Sometimes", "terminationMessagePolicy": "Disk",
         "ports": [{"containerPort": 0}, {"name": "toolong-toolong-toolong", "containerPort": 70000, "protocol": "X"},
                   {"name": "a", "containerPort": 1, "hostPort": 5}, {"name": "a", "containerPort": 2, "hostPort": 5}],
         "env": [{"name": ""}, {"name": "A=B"}, {"name": "C", "value": "x", "valueFrom": {"secretKeyRef": {"name": "S", "key": "k/"}}},
                 {"name": "D", "valueFrom": {}}, {"name": "E", "valueFrom": {"fieldRef": {"fieldPath": "spec.nope"}}},
                 {"name": "F", "valueFrom": {"fieldRef": {"fieldPath": "status.phase"}}},
                 {"name": "G", "valueFrom": {"resourceFieldRef": {"resource": "limits.gpu", "divisor": "1m"}}}],
         "envFrom": [{}, {"prefix": "P=", "configMapRef": {"name": "c"}}],
         "volumeMounts": [{"name": "v", "mountPath": "/v"}, {"name": "gone", "mountPath": "/v", "subPath": "../x"}]},
        {"name": "b", "image": "b"}, {"name": "b", "image": "b"}
    ], "volumes": [{"name": "v"}, {"name": "v"}, {"name": "two", "emptyDir": {}, "hostPath": {"path": "/x/../y"}}]});
    expect![[r#"
        spec.volumes[1].name: Duplicate value: "v"
        spec.volumes[2].hostPath: Forbidden: may not specify more than 1 volume type
        spec.containers[0].name: Invalid value: "A_": a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')
        spec.containers[0].terminationMessagePolicy: Unsupported value: "Disk": supported values: "File", "FallbackToLogsOnError"
        spec.containers[0].ports[0].containerPort: Required value
        spec.containers[0].ports[1].name: Invalid value: "toolong-toolong-toolong": must be no more than 15 characters
        spec.containers[0].ports[1].containerPort: Invalid value: 70000: must be between 1 and 65535, inclusive
        spec.containers[0].ports[1].protocol: Unsupported value: "X": supported values: "SCTP", "TCP", "UDP"
        spec.containers[0].ports[3].name: Duplicate value: "a"
        spec.containers[0].env[0].name: Required value
        spec.containers[0].env[1].name: Invalid value: "A=B": a valid environment variable name must consist only of printable ASCII characters other than '='
        spec.containers[0].env[2].valueFrom.secretKeyRef.name: Invalid value: "S": a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')
        spec.containers[0].env[2].valueFrom.secretKeyRef.key: Invalid value: "k/": a valid config key must consist of alphanumeric characters, '-', '_' or '.' (e.g. 'key.name',  or 'KEY_NAME',  or 'key-name', regex used for validation is '[-._a-zA-Z0-9]+')
        spec.containers[0].env[2].valueFrom: Invalid value: "": may not be specified when `value` is not empty
        spec.containers[0].env[3].valueFrom: Invalid value: "": must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef`, `secretKeyRef` or `fileKeyRef`
        spec.containers[0].env[4].valueFrom.fieldRef.fieldPath: Invalid value: "spec.nope": error converting fieldPath: field label not supported: spec.nope
        spec.containers[0].env[5].valueFrom.fieldRef.fieldPath: Unsupported value: "status.phase": supported values: "metadata.name", "metadata.namespace", "metadata.uid", "spec.nodeName", "spec.serviceAccountName", "status.hostIP", "status.hostIPs", "status.podIP", "status.podIPs"
        spec.containers[0].env[6].valueFrom.resourceFieldRef.resource: Unsupported value: "limits.gpu": supported values: "limits.cpu", "limits.ephemeral-storage", "limits.memory", "requests.cpu", "requests.ephemeral-storage", "requests.memory"
        spec.containers[0].envFrom: Invalid value: "": must specify one of: `configMapRef` or `secretRef`
        spec.containers[0].envFrom[1].prefix: Invalid value: "P=": a valid environment variable name must consist only of printable ASCII characters other than '='
        spec.containers[0].volumeMounts[1].name: Not found: "gone"
        spec.containers[0].volumeMounts[1].mountPath: Invalid value: "/v": must be unique
        spec.containers[0].volumeMounts.subPath: Invalid value: "../x": must not contain '..'
        spec.containers[0].imagePullPolicy: Unsupported value: "Sometimes": supported values: "Always", "IfNotPresent", "Never"
        spec.containers[2].name: Duplicate value: "b"
        spec.containers[0].ports[3].hostPort: Duplicate value: "TCP//5"
        spec.containers[0].image: Invalid value: " nginx": must not have leading or trailing whitespace"#]]
    .assert_eq(&errors(bad));
}

#[test]
fn create_with_bad_probes_and_hooks_names_every_field() {
    let bad = with(json!({
        "livenessProbe": {"successThreshold": 2, "periodSeconds": -1, "exec": {"command": []}, "tcpSocket": {"port": 0}},
        "readinessProbe": {"terminationGracePeriodSeconds": 5, "httpGet": {"port": "", "scheme": "FTP", "httpHeaders": [{"name": "a b", "value": ""}]}},
        "startupProbe": {"grpc": {"port": 0}},
        "lifecycle": {"postStart": {}, "preStop": {"sleep": {"seconds": 31}}, "stopSignal": "SIGTERM"}
    }));
    expect![[r#"
        spec.containers[0].lifecycle.postStart: Required value: must specify a handler type
        spec.containers[0].lifecycle.preStop.sleep: Invalid value: 31: must be non-negative and less than terminationGracePeriodSeconds (30)
        spec.containers[0].lifecycle.stopSignal: Forbidden: may not be set for containers with empty `spec.os.name`
        spec.containers[0].livenessProbe.exec.command: Required value
        spec.containers[0].livenessProbe.tcpSocket: Forbidden: may not specify more than 1 handler type
        spec.containers[0].livenessProbe.periodSeconds: Invalid value: -1: must be greater than or equal to 0
        spec.containers[0].livenessProbe.successThreshold: Invalid value: 2: must be 1
        spec.containers[0].readinessProbe.httpGet.port: Invalid value: "": must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)
        spec.containers[0].readinessProbe.httpGet.port: Invalid value: "": must contain at least one letter (a-z)
        spec.containers[0].readinessProbe.httpGet.scheme: Unsupported value: "FTP": supported values: "HTTP", "HTTPS"
        spec.containers[0].readinessProbe.httpGet.httpHeaders: Invalid value: "a b": a valid HTTP header must consist of alphanumeric characters or '-' (e.g. 'X-Header-Name', regex used for validation is '[-A-Za-z0-9]+')
        spec.containers[0].readinessProbe.terminationGracePeriodSeconds: Invalid value: 5: must not be set for readinessProbes
        spec.containers[0].startupProbe.grpc.port: Invalid value: 0: must be between 1 and 65535, inclusive"#]]
    .assert_eq(&create_errors(bad));
}

#[test]
fn create_with_bad_resources_and_security_names_every_field() {
    let bad = with(json!({
        "resources": {"limits": {"cpu": "-1", "memory": "1Gi", "gpu": "1", "hugepages-2Mi": "3Mi", "nvidia.com/gpu": "1500m"},
                      "requests": {"memory": "2Gi", "example.com/x": "1"}, "claims": [{"name": "c"}]},
        "securityContext": {"runAsUser": -1, "procMount": "Unmasked", "privileged": true, "allowPrivilegeEscalation": false,
                            "seccompProfile": {"type": "Localhost"}, "appArmorProfile": {"type": "Some"}}
    }));
    expect![[r#"
        spec.containers[0].resources.limits[cpu]: Invalid value: "-1": must be greater than or equal to 0
        spec.containers[0].resources.limits[gpu]: Invalid value: "gpu": must be a standard resource type or fully qualified
        spec.containers[0].resources.limits[gpu]: Invalid value: "gpu": must be a standard resource for containers
        spec.containers[0].resources.limits[hugepages-2Mi]: Invalid value: "3Mi": 3Mi is not positive integer multiple of hugepages-2Mi
        spec.containers[0].resources.limits[nvidia.com/gpu]: Invalid value: "1500m": must be an integer
        spec.containers[0].resources.requests[cpu]: Invalid value: "-1": must be greater than or equal to 0
        spec.containers[0].resources.limits: Required value: Limit must be set for non overcommitable resources
        spec.containers[0].resources.requests[gpu]: Invalid value: "gpu": must be a standard resource type or fully qualified
        spec.containers[0].resources.requests[gpu]: Invalid value: "gpu": must be a standard resource for containers
        spec.containers[0].resources.requests[hugepages-2Mi]: Invalid value: "3Mi": 3Mi is not positive integer multiple of hugepages-2Mi
        spec.containers[0].resources.requests: Invalid value: "2Gi": must be less than or equal to memory limit of 1Gi
        spec.containers[0].resources.requests[nvidia.com/gpu]: Invalid value: "1500m": must be an integer
        spec.containers[0].resources.claims[0]: Not found: "c": must be one of the names in pod.spec.resourceClaims which is empty
        spec.containers[0].securityContext.runAsUser: Invalid value: -1: must be between 0 and 2147483647, inclusive
        spec.containers[0].securityContext.procMount: Invalid value: "Unmasked": `hostUsers` must be false to use `Unmasked`
        spec.containers[0].securityContext.seccompProfile.localhostProfile: Required value: must be set when seccomp type is Localhost
        spec.containers[0].securityContext: Invalid value: {"allowPrivilegeEscalation":false,"appArmorProfile":{"type":"Some"},"privileged":true,"procMount":"Unmasked","runAsUser":-1,"seccompProfile":{"type":"Localhost"}}: cannot set `allowPrivilegeEscalation` to false and `privileged` to true
        spec.containers[0].securityContext.appArmorProfile.type: Unsupported value: "Some": supported values: "Localhost", "RuntimeDefault", "Unconfined""#]]
    .assert_eq(&create_errors(bad));
}

#[test]
fn create_with_bad_spec_names_every_field() {
    let bad = json!({
        "containers": [{"name": "a", "image": "a"}], "restartPolicy": "Maybe", "dnsPolicy": "None", "nodeName": "N_",
        "activeDeadlineSeconds": 0, "hostname": "a.b", "serviceAccountName": "S A", "priorityClassName": "P",
        "runtimeClassName": "R", "preemptionPolicy": "Often", "nodeSelector": {"a b": "c d"},
        "hostAliases": [{"ip": "1.2.3", "hostnames": ["h_"]}], "hostUsers": false, "hostPID": true,
        "schedulingGates": [{"name": "g"}, {"name": "g"}], "readinessGates": [{"conditionType": "a b"}],
        "securityContext": {"fsGroup": -1, "sysctls": [{"name": "a..b", "value": "1"}, {"name": "net.x", "value": ""}, {"name": "net.x", "value": ""}],
                            "fsGroupChangePolicy": "Now"},
        "os": {"name": "plan9"},
        "ephemeralContainers": [{"name": "a", "image": "e", "targetContainerName": "x", "ports": [{"containerPort": 1}]}]
    });
    expect![[r#"
        spec.ephemeralContainers[0].name: Duplicate value: "a"
        spec.ephemeralContainers[0].targetContainerName: Not found: "x"
        spec.ephemeralContainers[0].ports: Forbidden: cannot be set for an Ephemeral Container
        spec.restartPolicy: Unsupported value: "Maybe": supported values: "Always", "OnFailure", "Never"
        spec.nodeSelector: Invalid value: "a b": name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')
        spec.nodeSelector: Invalid value: "c d": a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')
        spec.securityContext.fsGroup: Invalid value: -1: must be between 0 and 2147483647, inclusive
        spec.securityContext.sysctls[0].name: Invalid value: "a..b": must have at most 253 characters and match regex ^([a-z0-9]([-_a-z0-9]*[a-z0-9])?[\./])*[a-z0-9]([-_a-z0-9]*[a-z0-9])?$
        spec.securityContext.sysctls[2].name: Duplicate value: "net.x"
        spec.securityContext.fsGroupChangePolicy: Unsupported value: "Now": supported values: "Always", "OnRootMismatch"
        spec.dnsConfig: Required value: must provide `dnsConfig` when `dnsPolicy` is None
        spec.readinessGates[0].conditionType: Invalid value: "a b": name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')
        spec.schedulingGates[1]: Duplicate value: "g"
        spec.HostPID: Forbidden: when `hostUsers` is false
        spec.serviceAccountName: Invalid value: "S A": a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')
        spec.nodeName: Invalid value: "N_": a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')
        spec.priorityClassName: Invalid value: "P": a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')
        spec.hostname: Invalid value: "a.b": must not contain dots
        spec.runtimeClassName: Invalid value: "R": a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')
        spec.activeDeadlineSeconds: Invalid value: 0: must be between 1 and 2147483647, inclusive
        spec.hostAliases[0].ip: Invalid value: "1.2.3": must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)
        spec.hostAliases[0].hostnames[0]: Invalid value: "h_": a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')
        spec.preemptionPolicy: Unsupported value: "Often": supported values: "PreemptLowerPriority", "Never"
        spec.os: Unsupported value: "plan9": supported values: "linux", "windows"
        spec.ephemeralContainers: Forbidden: cannot be set on create
        spec.nodeName: Forbidden: cannot be set until all schedulingGates have been cleared"#]]
    .assert_eq(&errors(bad));
}

#[test]
fn create_with_bad_scheduling_names_every_field() {
    let bad = json!({
        "containers": [{"name": "a", "image": "a"}],
        "tolerations": [{"key": "a", "operator": "Exists", "value": "b"}, {"operator": "Equal"}, {"key": "k", "operator": "Near"},
                        {"key": "k", "effect": "NoSchedule", "tolerationSeconds": 1}, {"key": "k", "effect": "Never"}],
        "topologySpreadConstraints": [{"maxSkew": 0, "topologyKey": "", "whenUnsatisfiable": "Cry", "minDomains": 0, "nodeTaintsPolicy": "X"}],
        "affinity": {
            "nodeAffinity": {
                "requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [
                    {"matchExpressions": [{"key": "a", "operator": "In"}, {"key": "b", "operator": "Gt", "values": ["1", "2"]}, {"key": "c", "operator": "Like"}],
                     "matchFields": [{"key": "spec.x", "operator": "In", "values": ["a"]}]}]},
                "preferredDuringSchedulingIgnoredDuringExecution": [{"weight": 0, "preference": {}}]},
            "podAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [
                {"topologyKey": "", "namespaces": ["N"], "matchLabelKeys": ["x"], "labelSelector": {"matchExpressions": [{"key": "a", "operator": "In"}]}}]}
        }
    });
    expect![[r#"
        spec.affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms[0].matchExpressions[0].values: Required value: must be specified when `operator` is 'In' or 'NotIn'
        spec.affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms[0].matchExpressions[1].values: Required value: must be specified single value when `operator` is 'Lt' or 'Gt'
        spec.affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms[0].matchExpressions[2].operator: Invalid value: "Like": not a valid selector operator
        spec.affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms[0].matchFields[0].key: Invalid value: "spec.x": not a valid field selector key
        spec.affinity.nodeAffinity.preferredDuringSchedulingIgnoredDuringExecution[0].weight: Invalid value: 0: must be in the range 1-100
        spec.affinity.podAffinity.requiredDuringSchedulingIgnoredDuringExecution[0].labelSelector.matchExpressions[0].values: Required value: must be specified when `operator` is 'In' or 'NotIn'
        spec.affinity.podAffinity.requiredDuringSchedulingIgnoredDuringExecution[0].namespace: Invalid value: "N": a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')
        spec.affinity.podAffinity.requiredDuringSchedulingIgnoredDuringExecution[0].topologyKey: Required value: can not be empty
        spec.affinity.podAffinity.requiredDuringSchedulingIgnoredDuringExecution[0].topologyKey: Invalid value: "": name part must be non-empty
        spec.affinity.podAffinity.requiredDuringSchedulingIgnoredDuringExecution[0].topologyKey: Invalid value: "": name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')
        spec.topologySpreadConstraints[0].maxSkew: Invalid value: 0: must be greater than zero
        spec.topologySpreadConstraints[0].topologyKey: Required value: can not be empty
        spec.topologySpreadConstraints[0].whenUnsatisfiable: Unsupported value: "Cry": supported values: "DoNotSchedule", "ScheduleAnyway"
        spec.topologySpreadConstraints[0].minDomains: Invalid value: 0: must be greater than zero
        spec.topologySpreadConstraints[0].minDomains: Invalid value: 0: can only use minDomains if whenUnsatisfiable=DoNotSchedule, not Cry
        spec.topologySpreadConstraints[0].nodeTaintsPolicy: Unsupported value: "X": supported values: "Honor", "Ignore"
        spec.tolerations[0].operator: Invalid value: "b": value must be empty when `operator` is 'Exists'
        spec.tolerations[1].operator: Invalid value: "Equal": operator must be Exists when `key` is empty, which means "match all values and all keys"
        spec.tolerations[2].operator: Unsupported value: "Near": supported values: "Equal", "Exists"
        spec.tolerations[3].effect: Invalid value: "NoSchedule": effect must be 'NoExecute' when `tolerationSeconds` is set
        spec.tolerations[4].effect: Unsupported value: "Never": supported values: "NoSchedule", "PreferNoSchedule", "NoExecute""#]]
    .assert_eq(&errors(bad));
}

#[test]
fn update_of_gated_pod_may_narrow_where_it_runs() {
    let gated = |extra: Value| {
        let mut spec = json!({"containers": [{"name": "a", "image": "a"}], "schedulingGates": [{"name": "g"}]});
        spec.as_object_mut()
            .expect("an object")
            .extend(extra.as_object().expect("an object").clone());
        pod(spec)
    };
    let old = gated(json!({"nodeSelector": {"a": "b"}}));
    assert_eq!(
        update_errors(gated(json!({"nodeSelector": {"a": "b", "c": "d"}})), old.clone()),
        ""
    );
    expect![[r#"spec.nodeSelector: Invalid value: {"c":"d"}: only additions to spec.nodeSelector are allowed (no mutations or deletions)"#]]
        .assert_eq(&update_errors(gated(json!({"nodeSelector": {"c": "d"}})), old.clone()));
    expect![[r#"spec.schedulingGates[0].name: Forbidden: only deletion is allowed, but found new scheduling gate 'h'"#]]
        .assert_eq(&update_errors(gated(json!({"nodeSelector": {"a": "b"}, "schedulingGates": [{"name": "h"}]})), old));
}

fn status_errors(status: Value, before: Value, policy: &str) -> String {
    let make = |status: Value| {
        let mut pod: Pod =
            defaulted(json!({"metadata": {"name": "p", "namespace": "d", "resourceVersion": "1"},
            "spec": {"containers": [{"name": "a", "image": "a"}], "restartPolicy": policy}}));
        pod.status = Some(serde_json::from_value(status).expect("a status"));
        pod
    };
    let (mut new, old) = (make(status), make(before));
    let strategy = crate::kinds::of::<Pod>().strategy;
    strategy.prepare_status_update(&mut new, &old);
    text(&strategy.validate_status_update(&new, &old))
}

#[test]
fn status_update_of_ended_container_stays_ended() {
    let ended = json!({"containerStatuses": [{"name": "a", "image": "", "imageID": "", "ready": false, "restartCount": 0,
                                              "state": {"terminated": {"exitCode": 0}}}]});
    let running = json!({"containerStatuses": [{"name": "a", "image": "", "imageID": "", "ready": false, "restartCount": 0,
                                                "state": {"running": {}}}]});
    let refused = "status.containerStatuses[0].state: Forbidden: may not be transitioned to non-terminated state";
    assert_eq!(status_errors(running.clone(), ended.clone(), "Never"), refused);
    assert_eq!(status_errors(running.clone(), ended.clone(), "OnFailure"), refused);
    assert_eq!(status_errors(running, ended, "Always"), "");
}

#[test]
fn status_update_with_bad_values_names_every_field() {
    let bad = json!({"qosClass": "Guaranteed", "podIPs": [{"ip": "10.0.0.1"}, {"ip": "10.0.0.2"}], "hostIPs": [{"ip": "x"}],
                     "conditions": [{"type": "a b", "status": "True"}], "observedGeneration": -1, "nominatedNodeName": "N"});
    expect![[r#"
        status.conditions[0].Type: Invalid value: "a b": name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')
        status.nominatedNodeName: Invalid value: "N": a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')
        status.observedGeneration: Invalid value: -1: must be a non-negative integer
        status.qosClass: Invalid value: "Guaranteed": field is immutable
        status.podIPs: Invalid value: ["10.0.0.1","10.0.0.2"]: may specify no more than one IP for each IP family
        status.hostIPs[0].ip: Invalid value: "x": must be equal to `hostIP`
        status.hostIPs[0]: Invalid value: "x": must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)"#]]
    .assert_eq(&status_errors(bad, json!({"qosClass": "BestEffort"}), "Always"));
}

#[test]
fn warnings_of_hidden_and_doubled_things_are_given() {
    let odd = pod(json!({
        "terminationGracePeriodSeconds": -1, "nodeSelector": {"beta.kubernetes.io/os": "linux"},
        "containers": [
            {"name": "a", "image": "a", "env": [{"name": "A", "value": "1"}, {"name": "A", "value": "2"}, {"name": "A", "value": "$(A):3"}],
             "ports": [{"containerPort": 80, "name": "web"}, {"containerPort": 80}],
             "resources": {"limits": {"memory": "1500m"}}},
            {"name": "b", "image": "b", "ports": [{"containerPort": 81, "name": "web"}]}]
    }));
    let expected = expect![[r#"
        spec.nodeSelector[beta.kubernetes.io/os]: deprecated since v1.14; use "kubernetes.io/os" instead
        spec.containers[0].resources.limits[memory]: fractional byte value "1500m" is invalid, must be an integer
        spec.containers[0].resources.requests[memory]: fractional byte value "1500m" is invalid, must be an integer
        spec.containers[0].env[1]: hides previous definition of "A", which may be dropped when using apply
        spec.containers[0].ports[1]: duplicate port definition with spec.containers[0].ports[0]
        spec.containers[1].ports[0]: duplicate port name "web" with spec.containers[0].ports[0], services and probes that select ports by name will use spec.containers[0].ports[0]
        spec.terminationGracePeriodSeconds: must be >= 0; negative values are invalid and will be treated as 1"#]];
    expected.assert_eq(&odd.warnings(None).join("\n"));
}

#[test]
fn create_with_label_keys_merges_them_once() {
    let mut pod: Pod = defaulted(
        json!({"metadata": {"name": "p", "labels": {"app": "x"}}, "spec": {
        "containers": [{"name": "a", "image": "a"}],
        "topologySpreadConstraints": [{"maxSkew": 1, "topologyKey": "k", "whenUnsatisfiable": "ScheduleAnyway",
                                       "matchLabelKeys": ["app"], "labelSelector": {}}]}}),
    );
    pod.on_create();
    pod.on_create();
    let spec = serde_json::to_value(&pod.spec).expect("JSON");
    assert_eq!(
        spec["topologySpreadConstraints"][0]["labelSelector"],
        json!({"matchExpressions": [{"key": "app", "operator": "In", "values": ["x"]}]})
    );
}

#[test]
fn fields_of_pod_can_be_selected() {
    let mut pod = pod(
        json!({"containers": [{"name": "a", "image": "a"}], "nodeName": "n1", "hostNetwork": true}),
    );
    pod.status.get_or_insert_default().pod_ips =
        Some(vec![k8s_openapi::api::core::v1::PodIP { ip: "10.0.0.1".into() }]);
    let fields: std::collections::BTreeMap<_, _> = pod.fields().into_iter().collect();
    assert_eq!(fields.keys().copied().collect::<Vec<_>>(), {
        let mut names = Pod::SELECTABLE.to_vec();
        names.sort_unstable();
        names
    });
    for (name, value) in [
        ("spec.nodeName", "n1"),
        ("spec.hostNetwork", "true"),
        ("status.podIP", "10.0.0.1"),
        ("spec.restartPolicy", "Always"),
    ] {
        assert_eq!(fields[name], value);
    }
}
