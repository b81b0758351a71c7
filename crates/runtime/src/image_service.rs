//! The CRI's ImageService over the image store.
//!
//! The counterpart of containerd's `cri` image service. Invariant: answers about images never wait for a pull; all work on disk runs in
//! blocking threads.

use crate::images::{
    HELLO_IMAGE, Image, ImageError, ImageStore, ImageUser, RegistryAuth, RegistryError,
};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use k8s_cri::v1;
use k8s_cri::v1::image_service_server::ImageService;
use std::collections::HashMap;
use std::time::{SystemTime, UNIX_EPOCH};
use tonic::{Request, Response, Status};

/// Serves `runtime.v1.ImageService`.
#[derive(Clone)]
pub struct ImageServer {
    store: ImageStore,
}

impl ImageServer {
    /// A service over `store`.
    pub fn new(store: ImageStore) -> Self {
        Self { store }
    }

    /// The store it serves.
    pub fn store(&self) -> &ImageStore {
        &self.store
    }

    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&ImageStore) -> Result<T, ImageError> + Send + 'static,
    ) -> Result<T, Status> {
        let store = self.store.clone();
        let done = tokio::task::spawn_blocking(move || work(&store)).await;
        done.map_err(|e| Status::internal(e.to_string()))?.map_err(status)
    }
}

#[tonic::async_trait]
impl ImageService for ImageServer {
    async fn list_images(
        &self,
        request: Request<v1::ListImagesRequest>,
    ) -> Result<Response<v1::ListImagesResponse>, Status> {
        let filter = request
            .into_inner()
            .filter
            .and_then(|f| f.image)
            .map(|i| i.image)
            .filter(|i| !i.is_empty());
        let images = self
            .blocking(move |store| match filter {
                None => store.list(),
                Some(name) => Ok(store.resolve(&name).into_iter().collect()),
            })
            .await?;
        Ok(Response::new(v1::ListImagesResponse { images: images.iter().map(cri_image).collect() }))
    }

    async fn image_status(
        &self,
        request: Request<v1::ImageStatusRequest>,
    ) -> Result<Response<v1::ImageStatusResponse>, Status> {
        let request = request.into_inner();
        let name = name_of(request.image)?;
        let image = self.blocking(move |store| found(store.get(&name))).await?;
        let info = match &image {
            Some(image) if request.verbose => verbose(image)?,
            _ => HashMap::new(),
        };
        Ok(Response::new(v1::ImageStatusResponse { image: image.as_ref().map(cri_image), info }))
    }

    async fn pull_image(
        &self,
        request: Request<v1::PullImageRequest>,
    ) -> Result<Response<v1::PullImageResponse>, Status> {
        let request = request.into_inner();
        let name = name_of(request.image)?;
        let auth = request.auth.map(registry_auth).transpose()?.flatten();
        let image = self.store.pull(&name, auth.as_ref(), None).await.map_err(status)?;
        Ok(Response::new(v1::PullImageResponse { image_ref: image.id }))
    }

    async fn remove_image(
        &self,
        request: Request<v1::RemoveImageRequest>,
    ) -> Result<Response<v1::RemoveImageResponse>, Status> {
        let name = name_of(request.into_inner().image)?;
        // The CRI removes images, not names: whatever names the image goes with it.
        self.blocking(move |store| match found(store.get(&name))? {
            Some(image) => found(store.remove(&image.id)).map(|_| ()),
            None => Ok(()),
        })
        .await?;
        Ok(Response::new(v1::RemoveImageResponse {}))
    }

    async fn image_fs_info(
        &self,
        _: Request<v1::ImageFsInfoRequest>,
    ) -> Result<Response<v1::ImageFsInfoResponse>, Status> {
        let usage = self.blocking(ImageStore::usage).await?;
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let file_system = v1::FilesystemUsage {
            timestamp: i64::try_from(now.as_nanos()).unwrap_or(i64::MAX),
            fs_id: Some(v1::FilesystemIdentifier {
                mountpoint: self.store.root().display().to_string(),
            }),
            used_bytes: Some(v1::UInt64Value { value: usage.bytes }),
            inodes_used: Some(v1::UInt64Value { value: usage.inodes }),
        };
        let (image_filesystems, container_filesystems) =
            (vec![file_system.clone()], vec![file_system]);
        Ok(Response::new(v1::ImageFsInfoResponse { image_filesystems, container_filesystems }))
    }
}

