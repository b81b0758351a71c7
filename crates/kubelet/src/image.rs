//! Image names and whether to pull.
//!
//! Counterpart in Kubernetes: `images/image_manager.go`. Invariant: pure; the reasons are the API's words.

use jiff::{SignedDuration, Timestamp};

use crate::backoff::{Backoff, Waiting, go_duration};

/// The pull failed just now.
pub const ERR_IMAGE_PULL: &str = "ErrImagePull";
/// The pull failed and the next attempt is not due.
pub const IMAGE_PULL_BACK_OFF: &str = "ImagePullBackOff";
/// The policy forbids pulling and the image is not there.
pub const ERR_IMAGE_NEVER_PULL: &str = "ErrImageNeverPull";
/// The reference cannot be read.
pub const INVALID_IMAGE_NAME: &str = "InvalidImageName";
/// The runtime could not be asked.
pub const IMAGE_INSPECT_ERROR: &str = "ImageInspectError";

/// `imagePullPolicy`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PullPolicy {
    /// Ask the registry every time.
    Always,
    /// Ask it when the image is not there.
    IfNotPresent,
    /// Never ask it.
    Never,
}

impl PullPolicy {
    /// The policy of a container; absent means the API's default for its image.
    pub fn of(policy: Option<&str>, image: &str) -> Self {
        match policy {
            Some("Always") => PullPolicy::Always,
            Some("Never") => PullPolicy::Never,
            Some("IfNotPresent") => PullPolicy::IfNotPresent,
            _ if with_default_tag(image).is_ok_and(|image| image.ends_with(":latest")) => {
                PullPolicy::Always
            }
            _ => PullPolicy::IfNotPresent,
        }
    }
}

/// What to do to get an image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ImageStep {
    /// It is there.
    Use,
    /// Pull it.
    Pull,
    /// Pull it later.
    Wait(Waiting),
    /// It is not there and may not be pulled.
    Refuse,
}

/// Decides how to get `image`.
pub fn image_step(
    policy: PullPolicy,
    present: bool,
    image: &str,
    pulls: &Backoff,
    now: Timestamp,
) -> ImageStep {
    match policy {
        PullPolicy::IfNotPresent | PullPolicy::Never if present => ImageStep::Use,
        PullPolicy::Never => ImageStep::Refuse,
        PullPolicy::Always | PullPolicy::IfNotPresent => {
            match pulls.waiting_since_update(image, now) {
                Some(wait) => ImageStep::Wait(wait),
                None => ImageStep::Pull,
            }
        }
    }
}

/// The reference with `:latest` where it has neither tag nor digest.
///
/// # Errors
/// When the reference is not one, with the reason.
pub fn with_default_tag(image: &str) -> Result<String, &'static str> {
    let (name, digest) =
        image.split_once('@').map_or((image, None), |(name, digest)| (name, Some(digest)));
    let slash = name.rfind('/').map_or(0, |at| at + 1);
    let (repository, tag) = match name[slash..].find(':') {
        Some(colon) => (&name[..slash + colon], Some(&name[slash + colon + 1..])),
        None => (name, None),
    };
    check_repository(repository)?;
    if tag.is_some_and(|tag| !is_tag(tag)) || digest.is_some_and(|digest| !is_digest(digest)) {
        return Err("invalid reference format");
    }
    Ok(if tag.is_none() && digest.is_none() { format!("{image}:latest") } else { image.to_owned() })
}

/// The longest repository name registries accept.
const REPOSITORY_MAX: usize = 255;
const TAG_MAX: usize = 128;

fn check_repository(repository: &str) -> Result<(), &'static str> {
    let (first, path) =
        repository.split_once('/').map_or(("", repository), |(first, path)| (first, path));
    let is_domain =
        first.contains(['.', ':']) || first == "localhost" || first.chars().any(char::is_uppercase);
    if is_domain && !is_domain_name(first) {
        return Err("invalid reference format");
    }
    let path = if is_domain { path } else { repository };
    if path.chars().any(char::is_uppercase) {
        return Err("invalid reference format: repository name must be lowercase");
    }
    let component = |part: &str| {
        let edge = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_alphanumeric);
        let bytes = part.as_bytes();
        let inner = bytes.iter().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(byte));
        edge(bytes.first()) && edge(bytes.last()) && inner && !part.contains("..")
    };
    if repository.len() > REPOSITORY_MAX || !path.split('/').all(component) {
        return Err("invalid reference format");
    }
    Ok(())
}

