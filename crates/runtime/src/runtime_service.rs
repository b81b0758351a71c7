//! The CRI's RuntimeService, and the server of both CRI services.
//!
//! Invariants: each call is one engine operation; stopping and removing what is not there succeeds; what this runtime does not do is
//! answered with UNIMPLEMENTED.

use crate::engine::{Runtime, Wanted};
use crate::image_service::ImageServer;
use crate::{RuntimeError, streaming};
use k8s_cri::v1::image_service_server::ImageServiceServer;
use k8s_cri::v1::runtime_service_server::{RuntimeService, RuntimeServiceServer};
use k8s_cri::v1::*;
use std::future::Future;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::pin::Pin;
use std::time::Duration;
use tokio::net::UnixListener;
use tokio_stream::wrappers::{BroadcastStream, UnixListenerStream};
use tokio_stream::{Stream, StreamExt};
use tonic::{Request, Response, Status};

/// Longest message in either direction; the kubelet's own limit.
const MAX_MESSAGE: usize = 16 * 1024 * 1024;

/// How long calls may still take after the end was asked for.
const LAST_CALLS: Duration = Duration::from_secs(2);

type Answer<T> = Result<Response<T>, Status>;

/// Binds a unix socket that only root may use, in place of a stale one.
pub(crate) fn bind(path: &Path) -> std::io::Result<UnixListener> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let listener = UnixListener::bind(path)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))?;
    Ok(listener)
}

/// Serves until `shutdown`.
pub(crate) async fn serve(
    runtime: &Runtime,
    path: &Path,
    shutdown: impl Future<Output = ()> + Send,
) -> Result<(), RuntimeError> {
    let io = |action: String| move |source| RuntimeError::Io { action, source };
    let listener = bind(path).map_err(io(format!("binding {}", path.display())))?;
    let streams = runtime.engine.tokens.socket().to_owned();
    let streaming = bind(&streams).map_err(io(format!("binding {}", streams.display())))?;
    runtime.spawn(streaming::serve(runtime.handle(), streaming));
    let cri = RuntimeServiceServer::new(RuntimeServer { runtime: runtime.handle() })
        .max_decoding_message_size(MAX_MESSAGE)
        .max_encoding_message_size(MAX_MESSAGE);
    let images = ImageServiceServer::new(ImageServer::new(runtime.engine.images.clone()));
    let (tell, told) = tokio::sync::oneshot::channel::<()>();
    let serving = tonic::transport::Server::builder()
        .add_service(cri)
        .add_service(images)
        .serve_with_incoming_shutdown(
            UnixListenerStream::new(listener),
            // Dropped or sent, both mean the end.
            async { told.await.unwrap_or_default() },
        );
    let ending = async {
        shutdown.await;
        drop(tell);
        tokio::time::sleep(LAST_CALLS).await;
    };
    tokio::select! {
        served = serving => served.map_err(|error| RuntimeError::Serve(error.to_string())),
        // Who still listens to events, or waits for a slow call, is cut off.
        () = ending => Ok(()),
    }
}

struct RuntimeServer {
    runtime: Runtime,
}

/// Runs an operation that walks directories off the async threads.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Status> {
    tokio::task::spawn_blocking(work).await.map_err(|error| Status::internal(error.to_string()))
}

fn wanted(stdin: bool, stdout: bool, stderr: bool, terminal: bool) -> Result<Wanted, Status> {
    if terminal && stderr {
        return Err(Status::invalid_argument("tty and stderr cannot both be true"));
    }
    if !stdin && !stdout && !stderr {
        return Err(Status::invalid_argument("one of stdin, stdout, or stderr must be set"));
    }
    Ok(Wanted { stdin, stdout, stderr, terminal })
}

#[tonic::async_trait]
impl RuntimeService for RuntimeServer {
    async fn version(&self, _request: Request<VersionRequest>) -> Answer<VersionResponse> {
        Ok(Response::new(VersionResponse {
            version: "0.1.0".into(),
            runtime_name: "knarr".into(),
            runtime_version: env!("CARGO_PKG_VERSION").into(),
            runtime_api_version: "v1".into(),
        }))
    }

