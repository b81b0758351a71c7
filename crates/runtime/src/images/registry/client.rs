//! A client of the distribution API for one repository: manifests and blobs, with tokens, redirects, retries and resume.

use super::challenge::{self, Challenge};
use super::connect::{HttpClient, http_client};
use super::{RegistryAuth, RegistryConfig, RegistryError};
use crate::images::digest::{Digest, Hasher};
use crate::images::manifest::{ACCEPTED_MANIFESTS, MAX_MANIFEST_BYTES};
use crate::images::reference::Reference;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::header::{
    ACCEPT, AUTHORIZATION, CONTENT_RANGE, CONTENT_TYPE, LOCATION, RANGE, RETRY_AFTER, USER_AGENT,
    WWW_AUTHENTICATE,
};
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use serde::Deserialize;
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use tokio::io::{AsyncSeekExt, AsyncWriteExt, BufWriter};
use url::Url;

/// How long to wait for an answer to begin, or for more of it: kubelet's image pull progress deadline is a minute.
const IDLE_TIMEOUT: Duration = Duration::from_secs(60);
/// Attempts without progress before giving up; with the waits between them about six seconds of outage are bridged.
const MAX_ATTEMPTS: u32 = 6;
/// Wait after the first failed attempt; doubles each time.
const FIRST_BACKOFF: Duration = Duration::from_millis(200);
/// Longest wait a registry can ask for: kubelet has a back-off of its own for more.
const MAX_BACKOFF: Duration = Duration::from_secs(30);
/// Most redirects followed: registries use one or two.
const MAX_REDIRECTS: usize = 8;
/// Largest token answer; tokens are a few KiB.
const MAX_TOKEN_BYTES: u64 = 1 << 20;
/// Largest error answer looked at.
const MAX_ERROR_BYTES: u64 = 64 << 10;
/// Write buffer of a download, and the step in which progress is reported.
const WRITE_BYTES: usize = 256 << 10;
/// The client's name in registries' logs.
const AGENT: &str = concat!("knarr/", env!("CARGO_PKG_VERSION"));

type Result<T> = std::result::Result<T, RegistryError>;

/// A repository in a registry.
pub(crate) struct RegistryClient {
    http: HttpClient,
    base: Url,
    reference: Reference,
    auth: Option<RegistryAuth>,
    /// The `Authorization` header that worked last.
    authorization: Mutex<Option<String>>,
}

#[derive(Deserialize)]
struct TokenAnswer {
    token: Option<String>,
    access_token: Option<String>,
}

#[derive(Deserialize)]
struct ErrorAnswer {
    errors: Vec<ErrorDetail>,
}

#[derive(Deserialize)]
struct ErrorDetail {
    #[serde(default)]
    code: String,
    #[serde(default)]
    message: String,
}

impl RegistryClient {
    /// A client for the repository of `reference`.
    pub fn new(
        reference: &Reference,
        auth: Option<&RegistryAuth>,
        config: &RegistryConfig,
    ) -> Result<Self> {
        let base = config.base_url(reference.domain());
        let base = Url::parse(&base)
            .map_err(|e| RegistryError::Protocol { url: base.clone(), reason: e.to_string() })?;
        let authorization = match auth {
            Some(RegistryAuth::RegistryToken(token)) => Some(format!("Bearer {token}")),
            _ => None,
        };
        Ok(Self {
            http: http_client(config)?,
            base,
            reference: reference.clone(),
            auth: auth.cloned(),
            authorization: Mutex::new(authorization),
        })
    }

    /// A manifest by tag or digest, and its digest.
    pub async fn manifest(&self, version: &str) -> Result<(Digest, Vec<u8>)> {
        let url = self.url("manifests", version)?;
        let what = format!("{}/{}", self.reference.domain(), self.reference.path());
        let expected = Digest::parse(version).ok();
        let what = if expected.is_some() {
            format!("{what}@{version}")
        } else {
            format!("{what}:{version}")
        };
        let accept = ACCEPTED_MANIFESTS.join(", ");
        let bytes = self.retry(|| self.small(&url, &accept, MAX_MANIFEST_BYTES, &what)).await?;
        let actual = Digest::of(&bytes);
        match expected {
            Some(expected) if expected != actual => {
                Err(RegistryError::DigestMismatch { what, expected, actual })
            }
            _ => Ok((actual, bytes)),
        }
    }

