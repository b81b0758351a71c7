//! Load on the API: durable creates, reads, lists and watches over TLS connections that are kept open.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use http::Method;
use http_body_util::BodyExt;
use testkit::http::{Access, Connection};
use tokio::task::JoinSet;

use super::report::{Report, Target};

/// How long each kind of load lasts.
const TIME: Duration = Duration::from_secs(10);
/// The size of the data of a ConfigMap.
const DATA_BYTES: usize = 800;
/// Objects in the list that is read as a whole.
const LISTED: usize = 6000;
const WATCHERS: usize = 200;
const UPDATES: usize = 200;
const JSON: &[(&str, &str)] = &[("content-type", "application/json")];

/// Measures all of them, in a namespace of their own.
///
/// # Errors
/// When the server refuses a request.
pub async fn measure(access: &Access, quick: bool, report: &mut Report) -> Result<()> {
    let scale = if quick { 10 } else { 1 };
    let load = Load { access: access.clone(), time: TIME / scale, namespace: "bench".into() };
    load.create_namespace().await?;
    load.creates(report).await?;
    load.gets(report).await?;
    load.lists(LISTED / scale as usize, report).await?;
    load.watches(WATCHERS / scale as usize, UPDATES, report).await?;
    let path = "/api/v1/namespaces/bench";
    Connection::open(access).await?.send(Method::DELETE, path, &[], "").await?;
    Ok(())
}

#[derive(Clone)]
struct Load {
    access: Access,
    time: Duration,
    namespace: String,
}

impl Load {
    fn path(&self, rest: &str) -> String {
        format!("/api/v1/namespaces/{}/configmaps{rest}", self.namespace)
    }

