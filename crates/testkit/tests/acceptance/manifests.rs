//! Manifests of test pods and Deployments.

use serde_json::{Value, json};

/// An image whose command is a shell.
pub const BUSYBOX: &str = "knarr.local/busybox:1.0";
/// An image with `ENTRYPOINT ["/bin/echo", "entrypoint"]` and `CMD ["cmd"]`.
pub const ENTRYPOINT: &str = "knarr.local/entrypoint:1.0";
/// An image with a user, a working directory, an environment and a volume of its own.
pub const USER: &str = "knarr.local/user:1.0";
/// The image inside the binary.
pub const HELLO: &str = "knarr.local/hello:1.0";
/// A shell that ends at once when it is asked to.
pub const WAIT: &str = "trap 'exit 0' TERM; sleep 1000 & wait";

/// A container that runs a script.
pub fn container(name: &str, script: &str) -> Value {
    json!({ "name": name, "image": BUSYBOX, "command": ["/bin/sh", "-c", script] })
}

/// A pod of one container `main` that runs a script.
pub fn pod(name: &str, script: &str) -> Value {
    pod_of(name, json!({ "containers": [container("main", script)] }))
}

/// A pod whose containers are not restarted.
pub fn once(name: &str, script: &str) -> Value {
    let mut pod = pod(name, script);
    pod["spec"]["restartPolicy"] = "Never".into();
    pod
}

/// A pod with this spec, which ends within a second when it is deleted.
pub fn pod_of(name: &str, mut spec: Value) -> Value {
    spec.as_object_mut()
        .expect("a spec")
        .entry("terminationGracePeriodSeconds")
        .or_insert(1.into());
    json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": { "name": name, "labels": { "app": name } },
        "spec": spec,
    })
}

/// A Deployment of the image inside the binary.
pub fn deployment(name: &str, replicas: u32) -> Value {
    json!({
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": { "name": name, "labels": { "app": name } },
        "spec": {
            "replicas": replicas,
            "selector": { "matchLabels": { "app": name } },
            "template": {
                "metadata": { "labels": { "app": name } },
                "spec": { "containers": [{ "name": "hello", "image": HELLO }] },
            },
        },
    })
}

/// A ConfigMap.
pub fn config_map(name: &str, data: Value) -> Value {
    json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": name }, "data": data })
}