    /// A small blob.
    pub async fn blob(&self, digest: &Digest, size: u64) -> Result<Vec<u8>> {
        let url = self.url("blobs", digest.as_str())?;
        let what = format!("blob {digest}");
        let bytes = self.retry(|| self.small(&url, "*/*", size, &what)).await?;
        let actual = Digest::of(&bytes);
        if actual != *digest {
            return Err(RegistryError::DigestMismatch { what, expected: digest.clone(), actual });
        }
        Ok(bytes)
    }

    /// Downloads a blob into a new file, going on where it stopped when the connection breaks, and verifies it.
    pub async fn download(
        &self,
        digest: &Digest,
        size: u64,
        path: &Path,
        progress: impl Fn(u64) + Sync,
    ) -> Result<()> {
        let url = self.url("blobs", digest.as_str())?;
        let mut download = Download::create(path, digest, size).await?;
        let mut attempts = 0;
        loop {
            let before = download.bytes;
            match self.fetch(&url, &mut download, &progress).await {
                Ok(()) => return download.finish().await,
                Err(error) if error.is_transient() => {
                    attempts = if download.bytes > before { 1 } else { attempts + 1 };
                    if attempts >= MAX_ATTEMPTS {
                        return Err(error);
                    }
                    tracing::debug!(%error, bytes = download.bytes, "download interrupted, going on");
                    tokio::time::sleep(backoff(attempts, &error)).await;
                }
                Err(error) => return Err(error),
            }
        }
    }

    async fn fetch(
        &self,
        url: &Url,
        download: &mut Download<'_>,
        progress: &(impl Fn(u64) + Sync),
    ) -> Result<()> {
        let range = (download.bytes > 0).then(|| format!("bytes={}-", download.bytes));
        let response = self.get(url, "*/*", range.as_deref()).await?;
        match response.status() {
            StatusCode::PARTIAL_CONTENT if starts_at(&response, download.bytes) => {}
            _ => download.restart().await?,
        }
        let mut body = response.into_body();
        let mut reported = download.bytes;
        while let Some(data) = next_data(&mut body, url).await? {
            download.add(&data).await?;
            if download.bytes - reported >= WRITE_BYTES as u64 {
                reported = download.bytes;
                progress(reported);
            }
        }
        if download.bytes < download.size {
            let reason =
                format!("unexpected EOF after {} of {} bytes", download.bytes, download.size);
            return Err(RegistryError::Transport { url: url.to_string(), reason });
        }
        progress(download.bytes);
        Ok(())
    }

    fn url(&self, kind: &str, version: &str) -> Result<Url> {
        let path = format!("{}/{kind}/{version}", self.reference.path());
        self.base
            .join(&path)
            .map_err(|e| RegistryError::Protocol { url: path, reason: e.to_string() })
    }

    async fn retry<T, F: Future<Output = Result<T>>>(
        &self,
        mut attempt: impl FnMut() -> F,
    ) -> Result<T> {
        let mut attempts = 0;
        loop {
            match attempt().await {
                Err(error) if error.is_transient() && attempts + 1 < MAX_ATTEMPTS => {
                    attempts += 1;
                    tracing::debug!(%error, "registry request failed, trying again");
                    tokio::time::sleep(backoff(attempts, &error)).await;
                }
                other => return other,
            }
        }
    }

    async fn small(&self, url: &Url, accept: &str, limit: u64, what: &str) -> Result<Vec<u8>> {
        let response = self.get(url, accept, None).await.map_err(|e| match e {
            RegistryError::NotFound(_) => RegistryError::NotFound(what.to_owned()),
            e => e,
        })?;
        read_limited(response.into_body(), url, what, limit).await
    }

    /// A GET with the authorization the registry wants.
    async fn get(
        &self,
        url: &Url,
        accept: &str,
        range: Option<&str>,
    ) -> Result<Response<Incoming>> {
        let mut asked = false;
        loop {
            let response = self.follow(url.clone(), accept, range).await?;
            if response.status() != StatusCode::UNAUTHORIZED || asked {
                return check(response, url).await;
            }
            asked = true;
            let challenges = response.headers().get_all(WWW_AUTHENTICATE).iter();
            let challenge =
                challenges.filter_map(|value| challenge::parse(value.to_str().ok()?)).next();
            match challenge {
                Some(challenge) => self.authorize(challenge).await?,
                None => return check(response, url).await,
            }
        }
    }

