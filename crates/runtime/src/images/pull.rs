//! Pulls an image: resolve the reference, fetch what is missing, unpack it, name it.
//!
//! The counterpart of containerd's `Client.Pull` with unpack. Invariants: a layer that is here is not fetched; two pulls of one layer share
//! the download and the unpacking; nothing is named before all of it is here and verified; a failed pull leaves nothing behind.

use super::digest::Digest;
use super::disk::Session;
use super::manifest::{self, ImageSpec, LayerSpec, MAX_CONFIG_BYTES, Manifest};
use super::registry::client::RegistryClient;
use super::registry::{Progress, ProgressFn, RegistryAuth, RegistryError};
use super::store::{Image, ImageStore};
use super::{ImageError, Key, Reference};
use std::collections::{BTreeMap, VecDeque};
use std::fs::File;
use std::io::BufReader;
use std::sync::Arc;
use tokio_util::task::AbortOnDropHandle;

/// Layers fetched at once: containerd's default.
const MAX_DOWNLOADS: usize = 3;

type Result<T> = std::result::Result<T, ImageError>;

/// What a reference means in its registry.
struct Resolved {
    /// Digest of the index or manifest the reference names.
    target: Digest,
    spec: ImageSpec,
    manifest: Vec<u8>,
    config: Vec<u8>,
}

/// One pull under way.
struct Pull {
    store: ImageStore,
    session: Arc<Session>,
    client: RegistryClient,
    reference: Reference,
    progress: Option<ProgressFn>,
}

impl ImageStore {
    /// Pulls an image from its registry and names it; what is here already is not fetched again. `progress` hears of the steps.
    ///
    /// # Errors
    /// [`ImageError::InvalidName`], [`ImageError::Registry`] for what goes wrong at the registry, [`ImageError::Pull`] for the rest.
    pub async fn pull(
        &self,
        reference: &str,
        auth: Option<&RegistryAuth>,
        progress: Option<ProgressFn>,
    ) -> Result<Image> {
        let reference = Reference::parse(reference)?;
        let resolving = format!("failed to resolve reference \"{reference}\"");
        let client = RegistryClient::new(&reference, auth, &self.registries)
            .map_err(at(&reference, &resolving))?;
        let store = self.clone();
        let session =
            blocking(move || store.disk().session()).await.map_err(in_pull(&reference))?;
        let pull = Arc::new(Pull {
            store: self.clone(),
            session: Arc::new(session),
            client,
            reference: reference.clone(),
            progress,
        });
        let outcome = pull.run().await;
        // The last owner of the session ends it, in a thread that may block on removing its files.
        let (store, name) = (self.clone(), reference.to_string());
        let image = blocking(move || {
            drop(pull);
            store.collect_garbage()?;
            outcome.and_then(|()| store.get(&name))
        });
        image.await.map_err(in_pull(&reference))
    }
}

impl Pull {
    async fn run(self: &Arc<Self>) -> Result<()> {
        let resolved = Arc::new(self.resolve().await?);
        let spec = &resolved.spec;
        let (for_store, documents) = (self.clone_parts(), resolved.clone());
        let missing = blocking(move || {
            let (store, session) = for_store;
            store.put_documents(
                &session,
                &documents.spec,
                &documents.manifest,
                &documents.config,
            )?;
            missing_layers(&store, &session, &documents.spec)
        })
        .await?;
        let blobs =
            missing.iter().map(|n| (spec.layers[*n].blob.clone(), spec.layers[*n].size)).collect();
        self.tell(Progress::Resolved { digest: resolved.target.clone(), missing: blobs });
        self.fetch_and_unpack(&resolved, &missing).await?;
        let (store, session) = self.clone_parts();
        let named = names(&self.reference, &resolved);
        blocking(move || store.give_names(&session, &named)).await
    }

    fn clone_parts(&self) -> (ImageStore, Arc<Session>) {
        (self.store.clone(), self.session.clone())
    }

    fn tell(&self, step: Progress) {
        if let Some(progress) = &self.progress {
            progress(step);
        }
    }

    fn at(&self, stage: &str) -> impl FnOnce(RegistryError) -> ImageError {
        at(&self.reference, stage)
    }

    async fn resolve(&self) -> Result<Resolved> {
        let stage = format!("failed to resolve reference \"{}\"", self.reference);
        let (target, mut bytes) =
            self.client.manifest(self.reference.version()).await.map_err(self.at(&stage))?;
        let mut digest = target.clone();
        let mut parsed = manifest::parse_manifest(&bytes)?;
        if let Manifest::Index(index) = &parsed {
            let (wanted, _) = manifest::blob_of(manifest::choose_platform(
                index,
                manifest::host_architecture(),
            )?)?;
            (digest, bytes) =
                self.client.manifest(wanted.as_str()).await.map_err(self.at(&stage))?;
            parsed = manifest::parse_manifest(&bytes)?;
        }
        let Manifest::Image(parsed) = parsed else {
            return Err(ImageError::malformed("manifest", "an index inside an index"));
        };
        let (config_digest, config_bytes) = manifest::blob_of(parsed.config())?;
        if config_bytes > MAX_CONFIG_BYTES {
            return Err(ImageError::TooLarge {
                what: "the config".to_owned(),
                limit: MAX_CONFIG_BYTES,
            });
        }
        let stage = format!("failed to copy config {config_digest}");
        let config =
            self.client.blob(&config_digest, config_bytes).await.map_err(self.at(&stage))?;
        let spec = manifest::image_spec(
            digest,
            bytes.len() as u64,
            &parsed,
            manifest::parse_config(&config)?,
        )?;
        Ok(Resolved { target, spec, manifest: bytes, config })
    }

