//! The controllers against the API server of this process: what a user does, and what must come of it.
//!
//! Invariants:
//! * Nothing sleeps: every expectation waits on a cache until it holds, with one long time-out for the whole test.
//! * The pods' containers are played by [`Cluster::play_kubelet`], everything else is real.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use apiserver::authn::{GROUP_MASTERS, UserInfo};
use apiserver::authz::{FixedPolicy, USER_CONTROLLER_MANAGER};
use apiserver::{ApiServer, Config, DEFAULT_EVENT_TTL, DEFAULT_SERVICE_CIDR};
use client::kube::api::{DeleteParams, Patch, PatchParams, PostParams};
use client::{Api, ApiErrorExt, Cache, CancellationToken, Client, Informers, Kind, ObjectKey};
use controller_manager::Options;
use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet};
use k8s_openapi::api::core::v1::{ConfigMap, Event, Namespace, Node, Pod, ServiceAccount};
use serde_json::{Value, json};

/// Longest time one expectation may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

struct Cluster {
    server: Arc<ApiServer>,
    client: Client,
    informers: Informers,
    shutdown: CancellationToken,
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.shutdown.cancel();
    }
}

fn as_user(server: &Arc<ApiServer>, user: UserInfo) -> Client {
    Client::new(server.transport(user), "default")
}

impl Cluster {
    /// An API server on an empty store, with all controllers.
    async fn start() -> Self {
        let cluster = Self::without_controllers().await;
        cluster.start_controllers();
        cluster
    }

    async fn without_controllers() -> Self {
        let config = Config {
            store: Arc::new(store::Memory::default()),
            authenticator: Arc::new(apiserver::authn::Union::new(Vec::new())),
            authorizer: Arc::new(FixedPolicy),
            kubelet_client: None,
            version: k8s_openapi::apimachinery::pkg::version::Info::default(),
            event_ttl: DEFAULT_EVENT_TTL,
            token_issuer: None,
            service_cidr: DEFAULT_SERVICE_CIDR,
            advertised: None,
        };
        let server = ApiServer::start(config).await.expect("the API server starts");
        let client = as_user(&server, UserInfo::authenticated("admin", [GROUP_MASTERS]));
        let shutdown = CancellationToken::new();
        let informers = Informers::new(client.clone(), shutdown.clone());
        Self { server, client, informers, shutdown }
    }

    /// Starts all controllers, with memories of their own; they end with the returned token or the cluster.
    fn start_controllers(&self) -> CancellationToken {
        let options = Options {
            root_ca_pem: Some("CA".into()),
            cluster_cidr: Some("10.42.0.0/16".into()),
            node_cidr_mask_size: None,
        };
        let user = UserInfo::authenticated(USER_CONTROLLER_MANAGER, ["system:authenticated"]);
        let shutdown = self.shutdown.child_token();
        tokio::spawn(controller_manager::run(
            as_user(&self.server, user),
            options,
            shutdown.clone(),
        ));
        shutdown
    }

    fn api<K>(&self) -> Api<K>
    where
        K: Kind + client::kube::Resource<DynamicType = (), Scope = NamespaceResourceScope>,
    {
        Api::namespaced(self.client.clone(), "default")
    }

