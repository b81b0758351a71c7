//! `/metrics` in the Prometheus text format, under Kubernetes' names.
//!
//! Counterpart in Kubernetes: `k8s.io/apiserver/pkg/endpoints/metrics` and the Go process collector. Invariants:
//! labels come from the kind table and from fixed sets, never from the client; the number of series is bounded.

use std::collections::BTreeMap;
use std::fmt::{self, Write};
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use api::kinds;
use apimachinery::status::StatusError;
use http::Response;
use http::header::CONTENT_TYPE;
use http::request::Parts;
use http_body_util::BodyExt;

use crate::discovery::prepared::built;
use crate::request_info::RequestInfo;
use crate::{ApiServer, Body};

/// The path of the metrics.
pub const PATH: &str = "/metrics";
/// Upper bounds of the duration histogram, in seconds; Kubernetes' own.
const BUCKETS_SECONDS: [f64; 23] = [
    0.005, 0.025, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 1.0, 1.25, 1.5, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0,
    10.0, 15.0, 20.0, 30.0, 45.0, 60.0,
];
/// Series per metric: a thousand kinds with ten verbs would fit; beyond it new combinations are not counted, so that
/// no mistake in a label can fill the memory.
const MAX_SERIES: usize = 10_000;

/// What a finished request was about, as metric labels.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct RequestLabels {
    /// `GET`, `LIST`, `WATCH`, `POST`, `PUT`, `PATCH`, `DELETE`, `DELETECOLLECTION`, `APPLY`, `CONNECT`.
    pub verb: &'static str,
    /// API group; empty for the core group and for what is no resource.
    pub group: String,
    /// API version.
    pub version: String,
    /// Plural resource; must come from the kind table.
    pub resource: String,
    /// Subresource; for paths that are no resource, the path's first segment as Kubernetes does.
    pub subresource: String,
    /// `cluster`, `namespace`, `resource`, or empty.
    pub scope: &'static str,
}

impl RequestLabels {
    /// The labels of a request. What the client made up is left out.
    pub fn of(info: &RequestInfo) -> Self {
        let (verb, scope) = (verb_label(info), scope_label(info));
        if !info.resource_request {
            let subresource = well_known(&info.path).to_owned();
            return Self { verb, subresource, ..Self::default() };
        }
        let Some(row) = kinds::find(&info.api_group, &info.api_version, &info.resource) else {
            return Self { verb, ..Self::default() };
        };
        Self {
            verb,
            group: row.group.to_owned(),
            version: row.version.to_owned(),
            resource: row.plural.to_owned(),
            subresource: row
                .subresource(&info.subresource)
                .map(|s| s.name.to_owned())
                .unwrap_or_default(),
            scope,
        }
    }
}

/// The HTTP method in capitals, finer for collections and streams.
fn verb_label(info: &RequestInfo) -> &'static str {
    if matches!(info.subresource.as_str(), "attach" | "exec" | "log" | "portforward" | "proxy") {
        return "CONNECT";
    }
    match info.verb.as_str() {
        "get" => "GET",
        "list" => "LIST",
        "watch" => "WATCH",
        "create" | "post" => "POST",
        "update" | "put" => "PUT",
        "patch" => "PATCH",
        "delete" => "DELETE",
        "deletecollection" => "DELETECOLLECTION",
        _ => "other",
    }
}

fn scope_label(info: &RequestInfo) -> &'static str {
    match (info.name.is_empty(), info.namespace.is_empty()) {
        (false, _) => "resource",
        (true, false) => "namespace",
        (true, true) => "cluster",
    }
}

/// The first segment of a path that this server has; empty for others.
fn well_known(path: &str) -> &'static str {
    const ROOTS: [&str; 8] =
        ["/api", "/apis", "/healthz", "/livez", "/metrics", "/openapi", "/readyz", "/version"];
    let below = |root: &&&str| {
        path.strip_prefix(**root).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    ROOTS.iter().find(below).copied().unwrap_or_default()
}

/// The answer of `server`, or `None` for another path.
pub(crate) fn handle(
    server: &Arc<ApiServer>,
    parts: &Parts,
) -> Option<Result<Response<Body>, StatusError>> {
    let version = &server.config().version.git_version;
    (parts.uri.path() == PATH).then(|| Ok(server.metrics().respond(version)))
}

