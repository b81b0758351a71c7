//! Host name, `/etc/hosts` and DNS settings of a pod.
//!
//! Counterpart in Kubernetes: `GeneratePodHostNameAndDomain`, `managedHostsFileContent` and `network/dns`. Invariant: pure; what
//! the node's own files say comes in as text.

use std::net::IpAddr;

use k8s_cri::v1::DnsConfig;
use k8s_openapi::api::core::v1::{HostAlias, Pod, PodSpec};

use crate::names;

/// The kernel's limit of a host name.
const HOSTNAME_MAX: usize = 63;
/// What the resolver of glibc reads at most.
const MAX_NAMESERVERS: usize = 3;
/// What Kubernetes gives at most.
const MAX_SEARCHES: usize = 32;

/// A pod's host name, and its domain, which is empty without `spec.subdomain`.
pub fn hostname_and_domain(pod: &Pod, cluster_domain: &str) -> (String, String) {
    let spec = pod.spec.as_ref();
    if let Some(hostname) = spec.and_then(|spec| spec.hostname_override.clone()) {
        return (hostname, String::new());
    }
    let wanted = spec.and_then(|spec| spec.hostname.as_deref()).filter(|name| !name.is_empty());
    let hostname = truncate(wanted.unwrap_or(names::name(pod)));
    let subdomain = spec.and_then(|spec| spec.subdomain.as_deref()).filter(|name| !name.is_empty());
    let domain = subdomain
        .map(|subdomain| format!("{subdomain}.{}.svc.{cluster_domain}", names::namespace(pod)));
    (hostname, domain.unwrap_or_default())
}

/// The host name the sandbox gets.
pub fn kernel_hostname(pod: &Pod, cluster_domain: &str) -> String {
    let (hostname, domain) = hostname_and_domain(pod, cluster_domain);
    let fqdn = pod.spec.as_ref().and_then(|spec| spec.set_hostname_as_fqdn).unwrap_or_default();
    if fqdn && !domain.is_empty() { format!("{hostname}.{domain}") } else { hostname }
}

fn truncate(name: &str) -> String {
    let cut = name.char_indices().nth(HOSTNAME_MAX).map_or(name, |(end, _)| &name[..end]);
    cut.trim_end_matches(['-', '.']).to_owned()
}

/// The `/etc/hosts` of a pod with its own network.
pub fn hosts_file(ips: &[String], hostname: &str, domain: &str, aliases: &[HostAlias]) -> String {
    let mut text = String::from("# Kubernetes-managed hosts file.\n");
    let fixed = [
        ("127.0.0.1", "localhost"),
        ("::1", "localhost ip6-localhost ip6-loopback"),
        ("fe00::0", "ip6-localnet"),
        ("fe00::0", "ip6-mcastprefix"),
        ("fe00::1", "ip6-allnodes"),
        ("fe00::2", "ip6-allrouters"),
    ];
    text.extend(fixed.iter().map(|(ip, names)| format!("{ip}\t{names}\n")));
    let names = if domain.is_empty() {
        hostname.to_owned()
    } else {
        format!("{hostname}.{domain}\t{hostname}")
    };
    text.extend(ips.iter().map(|ip| format!("{ip}\t{names}\n")));
    text + &alias_lines(aliases)
}

/// The `/etc/hosts` of a pod on the node's network.
pub fn host_network_hosts_file(node_file: &str, aliases: &[HostAlias]) -> String {
    format!("# Kubernetes-managed hosts file (host network).\n{node_file}{}", alias_lines(aliases))
}

fn alias_lines(aliases: &[HostAlias]) -> String {
    if aliases.is_empty() {
        return String::new();
    }
    let line = |alias: &HostAlias| {
        format!("{}\t{}\n", alias.ip, alias.hostnames.as_deref().unwrap_or_default().join("\t"))
    };
    let lines: String = aliases.iter().map(line).collect();
    format!("\n# Entries added by HostAliases.\n{lines}")
}

/// Whether the pod asks for the cluster's DNS.
pub fn wants_cluster_dns(spec: &PodSpec) -> bool {
    match spec.dns_policy.as_deref() {
        Some("Default" | "None") => false,
        Some("ClusterFirstWithHostNet") => true,
        _ => !spec.host_network.unwrap_or_default(),
    }
}

/// The `resolv.conf` of a pod; `node_file` is the node's own.
pub fn dns_config(
    pod: &Pod,
    node_file: &str,
    cluster_dns: &[IpAddr],
    cluster_domain: &str,
) -> DnsConfig {
    let Some(spec) = &pod.spec else { return DnsConfig::default() };
    let node = parse_resolv_conf(node_file);
    let mut config = if spec.dns_policy.as_deref() == Some("None") {
        DnsConfig::default()
    } else if wants_cluster_dns(spec) && !cluster_dns.is_empty() {
        let ns = names::namespace(pod);
        let own = [
            format!("{ns}.svc.{cluster_domain}"),
            format!("svc.{cluster_domain}"),
            cluster_domain.to_owned(),
        ];
        DnsConfig {
            servers: cluster_dns.iter().map(ToString::to_string).collect(),
            searches: unique(own.into_iter().chain(node.searches)),
            options: vec!["ndots:5".into()],
        }
    } else {
        node
    };
    if let Some(extra) = &spec.dns_config {
        config.servers =
            unique(config.servers.into_iter().chain(extra.nameservers.iter().flatten().cloned()));
        config.searches =
            unique(config.searches.into_iter().chain(extra.searches.iter().flatten().cloned()));
        let options = extra
            .options
            .iter()
            .flatten()
            .map(|option| (option.name.clone().unwrap_or_default(), option.value.clone()));
        config.options = merge_options(config.options, options);
    }
    config.servers.truncate(MAX_NAMESERVERS);
    config.searches.truncate(MAX_SEARCHES);
    config
}

