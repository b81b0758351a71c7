//! What this binary is.

use k8s_openapi::apimachinery::pkg::version::Info;

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
        let info = super::info();
        let minor = format!("v{}.{}.", info.major, info.minor);
        assert!(info.git_version.starts_with(&minor), "{}", info.git_version);
        let ending = format!("+knarr.{}", env!("CARGO_PKG_VERSION"));
        assert!(info.git_version.ends_with(&ending), "{}", info.git_version);
    }
}