    async fn follow(
        &self,
        mut url: Url,
        accept: &str,
        range: Option<&str>,
    ) -> Result<Response<Incoming>> {
        for _ in 0..MAX_REDIRECTS {
            let mut request = Request::get(url.as_str()).header(ACCEPT, accept);
            if let Some(range) = range {
                request = request.header(RANGE, range);
            }
            let authorization =
                self.authorization.lock().unwrap_or_else(PoisonError::into_inner).clone();
            if let Some(authorization) =
                authorization.filter(|_| url.origin() == self.base.origin())
            {
                request = request.header(AUTHORIZATION, authorization);
            }
            let response = self.send(request, Bytes::new(), &url).await?;
            if !is_redirect(response.status()) {
                return Ok(response);
            }
            url = redirect_target(&url, &response)?;
        }
        Err(RegistryError::Protocol {
            url: url.to_string(),
            reason: format!("more than {MAX_REDIRECTS} redirects"),
        })
    }

    async fn send(
        &self,
        request: http::request::Builder,
        body: Bytes,
        url: &Url,
    ) -> Result<Response<Incoming>> {
        let protocol = |e: http::Error| RegistryError::Protocol {
            url: url.to_string(),
            reason: e.to_string(),
        };
        let request = request.header(USER_AGENT, AGENT).body(Full::new(body)).map_err(protocol)?;
        let response = tokio::time::timeout(IDLE_TIMEOUT, self.http.request(request)).await;
        response.map_err(|_| timed_out(url))?.map_err(|e| transport(url, &e))
    }

    /// Gets what a challenge asks for and keeps it for the next requests.
    async fn authorize(&self, challenge: Challenge) -> Result<()> {
        let authorization = match (challenge, &self.auth) {
            (Challenge::Basic, Some(RegistryAuth::Basic { username, password })) => {
                basic(username, password)
            }
            (Challenge::Basic, _) => {
                return Err(RegistryError::Unauthorized("no basic auth credentials".to_owned()));
            }
            (
                Challenge::Bearer { error: Some(error), .. },
                Some(RegistryAuth::RegistryToken(_)),
            ) => {
                return Err(RegistryError::Unauthorized(format!(
                    "the registry refused the token: {error}"
                )));
            }
            (Challenge::Bearer { realm, service, scope, .. }, _) => {
                let scope =
                    scope.unwrap_or_else(|| format!("repository:{}:pull", self.reference.path()));
                format!("Bearer {}", self.token(&realm, service.as_deref(), &scope).await?)
            }
        };
        *self.authorization.lock().unwrap_or_else(PoisonError::into_inner) = Some(authorization);
        Ok(())
    }

    async fn token(&self, realm: &str, service: Option<&str>, scope: &str) -> Result<String> {
        let bad = |reason: String| RegistryError::Protocol { url: realm.to_owned(), reason };
        let url = Url::parse(realm).map_err(|e| bad(e.to_string()))?;
        if url.scheme() != "https" && self.base.scheme() == "https" {
            return Err(bad("the token server is not spoken to over TLS".to_owned()));
        }
        let response = self.retry(|| self.ask_token(url.clone(), service, scope)).await?;
        let answer: TokenAnswer =
            serde_json::from_slice(&response).map_err(|e| bad(e.to_string()))?;
        let token = answer
            .token
            .filter(|t| !t.is_empty())
            .or(answer.access_token)
            .filter(|t| !t.is_empty());
        token.ok_or_else(|| bad("the answer has no token".to_owned()))
    }