    /// Makes every pod Running and ready as soon as it appears.
    fn play_kubelet(&self) {
        let (pods, client) = (self.informers.store::<Pod>(), self.client.clone());
        let changes = pods.subscribe();
        tokio::spawn(async move {
            loop {
                let Some(pod) = changes.next().await.new else { continue };
                if pod.status.as_ref().and_then(|status| status.phase.as_deref()) == Some("Running")
                {
                    continue;
                }
                let api: Api<Pod> =
                    Api::namespaced(client.clone(), pod.metadata.namespace.as_deref().unwrap());
                let status = json!({"status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "True", "lastTransitionTime": "2024-01-01T00:00:00Z"}]}});
                let name = pod.metadata.name.as_deref().unwrap();
                let _may_be_gone = api
                    .patch_status(name, &PatchParams::default(), &Patch::Strategic(status))
                    .await;
            }
        });
    }

    /// Waits until what `look` sees in the cache of `K` satisfies it.
    async fn expect<K: Kind>(&self, what: &str, look: impl Fn(&Cache<K>) -> bool) {
        let cache = self.informers.store::<K>();
        let wait = cache.wait_for(|cache| cache.has_synced() && look(cache));
        if tokio::time::timeout(PATIENCE, wait).await.is_err() {
            panic!(
                "{what}: in vain; there is {}",
                serde_json::to_string(
                    &cache
                        .list()
                        .iter()
                        .map(|o| serde_json::to_value(&**o).unwrap())
                        .collect::<Vec<_>>()
                )
                .unwrap()
            );
        }
    }

    /// The cache of `K`, once it is filled.
    async fn store<K: Kind>(&self) -> Cache<K> {
        let cache = self.informers.store::<K>();
        cache.synced().await;
        cache
    }

    async fn expect_deployment(&self, what: &str, look: impl Fn(&Deployment) -> bool) {
        let key = ObjectKey::namespaced("default", "web");
        self.expect::<Deployment>(what, |cache| {
            cache.get(&key).is_some_and(|deployment| look(&deployment))
        })
        .await;
    }

    /// Creates the Deployment and waits until its cache shows that.
    async fn create_deployment(&self, deployment: &Deployment) {
        let created = self.api::<Deployment>().create(&PostParams::default(), deployment).await;
        let created = created.expect("the Deployment is created");
        let deployments = self.store::<Deployment>().await;
        deployments.reached(client::resource::revision_of(&created.metadata)).await;
    }

    /// Patches the Deployment and waits until its cache shows that.
    async fn patch_deployment(&self, patch: Value) {
        let patched = self
            .api::<Deployment>()
            .patch("web", &PatchParams::default(), &Patch::Strategic(patch))
            .await;
        let patched = patched.expect("the Deployment is patched");
        self.store::<Deployment>()
            .await
            .reached(client::resource::revision_of(&patched.metadata))
            .await;
    }
}

fn deployment(replicas: i32) -> Deployment {
    serde_json::from_value(json!({
        "metadata": {"name": "web"},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": {"app": "web"}},
            "template": {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [{"name": "c", "image": "knarr.local/hello:1.0"}]}},
        },
    }))
    .unwrap()
}

/// Whether the newest generation is rolled out completely.
fn is_rolled_out(deployment: &Deployment, replicas: i32) -> bool {
    let status = deployment.status.clone().unwrap_or_default();
    let counts = [
        status.replicas,
        status.updated_replicas,
        status.ready_replicas,
        status.available_replicas,
    ];
    status.observed_generation == deployment.metadata.generation
        && counts.iter().all(|count| count.unwrap_or(0) == replicas)
}

