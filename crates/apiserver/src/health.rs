//! `/healthz`, `/livez`, `/readyz`, and one path per check below each.
//!
//! Counterpart in Kubernetes: `k8s.io/apiserver/pkg/server/healthz`. Invariants: the texts are Kubernetes' texts; the
//! reason of a failure is never given to the client by the summaries, which are open to everyone.

use std::collections::BTreeSet;
use std::sync::Arc;

use apimachinery::status::StatusError;
use http::header::CONTENT_TYPE;
use http::request::Parts;
use http::{Method, Response, StatusCode};
use tokio_util::sync::CancellationToken;

use crate::discovery::prepared::built;
use crate::discovery::{method_not_allowed, text};
use crate::server::Shutdown;
use crate::{ApiServer, Body};

/// The three summaries.
pub const PATHS: [&str; 3] = ["/healthz", "/livez", "/readyz"];

/// The answer of `server`, or `None` when the path is no health path.
pub(crate) fn handle(
    server: &Arc<ApiServer>,
    parts: &Parts,
) -> Option<Result<Response<Body>, StatusError>> {
    let asked = Arc::clone(server);
    let mut health =
        Health::new().with("informer-sync", Scope::Ready, move || match asked.ready() {
            true => Ok(()),
            false => Err("the objects are still being read".to_owned()),
        });
    if let Some(Shutdown(shutdown)) = parts.extensions.get() {
        health = health.with_shutdown(shutdown.clone());
    }
    health.respond(parts).map(Ok)
}

/// The answer of one check: `Err` says why it fails.
pub type CheckResult = Result<(), String>;

type CheckFn = dyn Fn() -> CheckResult + Send + Sync;

/// Which summaries a check belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// All three.
    Everywhere,
    /// `/readyz` only: a server that fails it must not be restarted, only left alone.
    Ready,
}

struct Check {
    name: &'static str,
    scope: Scope,
    run: Arc<CheckFn>,
}

/// The checks of one server.
pub struct Health {
    checks: Vec<Check>,
}

impl Default for Health {
    fn default() -> Self {
        Self::new()
    }
}

impl Health {
    /// Only `ping`, which always passes.
    pub fn new() -> Self {
        Self { checks: Vec::new() }.with("ping", Scope::Everywhere, || Ok(()))
    }

    /// Adds a check; it runs within the request, so it must not block.
    #[must_use]
    pub fn with(
        mut self,
        name: &'static str,
        scope: Scope,
        run: impl Fn() -> CheckResult + Send + Sync + 'static,
    ) -> Self {
        self.checks.push(Check { name, scope, run: Arc::new(run) });
        self
    }

    /// Adds the `shutdown` check: a server told to stop is not ready.
    #[must_use]
    pub fn with_shutdown(self, shutdown: CancellationToken) -> Self {
        self.with("shutdown", Scope::Ready, move || match shutdown.is_cancelled() {
            true => Err("process is shutting down".to_owned()),
            false => Ok(()),
        })
    }

    /// Every path answered here, for the list at `/`.
    pub fn paths(&self) -> Vec<String> {
        let below = |root: &'static str| {
            self.checks_of(root).map(move |check| format!("{root}/{}", check.name))
        };
        PATHS
            .iter()
            .flat_map(|root| std::iter::once((*root).to_owned()).chain(below(root)))
            .collect()
    }

    /// The answer to a request, or `None` when its path is no health path.
    pub fn respond(&self, parts: &Parts) -> Option<Response<Body>> {
        let path = parts.uri.path();
        let root = *PATHS.iter().find(|root| below(path, root).is_some())?;
        let rest = below(path, root)?;
        let answer = match rest {
            "" => self.summary(root, parts.uri.query().unwrap_or_default()),
            name => single(self.checks_of(root).find(|check| check.name == name)?),
        };
        Some(if matches!(parts.method, Method::GET | Method::HEAD) {
            answer
        } else {
            method_not_allowed()
        })
    }

    fn checks_of(&self, root: &'static str) -> impl Iterator<Item = &Check> {
        self.checks
            .iter()
            .filter(move |check| check.scope == Scope::Everywhere || root == "/readyz")
    }

    fn summary(&self, root: &'static str, query: &str) -> Response<Body> {
        let query: Vec<_> = url::form_urlencoded::parse(query.as_bytes()).collect();
        let mut excluded: BTreeSet<&str> = query
            .iter()
            .filter(|(key, _)| key == "exclude")
            .map(|(_, value)| value.as_ref())
            .collect();
        let (mut lines, mut failed) = (String::new(), false);
        for check in self.checks_of(root) {
            let (line, ok) = check.line(excluded.remove(check.name), root);
            lines.push_str(&line);
            failed |= !ok;
        }
        lines.push_str(&unmatched(&excluded));
        let name = &root[1..];
        if failed {
            return text(
                StatusCode::INTERNAL_SERVER_ERROR,
                format!("{lines}{name} check failed\n"),
            );
        }
        match query.iter().any(|(key, _)| key == "verbose") {
            true => ok(format!("{lines}{name} check passed\n")),
            false => ok("ok".to_owned()),
        }
    }
}

