//! What a stock `kubectl` sees and does, with the real binary and real containers; one cluster for all of it.
//!
//! Each test has a namespace of its own. Tests whose subject is what `kubectl` prints run with every version of it.

mod api;
mod bad_input;
mod deployments;
mod events;
mod exec;
mod images;
mod kinds;
mod kubectl;
mod lifecycle;
mod logs;
mod manifests;
mod nodes;
mod output;
mod pods;
mod server_side_apply;

use std::process::ExitCode;

use testkit::cluster::{Options, TestCluster};
use testkit::images::{Image, busybox};

fn main() -> ExitCode {
    let tests = [
        api::TESTS,
        bad_input::TESTS,
        deployments::TESTS,
        events::TESTS,
        exec::TESTS,
        images::TESTS,
        kinds::TESTS,
        kubectl::TESTS,
        lifecycle::TESTS,
        logs::TESTS,
        nodes::TESTS,
        output::TESTS,
        pods::TESTS,
        server_side_apply::TESTS,
    ];
    testkit::suite::run(Options::default(), import_images, &tests)
}

fn import_images(cluster: &TestCluster) {
    let image = |name: &str| busybox(name).expect("busybox");
    let images: [Image; 3] = [
        image(manifests::BUSYBOX),
        image(manifests::ENTRYPOINT)
            .with("Entrypoint", serde_json::json!(["/bin/echo", "entrypoint"]))
            .with("Cmd", serde_json::json!(["cmd"])),
        image(manifests::USER)
            .with("User", "user")
            .with("WorkingDir", "/tmp")
            .with("Env", serde_json::json!(["PATH=/bin", "FROM_IMAGE=yes"]))
            .with("Volumes", serde_json::json!({"/data": {}})),
    ];
    for image in images {
        let archive = image.save(cluster.scratch()).unwrap();
        cluster.knarr(&format!("image import {}", archive.display())).ok();
    }
}
