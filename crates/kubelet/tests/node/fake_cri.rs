//! A runtime that only pretends: sandboxes and containers are entries of a table, their logs are real files.
//!
//! Invariant: it changes state only when it is called, by the kubelet or by a test.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use futures::{Stream, StreamExt};
use k8s_cri::v1 as cri;
use k8s_cri::v1::image_service_server::{ImageService, ImageServiceServer};
use k8s_cri::v1::runtime_service_server::{RuntimeService, RuntimeServiceServer};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::broadcast;
use tokio_stream::wrappers::{BroadcastStream, UnixListenerStream};
use tonic::{Request, Response, Status};

type Answer<T> = Result<Response<T>, Status>;

/// What the runtime knows.
#[derive(Default)]
struct Table {
    next: u64,
    sandboxes: BTreeMap<String, (cri::PodSandboxConfig, bool)>,
    containers: BTreeMap<String, Container>,
    images: Vec<String>,
}

#[derive(Clone)]
struct Container {
    sandbox: String,
    config: cri::ContainerConfig,
    log: PathBuf,
    state: cri::ContainerState,
    exit_code: i32,
    created_at: i64,
}

/// The runtime; clones share it.
#[derive(Clone)]
pub struct FakeCri {
    table: Arc<Mutex<Table>>,
    events: broadcast::Sender<cri::ContainerEventResponse>,
    streaming: PathBuf,
}

fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970");
    i64::try_from(since.as_nanos()).expect("before 2262")
}

impl FakeCri {
    /// Serves the CRI on `directory/cri.sock`.
    pub fn serve(directory: &Path) -> Self {
        let streaming = directory.join("streaming.sock");
        let fake = Self { table: Arc::default(), events: broadcast::channel(64).0, streaming };
        fake.with(|table| table.images.push("app:1".into()));
        let listener = UnixListener::bind(directory.join("cri.sock")).expect("a socket");
        let server = tonic::transport::Server::builder()
            .add_service(RuntimeServiceServer::new(fake.clone()))
            .add_service(ImageServiceServer::new(fake.clone()));
        tokio::spawn(server.serve_with_incoming(UnixListenerStream::new(listener)));
        let sessions = UnixListener::bind(&fake.streaming).expect("a socket");
        tokio::spawn(async move {
            while let Ok((stream, _)) = sessions.accept().await {
                tokio::spawn(echo(stream));
            }
        });
        fake
    }

    fn with<T>(&self, work: impl FnOnce(&mut Table) -> T) -> T {
        work(&mut self.table.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Adds a sandbox nobody asked for.
    pub fn add_orphan(&self, uid: &str) {
        let metadata = cri::PodSandboxMetadata {
            name: "ghost".into(),
            uid: uid.into(),
            namespace: "default".into(),
            attempt: 0,
        };
        let labels = [("io.kubernetes.pod.uid".to_owned(), uid.to_owned())].into();
        let config = cri::PodSandboxConfig {
            metadata: Some(metadata),
            labels,
            ..cri::PodSandboxConfig::default()
        };
        self.with(|table| table.sandboxes.insert(format!("orphan-{uid}"), (config, true)));
    }

    /// How many sandboxes and containers there are.
    pub fn counts(&self) -> (usize, usize) {
        self.with(|table| (table.sandboxes.len(), table.containers.len()))
    }

    /// Lets the running container of this name print a line.
    pub fn print(&self, name: &str, line: &str) {
        let log = self.with(|table| {
            table.containers.values().find(|it| running(it, name)).expect("runs").log.clone()
        });
        use std::io::Write as _;
        let mut file =
            std::fs::OpenOptions::new().append(true).create(true).open(log).expect("a log");
        writeln!(file, "2026-01-01T00:00:00.000000000Z stdout F {line}").expect("written");
    }

    /// Lets the running container of this name end.
    pub fn exit(&self, name: &str, code: i32) {
        let id = self.with(|table| {
            let found = table.containers.iter().find(|(_, it)| running(it, name));
            found.map(|(id, _)| id.clone()).expect("runs")
        });
        self.set(&id, cri::ContainerState::ContainerExited, code);
    }

    fn set(&self, id: &str, state: cri::ContainerState, code: i32) {
        let uid = self.with(|table| {
            let container = table.containers.get_mut(id)?;
            (container.state, container.exit_code) = (state, code);
            container.config.labels.get("io.kubernetes.pod.uid").cloned()
        });
        let metadata = cri::PodSandboxMetadata {
            uid: uid.unwrap_or_default(),
            ..cri::PodSandboxMetadata::default()
        };
        let sandbox =
            cri::PodSandboxStatus { metadata: Some(metadata), ..cri::PodSandboxStatus::default() };
        let event = cri::ContainerEventResponse {
            container_id: id.to_owned(),
            pod_sandbox_status: Some(sandbox),
            ..Default::default()
        };
        // Nobody may be listening yet.
        let _ = self.events.send(event);
    }
}

fn running(container: &Container, name: &str) -> bool {
    let named = container.config.metadata.as_ref().is_some_and(|metadata| metadata.name == name);
    named && container.state == cri::ContainerState::ContainerRunning
}

/// A session that gives back what it gets, until the input is closed.
async fn echo(mut stream: UnixStream) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.expect("a head"));
    }
    stream.write_all(b"HTTP/1.1 101 Switching Protocols\r\n\r\n").await.expect("an answer");
    loop {
        let Ok(channel) = stream.read_u8().await else { return };
        let length = stream.read_u32().await.expect("a length");
        let mut data = vec![0; length as usize];
        stream.read_exact(&mut data).await.expect("data");
        if channel != 0 {
            continue;
        }
        let (channel, data) = if data.is_empty() {
            (3, br#"{"metadata":{},"status":"Success"}"#.to_vec())
        } else {
            (1, data)
        };
        let length = u32::try_from(data.len()).expect("small");
        let frame = [&[channel][..], &length.to_be_bytes(), &data].concat();
        stream.write_all(&frame).await.expect("echoed");
        if channel == 3 {
            return;
        }
    }
}