impl fmt::Display for RequestLabels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { verb, group, version, resource, subresource, scope } = self;
        write!(
            f,
            "component=\"apiserver\",group=\"{group}\",resource=\"{resource}\",scope=\"{scope}\",\
             subresource=\"{subresource}\",verb=\"{verb}\",version=\"{version}\""
        )
    }
}

#[derive(Clone, Copy, Debug, Default)]
struct Histogram {
    counts: [u64; BUCKETS_SECONDS.len()],
    count: u64,
    sum_seconds: f64,
}

impl Histogram {
    fn observe(&mut self, seconds: f64) {
        if let Some(index) = BUCKETS_SECONDS.iter().position(|bound| seconds <= *bound) {
            self.counts[index] += 1;
        }
        self.count += 1;
        self.sum_seconds += seconds;
    }
}

#[derive(Default)]
struct Series {
    requests: BTreeMap<(RequestLabels, u16), u64>,
    durations: BTreeMap<RequestLabels, Histogram>,
}

/// The counters of one server.
#[derive(Default)]
pub struct Metrics {
    series: Mutex<Series>,
    gauges: Arc<Gauges>,
}

#[derive(Default)]
struct Gauges {
    mutating: AtomicI64,
    read_only: AtomicI64,
    long_running: AtomicI64,
}

impl Gauges {
    fn of(&self, kind: RequestKind) -> &AtomicI64 {
        match kind {
            RequestKind::Mutating => &self.mutating,
            RequestKind::ReadOnly => &self.read_only,
            RequestKind::LongRunning => &self.long_running,
        }
    }
}

/// What a request in flight counts as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RequestKind {
    /// Create, update, patch, delete.
    Mutating,
    /// Get, list and what is no resource.
    ReadOnly,
    /// Watches, logs, exec: not in flight for the purpose of limits.
    LongRunning,
}

impl RequestKind {
    /// What a request counts as.
    pub fn of(info: &RequestInfo) -> Self {
        match (info.is_long_running(), info.is_read_only()) {
            (true, _) => Self::LongRunning,
            (false, true) => Self::ReadOnly,
            (false, false) => Self::Mutating,
        }
    }
}

/// Counts a request as in flight until dropped.
pub struct InFlight {
    gauges: Arc<Gauges>,
    kind: RequestKind,
}

/// Lets a long-running request count until its answer is sent or given up; others end with their head.
pub(crate) fn until_sent(counted: InFlight, response: Response<Body>) -> Response<Body> {
    if counted.kind != RequestKind::LongRunning {
        return response;
    }
    response.map(|body| {
        Body::new(body.map_frame(move |frame| {
            let _counted = &counted;
            frame
        }))
    })
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.gauges.of(self.kind).fetch_sub(1, Ordering::Relaxed);
    }
}

impl Metrics {
    /// Counts a request as in flight until the guard is dropped.
    pub fn begin(&self, kind: RequestKind) -> InFlight {
        self.gauges.of(kind).fetch_add(1, Ordering::Relaxed);
        InFlight { gauges: Arc::clone(&self.gauges), kind }
    }

    /// Counts an answered request.
    pub fn observe_request(&self, info: &RequestInfo, code: u16, duration: Duration) {
        let duration = (!info.is_long_running()).then_some(duration);
        self.observe(RequestLabels::of(info), code, duration);
    }

    /// Counts a finished request. The duration of a long-running one is not meaningful: give `None`.
    pub fn observe(&self, labels: RequestLabels, code: u16, duration: Option<Duration>) {
        let mut series = self.series.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(duration) = duration
            && (series.durations.len() < MAX_SERIES || series.durations.contains_key(&labels))
        {
            series.durations.entry(labels.clone()).or_default().observe(duration.as_secs_f64());
        }
        let key = (labels, code);
        if series.requests.len() < MAX_SERIES || series.requests.contains_key(&key) {
            *series.requests.entry(key).or_default() += 1;
        }
    }

    /// How many requests of a kind are being served.
    pub fn in_flight(&self, kind: RequestKind) -> i64 {
        self.gauges.of(kind).load(Ordering::Relaxed)
    }

