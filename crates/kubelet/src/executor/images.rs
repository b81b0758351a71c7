//! Gets a container's image onto the node.
//!
//! Counterpart in Kubernetes: `EnsureImageExists` of `images/image_manager.go`. Invariant: what to do is decided by
//! [`crate::image::image_step`]; a pull ends early only when the pod is to end.

use jiff::Timestamp;
use k8s_cri::v1 as cri;
use k8s_openapi::api::core::v1::Container;

use super::{Executor, Failure};
use crate::backoff::Waiting;
use crate::events::EventType;
use crate::image::{self, ImageStep, PullPolicy, image_step};

impl Executor<'_> {
    pub(super) async fn ensure_image(
        &mut self,
        container: &Container,
        sandbox: &cri::PodSandboxConfig,
    ) -> Result<cri::Image, Failure> {
        let wanted = container.image.clone().unwrap_or_default();
        let reference = image::with_default_tag(&wanted)
            .map_err(|error| self.invalid_name(container, &wanted, error))?;
        let policy = PullPolicy::of(container.image_pull_policy.as_deref(), &wanted);
        let present = self.node.cri.image(&reference).await.map_err(|error| {
            let message = format!("Failed to inspect image \"{wanted}\": {error}");
            self.image_event(container, EventType::Warning, "InspectFailed", &message);
            Failure::new(image::IMAGE_INSPECT_ERROR, message)
        })?;
        match image_step(
            policy,
            present.is_some(),
            &reference,
            &self.memory.backoffs.pulls,
            Timestamp::now(),
        ) {
            ImageStep::Use => {
                self.image_event(
                    container,
                    EventType::Normal,
                    "Pulled",
                    &image::present_message(&wanted),
                );
                present.ok_or_else(|| {
                    Failure::new(
                        image::IMAGE_INSPECT_ERROR,
                        format!("image \"{wanted}\" went away"),
                    )
                })
            }
            ImageStep::Refuse => {
                let message = format!(
                    "Container image \"{wanted}\" is not present with pull policy of Never"
                );
                self.image_event(
                    container,
                    EventType::Warning,
                    image::ERR_IMAGE_NEVER_PULL,
                    &message,
                );
                Err(Failure::new(image::ERR_IMAGE_NEVER_PULL, message))
            }
            ImageStep::Wait(wait) => Err(self.pull_later(container, &wanted, &reference, wait)),
            ImageStep::Pull => self.pull(container, &wanted, &reference, sandbox).await,
        }
    }

    fn image_event(&self, container: &Container, kind: EventType, reason: &str, message: &str) {
        self.events().container(&container.name, "", kind, reason, message);
    }

    fn invalid_name(&self, container: &Container, wanted: &str, error: &str) -> Failure {
        let message = format!(
            "Failed to apply default image tag \"{wanted}\": couldn't parse image name \"{wanted}\": {error}"
        );
        self.image_event(container, EventType::Warning, "InspectFailed", &message);
        Failure::new(image::INVALID_IMAGE_NAME, message)
    }

    fn pull_later(
        &self,
        container: &Container,
        wanted: &str,
        reference: &str,
        wait: Waiting,
    ) -> Failure {
        let message = format!("Back-off pulling image \"{wanted}\"");
        self.image_event(container, EventType::Normal, "BackOff", &message);
        let message = match self.memory.pull_errors.get(reference) {
            Some(error) => format!("{message}: {}: {error}", image::ERR_IMAGE_PULL),
            None => message,
        };
        Failure { reason: image::IMAGE_PULL_BACK_OFF, message, retry_at: wait.until }
    }

    async fn pull(
        &mut self,
        container: &Container,
        wanted: &str,
        reference: &str,
        sandbox: &cri::PodSandboxConfig,
    ) -> Result<cri::Image, Failure> {
        self.image_event(
            container,
            EventType::Normal,
            "Pulling",
            &format!("Pulling image \"{wanted}\""),
        );
        let began = Timestamp::now();
        let pulled = tokio::select! {
            pulled = self.node.cri.pull(reference, sandbox.clone()) => pulled,
            () = self.ending.cancelled() => return Err(Failure::new(image::ERR_IMAGE_PULL, "pull canceled")),
        };
        self.node.images_changed.notify_one();
        let pulled_ref = pulled
            .map_err(|error| self.pull_failed(container, wanted, reference, error.message))?;
        let took = Timestamp::now().duration_since(began);
        let status = self.node.cri.image(reference).await.ok().flatten();
        let status =
            status.unwrap_or_else(|| cri::Image { id: pulled_ref, ..cri::Image::default() });
        self.memory.backoffs.pulls.reset(reference);
        self.memory.pull_errors.remove(reference);
        self.image_event(
            container,
            EventType::Normal,
            "Pulled",
            &image::pulled_message(wanted, took, took, status.size),
        );
        Ok(status)
    }

    fn pull_failed(
        &mut self,
        container: &Container,
        wanted: &str,
        reference: &str,
        error: String,
    ) -> Failure {
        let message = format!("Failed to pull image \"{wanted}\": {error}");
        self.image_event(container, EventType::Warning, "Failed", &message);
        let now = Timestamp::now();
        self.memory.backoffs.pulls.next(reference, now, now);
        self.memory.pull_errors.insert(reference.to_owned(), error.clone());
        // Half of the wait later the state turns from the error into the back-off, as people are used to see it.
        let wait = self.memory.backoffs.pulls.waiting_since_update(reference, now);
        let retry_at = wait.map_or(now, |wait| now + wait.delay / 2);
        Failure { reason: image::ERR_IMAGE_PULL, message: error, retry_at }
    }
}
