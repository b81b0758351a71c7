//! Image pull policies and failures, `knarr image`.

use serde_json::json;
use testkit::images::{Image, Layer, busybox};
use testkit::kubectl::Kubectl;
use testkit::observe;
use testkit::suite::Test;

use crate::manifests::{BUSYBOX, HELLO, WAIT, container, pod, pod_of};

pub const TESTS: &[Test] = testkit::tests![
    every: [out_23_failed_pull_is_shown_in_status],
    once: [
        ctr_04_pull_policy_depends_on_the_tag,
        ctr_06_never_needs_a_local_image,
        ctr_09_unpullable_image_does_not_stop_other_containers,
        clu_images_are_listed_imported_and_removed,
        img_broken_archives_are_refused_and_leave_nothing,
        inv_invalid_image_name_is_told,
    ],
];

fn out_23_failed_pull_is_shown_in_status(k: &Kubectl<'_>) {
    k.ok("run app --image=registry.invalid/none:1.0");
    observe::pod(k.cluster(), k.namespace(), "app", "fails to pull", |pod| {
        observe::waiting_reason(pod) == Some("ErrImagePull")
    });
    observe::pod(k.cluster(), k.namespace(), "app", "backs off", |pod| {
        observe::waiting_reason(pod) == Some("ImagePullBackOff")
    });
    let table = k.ok("get pod app");
    assert!(table.contains("ImagePullBackOff") || table.contains("ErrImagePull"), "{table}");
    let pulling = observe::event(k.cluster(), k.namespace(), "app", "Pulling");
    assert_eq!(pulling.message.as_deref(), Some("Pulling image \"registry.invalid/none:1.0\""));
    let failed = observe::event(k.cluster(), k.namespace(), "app", "Failed");
    let message = failed.message.unwrap_or_default();
    assert!(
        message.contains("Failed to pull image \"registry.invalid/none:1.0\"")
            || message == "Error: ErrImagePull"
            || message == "Error: ImagePullBackOff",
        "{message}"
    );
    let back_off = observe::event(k.cluster(), k.namespace(), "app", "BackOff");
    assert!(
        back_off
            .message
            .unwrap_or_default()
            .starts_with("Back-off pulling image \"registry.invalid/none:1.0\"")
    );
}

fn ctr_04_pull_policy_depends_on_the_tag(k: &Kubectl<'_>) {
    for (name, image, policy) in [
        ("none", "app", "Always"),
        ("latest", "app:latest", "Always"),
        ("tag", "app:1.0", "IfNotPresent"),
        ("digest", &format!("app@sha256:{}", "0".repeat(64)), "IfNotPresent"),
    ] {
        let pod = k.ok(&format!("run {name} --image={image} --dry-run=server -o jsonpath='{{.spec.containers[0].imagePullPolicy}}'"));
        assert_eq!(pod, policy, "{image}");
    }
}

fn ctr_06_never_needs_a_local_image(k: &Kubectl<'_>) {
    let mut local = pod("local", WAIT);
    local["spec"]["containers"][0]["imagePullPolicy"] = "Never".into();
    k.ok_with("apply -f -", &local.to_string());
    k.ok("wait --for=condition=Ready pod/local --timeout=60s");
    let mut missing = pod("missing", WAIT);
    missing["spec"]["containers"][0]["imagePullPolicy"] = "Never".into();
    missing["spec"]["containers"][0]["image"] = "knarr.local/none:1.0".into();
    k.ok_with("apply -f -", &missing.to_string());
    observe::pod(k.cluster(), k.namespace(), "missing", "has no image", |pod| {
        observe::waiting_reason(pod) == Some("ErrImageNeverPull")
    });
    let event = observe::event(k.cluster(), k.namespace(), "missing", "ErrImageNeverPull");
    let wanted =
        "Container image \"knarr.local/none:1.0\" is not present with pull policy of Never";
    assert_eq!(event.message.as_deref(), Some(wanted));
}

fn ctr_09_unpullable_image_does_not_stop_other_containers(k: &Kubectl<'_>) {
    let mut bad = container("bad", WAIT);
    bad["image"] = "registry.invalid/none:1.0".into();
    k.ok_with(
        "apply -f -",
        &pod_of("app", json!({ "containers": [bad, container("good", WAIT)] })).to_string(),
    );
    observe::pod(k.cluster(), k.namespace(), "app", "runs its other container", |pod| {
        observe::container(pod, Some("good")).is_some_and(|status| status.ready)
    });
    assert_eq!(k.ok("exec app -c good -- echo alive"), "alive\n");
}

fn inv_invalid_image_name_is_told(k: &Kubectl<'_>) {
    let mut app = pod("app", WAIT);
    app["spec"]["containers"][0]["image"] = "Not A Name".into();
    k.ok_with("apply -f -", &app.to_string());
    observe::pod(k.cluster(), k.namespace(), "app", "has an invalid image", |pod| {
        observe::waiting_reason(pod) == Some("InvalidImageName")
    });
    assert!(k.ok("get pod app").contains("InvalidImageName"));
}

fn clu_images_are_listed_imported_and_removed(k: &Kubectl<'_>) {
    let list = || k.cluster().knarr("image ls").ok();
    let text = list();
    for name in [HELLO, BUSYBOX] {
        let (repository, tag) = name.rsplit_once(':').unwrap();
        let found = text.lines().any(|line| line.starts_with(repository) && line.contains(tag));
        assert!(found, "{name} in\n{text}");
    }
    let archive =
        busybox("knarr.local/gone:1.0").and_then(|i| i.save(k.cluster().scratch())).unwrap();
    k.cluster()
        .knarr(&format!("image import {} --tag knarr.local/other:2.0", archive.display()))
        .ok();
    assert!(list().contains("knarr.local/other"), "{}", list());
    k.cluster().knarr("image rm knarr.local/other:2.0").ok();
    assert!(!list().contains("knarr.local/other"), "{}", list());
    let missing = k.cluster().knarr("image rm knarr.local/other:2.0").failed();
    assert!(missing.starts_with("error: no image"), "{missing}");
}

fn img_broken_archives_are_refused_and_leave_nothing(k: &Kubectl<'_>) {
    let scratch = k.cluster().scratch();
    let layer = Layer::new().file("unique", 0o644, &[b'x'; 64 * 1024]);
    let image = Image::new("knarr.local/broken:1.0").layer(layer);
    let good = std::fs::read(image.save(scratch).unwrap()).unwrap();
    let before = k.cluster().knarr("image ls").ok();
    let mut flipped = good.clone();
    let middle = flipped.len() / 2;
    flipped[middle] ^= 0xff;
    let table: [(&str, &[u8]); 4] = [
        ("cut", &good[..good.len() / 2]),
        ("flipped", &flipped),
        ("empty", b""),
        ("text", b"not an archive"),
    ];
    for (name, bytes) in table {
        let path = scratch.join(format!("{name}.tar"));
        std::fs::write(&path, bytes).unwrap();
        let said = k.cluster().knarr(&format!("image import {}", path.display())).failed();
        assert!(said.starts_with("error: "), "{name}: {said}");
        assert_eq!(said.trim_end().lines().count(), 1, "{name}: one line: {said}");
    }
    assert_eq!(k.cluster().knarr("image ls").ok(), before);
}