    async fn run_pod_sandbox(
        &self,
        request: Request<RunPodSandboxRequest>,
    ) -> Answer<RunPodSandboxResponse> {
        let request = request.into_inner();
        let config =
            request.config.ok_or_else(|| Status::invalid_argument("config: is required"))?;
        let pod_sandbox_id = self.runtime.run_pod_sandbox(config, &request.runtime_handler).await?;
        Ok(Response::new(RunPodSandboxResponse { pod_sandbox_id }))
    }

    async fn stop_pod_sandbox(
        &self,
        request: Request<StopPodSandboxRequest>,
    ) -> Answer<StopPodSandboxResponse> {
        self.runtime.stop_pod_sandbox(&request.into_inner().pod_sandbox_id).await?;
        Ok(Response::new(StopPodSandboxResponse {}))
    }

    async fn remove_pod_sandbox(
        &self,
        request: Request<RemovePodSandboxRequest>,
    ) -> Answer<RemovePodSandboxResponse> {
        self.runtime.remove_pod_sandbox(&request.into_inner().pod_sandbox_id).await?;
        Ok(Response::new(RemovePodSandboxResponse {}))
    }

    async fn pod_sandbox_status(
        &self,
        request: Request<PodSandboxStatusRequest>,
    ) -> Answer<PodSandboxStatusResponse> {
        let request = request.into_inner();
        let engine = &self.runtime.engine;
        let sandbox = engine.sandbox(&request.pod_sandbox_id)?;
        let mut response = PodSandboxStatusResponse {
            status: Some(engine.sandbox_status(&sandbox)),
            containers_statuses: engine
                .containers_of(&sandbox.id)
                .iter()
                .map(|c| engine.container_status(c))
                .collect(),
            timestamp: crate::shim::now(),
            ..Default::default()
        };
        if request.verbose {
            let record = serde_json::to_string(&sandbox.record())
                .map_err(|e| Status::internal(e.to_string()))?;
            response.info.insert("info".into(), record);
        }
        Ok(Response::new(response))
    }

    async fn list_pod_sandbox(
        &self,
        request: Request<ListPodSandboxRequest>,
    ) -> Answer<ListPodSandboxResponse> {
        let items = self.runtime.engine.list_sandboxes(request.into_inner().filter.as_ref());
        Ok(Response::new(ListPodSandboxResponse { items }))
    }

    async fn create_container(
        &self,
        request: Request<CreateContainerRequest>,
    ) -> Answer<CreateContainerResponse> {
        let request = request.into_inner();
        let config =
            request.config.ok_or_else(|| Status::invalid_argument("config: is required"))?;
        let container_id = self.runtime.create_container(&request.pod_sandbox_id, config).await?;
        Ok(Response::new(CreateContainerResponse { container_id }))
    }

    async fn start_container(
        &self,
        request: Request<StartContainerRequest>,
    ) -> Answer<StartContainerResponse> {
        self.runtime.start_container(&request.into_inner().container_id).await?;
        Ok(Response::new(StartContainerResponse {}))
    }

    async fn stop_container(
        &self,
        request: Request<StopContainerRequest>,
    ) -> Answer<StopContainerResponse> {
        let request = request.into_inner();
        self.runtime.stop_container(&request.container_id, request.timeout).await?;
        Ok(Response::new(StopContainerResponse {}))
    }

    async fn remove_container(
        &self,
        request: Request<RemoveContainerRequest>,
    ) -> Answer<RemoveContainerResponse> {
        self.runtime.remove_container(&request.into_inner().container_id).await?;
        Ok(Response::new(RemoveContainerResponse {}))
    }

    async fn list_containers(
        &self,
        request: Request<ListContainersRequest>,
    ) -> Answer<ListContainersResponse> {
        let containers = self.runtime.engine.list_containers(request.into_inner().filter.as_ref());
        Ok(Response::new(ListContainersResponse { containers }))
    }