    async fn ask_token(&self, mut url: Url, service: Option<&str>, scope: &str) -> Result<Vec<u8>> {
        let (request, body) = match &self.auth {
            Some(RegistryAuth::IdentityToken(token)) => {
                let mut form = url::form_urlencoded::Serializer::new(String::new());
                form.append_pair("grant_type", "refresh_token").append_pair("refresh_token", token);
                form.append_pair("client_id", "knarr").append_pair("scope", scope);
                form.append_pair("service", service.unwrap_or_default());
                let request = Request::builder().method(Method::POST).uri(url.as_str());
                (
                    request.header(CONTENT_TYPE, "application/x-www-form-urlencoded"),
                    Bytes::from(form.finish()),
                )
            }
            auth => {
                let pairs = service.map(|s| ("service", s)).into_iter().chain([("scope", scope)]);
                url.query_pairs_mut().extend_pairs(pairs);
                let request = Request::get(url.as_str());
                match auth {
                    Some(RegistryAuth::Basic { username, password }) => {
                        (request.header(AUTHORIZATION, basic(username, password)), Bytes::new())
                    }
                    _ => (request, Bytes::new()),
                }
            }
        };
        let response = self.send(request, body, &url).await?;
        match response.status() {
            status if status.is_success() => {
                read_limited(response.into_body(), &url, "the token", MAX_TOKEN_BYTES).await
            }
            status if status.is_server_error() || status.as_u16() == 429 => {
                Err(status_error(response, &url).await)
            }
            status => {
                let kind = if self.auth.is_some() { "oauth" } else { "anonymous" };
                url.set_query(None);
                let text = format!(
                    "failed to fetch {kind} token: unexpected status from GET request to {url}: {status}"
                );
                Err(RegistryError::Unauthorized(text))
            }
        }
    }
}

/// A blob being written.
struct Download<'a> {
    file: BufWriter<tokio::fs::File>,
    hasher: Hasher,
    bytes: u64,
    digest: &'a Digest,
    size: u64,
    path: &'a Path,
}

impl<'a> Download<'a> {
    async fn create(path: &'a Path, digest: &'a Digest, size: u64) -> Result<Self> {
        let file = tokio::fs::File::create(path).await;
        let file = file
            .map_err(|source| RegistryError::Write { path: path.display().to_string(), source })?;
        Ok(Self {
            file: BufWriter::with_capacity(WRITE_BYTES, file),
            hasher: Hasher::default(),
            bytes: 0,
            digest,
            size,
            path,
        })
    }

    fn written<T>(&self, result: std::io::Result<T>) -> Result<T> {
        result.map_err(|source| RegistryError::Write {
            path: self.path.display().to_string(),
            source,
        })
    }

    async fn add(&mut self, data: &[u8]) -> Result<()> {
        self.bytes += data.len() as u64;
        if self.bytes > self.size {
            return Err(RegistryError::TooLarge {
                what: format!("blob {}", self.digest),
                limit: self.size,
            });
        }
        self.hasher.update(data);
        let result = self.file.write_all(data).await;
        self.written(result)
    }

    /// Begins again, when a registry does not go on where it stopped.
    async fn restart(&mut self) -> Result<()> {
        if self.bytes > 0 {
            let flushed = self.file.flush().await;
            self.written(flushed)?;
            let rewound = self.file.rewind().await;
            self.written(rewound)?;
            let emptied = self.file.get_mut().set_len(0).await;
            self.written(emptied)?;
        }
        self.bytes = 0;
        self.hasher = Hasher::default();
        Ok(())
    }

    async fn finish(mut self) -> Result<()> {
        let flushed = self.file.flush().await;
        self.written(flushed)?;
        let actual = self.hasher.finish();
        if actual != *self.digest {
            let what = format!("blob {}", self.digest);
            return Err(RegistryError::DigestMismatch {
                what,
                expected: self.digest.clone(),
                actual,
            });
        }
        Ok(())
    }
}

fn basic(username: &str, password: &str) -> String {
    format!("Basic {}", STANDARD.encode(format!("{username}:{password}")))
}

fn backoff(attempts: u32, error: &RegistryError) -> Duration {
    let asked = match error {
        RegistryError::Status { retry_after: Some(seconds), .. } => Duration::from_secs(*seconds),
        _ => Duration::ZERO,
    };
    let doubled = FIRST_BACKOFF.saturating_mul(1 << attempts.saturating_sub(1).min(16));
    doubled.max(asked).min(MAX_BACKOFF)
}

fn is_redirect(status: StatusCode) -> bool {
    matches!(status.as_u16(), 301 | 302 | 303 | 307 | 308)
}

