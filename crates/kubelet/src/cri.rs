//! The runtime, as the kubelet calls it: CRI v1 over a unix socket.
//!
//! Counterpart in Kubernetes: `cri-client`. Invariants: a lost connection is made anew by the next call; an error carries the
//! runtime's message and nothing else.

use std::collections::HashMap;
use std::path::Path;

use hyper_util::rt::TokioIo;
use k8s_cri::v1 as cri;
use k8s_cri::v1::image_service_client::ImageServiceClient;
use k8s_cri::v1::runtime_service_client::RuntimeServiceClient;
use tokio::net::UnixStream;
use tonic::transport::{Channel, Endpoint, Uri};

use crate::names;
use crate::runtime_status::PodRuntimeStatus;

/// The largest answer accepted: a listing of a full node. Kubernetes' number.
const MAX_MESSAGE_BYTES: usize = 16 << 20;

/// The runtime refused or could not be reached.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{message}")]
pub struct CriError {
    /// Whether the thing asked for does not exist.
    pub not_found: bool,
    /// The runtime's own words.
    pub message: String,
}

impl From<tonic::Status> for CriError {
    fn from(status: tonic::Status) -> Self {
        Self {
            not_found: status.code() == tonic::Code::NotFound,
            message: status.message().to_owned(),
        }
    }
}

type Result<T> = std::result::Result<T, CriError>;

/// A connection to the runtime; clones share it.
#[derive(Clone, Debug)]
pub struct Cri {
    runtime: RuntimeServiceClient<Channel>,
    images: ImageServiceClient<Channel>,
}

impl Cri {
    /// A client of the runtime behind `socket`. Connects with the first call.
    pub fn new(socket: &Path) -> Self {
        let socket = socket.to_owned();
        let connect = move |_: Uri| {
            let socket = socket.clone();
            async move { UnixStream::connect(socket).await.map(TokioIo::new) }
        };
        // The address is never used: the connector above knows where to go.
        let channel = Endpoint::from_static("http://cri.local")
            .connect_with_connector_lazy(tower::service_fn(connect));
        Self {
            runtime: RuntimeServiceClient::new(channel.clone())
                .max_decoding_message_size(MAX_MESSAGE_BYTES),
            images: ImageServiceClient::new(channel).max_decoding_message_size(MAX_MESSAGE_BYTES),
        }
    }

    /// Name and version of the runtime.
    ///
    /// # Errors
    /// When the runtime refuses or is not there, as for all methods here.
    pub async fn version(&self) -> Result<cri::VersionResponse> {
        let request = cri::VersionRequest { version: "v1".into() };
        Ok(self.runtime.clone().version(request).await?.into_inner())
    }

    /// Conditions of the runtime.
    pub async fn status(&self) -> Result<cri::StatusResponse> {
        Ok(self.runtime.clone().status(cri::StatusRequest { verbose: false }).await?.into_inner())
    }

    /// The stream of container events.
    pub async fn events(&self) -> Result<tonic::Streaming<cri::ContainerEventResponse>> {
        Ok(self.runtime.clone().get_container_events(cri::GetEventsRequest {}).await?.into_inner())
    }

    /// All sandboxes of the node.
    pub async fn sandboxes(&self) -> Result<Vec<cri::PodSandbox>> {
        self.list_sandboxes(HashMap::new()).await
    }

    async fn list_sandboxes(
        &self,
        labels: HashMap<String, String>,
    ) -> Result<Vec<cri::PodSandbox>> {
        let filter = Some(cri::PodSandboxFilter {
            label_selector: labels,
            ..cri::PodSandboxFilter::default()
        });
        let request = cri::ListPodSandboxRequest { filter };
        Ok(self.runtime.clone().list_pod_sandbox(request).await?.into_inner().items)
    }

    /// Containers with all of these labels.
    pub async fn containers(&self, labels: HashMap<String, String>) -> Result<Vec<cri::Container>> {
        let filter = Some(cri::ContainerFilter {
            label_selector: labels,
            ..cri::ContainerFilter::default()
        });
        let request = cri::ListContainersRequest { filter };
        Ok(self.runtime.clone().list_containers(request).await?.into_inner().containers)
    }

    /// Containers of one sandbox.
    pub async fn containers_of_sandbox(&self, id: &str) -> Result<Vec<cri::Container>> {
        let filter = Some(cri::ContainerFilter {
            pod_sandbox_id: id.to_owned(),
            ..cri::ContainerFilter::default()
        });
        let request = cri::ListContainersRequest { filter };
        Ok(self.runtime.clone().list_containers(request).await?.into_inner().containers)
    }

    /// Everything the runtime knows of the pod with this uid.
    pub async fn pod_status(&self, uid: &str) -> Result<PodRuntimeStatus> {
        let labels: HashMap<_, _> = [(names::POD_UID.to_owned(), uid.to_owned())].into();
        let (sandboxes, containers) =
            tokio::try_join!(self.list_sandboxes(labels.clone()), self.containers(labels))?;
        let mut sandbox_statuses = Vec::new();
        for sandbox in sandboxes {
            sandbox_statuses.extend(found(self.sandbox_status(&sandbox.id).await)?);
        }
        let mut container_statuses = Vec::new();
        for container in containers {
            container_statuses.extend(found(self.container_status(&container.id).await)?);
        }
        Ok(PodRuntimeStatus::from_cri(sandbox_statuses, container_statuses))
    }

    /// One sandbox.
    pub async fn sandbox_status(&self, id: &str) -> Result<cri::PodSandboxStatus> {
        let request =
            cri::PodSandboxStatusRequest { pod_sandbox_id: id.to_owned(), verbose: false };
        let answer = self.runtime.clone().pod_sandbox_status(request).await?.into_inner();
        answer.status.ok_or_else(|| missing("sandbox", id))
    }