impl Check {
    /// The check's line in a summary, and whether it passed.
    fn line(&self, excluded: bool, root: &str) -> (String, bool) {
        if excluded {
            return (format!("[+]{} excluded: ok\n", self.name), true);
        }
        match (self.run)() {
            Ok(()) => (format!("[+]{} ok\n", self.name), true),
            Err(reason) => {
                tracing::warn!(check = self.name, path = root, %reason, "health check failed");
                (format!("[-]{} failed: reason withheld\n", self.name), false)
            }
        }
    }
}

/// What follows `root` in `path`, without slashes around it.
fn below<'a>(path: &'a str, root: &str) -> Option<&'a str> {
    let rest = path.strip_prefix(root)?;
    (rest.is_empty() || rest.starts_with('/')).then(|| rest.trim_matches('/'))
}

fn unmatched(excluded: &BTreeSet<&str>) -> String {
    if excluded.is_empty() {
        return String::new();
    }
    let names = excluded.iter().map(|name| format!("{name:?}")).collect::<Vec<_>>().join(",");
    format!("warn: some health checks cannot be excluded: no matches for {names}\n")
}

fn single(check: &Check) -> Response<Body> {
    match (check.run)() {
        Ok(()) => ok("ok".to_owned()),
        Err(reason) => {
            text(StatusCode::INTERNAL_SERVER_ERROR, format!("internal server error: {reason}\n"))
        }
    }
}

fn ok(body: String) -> Response<Body> {
    let response = Response::builder()
        .header(CONTENT_TYPE, "text/plain; charset=utf-8")
        .header("X-Content-Type-Options", "nosniff");
    built(response, body.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::Request;
    use http_body_util::BodyExt;

    async fn ask(health: &Health, uri: &str) -> Option<(u16, String)> {
        let parts = Request::get(uri).body(()).unwrap().into_parts().0;
        let response = health.respond(&parts)?;
        let status = response.status().as_u16();
        let body = response.into_body().collect().await.unwrap().to_bytes();
        Some((status, String::from_utf8(body.to_vec()).unwrap()))
    }

    fn health() -> Health {
        Health::new().with("etcd", Scope::Everywhere, || Ok(())).with(
            "informer-sync",
            Scope::Ready,
            || Err("2 caches are empty".to_owned()),
        )
    }

    #[tokio::test]
    async fn summaries_say_ok_or_every_line() {
        assert_eq!(ask(&health(), "/healthz").await, Some((200, "ok".into())));
        assert_eq!(
            ask(&health(), "/livez?verbose").await,
            Some((200, "[+]ping ok\n[+]etcd ok\nlivez check passed\n".into()))
        );
        let failed = "[+]ping ok\n[+]etcd ok\n[-]informer-sync failed: reason withheld\nreadyz check failed\n";
        assert_eq!(ask(&health(), "/readyz").await, Some((500, failed.into())));
    }

    #[tokio::test]
    async fn summaries_leave_out_what_is_excluded() {
        let text = "[+]ping ok\n[+]etcd ok\n[+]informer-sync excluded: ok\n\
                    warn: some health checks cannot be excluded: no matches for \"nope\"\nreadyz check passed\n";
        let answer = ask(&health(), "/readyz?verbose=1&exclude=informer-sync&exclude=nope").await;
        assert_eq!(answer, Some((200, text.into())));
    }

    #[tokio::test]
    async fn single_checks_have_their_own_paths() {
        assert_eq!(ask(&health(), "/livez/ping").await, Some((200, "ok".into())));
        let failed = (500, "internal server error: 2 caches are empty\n".to_owned());
        assert_eq!(ask(&health(), "/readyz/informer-sync").await, Some(failed));
        assert_eq!(ask(&health(), "/livez/informer-sync").await, None);
        assert_eq!(ask(&health(), "/healthzz").await, None);
    }

    #[tokio::test]
    async fn shutdown_makes_unready_but_not_dead() {
        let shutdown = CancellationToken::new();
        let health = Health::new().with_shutdown(shutdown.clone());
        assert_eq!(ask(&health, "/readyz").await, Some((200, "ok".into())));
        shutdown.cancel();
        assert_eq!(ask(&health, "/readyz").await.unwrap().0, 500);
        assert_eq!(ask(&health, "/livez").await.unwrap().0, 200);
    }

    #[test]
    fn paths_are_listed_with_their_checks() {
        let paths = health().paths();
        assert!(paths.contains(&"/readyz/informer-sync".to_owned()));
        assert!(!paths.contains(&"/livez/informer-sync".to_owned()));
        let post = Request::post("/healthz").body(()).unwrap().into_parts().0;
        assert_eq!(health().respond(&post).unwrap().status(), 405);
    }
}