fn redirect_target(url: &Url, response: &Response<Incoming>) -> Result<Url> {
    let bad =
        |reason: &str| RegistryError::Protocol { url: url.to_string(), reason: reason.to_owned() };
    let location = response
        .headers()
        .get(LOCATION)
        .and_then(|l| l.to_str().ok())
        .ok_or_else(|| bad("a redirect to nowhere"))?;
    let target = url.join(location).map_err(|_| bad("a redirect to nowhere"))?;
    match (url.scheme(), target.scheme()) {
        (_, "https") | ("http", "http") => Ok(target),
        _ => Err(bad("a redirect from TLS to plain text")),
    }
}

fn starts_at(response: &Response<Incoming>, offset: u64) -> bool {
    let range = response.headers().get(CONTENT_RANGE).and_then(|v| v.to_str().ok());
    range.is_some_and(|range| range.starts_with(&format!("bytes {offset}-")))
}

fn timed_out(url: &Url) -> RegistryError {
    RegistryError::Timeout { url: url.to_string(), seconds: IDLE_TIMEOUT.as_secs() }
}

/// The innermost cause says what happened; the outer ones only that something did. What a dialer says is in Go's words, which people
/// search for.
fn transport(url: &Url, error: &(dyn std::error::Error + 'static)) -> RegistryError {
    let mut innermost = error;
    let mut kind = None;
    loop {
        kind = innermost.downcast_ref::<std::io::Error>().map(std::io::Error::kind).or(kind);
        match innermost.source() {
            Some(inner) => innermost = inner,
            None => break,
        }
    }
    let reason = match kind {
        Some(std::io::ErrorKind::ConnectionRefused) => dial(url, "connection refused"),
        Some(std::io::ErrorKind::HostUnreachable) => dial(url, "no route to host"),
        Some(std::io::ErrorKind::NetworkUnreachable) => dial(url, "network is unreachable"),
        _ => innermost.to_string(),
    };
    RegistryError::Transport { url: url.to_string(), reason }
}

fn dial(url: &Url, what: &str) -> String {
    let (host, port) =
        (url.host_str().unwrap_or_default(), url.port_or_known_default().unwrap_or_default());
    format!("dial tcp {host}:{port}: connect: {what}")
}

async fn next_data(body: &mut Incoming, url: &Url) -> Result<Option<Bytes>> {
    loop {
        let frame =
            tokio::time::timeout(IDLE_TIMEOUT, body.frame()).await.map_err(|_| timed_out(url))?;
        match frame {
            None => return Ok(None),
            Some(Err(error)) => return Err(transport(url, &error)),
            Some(Ok(frame)) => {
                if let Ok(data) = frame.into_data() {
                    return Ok(Some(data));
                }
            }
        }
    }
}

async fn read_limited(mut body: Incoming, url: &Url, what: &str, limit: u64) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    while let Some(data) = next_data(&mut body, url).await? {
        if (bytes.len() + data.len()) as u64 > limit {
            return Err(RegistryError::TooLarge { what: what.to_owned(), limit });
        }
        bytes.extend_from_slice(&data);
    }
    Ok(bytes)
}

async fn check(response: Response<Incoming>, url: &Url) -> Result<Response<Incoming>> {
    match response.status() {
        status if status.is_success() => Ok(response),
        StatusCode::NOT_FOUND => Err(RegistryError::NotFound(url.to_string())),
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
            Err(match status_error(response, url).await {
                RegistryError::Status { message, .. } if !message.is_empty() => {
                    RegistryError::Denied(format!("server message: {message}"))
                }
                RegistryError::Status { status, .. } => {
                    RegistryError::Denied(format!("server status: {status}"))
                }
                other => other,
            })
        }
        _ => Err(status_error(response, url).await),
    }
}

async fn status_error(response: Response<Incoming>, url: &Url) -> RegistryError {
    let status = response.status();
    let retry_after =
        response.headers().get(RETRY_AFTER).and_then(|v| v.to_str().ok()?.parse().ok());
    let body = read_limited(response.into_body(), url, "the error", MAX_ERROR_BYTES)
        .await
        .unwrap_or_default();
    RegistryError::Status {
        url: url.to_string(),
        status,
        message: error_message(&body),
        retry_after,
    }
}

/// The registry's own words, if it has any; web pages of proxies are not shown.
fn error_message(body: &[u8]) -> String {
    let Ok(answer) = serde_json::from_slice::<ErrorAnswer>(body) else { return String::new() };
    let texts: Vec<String> =
        answer.errors.iter().map(|e| format!("{}: {}", e.code, e.message)).collect();
    texts.join(", ")
}