fn matches(
    labels: &std::collections::HashMap<String, String>,
    wanted: &std::collections::HashMap<String, String>,
) -> bool {
    wanted.iter().all(|(key, value)| labels.get(key) == Some(value))
}

/// Calls this runtime has no answer to.
macro_rules! refuse {
    ($($name:ident($request:ident) -> $response:ident;)*) => {
        $(
            fn $name<'a, 'b>(&'a self, _: Request<cri::$request>) -> Pin<Box<dyn Future<Output = Answer<cri::$response>> + Send + 'b>>
            where
                'a: 'b,
                Self: 'b,
            {
                Box::pin(async { Err(Status::unimplemented("not in this test")) })
            }
        )*
    };
}

#[tonic::async_trait]
impl RuntimeService for FakeCri {
    type GetContainerEventsStream =
        Pin<Box<dyn Stream<Item = Result<cri::ContainerEventResponse, Status>> + Send>>;

    async fn version(&self, _: Request<cri::VersionRequest>) -> Answer<cri::VersionResponse> {
        Ok(Response::new(cri::VersionResponse {
            version: "v1".into(),
            runtime_name: "fake".into(),
            runtime_version: "1".into(),
            runtime_api_version: "v1".into(),
        }))
    }

    async fn status(&self, _: Request<cri::StatusRequest>) -> Answer<cri::StatusResponse> {
        let condition = |name: &str| cri::RuntimeCondition {
            r#type: name.into(),
            status: true,
            ..cri::RuntimeCondition::default()
        };
        let status = cri::RuntimeStatus {
            conditions: vec![condition("RuntimeReady"), condition("NetworkReady")],
        };
        Ok(Response::new(cri::StatusResponse {
            status: Some(status),
            ..cri::StatusResponse::default()
        }))
    }

    async fn run_pod_sandbox(
        &self,
        request: Request<cri::RunPodSandboxRequest>,
    ) -> Answer<cri::RunPodSandboxResponse> {
        let config = request.into_inner().config.expect("a config");
        let pod_sandbox_id = self.with(|table| {
            table.next += 1;
            let id = format!("sandbox-{}", table.next);
            table.sandboxes.insert(id.clone(), (config, true));
            id
        });
        Ok(Response::new(cri::RunPodSandboxResponse { pod_sandbox_id }))
    }

    async fn stop_pod_sandbox(
        &self,
        request: Request<cri::StopPodSandboxRequest>,
    ) -> Answer<cri::StopPodSandboxResponse> {
        self.with(|table| {
            table
                .sandboxes
                .get_mut(&request.into_inner().pod_sandbox_id)
                .into_iter()
                .for_each(|it| it.1 = false)
        });
        Ok(Response::new(cri::StopPodSandboxResponse {}))
    }

    async fn remove_pod_sandbox(
        &self,
        request: Request<cri::RemovePodSandboxRequest>,
    ) -> Answer<cri::RemovePodSandboxResponse> {
        self.with(|table| table.sandboxes.remove(&request.into_inner().pod_sandbox_id));
        Ok(Response::new(cri::RemovePodSandboxResponse {}))
    }

    async fn pod_sandbox_status(
        &self,
        request: Request<cri::PodSandboxStatusRequest>,
    ) -> Answer<cri::PodSandboxStatusResponse> {
        let id = request.into_inner().pod_sandbox_id;
        let found = self.with(|table| table.sandboxes.get(&id).cloned());
        let (config, ready) = found.ok_or_else(|| Status::not_found("no such sandbox"))?;
        let status = cri::PodSandboxStatus {
            id,
            metadata: config.metadata,
            state: i32::from(!ready),
            created_at: 1,
            network: Some(cri::PodSandboxNetworkStatus {
                ip: "10.42.0.5".into(),
                additional_ips: Vec::new(),
            }),
            labels: config.labels,
            ..cri::PodSandboxStatus::default()
        };
        Ok(Response::new(cri::PodSandboxStatusResponse {
            status: Some(status),
            ..cri::PodSandboxStatusResponse::default()
        }))
    }

    async fn list_pod_sandbox(
        &self,
        request: Request<cri::ListPodSandboxRequest>,
    ) -> Answer<cri::ListPodSandboxResponse> {
        let wanted = request.into_inner().filter.unwrap_or_default().label_selector;
        let items = self.with(|table| {
            let found =
                table.sandboxes.iter().filter(|(_, (config, _))| matches(&config.labels, &wanted));
            let item = found.map(|(id, (config, ready))| cri::PodSandbox {
                id: id.clone(),
                metadata: config.metadata.clone(),
                state: i32::from(!ready),
                ..cri::PodSandbox::default()
            });
            item.collect()
        });
        Ok(Response::new(cri::ListPodSandboxResponse { items }))
    }

    async fn create_container(
        &self,
        request: Request<cri::CreateContainerRequest>,
    ) -> Answer<cri::CreateContainerResponse> {
        let request = request.into_inner();
        let config = request.config.expect("a config");
        let log = Path::new(&request.sandbox_config.expect("a sandbox").log_directory)
            .join(&config.log_path);
        let container = Container {
            sandbox: request.pod_sandbox_id,
            config,
            log,
            state: cri::ContainerState::ContainerCreated,
            exit_code: 0,
            created_at: now(),
        };
        let container_id = self.with(|table| {
            table.next += 1;
            let id = format!("container-{}", table.next);
            table.containers.insert(id.clone(), container);
            id
        });
        Ok(Response::new(cri::CreateContainerResponse { container_id }))
    }

    async fn start_container(
        &self,
        request: Request<cri::StartContainerRequest>,
    ) -> Answer<cri::StartContainerResponse> {
        let id = request.into_inner().container_id;
        let log = self.with(|table| table.containers[&id].log.clone());
        std::fs::write(log, "").expect("a log");
        self.set(&id, cri::ContainerState::ContainerRunning, 0);
        Ok(Response::new(cri::StartContainerResponse {}))
    }

    async fn stop_container(
        &self,
        request: Request<cri::StopContainerRequest>,
    ) -> Answer<cri::StopContainerResponse> {
        self.set(&request.into_inner().container_id, cri::ContainerState::ContainerExited, 143);
        Ok(Response::new(cri::StopContainerResponse {}))
    }

    async fn remove_container(
        &self,
        request: Request<cri::RemoveContainerRequest>,
    ) -> Answer<cri::RemoveContainerResponse> {
        self.with(|table| table.containers.remove(&request.into_inner().container_id));
        Ok(Response::new(cri::RemoveContainerResponse {}))
    }

    async fn list_containers(
        &self,
        request: Request<cri::ListContainersRequest>,
    ) -> Answer<cri::ListContainersResponse> {
        let filter = request.into_inner().filter.unwrap_or_default();
        let containers = self.with(|table| {
            let of_sandbox = |it: &Container| {
                filter.pod_sandbox_id.is_empty() || it.sandbox == filter.pod_sandbox_id
            };
            let wanted = |it: &Container| {
                matches(&it.config.labels, &filter.label_selector) && of_sandbox(it)
            };
            let found = table.containers.iter().filter(|(_, it)| wanted(it));
            found
                .map(|(id, _)| cri::Container { id: id.clone(), ..cri::Container::default() })
                .collect()
        });
        Ok(Response::new(cri::ListContainersResponse { containers }))
    }

    async fn container_status(
        &self,
        request: Request<cri::ContainerStatusRequest>,
    ) -> Answer<cri::ContainerStatusResponse> {
        let id = request.into_inner().container_id;
        let found = self.with(|table| table.containers.get(&id).cloned());
        let it = found.ok_or_else(|| Status::not_found("no such container"))?;
        let exited = it.state == cri::ContainerState::ContainerExited;
        let status = cri::ContainerStatus {
            id,
            metadata: it.config.metadata,
            state: it.state as i32,
            created_at: it.created_at,
            started_at: it.created_at + 1,
            finished_at: if exited { it.created_at + 2 } else { 0 },
            exit_code: it.exit_code,
            image: it.config.image,
            image_ref: "sha256:aa".into(),
            reason: if !exited {
                ""
            } else if it.exit_code == 0 {
                "Completed"
            } else {
                "Error"
            }
            .into(),
            labels: it.config.labels,
            annotations: it.config.annotations,
            log_path: it.log.to_string_lossy().into_owned(),
            ..cri::ContainerStatus::default()
        };
        Ok(Response::new(cri::ContainerStatusResponse {
            status: Some(status),
            ..cri::ContainerStatusResponse::default()
        }))
    }

    async fn exec(&self, _: Request<cri::ExecRequest>) -> Answer<cri::ExecResponse> {
        let url = format!("unix://{}/exec/token", self.streaming.display());
        Ok(Response::new(cri::ExecResponse { url }))
    }

    async fn attach(&self, _: Request<cri::AttachRequest>) -> Answer<cri::AttachResponse> {
        let url = format!("unix://{}/attach/token", self.streaming.display());
        Ok(Response::new(cri::AttachResponse { url }))
    }

    async fn port_forward(
        &self,
        _: Request<cri::PortForwardRequest>,
    ) -> Answer<cri::PortForwardResponse> {
        let url = format!("unix://{}/portforward/token", self.streaming.display());
        Ok(Response::new(cri::PortForwardResponse { url }))
    }

    async fn get_container_events(
        &self,
        _: Request<cri::GetEventsRequest>,
    ) -> Answer<Self::GetContainerEventsStream> {
        let events = BroadcastStream::new(self.events.subscribe());
        Ok(Response::new(Box::pin(
            events.map(|event| event.map_err(|_| Status::aborted("too slow"))),
        )))
    }

    refuse! {
        update_container_resources(UpdateContainerResourcesRequest) -> UpdateContainerResourcesResponse;
        reopen_container_log(ReopenContainerLogRequest) -> ReopenContainerLogResponse;
        exec_sync(ExecSyncRequest) -> ExecSyncResponse;
        container_stats(ContainerStatsRequest) -> ContainerStatsResponse;
        list_container_stats(ListContainerStatsRequest) -> ListContainerStatsResponse;
        pod_sandbox_stats(PodSandboxStatsRequest) -> PodSandboxStatsResponse;
        list_pod_sandbox_stats(ListPodSandboxStatsRequest) -> ListPodSandboxStatsResponse;
        update_runtime_config(UpdateRuntimeConfigRequest) -> UpdateRuntimeConfigResponse;
        checkpoint_container(CheckpointContainerRequest) -> CheckpointContainerResponse;
        list_metric_descriptors(ListMetricDescriptorsRequest) -> ListMetricDescriptorsResponse;
        list_pod_sandbox_metrics(ListPodSandboxMetricsRequest) -> ListPodSandboxMetricsResponse;
        runtime_config(RuntimeConfigRequest) -> RuntimeConfigResponse;
    }
}

#[tonic::async_trait]
impl ImageService for FakeCri {
    async fn list_images(
        &self,
        _: Request<cri::ListImagesRequest>,
    ) -> Answer<cri::ListImagesResponse> {
        let images = self.with(|table| table.images.iter().map(|name| image(name)).collect());
        Ok(Response::new(cri::ListImagesResponse { images }))
    }

    async fn image_status(
        &self,
        request: Request<cri::ImageStatusRequest>,
    ) -> Answer<cri::ImageStatusResponse> {
        let name = request.into_inner().image.unwrap_or_default().image;
        let known = self.with(|table| table.images.contains(&name));
        Ok(Response::new(cri::ImageStatusResponse {
            image: known.then(|| image(&name)),
            ..cri::ImageStatusResponse::default()
        }))
    }

    async fn pull_image(
        &self,
        _: Request<cri::PullImageRequest>,
    ) -> Answer<cri::PullImageResponse> {
        Err(Status::not_found("no such image in this test"))
    }

    refuse! {
        remove_image(RemoveImageRequest) -> RemoveImageResponse;
        image_fs_info(ImageFsInfoRequest) -> ImageFsInfoResponse;
    }
}

fn image(name: &str) -> cri::Image {
    cri::Image {
        id: "sha256:aa".into(),
        repo_tags: vec![name.to_owned()],
        size: 7,
        ..cri::Image::default()
    }
}
