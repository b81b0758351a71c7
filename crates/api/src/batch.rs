//! Kinds of the group `batch`.

pub mod cron_job;
pub mod job;
pub mod schedule;

use k8s_openapi::api::batch::v1::{CronJob, Job};

use crate::kinds::{ALL, ALL_VERBS, PART_VERBS, Resource, Subresource, names, row, sub};

const CRON_JOB_SUBRESOURCES: &[Subresource] = &[sub("status", "CronJob", PART_VERBS)];
const JOB_SUBRESOURCES: &[Subresource] = &[sub("status", "Job", PART_VERBS)];

/// The rows of the group.
pub(crate) fn rows() -> Vec<Resource> {
    vec![
        row::<CronJob>(
            names("cronjob", &["cj"], ALL),
            ALL_VERBS,
            CRON_JOB_SUBRESOURCES,
            "io.k8s.api.batch.v1.CronJob",
        ),
        row::<Job>(names("job", &[], ALL), ALL_VERBS, JOB_SUBRESOURCES, "io.k8s.api.batch.v1.Job"),
    ]
}

#[cfg(test)]
mod tests;
