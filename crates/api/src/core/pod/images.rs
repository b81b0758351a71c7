//! What an image reference says about its tag.
//!
//! Counterpart in Kubernetes: `pkg/util/parsers`.

/// Whether the reference names the tag `latest`, or neither tag nor digest, which means the same. Never for references that do
/// not parse.
pub(crate) fn is_latest(image: &str) -> bool {
    let (tagged, digest) =
        image.split_once('@').map_or((image, None), |(name, digest)| (name, Some(digest)));
    let name = tagged.rsplit('/').next().unwrap_or_default();
    let (name, tag) = name.split_once(':').map_or((name, None), |(name, tag)| (name, Some(tag)));
    let parses = !name.is_empty()
        && name
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"._-".contains(&b));
    parses && tag.map_or(digest.is_none(), |tag| tag == "latest")
}

#[cfg(test)]
mod tests {
    use super::is_latest;

    #[test]
    fn is_latest_of_every_form_of_reference() {
        for (image, latest) in [
            ("nginx", true),
            ("nginx:latest", true),
            ("nginx:1.0", false),
            ("localhost:5000/nginx", true),
            ("localhost:5000/nginx:latest", true),
            ("localhost:5000/nginx:2", false),
            (
                "quay.io/luksa/kubia@sha256:0000000000000000000000000000000000000000000000000000000000000000",
                false,
            ),
            ("nginx:latest@sha256:00", true),
            ("Nginx", false),
            (" nginx", false),
            ("", false),
        ] {
            assert_eq!(is_latest(image), latest, "{image}");
        }
    }
}