/// The CRI's view of an image.
pub fn cri_image(image: &Image) -> v1::Image {
    let (uid, username) = match image.user() {
        Some(ImageUser::Uid(uid)) => (Some(v1::Int64Value { value: uid }), String::new()),
        Some(ImageUser::Name(name)) => (None, name),
        None => (None, String::new()),
    };
    v1::Image {
        id: image.id.clone(),
        repo_tags: image.repo_tags.clone(),
        repo_digests: image.repo_digests.clone(),
        size: image.size,
        uid,
        username,
        spec: None,
        // The kubelet's garbage collection spares what no registry can bring back.
        pinned: image.repo_tags.iter().any(|tag| tag == HELLO_IMAGE),
    }
}

fn name_of(spec: Option<v1::ImageSpec>) -> Result<String, Status> {
    let name = spec.map(|s| s.image).unwrap_or_default();
    if name.is_empty() {
        return Err(Status::invalid_argument("an image is needed"));
    }
    Ok(name)
}

fn found<T>(result: Result<T, ImageError>) -> Result<Option<T>, ImageError> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(ImageError::NotFound(_)) => Ok(None),
        Err(e) => Err(e),
    }
}

fn verbose(image: &Image) -> Result<HashMap<String, String>, Status> {
    let chain: Vec<&str> = image.chain_ids.iter().map(|c| c.as_str()).collect();
    let info = serde_json::json!({"chainIDs": chain, "imageSpec": image.config});
    Ok(HashMap::from([("info".to_owned(), info.to_string())]))
}

/// Credentials as the kubelet finds them in a pull secret.
fn registry_auth(auth: v1::AuthConfig) -> Result<Option<RegistryAuth>, Status> {
    let basic =
        |username: String, password: String| Ok(Some(RegistryAuth::Basic { username, password }));
    if !auth.username.is_empty() {
        return basic(auth.username, auth.password);
    }
    if !auth.identity_token.is_empty() {
        return Ok(Some(RegistryAuth::IdentityToken(auth.identity_token)));
    }
    if !auth.registry_token.is_empty() {
        return Ok(Some(RegistryAuth::RegistryToken(auth.registry_token)));
    }
    if auth.auth.is_empty() {
        return Ok(None);
    }
    let bad = || {
        Status::invalid_argument("the auth field of the credentials is not base64 of user:password")
    };
    let decoded = STANDARD.decode(auth.auth.trim()).map_err(|_| bad())?;
    let decoded = String::from_utf8(decoded).map_err(|_| bad())?;
    let (username, password) = decoded.split_once(':').ok_or_else(bad)?;
    basic(username.to_owned(), password.trim_end_matches('\0').to_owned())
}

/// The one place where an image error becomes a gRPC status.
pub fn status(error: ImageError) -> Status {
    let message = error.to_string();
    match root(&error) {
        ImageError::NotFound(_) => Status::not_found(message),
        ImageError::InvalidName(_) | ImageError::Ambiguous(_) => Status::invalid_argument(message),
        ImageError::Registry { source, .. } => match &**source {
            RegistryError::NotFound(_) => Status::not_found(message),
            RegistryError::Denied(_) | RegistryError::Unauthorized(_) => {
                Status::permission_denied(message)
            }
            source if source.is_transient() => Status::unavailable(message),
            _ => Status::unknown(message),
        },
        ImageError::Io { source, .. } if source.kind() == std::io::ErrorKind::StorageFull => {
            Status::resource_exhausted(message)
        }
        _ => Status::unknown(message),
    }
}

fn root(error: &ImageError) -> &ImageError {
    match error {
        ImageError::Pull { source, .. } => root(source),
        error => error,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn registry_auth_takes_the_form_that_is_filled() {
        let basic = |u: &str, p: &str| {
            Some(RegistryAuth::Basic { username: u.to_owned(), password: p.to_owned() })
        };
        let auth = |f: fn(&mut v1::AuthConfig)| {
            let mut config = v1::AuthConfig::default();
            f(&mut config);
            registry_auth(config)
        };
        assert_eq!(auth(|_| {}).unwrap(), None);
        assert_eq!(
            auth(|a| (a.username, a.password) = ("u".into(), "p".into())).unwrap(),
            basic("u", "p")
        );
        assert_eq!(auth(|a| a.auth = STANDARD.encode("u:p:q")).unwrap(), basic("u", "p:q"));
        assert_eq!(
            auth(|a| a.identity_token = "t".into()).unwrap(),
            Some(RegistryAuth::IdentityToken("t".into()))
        );
        assert_eq!(
            auth(|a| a.registry_token = "t".into()).unwrap(),
            Some(RegistryAuth::RegistryToken("t".into()))
        );
        assert!(auth(|a| a.auth = "?".into()).is_err());
    }
}