fn is_domain_name(domain: &str) -> bool {
    let (host, port) = domain.split_once(':').unwrap_or((domain, "0"));
    let label = |label: &str| {
        let inner = label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
        !label.is_empty() && inner && !label.starts_with('-') && !label.ends_with('-')
    };
    host.split('.').all(label) && !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit())
}

fn is_tag(tag: &str) -> bool {
    let word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    let rest = |byte: u8| word(byte) || byte == b'.' || byte == b'-';
    !tag.is_empty() && tag.len() <= TAG_MAX && word(tag.as_bytes()[0]) && tag.bytes().all(rest)
}

fn is_digest(digest: &str) -> bool {
    let hex = |text: &str, length| {
        text.len() == length && text.bytes().all(|byte| byte.is_ascii_hexdigit())
    };
    match digest.split_once(':') {
        Some(("sha256", value)) => hex(value, 64),
        Some(("sha512", value)) => hex(value, 128),
        _ => false,
    }
}

/// The text of the event `Pulled` after a pull.
pub fn pulled_message(
    image: &str,
    pulling: SignedDuration,
    including_waiting: SignedDuration,
    size_bytes: u64,
) -> String {
    let millis = |duration: SignedDuration| {
        go_duration(SignedDuration::from_millis(
            i64::try_from(duration.as_millis()).unwrap_or(i64::MAX),
        ))
    };
    let (pulling, waiting) = (millis(pulling), millis(including_waiting));
    format!(
        "Successfully pulled image \"{image}\" in {pulling} ({waiting} including waiting). Image size: {size_bytes} bytes."
    )
}

/// The text of the event `Pulled` when nothing had to be pulled.
pub fn present_message(image: &str) -> String {
    format!("Container image \"{image}\" already present on machine and can be accessed by the pod")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::at;

    #[test]
    fn ctr_10_default_tag_is_latest() {
        let digest = format!("a@sha256:{}", "0".repeat(64));
        let good = [
            ("nginx", "nginx:latest"),
            ("nginx:1", "nginx:1"),
            ("localhost:5000/x", "localhost:5000/x:latest"),
            ("localhost:5000/x:v1.2-3_4", "localhost:5000/x:v1.2-3_4"),
            ("quay.io/luksa/kubia:1.0", "quay.io/luksa/kubia:1.0"),
            ("knarr.local/hello:1.0", "knarr.local/hello:1.0"),
            (digest.as_str(), digest.as_str()),
        ];
        for (image, expected) in good {
            assert_eq!(with_default_tag(image).as_deref(), Ok(expected));
        }
        for bad in
            ["", "Nginx", "a b", "a:", "a@sha256:12", "/x", "x/", "a..b/c", "a:b:c", "http://x/y"]
        {
            assert!(with_default_tag(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn ctr_04_policy_defaults_by_tag() {
        assert_eq!(PullPolicy::of(None, "a"), PullPolicy::Always);
        assert_eq!(PullPolicy::of(None, "a:latest"), PullPolicy::Always);
        assert_eq!(PullPolicy::of(None, "a:1"), PullPolicy::IfNotPresent);
        assert_eq!(PullPolicy::of(Some("Never"), "a"), PullPolicy::Never);
    }

    #[test]
    fn ctr_05_06_step_follows_policy_and_presence() {
        let none = Backoff::default();
        let step = |policy, present| image_step(policy, present, "a:1", &none, at(0));
        assert_eq!(step(PullPolicy::Always, true), ImageStep::Pull);
        assert_eq!(step(PullPolicy::IfNotPresent, true), ImageStep::Use);
        assert_eq!(step(PullPolicy::IfNotPresent, false), ImageStep::Pull);
        assert_eq!(step(PullPolicy::Never, true), ImageStep::Use);
        assert_eq!(step(PullPolicy::Never, false), ImageStep::Refuse);
        let mut failed = Backoff::default();
        failed.next("a:1", at(0), at(0));
        assert!(
            matches!(image_step(PullPolicy::Always, true, "a:1", &failed, at(9)), ImageStep::Wait(wait) if wait.until == at(10))
        );
        assert_eq!(image_step(PullPolicy::Always, true, "a:1", &failed, at(10)), ImageStep::Pull);
    }

    #[test]
    fn evt_07_pulled_message_has_kubernetes_form() {
        let made = pulled_message(
            "a:1",
            SignedDuration::from_millis(1234),
            SignedDuration::from_micros(1_250_400),
            42,
        );
        assert_eq!(
            made,
            "Successfully pulled image \"a:1\" in 1.234s (1.25s including waiting). Image size: 42 bytes."
        );
    }
}
