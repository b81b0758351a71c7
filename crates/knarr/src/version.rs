//! What this binary is.

use k8s_openapi::apimachinery::pkg::version::Info;

/// The Kubernetes release whose API is served.
const KUBERNETES: &str = "v1.36.2";

/// `VERSION` in the form of the API server's `/version`.
pub fn info() -> Info {
    Info {
        major: "1".into(),
        minor: "36".into(),
        git_version: crate::VERSION.into(),
        git_tree_state: "clean".into(),
        platform: format!("linux/{}", architecture()),
        compiler: "rustc".into(),
        ..Info::default()
    }
}

/// The machine's architecture in Go's words, which images and nodes use.
pub fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn version_names_the_kubernetes_release_and_the_crate() {
        let expected = format!("{}+knarr.{}", super::KUBERNETES, env!("CARGO_PKG_VERSION"));
        assert_eq!(crate::VERSION, expected);
    }
}