fn active(pods: &Cache<Pod>) -> usize {
    pods.list().iter().filter(|pod| pod.metadata.deletion_timestamp.is_none()).count()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dep_03_to_11_deployment_lives_and_dies() {
    let cluster = Cluster::start().await;
    cluster.play_kubelet();
    let deployments = cluster.api::<Deployment>();
    cluster.create_deployment(&deployment(3)).await;
    cluster
        .expect_deployment("dep_03: the first rollout ends", |deployment| {
            is_rolled_out(deployment, 3)
        })
        .await;
    let first = deployments.get("web").await.unwrap();
    assert_eq!(first.metadata.annotations.unwrap()["deployment.kubernetes.io/revision"], "1");

    let pods = cluster.store::<Pod>().await;
    let victim = pods.list()[0].metadata.name.clone().unwrap();
    cluster.api::<Pod>().delete(&victim, &DeleteParams::default()).await.expect("deleted");
    cluster
        .expect::<Pod>("dep_08: a deleted pod is replaced under another name", |pods| {
            active(pods) == 3 && pods.get(&ObjectKey::namespaced("default", &victim)).is_none()
        })
        .await;

    cluster.patch_deployment(json!({"spec": {"replicas": 5}})).await;
    cluster.expect_deployment("dep_11: scaled up", |deployment| is_rolled_out(deployment, 5)).await;
    cluster.patch_deployment(json!({"spec": {"template": {"spec": {"containers": [{"name": "c", "image": "other"}]}}}})).await;
    cluster
        .expect_deployment("dep_05: the second rollout ends", |deployment| {
            is_rolled_out(deployment, 5)
        })
        .await;
    let sets: Vec<i32> = cluster
        .store::<ReplicaSet>()
        .await
        .list()
        .iter()
        .map(|set| set.spec.as_ref().unwrap().replicas.unwrap())
        .collect();
    assert_eq!(sets.iter().filter(|replicas| **replicas == 5).count(), 1, "{sets:?}");
    assert_eq!(
        deployments.get("web").await.unwrap().metadata.annotations.unwrap()["deployment.kubernetes.io/revision"],
        "2"
    );

    cluster
        .expect::<Event>("evt_01: what was done is told", |events| {
            let events = events.list();
            let has = |reason: &str, text: &str| {
                events.iter().any(|event| {
                    event.reason.as_deref() == Some(reason)
                        && event.message.as_deref().unwrap_or_default().contains(text)
                })
            };
            has("ScalingReplicaSet", "from 0 to 3")
                && has("SuccessfulCreate", "Created pod: web-")
                && has("SuccessfulDelete", "Deleted pod: web-")
        })
        .await;

    deployments.delete("web", &DeleteParams::background()).await.expect("deleted");
    cluster.expect::<ReplicaSet>("dep_09: the ReplicaSets go", Cache::is_empty).await;
    cluster.expect::<Pod>("dep_09: the pods go", Cache::is_empty).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn own_writes_are_seen_before_the_next_run_so_no_pod_is_created_twice() {
    let cluster = Cluster::start().await;
    let created = Arc::new(Mutex::new(BTreeSet::new()));
    let log = created.clone();
    cluster.informers.store::<Pod>().on_change(move |change| {
        log.lock().unwrap().extend(change.new.as_ref().and_then(|pod| pod.metadata.uid.clone()));
    });
    cluster.play_kubelet();
    cluster.create_deployment(&deployment(150)).await;
    cluster
        .expect_deployment("all pods are ready", |deployment| is_rolled_out(deployment, 150))
        .await;
    assert_eq!(created.lock().unwrap().len(), 150);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dep_09_foreground_deletion_takes_the_dependents_first_and_orphaning_leaves_them() {
    let cluster = Cluster::start().await;
    cluster.play_kubelet();
    let deployments = cluster.api::<Deployment>();
    cluster.create_deployment(&deployment(2)).await;
    cluster.expect_deployment("rolled out", |deployment| is_rolled_out(deployment, 2)).await;
    deployments.delete("web", &DeleteParams::orphan()).await.expect("deleted");
    cluster.expect::<Deployment>("the Deployment goes", Cache::is_empty).await;
    cluster
        .expect::<ReplicaSet>("its ReplicaSet stays, without an owner", |sets| {
            sets.list().iter().all(|set| set.metadata.owner_references.is_none()) && sets.len() == 1
        })
        .await;
    assert_eq!(active(&cluster.store::<Pod>().await), 2);

    cluster.create_deployment(&deployment(2)).await;
    cluster
        .expect::<ReplicaSet>("the ReplicaSet is adopted", |sets| {
            sets.list().iter().all(|set| set.metadata.owner_references.is_some())
        })
        .await;
    assert_eq!(cluster.store::<ReplicaSet>().await.len(), 1);
    let before: BTreeSet<Option<String>> =
        cluster.store::<Pod>().await.list().iter().map(|pod| pod.metadata.uid.clone()).collect();
    deployments.delete("web", &DeleteParams::foreground()).await.expect("deleted");
    cluster.expect::<Deployment>("the Deployment goes", Cache::is_empty).await;
    let left = cluster.api::<Pod>().list(&Default::default()).await.expect("listed").items;
    let late: Vec<_> = left.iter().filter(|pod| before.contains(&pod.metadata.uid)).collect();
    assert!(late.is_empty(), "its pods went before: {late:?}");
    cluster.expect::<Pod>("no pods stay", Cache::is_empty).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dep_07_earlier_template_brings_its_replica_set_back() {
    let cluster = Cluster::start().await;
    cluster.play_kubelet();
    cluster.create_deployment(&deployment(2)).await;
    cluster.expect_deployment("rolled out", |deployment| is_rolled_out(deployment, 2)).await;
    let image = |image: &str| json!({"spec": {"template": {"spec": {"containers": [{"name": "c", "image": image}]}}}});
    let revision = |deployment: &Deployment| {
        deployment
            .metadata
            .annotations
            .as_ref()
            .and_then(|all| all.get("deployment.kubernetes.io/revision").cloned())
    };
    cluster.patch_deployment(image("other")).await;
    cluster
        .expect_deployment("rolled out again", |found| {
            is_rolled_out(found, 2) && revision(found).as_deref() == Some("2")
        })
        .await;
    cluster.patch_deployment(image("knarr.local/hello:1.0")).await;
    cluster
        .expect_deployment("rolled back", |found| {
            is_rolled_out(found, 2) && revision(found).as_deref() == Some("3")
        })
        .await;
    assert_eq!(cluster.store::<ReplicaSet>().await.len(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn namespace_gets_its_account_and_bundle_and_is_emptied_when_deleted() {
    let cluster = Cluster::start().await;
    cluster.play_kubelet();
    let namespaces: Api<Namespace> = Api::all(cluster.client.clone());
    let namespace = serde_json::from_value(json!({"metadata": {"name": "team"}})).unwrap();
    namespaces.create(&PostParams::default(), &namespace).await.expect("created");
    cluster
        .expect::<ServiceAccount>("the account is made", |accounts| {
            accounts.get(&ObjectKey::namespaced("team", "default")).is_some()
        })
        .await;
    cluster
        .expect::<ConfigMap>("the bundle is published", |maps| {
            maps.get(&ObjectKey::namespaced("team", "kube-root-ca.crt")).is_some()
        })
        .await;
    let deployments: Api<Deployment> = Api::namespaced(cluster.client.clone(), "team");
    deployments.create(&PostParams::default(), &deployment(2)).await.expect("created");
    cluster.expect::<Pod>("pods run in it", |pods| pods.in_namespace("team").len() == 2).await;
    namespaces.delete("team", &DeleteParams::default()).await.expect("deleted");
    cluster
        .expect::<Namespace>("the namespace goes", |all| {
            all.get(&ObjectKey::cluster("team")).is_none()
        })
        .await;
    cluster
        .expect::<Pod>("with everything in it", |pods| pods.in_namespace("team").is_empty())
        .await;
    let refused = deployments
        .create(&PostParams::default(), &deployment(1))
        .await
        .expect_err("nothing can be made in it");
    assert!(refused.is_not_found(), "{refused}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nodes_get_distinct_ranges_of_pod_addresses() {
    let cluster = Cluster::start().await;
    let nodes: Api<Node> = Api::all(cluster.client.clone());
    for number in 0..20 {
        let node =
            serde_json::from_value(json!({"metadata": {"name": format!("n{number}")}})).unwrap();
        nodes.create(&PostParams::default(), &node).await.expect("created");
    }
    let ranges = |nodes: &Cache<Node>| {
        nodes
            .list()
            .iter()
            .filter_map(|node| node.spec.as_ref()?.pod_cidr.clone())
            .collect::<BTreeSet<_>>()
    };
    cluster.expect::<Node>("every node has its own range", |nodes| ranges(nodes).len() == 20).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn controllers_that_stop_in_the_middle_go_on_where_they_were() {
    let cluster = Cluster::without_controllers().await;
    cluster.play_kubelet();
    cluster.create_deployment(&deployment(100)).await;
    for reached in [5, 20, 60] {
        let controllers = cluster.start_controllers();
        cluster.expect::<Pod>("some pods are there", |pods| pods.len() >= reached).await;
        controllers.cancel();
    }
    cluster.start_controllers();
    cluster
        .expect_deployment("all pods are ready", |deployment| is_rolled_out(deployment, 100))
        .await;
    // Requests that were under way when a run was cut off may have made more: they go again.
    cluster.expect::<Pod>("exactly the desired pods stay", |pods| active(pods) == 100).await;
    assert_eq!(cluster.store::<ReplicaSet>().await.len(), 1);
}