    /// Fetches a few layers ahead while unpacking them in order.
    async fn fetch_and_unpack(
        self: &Arc<Self>,
        resolved: &Arc<Resolved>,
        missing: &[usize],
    ) -> Result<()> {
        let mut fetches = VecDeque::new();
        let mut ahead = missing.iter().copied();
        let result = loop {
            let room = MAX_DOWNLOADS - fetches.len();
            fetches.extend(ahead.by_ref().take(room).map(|n| (n, self.spawn_fetch(resolved, n))));
            let Some((n, fetch)) = fetches.pop_front() else { break Ok(()) };
            if let Err(error) = self.finish_layer(resolved, n, fetch).await {
                break Err(error);
            }
        };
        // Waited for, so that nothing of a failed pull still runs when its error is seen.
        for (_, fetch) in fetches {
            fetch.abort();
            let _ = fetch.await;
        }
        result
    }

    fn spawn_fetch(
        self: &Arc<Self>,
        resolved: &Arc<Resolved>,
        n: usize,
    ) -> AbortOnDropHandle<Result<()>> {
        let (pull, resolved) = (self.clone(), resolved.clone());
        AbortOnDropHandle::new(tokio::spawn(
            async move { pull.fetch(&resolved.spec.layers[n]).await },
        ))
    }

    async fn finish_layer(
        &self,
        resolved: &Arc<Resolved>,
        n: usize,
        fetch: AbortOnDropHandle<Result<()>>,
    ) -> Result<()> {
        fetch.await.unwrap_or_else(|e| Err(task_failed(e)))?;
        let ((store, session), resolved) = (self.clone_parts(), resolved.clone());
        let digest = resolved.spec.layers[n].blob.clone();
        blocking(move || unpack_fetched(&store, &session, &resolved.spec.layers, n)).await?;
        self.tell(Progress::Unpacked { digest });
        Ok(())
    }

    async fn fetch(&self, layer: &LayerSpec) -> Result<()> {
        let limit = self.store.limits.layer_bytes;
        if layer.size > limit {
            return Err(ImageError::TooLarge { what: format!("layer {}", layer.blob), limit });
        }
        let key = Key::Blob(layer.blob.clone());
        let ((store, session), wanted) = (self.clone_parts(), key.clone());
        // The lease comes before the look, so that what is found stays; the lock makes others wait for this download.
        let maker = blocking(move || match store.disk().lease(&session, &wanted)? {
            true => Ok(None),
            false => store.disk().maker(&wanted).map(Some),
        })
        .await?;
        let Some(maker) = maker else { return Ok(()) };
        if self.store.disk().has(&key) {
            return Ok(());
        }
        let path = self.session.path(&format!("download-{}", layer.blob.hex()));
        let step = |bytes| {
            self.tell(Progress::Fetching { digest: layer.blob.clone(), bytes, total: layer.size })
        };
        let stage = format!("failed to copy layer {}", layer.blob);
        self.client
            .download(&layer.blob, layer.size, &path, step)
            .await
            .map_err(self.at(&stage))?;
        let store = self.store.clone();
        blocking(move || {
            let published = store.disk().publish(&path, &key);
            drop(maker);
            published
        })
        .await
    }
}

fn unpack_fetched(
    store: &ImageStore,
    session: &Session,
    layers: &[LayerSpec],
    n: usize,
) -> Result<()> {
    let layer = &layers[n];
    store.ensure_layer(session, layers, n, Some((&layer.blob, layer.size)), || {
        let path = store.disk().blob_path(&layer.blob);
        let file = File::open(&path).map_err(ImageError::io(format!("open {}", path.display())))?;
        Ok(BufReader::new(file))
    })
}

/// Leases all layers and gives the numbers of those that must be fetched.
fn missing_layers(store: &ImageStore, session: &Session, spec: &ImageSpec) -> Result<Vec<usize>> {
    let mut missing = Vec::new();
    for (n, layer) in spec.layers.iter().enumerate() {
        if !store.disk().lease(session, &Key::Layer(layer.chain_id.clone()))? {
            missing.push(n);
        }
    }
    Ok(missing)
}

/// The name that was pulled, and the repository with the digest it stood for.
fn names(reference: &Reference, resolved: &Resolved) -> BTreeMap<Reference, Digest> {
    let manifest = &resolved.spec.manifest;
    let by_digest = reference.with_digest(resolved.target.clone());
    [reference.clone(), by_digest].into_iter().map(|name| (name, manifest.clone())).collect()
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|e| Err(task_failed(e)))
}

fn task_failed(error: tokio::task::JoinError) -> ImageError {
    ImageError::Io { action: "image work".to_owned(), source: std::io::Error::other(error) }
}

fn at(reference: &Reference, stage: &str) -> impl FnOnce(RegistryError) -> ImageError + use<> {
    let (reference, stage) = (reference.to_string(), stage.to_owned());
    move |source| ImageError::Registry { reference, stage, source: Box::new(source) }
}

/// Says which image it was about, unless the error does.
fn in_pull(reference: &Reference) -> impl FnOnce(ImageError) -> ImageError + use<> {
    let reference = reference.to_string();
    move |error| match error {
        ImageError::Registry { .. } | ImageError::Pull { .. } => error,
        error => ImageError::Pull { reference, source: Box::new(error) },
    }
}