    async fn container_status(
        &self,
        request: Request<ContainerStatusRequest>,
    ) -> Answer<ContainerStatusResponse> {
        let request = request.into_inner();
        let engine = &self.runtime.engine;
        let container = engine.container(&request.container_id)?;
        let mut response = ContainerStatusResponse {
            status: Some(engine.container_status(&container)),
            ..Default::default()
        };
        if request.verbose {
            let spec = serde_json::to_string(&container.spec()?)
                .map_err(|e| Status::internal(e.to_string()))?;
            response.info.insert("runtimeSpec".into(), spec);
        }
        Ok(Response::new(response))
    }

    async fn update_container_resources(
        &self,
        request: Request<UpdateContainerResourcesRequest>,
    ) -> Answer<UpdateContainerResourcesResponse> {
        let request = request.into_inner();
        if let Some(linux) = &request.linux {
            self.runtime.update_resources(&request.container_id, linux).await?;
        }
        Ok(Response::new(UpdateContainerResourcesResponse {}))
    }

    async fn reopen_container_log(
        &self,
        request: Request<ReopenContainerLogRequest>,
    ) -> Answer<ReopenContainerLogResponse> {
        self.runtime.reopen_log(&request.into_inner().container_id).await?;
        Ok(Response::new(ReopenContainerLogResponse {}))
    }

    async fn exec_sync(&self, request: Request<ExecSyncRequest>) -> Answer<ExecSyncResponse> {
        let request = request.into_inner();
        let output =
            self.runtime.exec_sync(&request.container_id, request.cmd, request.timeout).await?;
        Ok(Response::new(ExecSyncResponse {
            stdout: output.stdout,
            stderr: output.stderr,
            exit_code: output.exit_code,
        }))
    }

    async fn exec(&self, request: Request<ExecRequest>) -> Answer<ExecResponse> {
        let request = request.into_inner();
        let container = self.runtime.running(&request.container_id)?;
        let wanted = wanted(request.stdin, request.stdout, request.stderr, request.tty)?;
        let session = streaming::Session::Exec {
            container: container.id.clone(),
            command: request.cmd,
            wanted,
        };
        Ok(Response::new(ExecResponse { url: self.runtime.engine.tokens.issue(session)? }))
    }

    async fn attach(&self, request: Request<AttachRequest>) -> Answer<AttachResponse> {
        let request = request.into_inner();
        let container = self.runtime.running(&request.container_id)?;
        let wanted = wanted(request.stdin, request.stdout, request.stderr, request.tty)?;
        let session = streaming::Session::Attach { container: container.id.clone(), wanted };
        Ok(Response::new(AttachResponse { url: self.runtime.engine.tokens.issue(session)? }))
    }

    async fn port_forward(
        &self,
        request: Request<PortForwardRequest>,
    ) -> Answer<PortForwardResponse> {
        let request = request.into_inner();
        let sandbox = self.runtime.engine.sandbox(&request.pod_sandbox_id)?;
        sandbox.shim()?;
        let ports: Result<Vec<u16>, _> =
            request.port.iter().map(|port| u16::try_from(*port)).collect();
        let ports = ports.ok().filter(|ports| !ports.contains(&0));
        let ports =
            ports.ok_or_else(|| Status::invalid_argument("port: must be between 1 and 65535"))?;
        let session = streaming::Session::PortForward { sandbox: sandbox.id.clone(), ports };
        Ok(Response::new(PortForwardResponse { url: self.runtime.engine.tokens.issue(session)? }))
    }

    async fn container_stats(
        &self,
        request: Request<ContainerStatsRequest>,
    ) -> Answer<ContainerStatsResponse> {
        let engine = self.runtime.engine.clone();
        let container = engine.container(&request.into_inner().container_id)?;
        let stats = blocking(move || engine.container_stats(&container)).await?;
        Ok(Response::new(ContainerStatsResponse { stats: Some(stats) }))
    }

    async fn list_container_stats(
        &self,
        request: Request<ListContainerStatsRequest>,
    ) -> Answer<ListContainerStatsResponse> {
        let engine = self.runtime.engine.clone();
        let filter = request.into_inner().filter;
        let stats = blocking(move || engine.list_container_stats(filter.as_ref())).await?;
        Ok(Response::new(ListContainerStatsResponse { stats }))
    }

