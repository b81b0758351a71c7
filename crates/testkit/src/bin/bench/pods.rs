//! How fast pods run, as a watcher sees it.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt};
use k8s_openapi::api::core::v1::Pod;
use kube::api::{Api, DeleteParams, ListParams, PostParams, WatchEvent, WatchParams};
use kube::{Client, ResourceExt};
use serde_json::json;

use super::report::{Report, Target};

/// Pods one after another.
const SERIAL: usize = 100;
/// Pods at once.
const BURST: usize = 50;
/// How long pods may take before the benchmark gives up.
const PATIENCE: Duration = Duration::from_secs(120);

type Events = BoxStream<'static, kube::Result<WatchEvent<Pod>>>;

/// Measures both.
///
/// # Errors
/// When a pod does not run.
pub async fn measure(kubeconfig: &Path, quick: bool, report: &mut Report) -> Result<()> {
    let client = client::connect::connect_kubeconfig(kubeconfig).await?;
    let scale = if quick { 10 } else { 1 };
    let mut times = one_after_another(client.clone(), SERIAL / scale).await?;
    let what = "pod create → Running, one after another";
    report.times(what, &mut times, Target::AtMost(150.0), Target::AtMost(300.0));
    let count = BURST / scale;
    let took = at_once(client, count).await?.as_secs_f64();
    report.add(&format!("{count} pods at once, all Running"), took, "s", Target::AtMost(5.0));
    Ok(())
}

async fn one_after_another(client: Client, count: usize) -> Result<Vec<Duration>> {
    let api: Api<Pod> = Api::namespaced(client, "default");
    let mut times = Vec::new();
    for n in 0..count {
        let mut events = watch(&api).await?;
        let started = Instant::now();
        let name = format!("serial-{n}");
        create(&api, &name).await?;
        until(&mut events, |pods| pods.values().any(|running| *running)).await?;
        times.push(started.elapsed());
        remove(&api, &[name], &mut events).await?;
    }
    Ok(times)
}

async fn at_once(client: Client, count: usize) -> Result<Duration> {
    let api: Api<Pod> = Api::namespaced(client, "default");
    let mut events = watch(&api).await?;
    let names: Vec<String> = (0..count).map(|n| format!("burst-{n}")).collect();
    let started = Instant::now();
    let created = names.iter().map(|name| create(&api, name));
    futures::future::try_join_all(created).await?;
    until(&mut events, |pods| pods.values().filter(|running| **running).count() == count).await?;
    let took = started.elapsed();
    remove(&api, &names, &mut events).await?;
    Ok(took)
}

async fn watch(api: &Api<Pod>) -> Result<Events> {
    let list = api.list(&ListParams::default()).await?;
    let version = list.metadata.resource_version.unwrap_or_default();
    Ok(api.watch(&WatchParams::default(), &version).await?.boxed())
}

async fn create(api: &Api<Pod>, name: &str) -> Result<()> {
    let pod = json!({
        "metadata": { "name": name },
        "spec": { "containers": [{ "name": "hello", "image": "knarr.local/hello:1.0" }] },
    });
    api.create(&PostParams::default(), &serde_json::from_value(pod)?).await?;
    Ok(())
}

/// Removes pods and waits until they are gone, so that they do not disturb what comes next.
async fn remove(api: &Api<Pod>, names: &[String], events: &mut Events) -> Result<()> {
    let options = DeleteParams::default().grace_period(1);
    let removed = names.iter().map(|name| api.delete(name, &options));
    futures::future::try_join_all(removed).await?;
    let mut left = names.len();
    let gone = async {
        while left > 0 {
            if let WatchEvent::Deleted(_) = events.try_next().await?.context("the watch ended")? {
                left -= 1;
            }
        }
        anyhow::Ok(())
    };
    tokio::time::timeout(PATIENCE, gone).await.context("pods do not go away")?
}

/// Follows which pods run until `done`.
async fn until(events: &mut Events, done: impl Fn(&BTreeMap<String, bool>) -> bool) -> Result<()> {
    let mut pods = BTreeMap::new();
    let seen = async {
        while !done(&pods) {
            let event = events.try_next().await?.context("the watch ended")?;
            if let WatchEvent::Added(pod) | WatchEvent::Modified(pod) = event {
                let status = pod.status.as_ref();
                let running = status.and_then(|s| s.phase.as_deref()) == Some("Running");
                pods.insert(pod.name_any(), running);
            }
        }
        anyhow::Ok(())
    };
    tokio::time::timeout(PATIENCE, seen).await.context("pods do not run")?
}