fn unique(items: impl Iterator<Item = String>) -> Vec<String> {
    items.fold(Vec::new(), |mut all, item| {
        if !all.contains(&item) {
            all.push(item);
        }
        all
    })
}

fn merge_options(
    mut options: Vec<String>,
    extra: impl Iterator<Item = (String, Option<String>)>,
) -> Vec<String> {
    for (name, value) in extra {
        options.retain(|option| option.split(':').next() != Some(name.as_str()));
        options.push(
            value
                .filter(|value| !value.is_empty())
                .map_or(name.clone(), |value| format!("{name}:{value}")),
        );
    }
    options
}

fn parse_resolv_conf(text: &str) -> DnsConfig {
    let mut config = DnsConfig::default();
    for line in text.lines() {
        let mut words = line.split_whitespace();
        let (key, rest) = (words.next(), words.map(str::to_owned).collect::<Vec<_>>());
        match key {
            Some("nameserver") => config.servers.extend(rest.into_iter().take(1)),
            Some("search") => {
                config.searches = rest.into_iter().map(|name| trim_dot(&name)).collect()
            }
            Some("options") => config.options = rest,
            _ => {}
        }
    }
    config
}

fn trim_dot(name: &str) -> String {
    if name == "." { name.to_owned() } else { name.trim_end_matches('.').to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::pod;
    use k8s_openapi::api::core::v1::{PodDNSConfig, PodDNSConfigOption};

    #[test]
    fn pod_05_hostname_is_pod_name_cut_to_63() {
        let mut pod = pod(&["a"]);
        assert_eq!(hostname_and_domain(&pod, "cluster.local"), ("web".into(), String::new()));
        pod.metadata.name = Some(format!("{}-{}", "x".repeat(62), "tail"));
        assert_eq!(hostname_and_domain(&pod, "cluster.local").0, "x".repeat(62));
        let spec = pod.spec.as_mut().expect("spec");
        (spec.hostname, spec.subdomain) = (Some("db-0".into()), Some("db".into()));
        assert_eq!(
            hostname_and_domain(&pod, "cluster.local"),
            ("db-0".into(), "db.default.svc.cluster.local".into())
        );
        assert_eq!(kernel_hostname(&pod, "cluster.local"), "db-0");
        pod.spec.as_mut().expect("spec").set_hostname_as_fqdn = Some(true);
        assert_eq!(kernel_hostname(&pod, "cluster.local"), "db-0.db.default.svc.cluster.local");
    }

    #[test]
    fn hosts_file_has_kubernetes_form() {
        let alias =
            HostAlias { ip: "10.0.0.9".into(), hostnames: Some(vec!["x".into(), "y".into()]) };
        let text = hosts_file(&["10.42.0.5".into()], "web", "", &[alias]);
        assert!(text.starts_with("# Kubernetes-managed hosts file.\n127.0.0.1\tlocalhost\n"));
        assert!(text.ends_with("fe00::2\tip6-allrouters\n10.42.0.5\tweb\n\n# Entries added by HostAliases.\n10.0.0.9\tx\ty\n"));
        assert!(hosts_file(&["1.2.3.4".into()], "a", "b.c", &[]).ends_with("1.2.3.4\ta.b.c\ta\n"));
    }

    #[test]
    fn dns_follows_policy() {
        let node = "nameserver 192.0.2.53\nsearch corp.example.\noptions timeout:1\n";
        let dns = |pod: &Pod| {
            dns_config(pod, node, &["10.43.0.10".parse().expect("ip")], "cluster.local")
        };
        let mut pod = pod(&["a"]);
        let made = dns(&pod);
        assert_eq!(made.servers, ["10.43.0.10"]);
        assert_eq!(
            made.searches,
            ["default.svc.cluster.local", "svc.cluster.local", "cluster.local", "corp.example"]
        );
        assert_eq!(made.options, ["ndots:5"]);
        pod.spec.as_mut().expect("spec").dns_policy = Some("Default".into());
        assert_eq!(dns(&pod).servers, ["192.0.2.53"]);
        let spec = pod.spec.as_mut().expect("spec");
        spec.dns_policy = Some("None".into());
        spec.dns_config = Some(PodDNSConfig {
            nameservers: Some(vec!["1.1.1.1".into()]),
            options: Some(vec![PodDNSConfigOption {
                name: Some("ndots".into()),
                value: Some("2".into()),
            }]),
            searches: None,
        });
        assert_eq!(
            (dns(&pod).servers, dns(&pod).options),
            (vec!["1.1.1.1".to_owned()], vec!["ndots:2".to_owned()])
        );
    }
}
