//! What the kubelet tells about itself.
//!
//! Counterpart in Kubernetes: `getPods` and the kubelet's own metrics. Invariant: pure over the table of pods.

use k8s_openapi::List;
use k8s_openapi::api::core::v1::Pod;

use crate::pod_workers::PodTable;

/// The pods of this node with the status this kubelet gave them, as JSON.
pub fn pods(table: &PodTable) -> String {
    let items = table
        .all()
        .into_iter()
        .map(|handle| Pod { status: Some(handle.status()), ..handle.pod().as_ref().clone() });
    let list = List { items: items.collect(), ..List::<Pod>::default() };
    // The types of the API always become JSON.
    serde_json::to_string(&list).unwrap_or_default()
}

/// Metrics with the names Kubernetes gives them.
pub fn metrics(node_name: &str, table: &PodTable) -> String {
    let all = table.all();
    let statuses: Vec<_> = all.iter().map(|handle| handle.status()).collect();
    let running_pods =
        statuses.iter().filter(|status| status.phase.as_deref() == Some("Running")).count();
    let containers =
        || statuses.iter().flat_map(|status| status.container_statuses.iter().flatten());
    let states = || containers().filter_map(|container| container.state.as_ref());
    let running = states().filter(|state| state.running.is_some()).count();
    let exited = states().filter(|state| state.terminated.is_some()).count();
    format!(
        "# HELP kubelet_node_name The node's name. The count is always 1.\n\
         # TYPE kubelet_node_name gauge\n\
         kubelet_node_name{{node=\"{node_name}\"}} 1\n\
         # HELP kubelet_desired_pods Pods this kubelet works on.\n\
         # TYPE kubelet_desired_pods gauge\n\
         kubelet_desired_pods {}\n\
         # HELP kubelet_running_pods Pods that run.\n\
         # TYPE kubelet_running_pods gauge\n\
         kubelet_running_pods {running_pods}\n\
         # HELP kubelet_running_containers Containers by state.\n\
         # TYPE kubelet_running_containers gauge\n\
         kubelet_running_containers{{container_state=\"exited\"}} {exited}\n\
         kubelet_running_containers{{container_state=\"running\"}} {running}\n",
        all.len()
    )
}