    /// The answer to `GET /metrics`.
    pub fn respond(&self, version: &str) -> Response<Body> {
        let response =
            Response::builder().header(CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8");
        built(response, self.render(version).into())
    }

    fn render(&self, version: &str) -> String {
        let mut text = Text::default();
        self.render_in_flight(&mut text);
        self.render_requests(&mut text);
        text.head(
            "kubernetes_build_info",
            "gauge",
            "Always 1, labelled with the version of this build.",
        );
        text.sample("kubernetes_build_info", &format!("git_version={version:?}"), 1);
        render_process(&mut text);
        text.0
    }

    fn render_in_flight(&self, text: &mut Text) {
        let name = "apiserver_current_inflight_requests";
        text.head(name, "gauge", "Requests being served right now, by kind of request.");
        text.sample(name, "request_kind=\"mutating\"", self.in_flight(RequestKind::Mutating));
        text.sample(name, "request_kind=\"readOnly\"", self.in_flight(RequestKind::ReadOnly));
        let name = "apiserver_longrunning_requests";
        text.head(name, "gauge", "Watches, logs and streams being served right now.");
        text.sample(name, "component=\"apiserver\"", self.in_flight(RequestKind::LongRunning));
    }

    fn render_requests(&self, text: &mut Text) {
        let series = self.series.lock().unwrap_or_else(PoisonError::into_inner);
        let name = "apiserver_request_duration_seconds";
        text.head(
            name,
            "histogram",
            "Seconds from the request's arrival to the end of its answer.",
        );
        for (labels, histogram) in &series.durations {
            text.histogram(name, &labels.to_string(), histogram);
        }
        let name = "apiserver_request_total";
        text.head(
            name,
            "counter",
            "Requests answered, by what they were about and by status code.",
        );
        for ((labels, code), count) in &series.requests {
            text.sample(name, &format!("code=\"{code}\",{labels}"), count);
        }
    }
}

/// Text of the exposition format under construction.
#[derive(Default)]
struct Text(String);

impl Text {
    fn head(&mut self, name: &str, kind: &str, help: &str) {
        let _ = writeln!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}");
    }

    fn sample(&mut self, name: &str, labels: &str, value: impl fmt::Display) {
        let _ = match labels {
            "" => writeln!(self.0, "{name} {value}"),
            labels => writeln!(self.0, "{name}{{{labels}}} {value}"),
        };
    }

    fn histogram(&mut self, name: &str, labels: &str, histogram: &Histogram) {
        let mut cumulated = 0;
        for (bound, count) in BUCKETS_SECONDS.iter().zip(histogram.counts) {
            cumulated += count;
            self.sample(&format!("{name}_bucket"), &format!("{labels},le=\"{bound}\""), cumulated);
        }
        self.sample(&format!("{name}_bucket"), &format!("{labels},le=\"+Inf\""), histogram.count);
        self.sample(&format!("{name}_sum"), labels, histogram.sum_seconds);
        self.sample(&format!("{name}_count"), labels, histogram.count);
    }
}

/// Facts about this process that `/proc` tells; what cannot be read is left out.
fn render_process(text: &mut Text) {
    let read = |name: &str| std::fs::read_to_string(format!("/proc/{name}")).unwrap_or_default();
    if let Some(stat) = ProcessStat::parse(&read("self/stat"), &read("stat")) {
        stat.render(text);
    }
    if let Ok(entries) = std::fs::read_dir("/proc/self/fd") {
        text.head("process_open_fds", "gauge", "Open file descriptors.");
        text.sample("process_open_fds", "", entries.count());
    }
    if let Some(limit) = max_fds(&read("self/limits")) {
        text.head("process_max_fds", "gauge", "Most file descriptors this process may open.");
        text.sample("process_max_fds", "", limit);
    }
}

fn max_fds(limits: &str) -> Option<u64> {
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"))?;
    line.split_whitespace().next()?.parse().ok()
}

/// Clock ticks per second in `/proc`; a constant of the Linux ABI.
const TICKS_PER_SECOND: f64 = 100.0;
/// Bytes per page on the architectures we build for.
const PAGE_BYTES: u64 = 4096;

#[derive(Debug, PartialEq)]
struct ProcessStat {
    cpu_seconds: f64,
    start_seconds: f64,
    virtual_bytes: u64,
    resident_bytes: u64,
}