    async fn pod_sandbox_stats(
        &self,
        request: Request<PodSandboxStatsRequest>,
    ) -> Answer<PodSandboxStatsResponse> {
        let engine = self.runtime.engine.clone();
        let sandbox = engine.sandbox(&request.into_inner().pod_sandbox_id)?;
        let stats = blocking(move || engine.sandbox_stats(&sandbox)).await?;
        Ok(Response::new(PodSandboxStatsResponse { stats: Some(stats) }))
    }

    async fn list_pod_sandbox_stats(
        &self,
        request: Request<ListPodSandboxStatsRequest>,
    ) -> Answer<ListPodSandboxStatsResponse> {
        let engine = self.runtime.engine.clone();
        let filter = request.into_inner().filter;
        let stats = blocking(move || engine.list_sandbox_stats(filter.as_ref())).await??;
        Ok(Response::new(ListPodSandboxStatsResponse { stats }))
    }

    /// The kubelet tells the pod CIDR; the pod network has it from its owner already.
    async fn update_runtime_config(
        &self,
        _request: Request<UpdateRuntimeConfigRequest>,
    ) -> Answer<UpdateRuntimeConfigResponse> {
        Ok(Response::new(UpdateRuntimeConfigResponse {}))
    }

    async fn status(&self, _request: Request<StatusRequest>) -> Answer<StatusResponse> {
        let network = self.runtime.engine.config.network.ready().await;
        let condition = |kind: &str, result: Result<(), String>, reason: &str| RuntimeCondition {
            r#type: kind.into(),
            status: result.is_ok(),
            reason: if result.is_ok() { String::new() } else { reason.into() },
            message: result.err().unwrap_or_default(),
        };
        let conditions = vec![
            condition("RuntimeReady", Ok(()), ""),
            condition("NetworkReady", network.map_err(|e| e.to_string()), "NetworkPluginNotReady"),
        ];
        Ok(Response::new(StatusResponse {
            status: Some(RuntimeStatus { conditions }),
            runtime_handlers: vec![RuntimeHandler {
                name: String::new(),
                features: Some(RuntimeHandlerFeatures {
                    recursive_read_only_mounts: true,
                    user_namespaces: false,
                }),
            }],
            features: Some(RuntimeFeatures { supplemental_groups_policy: true }),
            ..Default::default()
        }))
    }

    async fn checkpoint_container(
        &self,
        _request: Request<CheckpointContainerRequest>,
    ) -> Answer<CheckpointContainerResponse> {
        Err(Status::unimplemented("checkpoints are not supported by this runtime"))
    }

    type GetContainerEventsStream =
        Pin<Box<dyn Stream<Item = Result<ContainerEventResponse, Status>> + Send>>;

    async fn get_container_events(
        &self,
        _request: Request<GetEventsRequest>,
    ) -> Answer<Self::GetContainerEventsStream> {
        let events = BroadcastStream::new(self.runtime.engine.events.subscribe());
        // A listener that missed something has to list again, so its stream ends with an error.
        let events =
            events.map(|event| event.map_err(|lagged| Status::data_loss(lagged.to_string())));
        Ok(Response::new(Box::pin(events)))
    }

    async fn list_metric_descriptors(
        &self,
        _request: Request<ListMetricDescriptorsRequest>,
    ) -> Answer<ListMetricDescriptorsResponse> {
        Err(Status::unimplemented("metric descriptors are not supported by this runtime"))
    }

    async fn list_pod_sandbox_metrics(
        &self,
        _request: Request<ListPodSandboxMetricsRequest>,
    ) -> Answer<ListPodSandboxMetricsResponse> {
        Err(Status::unimplemented("sandbox metrics are not supported by this runtime"))
    }

    async fn runtime_config(
        &self,
        _request: Request<RuntimeConfigRequest>,
    ) -> Answer<RuntimeConfigResponse> {
        let linux = LinuxRuntimeConfiguration { cgroup_driver: CgroupDriver::Cgroupfs as i32 };
        Ok(Response::new(RuntimeConfigResponse { linux: Some(linux) }))
    }
}