    /// One container.
    pub async fn container_status(&self, id: &str) -> Result<cri::ContainerStatus> {
        let request = cri::ContainerStatusRequest { container_id: id.to_owned(), verbose: false };
        let answer = self.runtime.clone().container_status(request).await?.into_inner();
        answer.status.ok_or_else(|| missing("container", id))
    }

    /// Makes a sandbox; answers its id.
    pub async fn run_sandbox(&self, config: cri::PodSandboxConfig) -> Result<String> {
        let request =
            cri::RunPodSandboxRequest { config: Some(config), runtime_handler: String::new() };
        Ok(self.runtime.clone().run_pod_sandbox(request).await?.into_inner().pod_sandbox_id)
    }

    /// Ends everything in a sandbox; a sandbox that is gone counts as stopped.
    pub async fn stop_sandbox(&self, id: &str) -> Result<()> {
        let request = cri::StopPodSandboxRequest { pod_sandbox_id: id.to_owned() };
        gone_is_done(self.runtime.clone().stop_pod_sandbox(request).await)
    }

    /// Removes a stopped sandbox and its containers.
    pub async fn remove_sandbox(&self, id: &str) -> Result<()> {
        let request = cri::RemovePodSandboxRequest { pod_sandbox_id: id.to_owned() };
        gone_is_done(self.runtime.clone().remove_pod_sandbox(request).await)
    }

    /// Makes a container; answers its id.
    pub async fn create_container(
        &self,
        sandbox: &str,
        config: cri::ContainerConfig,
        of: cri::PodSandboxConfig,
    ) -> Result<String> {
        let request = cri::CreateContainerRequest {
            pod_sandbox_id: sandbox.to_owned(),
            config: Some(config),
            sandbox_config: Some(of),
        };
        Ok(self.runtime.clone().create_container(request).await?.into_inner().container_id)
    }

    /// Starts a container.
    pub async fn start_container(&self, id: &str) -> Result<()> {
        let request = cri::StartContainerRequest { container_id: id.to_owned() };
        self.runtime.clone().start_container(request).await?;
        Ok(())
    }

    /// Asks a container to end, and kills it after `grace_seconds`.
    pub async fn stop_container(&self, id: &str, grace_seconds: i64) -> Result<()> {
        let request =
            cri::StopContainerRequest { container_id: id.to_owned(), timeout: grace_seconds };
        gone_is_done(self.runtime.clone().stop_container(request).await)
    }

    /// Removes a container.
    pub async fn remove_container(&self, id: &str) -> Result<()> {
        let request = cri::RemoveContainerRequest { container_id: id.to_owned() };
        gone_is_done(self.runtime.clone().remove_container(request).await)
    }

    /// Runs a command to its end.
    pub async fn exec_sync(
        &self,
        id: &str,
        command: Vec<String>,
        timeout_seconds: i64,
    ) -> Result<cri::ExecSyncResponse> {
        let request = cri::ExecSyncRequest {
            container_id: id.to_owned(),
            cmd: command,
            timeout: timeout_seconds,
        };
        Ok(self.runtime.clone().exec_sync(request).await?.into_inner())
    }

    /// Where to stream a command's input and output.
    pub async fn exec(&self, request: cri::ExecRequest) -> Result<String> {
        Ok(self.runtime.clone().exec(request).await?.into_inner().url)
    }

    /// Where to stream the main process's input and output.
    pub async fn attach(&self, request: cri::AttachRequest) -> Result<String> {
        Ok(self.runtime.clone().attach(request).await?.into_inner().url)
    }

    /// Where to reach a port of a pod.
    pub async fn port_forward(&self, sandbox: &str, port: u16) -> Result<String> {
        let request = cri::PortForwardRequest {
            pod_sandbox_id: sandbox.to_owned(),
            port: vec![i32::from(port)],
        };
        Ok(self.runtime.clone().port_forward(request).await?.into_inner().url)
    }

    /// All images of the node.
    pub async fn images(&self) -> Result<Vec<cri::Image>> {
        let request = cri::ListImagesRequest { filter: None };
        Ok(self.images.clone().list_images(request).await?.into_inner().images)
    }

    /// One image; `None` when it is not there.
    pub async fn image(&self, image: &str) -> Result<Option<cri::Image>> {
        let request = cri::ImageStatusRequest { image: Some(image_spec(image)), verbose: false };
        Ok(found(self.images.clone().image_status(request).await.map_err(CriError::from))?
            .and_then(|answer| answer.into_inner().image))
    }

    /// Pulls an image; answers its reference.
    pub async fn pull(&self, image: &str, sandbox: cri::PodSandboxConfig) -> Result<String> {
        let request = cri::PullImageRequest {
            image: Some(image_spec(image)),
            auth: None,
            sandbox_config: Some(sandbox),
        };
        Ok(self.images.clone().pull_image(request).await?.into_inner().image_ref)
    }
}

fn image_spec(image: &str) -> cri::ImageSpec {
    cri::ImageSpec {
        image: image.to_owned(),
        user_specified_image: image.to_owned(),
        ..cri::ImageSpec::default()
    }
}

fn missing(kind: &str, id: &str) -> CriError {
    CriError { not_found: true, message: format!("{kind} {id} has no status") }
}

fn found<T>(answer: Result<T>) -> Result<Option<T>> {
    match answer {
        Ok(value) => Ok(Some(value)),
        Err(error) if error.not_found => Ok(None),
        Err(error) => Err(error),
    }
}

fn gone_is_done<T>(answer: std::result::Result<T, tonic::Status>) -> Result<()> {
    found(answer.map_err(CriError::from)).map(|_| ())
}