impl ProcessStat {
    /// Reads `/proc/self/stat` and the boot time in `/proc/stat`.
    fn parse(stat: &str, system: &str) -> Option<Self> {
        // The name in parentheses may contain anything; the fields after it are counted from the third.
        let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
        let number = |index: usize| fields.get(index - 3)?.parse::<u64>().ok();
        let boot: f64 =
            system.lines().find_map(|line| line.strip_prefix("btime "))?.trim().parse().ok()?;
        Some(Self {
            cpu_seconds: (number(14)? + number(15)?) as f64 / TICKS_PER_SECOND,
            start_seconds: boot + number(22)? as f64 / TICKS_PER_SECOND,
            virtual_bytes: number(23)?,
            resident_bytes: number(24)? * PAGE_BYTES,
        })
    }

    fn render(&self, text: &mut Text) {
        text.head("process_cpu_seconds_total", "counter", "Processor time used, in seconds.");
        text.sample("process_cpu_seconds_total", "", self.cpu_seconds);
        text.head("process_resident_memory_bytes", "gauge", "Memory in use, in bytes.");
        text.sample("process_resident_memory_bytes", "", self.resident_bytes);
        text.head("process_virtual_memory_bytes", "gauge", "Address space in use, in bytes.");
        text.sample("process_virtual_memory_bytes", "", self.virtual_bytes);
        text.head(
            "process_start_time_seconds",
            "gauge",
            "When the process started, in seconds since 1970.",
        );
        text.sample("process_start_time_seconds", "", self.start_seconds);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels() -> RequestLabels {
        RequestLabels {
            verb: "LIST",
            version: "v1".into(),
            resource: "pods".into(),
            scope: "namespace",
            ..RequestLabels::default()
        }
    }

    #[test]
    fn requests_are_counted_by_labels_and_code() {
        let metrics = Metrics::default();
        metrics.observe(labels(), 200, Some(Duration::from_millis(30)));
        metrics.observe(labels(), 200, Some(Duration::from_secs(90)));
        metrics.observe(labels(), 404, None);
        let text = metrics.render("v1.36.2");
        let tail = "component=\"apiserver\",group=\"\",resource=\"pods\",scope=\"namespace\",subresource=\"\",verb=\"LIST\",version=\"v1\"";
        for line in [
            format!("apiserver_request_total{{code=\"200\",{tail}}} 2"),
            format!("apiserver_request_total{{code=\"404\",{tail}}} 1"),
            format!("apiserver_request_duration_seconds_bucket{{{tail},le=\"0.025\"}} 0"),
            format!("apiserver_request_duration_seconds_bucket{{{tail},le=\"0.05\"}} 1"),
            format!("apiserver_request_duration_seconds_bucket{{{tail},le=\"60\"}} 1"),
            format!("apiserver_request_duration_seconds_bucket{{{tail},le=\"+Inf\"}} 2"),
            format!("apiserver_request_duration_seconds_count{{{tail}}} 2"),
            "# TYPE apiserver_request_total counter".to_owned(),
            "kubernetes_build_info{git_version=\"v1.36.2\"} 1".to_owned(),
        ] {
            assert!(text.lines().any(|l| l == line), "missing {line}\n{text}");
        }
        assert!(
            text.contains("\nprocess_resident_memory_bytes ")
                && text.contains("\nprocess_open_fds ")
        );
    }

    #[test]
    fn requests_in_flight_end_with_their_guard() {
        let metrics = Metrics::default();
        let guard = metrics.begin(RequestKind::Mutating);
        assert_eq!(metrics.in_flight(RequestKind::Mutating), 1);
        assert!(
            metrics
                .render("")
                .contains("apiserver_current_inflight_requests{request_kind=\"mutating\"} 1")
        );
        drop(guard);
        assert_eq!(metrics.in_flight(RequestKind::Mutating), 0);
    }

    #[test]
    fn process_stat_with_a_strange_name_is_read() {
        let stat =
            "42 (a) b) S 1 2 3 4 5 6 7 8 9 10 150 50 0 0 20 0 1 0 1000 8192 2 18446744073709551615";
        let expected = ProcessStat {
            cpu_seconds: 2.0,
            start_seconds: 1_000_010.0,
            virtual_bytes: 8192,
            resident_bytes: 2 * PAGE_BYTES,
        };
        assert_eq!(ProcessStat::parse(stat, "cpu 1\nbtime 1000000\n"), Some(expected));
        assert_eq!(
            max_fds(
                "Limit Soft Hard\nMax open files            1024                 4096      files\n"
            ),
            Some(1024)
        );
    }
}