    async fn create_namespace(&self) -> Result<()> {
        let body = format!(r#"{{"metadata":{{"name":"{}"}}}}"#, self.namespace);
        let mut connection = Connection::open(&self.access).await?;
        let answer = connection.send(Method::POST, "/api/v1/namespaces", JSON, body).await?;
        ensure!(answer.status == 201 || answer.status == 409, "{}", answer.text());
        Ok(())
    }

    async fn creates(&self, report: &mut Report) -> Result<()> {
        let mut alone = self.create_from(1, "alone").await?;
        report.times("durable create, 1 connection", &mut alone, Target::None, Target::None);
        let mut many = self.create_from(64, "many").await?;
        let rate = many.len() as f64 / self.time.as_secs_f64();
        report.add("durable creates, 64 connections", rate, "/s", Target::AtLeast(16_000.0));
        report.times("durable creates, 64 connections", &mut many, Target::None, Target::None);
        Ok(())
    }

    async fn create_from(&self, connections: usize, prefix: &str) -> Result<Vec<Duration>> {
        let count = Arc::new(AtomicUsize::new(0));
        let prefix = prefix.to_owned();
        self.repeat(connections, move |load, mut connection| {
            let (count, prefix) = (count.clone(), prefix.clone());
            async move {
                let n = count.fetch_add(1, Ordering::Relaxed);
                let body = config_map(&format!("{prefix}-{n}"), 0);
                let answer = connection.send(Method::POST, &load.path(""), JSON, body).await?;
                ensure!(answer.status == 201, "{}", answer.text());
                Ok(connection)
            }
        })
        .await
    }

    async fn gets(&self, report: &mut Report) -> Result<()> {
        let mut times = self
            .repeat(32, |load, mut connection| async move {
                let answer = connection.get(&load.path("/many-0")).await?;
                ensure!(answer.status == 200, "{}", answer.text());
                Ok(connection)
            })
            .await?;
        let rate = times.len() as f64 / self.time.as_secs_f64();
        report.add("GET, 32 connections", rate, "/s", Target::AtLeast(31_000.0));
        report.times("GET, 32 connections", &mut times, Target::None, Target::None);
        Ok(())
    }

    async fn lists(&self, objects: usize, report: &mut Report) -> Result<()> {
        let load = Self { namespace: "bench-list".into(), ..self.clone() };
        load.create_namespace().await?;
        let mut connection = Connection::open(&load.access).await?;
        for n in 0..objects {
            let body = config_map(&format!("item-{n}"), 0);
            let answer = connection.send(Method::POST, &load.path(""), JSON, body).await?;
            ensure!(answer.status == 201 || answer.status == 409, "{}", answer.text());
        }
        let times = load
            .repeat(4, |load, mut connection| async move {
                let answer = connection.get(&load.path("")).await?;
                ensure!(answer.status == 200, "{}", answer.status);
                Ok(connection)
            })
            .await?;
        let rate = times.len() as f64 / load.time.as_secs_f64();
        let what = format!("LIST of {objects} ConfigMaps, 4 connections");
        report.add(&what, rate, "/s", Target::AtLeast(90.0));
        let path = "/api/v1/namespaces/bench-list";
        connection.send(Method::DELETE, path, &[], "").await?;
        Ok(())
    }

    /// Repeats a request on each of several connections for as long as load lasts.
    async fn repeat<F, R>(&self, connections: usize, request: F) -> Result<Vec<Duration>>
    where
        F: Fn(Self, Connection) -> R + Clone + Send + 'static,
        R: Future<Output = Result<Connection>> + Send + 'static,
    {
        let mut opened = Vec::new();
        for _ in 0..connections {
            opened.push(Connection::open(&self.access).await?);
        }
        let end = Instant::now() + self.time;
        let mut tasks = JoinSet::new();
        for mut connection in opened {
            let (load, request) = (self.clone(), request.clone());
            tasks.spawn(async move {
                let mut times = Vec::new();
                while Instant::now() < end {
                    let started = Instant::now();
                    connection = request(load.clone(), connection).await?;
                    times.push(started.elapsed());
                }
                anyhow::Ok(times)
            });
        }
        let mut all = Vec::new();
        while let Some(times) = tasks.join_next().await {
            all.extend(times??);
        }
        Ok(all)
    }

    async fn watches(&self, watchers: usize, updates: usize, report: &mut Report) -> Result<()> {
        let mut connection = Connection::open(&self.access).await?;
        let body = config_map("watched", 0);
        connection.send(Method::POST, &self.path(""), JSON, body).await?;
        let start = Instant::now();
        let mut tasks = JoinSet::new();
        let ready = Arc::new(tokio::sync::Barrier::new(watchers + 1));
        for _ in 0..watchers {
            tasks.spawn(follow(self.clone(), updates, start, ready.clone()));
        }
        ready.wait().await;
        let began = Instant::now();
        for _ in 0..updates {
            let body = config_map("watched", start.elapsed().as_micros());
            let answer = connection.send(Method::PUT, &self.path("/watched"), JSON, body).await?;
            ensure!(answer.status == 200, "{}", answer.text());
        }
        let mut delays = Vec::new();
        while let Some(seen) = tasks.join_next().await {
            delays.extend(seen??);
        }
        let rate = delays.len() as f64 / began.elapsed().as_secs_f64();
        let what = format!("{watchers} watchers × {updates} updates");
        report.add(&what, rate, "events/s", Target::AtLeast(150_000.0));
        let what = format!("{what}, update sent → event seen");
        report.times(&what, &mut delays, Target::AtMost(2.0), Target::None);
        Ok(())
    }
}

/// Watches one object and returns how late each of its updates came.
async fn follow(
    load: Load,
    updates: usize,
    start: Instant,
    ready: Arc<tokio::sync::Barrier>,
) -> Result<Vec<Duration>> {
    let mut connection = Connection::open(&load.access).await?;
    let path = load.path("?watch=true&fieldSelector=metadata.name%3Dwatched");
    let answer = connection.start(Method::GET, &path, &[], bytes::Bytes::new()).await?;
    let mut body = answer.into_body();
    let (mut delays, mut rest) = (Vec::new(), Vec::new());
    let mut waiting = Some(ready);
    while delays.len() < updates {
        let frame = body.frame().await.context("the watch ended")??;
        let Ok(data) = frame.into_data() else { continue };
        let now = start.elapsed();
        rest.extend_from_slice(&data);
        while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = rest.drain(..=end).collect();
            match waiting.take() {
                // The first event is the object as it was.
                Some(ready) => {
                    ready.wait().await;
                }
                None => delays.push(now.saturating_sub(sent_at(&line)?)),
            }
        }
    }
    Ok(delays)
}

/// When an update was sent, which is written in it.
fn sent_at(event: &[u8]) -> Result<Duration> {
    let text = std::str::from_utf8(event)?;
    let (_, rest) = text.split_once(r#""sent":""#).context("no time in the event")?;
    let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
    Ok(Duration::from_micros(digits.parse()?))
}

fn config_map(name: &str, sent: u128) -> String {
    let data = "x".repeat(DATA_BYTES);
    format!(
        r#"{{"apiVersion":"v1","kind":"ConfigMap","metadata":{{"name":"{name}"}},"data":{{"sent":"{sent}","data":"{data}"}}}}"#
    )
}
