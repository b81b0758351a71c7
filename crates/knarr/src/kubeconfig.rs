//! Kubeconfig files: one of our own for every cluster, and its entries in the user's.
//!
//! Counterpart in Kubernetes: `k8s.io/client-go/tools/clientcmd`.
//!
//! Invariants: the user's other clusters, users, contexts and unknown fields are kept as they are; the file is replaced
//! whole, with mode 0600; removing a cluster removes what adding it added and nothing else.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use base64::Engine;
use serde_json::{Map, Value, json};

use crate::pki::{Identity, write_private};

/// The name of a cluster's context, and of its cluster and user entries: `knarr`, or `knarr-NAME`.
pub fn context_name(cluster: &str) -> String {
    match cluster {
        crate::cluster::DEFAULT_NAME => "knarr".into(),
        name => format!("knarr-{name}"),
    }
}

/// How a cluster is reached as its administrator.
pub struct Access {
    /// The cluster's name.
    pub cluster: String,
    /// The API server's URL.
    pub server: String,
    /// The authority's certificate in PEM.
    pub ca: String,
    /// The administrator.
    pub admin: Identity,
}

impl Access {
    /// A kubeconfig with this cluster only.
    pub fn to_value(&self) -> Value {
        let mut config = empty();
        self.merge_into(&mut config);
        config
    }

    /// Puts this cluster into a kubeconfig and makes it the current one.
    pub fn merge_into(&self, config: &mut Value) {
        let name = context_name(&self.cluster);
        let data = |pem: &str| base64::engine::general_purpose::STANDARD.encode(pem);
        let cluster = json!({"certificate-authority-data": data(&self.ca), "server": self.server});
        let user = json!({
            "client-certificate-data": data(&self.admin.certificate),
            "client-key-data": data(&self.admin.key),
        });
        set(config, "clusters", &name, "cluster", cluster);
        set(config, "users", &name, "user", user);
        set(config, "contexts", &name, "context", json!({"cluster": name, "user": name}));
        config["current-context"] = Value::String(name);
    }
}

/// Takes a cluster out of a kubeconfig. If it was the current one, there is no current one.
pub fn remove_from(config: &mut Value, cluster: &str) {
    let name = context_name(cluster);
    for list in ["clusters", "users", "contexts"] {
        if let Some(entries) = config.get_mut(list).and_then(Value::as_array_mut) {
            entries.retain(|entry| entry["name"] != Value::String(name.clone()));
        }
    }
    if config["current-context"] == Value::String(name) {
        config["current-context"] = Value::String(String::new());
    }
}

/// Whether a kubeconfig leads to a cluster, by its URL.
pub fn leads_to(config: &Value, cluster: &str, server: &str) -> bool {
    let name = context_name(cluster);
    let entries = config["clusters"].as_array();
    let found = entries.and_then(|list| list.iter().find(|entry| entry["name"] == name.as_str()));
    found.is_some_and(|entry| entry["cluster"]["server"] == server)
}

/// The user's kubeconfig: the first file of `$KUBECONFIG`, or `~/.kube/config`.
///
/// # Errors
/// When neither variable `KUBECONFIG` nor `HOME` is set.
pub fn user_path() -> Result<PathBuf> {
    let listed = std::env::var_os("KUBECONFIG").unwrap_or_default();
    let first = std::env::split_paths(&listed).find(|path| !path.as_os_str().is_empty());
    if let Some(path) = first {
        return Ok(path);
    }
    let home = std::env::var_os("HOME").context("neither KUBECONFIG nor HOME is set")?;
    Ok(PathBuf::from(home).join(".kube/config"))
}

/// Reads a kubeconfig; a missing or empty file is an empty one.
///
/// # Errors
/// When it cannot be read or is not YAML.
pub fn read(path: &Path) -> Result<Value> {
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(empty()),
        Err(error) => return Err(error).with_context(|| format!("cannot read {}", path.display())),
    };
    if text.trim().is_empty() {
        return Ok(empty());
    }
    let wrong = || format!("{} is not a kubeconfig; move it away", path.display());
    let config: Value = serde_saphyr::from_str(&text).with_context(wrong)?;
    match config.is_object() {
        true => Ok(config),
        false => Err(anyhow::anyhow!(wrong())),
    }
}

/// Replaces a kubeconfig.
///
/// # Errors
/// When it cannot be written.
pub fn write(path: &Path, config: &Value) -> Result<()> {
    write_private(path, &serde_saphyr::to_string(config)?)
}

fn empty() -> Value {
    json!({
        "apiVersion": "v1", "kind": "Config", "preferences": {},
        "clusters": [], "users": [], "contexts": [], "current-context": "",
    })
}

/// Sets the entry `name` of a list of named entries.
fn set(config: &mut Value, list: &str, name: &str, key: &str, value: Value) {
    if !config[list].is_array() {
        config[list] = Value::Array(vec![]);
    }
    let entry =
        Value::Object(Map::from_iter([(key.into(), value), ("name".into(), Value::from(name))]));
    let Some(entries) = config[list].as_array_mut() else { return };
    match entries.iter_mut().find(|entry| entry["name"] == name) {
        Some(existing) => *existing = entry,
        None => entries.push(entry),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn access(cluster: &str) -> Access {
        let admin = Identity { certificate: "cert".into(), key: "key".into() };
        let server = "https://127.0.0.1:6443".into();
        Access { cluster: cluster.into(), server, ca: "ca".into(), admin }
    }

    #[test]
    fn merging_keeps_the_users_other_entries_and_removal_restores_them() {
        let text = "apiVersion: v1\nkind: Config\ncurrent-context: work\nextensions: [a]\n\
                    clusters: [{name: work, cluster: {server: 'https://work'}}]\n\
                    contexts: [{name: work, context: {cluster: work, user: me, namespace: x}}]\n\
                    users: [{name: me, user: {token: t}}]\n";
        let before: Value = serde_saphyr::from_str(text).unwrap();
        let mut config = before.clone();
        access("default").merge_into(&mut config);
        access("default").merge_into(&mut config);
        access("two").merge_into(&mut config);
        assert_eq!(config["clusters"].as_array().unwrap().len(), 3);
        assert_eq!(config["current-context"], "knarr-two");
        assert!(leads_to(&config, "default", "https://127.0.0.1:6443"));
        assert!(!leads_to(&config, "default", "https://127.0.0.1:7443"));
        remove_from(&mut config, "two");
        assert_eq!(config["current-context"], "");
        remove_from(&mut config, "default");
        config["current-context"] = before["current-context"].clone();
        assert_eq!(config, before);
    }

    #[test]
    fn file_is_private_and_what_is_no_kubeconfig_is_left_alone() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("new/config");
        write(&path, &access("default").to_value()).unwrap();
        assert_eq!(read(&path).unwrap()["current-context"], "knarr");
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        std::fs::write(&path, "- just\n- a list\n").unwrap();
        assert!(read(&path).unwrap_err().to_string().contains("is not a kubeconfig"));
    }
}
