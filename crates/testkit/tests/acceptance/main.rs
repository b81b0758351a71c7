//! What a stock `kubectl` sees and does, with the real binary and real containers; one cluster for all of it.
//!
//! Each test has a namespace of its own. Tests whose subject is what `kubectl` prints run with every version of it.

mod api;
mod bad_input;
mod deployments;
mod events;
mod exec;
mod images;
mod kubectl;
mod lifecycle;
mod logs;
mod manifests;
mod nodes;
mod output;
mod pods;

use std::process::ExitCode;

use testkit::archive::Image;
use testkit::cluster::{Options, TestCluster};

fn main() -> ExitCode {
    let tests = [
        api::TESTS,
        bad_input::TESTS,
        deployments::TESTS,
        events::TESTS,
        exec::TESTS,
        images::TESTS,
        kubectl::TESTS,
        lifecycle::TESTS,
        logs::TESTS,
        nodes::TESTS,
        output::TESTS,
        pods::TESTS,
    ];
    testkit::suite::run(Options::default(), import_images, &tests)
}

fn import_images(cluster: &TestCluster) {
    let images = [
        Image::named(manifests::BUSYBOX),
        Image::named(manifests::ENTRYPOINT)
            .with("Entrypoint", serde_json::json!(["/bin/echo", "entrypoint"]))
            .with("Cmd", serde_json::json!(["cmd"])),
        Image::named(manifests::USER)
            .with("User", "user".into())
            .with("WorkingDir", "/tmp".into())
            .with("Env", serde_json::json!(["PATH=/bin", "FROM_IMAGE=yes"]))
            .with("Volumes", serde_json::json!({"/data": {}})),
    ];
    for image in images {
        let archive = image.save(cluster.scratch());
        cluster.knarr(&format!("image import {}", archive.display())).ok();
    }
}
