//! CronJob: a Job made again and again, at times that a schedule tells.
//!
//! Counterpart in Kubernetes: `pkg/registry/batch/cronjob`.

use apimachinery::field::{ErrorList, Path};
use apimachinery::labels;
use jiff::Timestamp;
use k8s_openapi::api::batch::v1::{CronJob, CronJobSpec, JobTemplateSpec};
use serde_json::Value;

use super::{job, schedule};
use crate::apps::template;
use crate::columns::{self, column};
use crate::kinds::Column;
use crate::report::{Report, list, omit_empty, text};
use crate::strategy::{KindStrategy, spec_and_status};

const CONCURRENCY: &[&str] = &[ALLOW, "Forbid", "Replace"];
const ALLOW: &str = "Allow";
/// The names of the Jobs are longer by eleven bytes, and are labels.
const MAX_NAME: usize = 52;
/// Bytes of a part of a time zone's name.
const MAX_ZONE_PART: usize = 14;
const ZONE_IN_SCHEDULE: &str = "cannot use TZ or CRON_TZ in spec.spec.schedule, use timeZone instead, see https://kubernetes.io/docs/concepts/workloads/controllers/cron-jobs/ for more details";

impl KindStrategy for CronJob {
    const COLUMNS: &'static [Column] = &[
        columns::NAME,
        column("Schedule", "string", "Times at which jobs begin."),
        column("Timezone", "string", "Time zone of the schedule."),
        column("Suspend", "boolean", "Whether no more jobs begin."),
        column("Active", "integer", "Jobs that run."),
        column("Last Schedule", "string", "Time since the last job began."),
        columns::AGE,
        columns::CONTAINERS,
        columns::IMAGES,
        columns::SELECTOR,
    ];
    const GENERATION: bool = true;

    spec_and_status!();

    fn default_fields(&mut self) {
        default_spec(&mut self.spec);
        let status = self.status.get_or_insert_default();
        omit_empty!(status; active);
    }

    fn validate_create(&self, errors: &mut ErrorList) {
        validate_spec(&self.spec, None, errors);
        let name = text(&self.metadata.name);
        if name.len() > MAX_NAME {
            let detail = format!("must be no more than {MAX_NAME} characters");
            errors.invalid(&Path::new("metadata").child("name"), name, detail);
        }
    }

    fn validate_update(&self, old: &Self, errors: &mut ErrorList) {
        validate_spec(&self.spec, Some(&old.spec), errors);
    }

    fn warnings(&self, old: Option<&Self>) -> Vec<String> {
        let spec = &self.spec;
        let mut warnings = Vec::new();
        if old.is_none() {
            warnings.extend(template::name_warning(self.metadata.name.as_deref()));
        }
        let at = Path::new("spec").child("jobTemplate").child("spec");
        if old.is_none_or(|old| old.metadata.generation != self.metadata.generation)
            && let Some(job) = &spec.job_template.spec
        {
            warnings.extend(job::spec_warnings(job, &at));
        }
        if old.is_some() && spec.schedule.contains("TZ") {
            warnings.push(ZONE_IN_SCHEDULE.to_owned());
        }
        warnings
    }

    fn row(&self, now: Timestamp) -> Vec<Value> {
        let (spec, status) = (self.spec.clone(), self.status.clone().unwrap_or_default());
        let job = spec.job_template.spec.unwrap_or_default();
        let pod = job.template.spec.unwrap_or_default();
        let [containers, images] = columns::containers(&pod.containers);
        let last = status.last_schedule_time.as_ref().map(|time| columns::since(Some(time), now));
        let suspend = spec.suspend.map_or("<unset>", |on| if on { "True" } else { "False" });
        vec![
            columns::name(&self.metadata),
            spec.schedule.into(),
            spec.time_zone.unwrap_or_else(|| "<none>".to_owned()).into(),
            suspend.into(),
            list(&status.active).len().into(),
            columns::or_none(last.as_deref()),
            columns::age(&self.metadata, now),
            containers,
            images,
            labels::format_label_selector(job.selector.as_ref()).into(),
        ]
    }
}

fn default_spec(spec: &mut CronJobSpec) {
    omit_empty!(spec; concurrency_policy);
    spec.concurrency_policy.get_or_insert_with(|| ALLOW.to_owned());
    spec.suspend.get_or_insert(false);
    spec.successful_jobs_history_limit.get_or_insert(3);
    spec.failed_jobs_history_limit.get_or_insert(1);
    let meta = spec.job_template.metadata.get_or_insert_default();
    omit_empty!(meta; labels, annotations, finalizers, owner_references);
    job::default_parts(spec.job_template.spec.get_or_insert_default());
}

fn validate_spec(spec: &CronJobSpec, old: Option<&CronJobSpec>, errors: &mut ErrorList) {
    let at = Path::new("spec");
    if spec.schedule.is_empty() {
        errors.required(&at.child("schedule"), "");
    } else {
        let had_zone = old.is_some_and(|old| old.schedule.contains("TZ"));
        validate_schedule(spec, had_zone, &at.child("schedule"), errors);
    }
    let deadline = spec.starting_deadline_seconds.unwrap_or(0);
    errors.non_negative(&at.child("startingDeadlineSeconds"), deadline);
    if let Some(zone) = &spec.time_zone
        && old.is_none_or(|old| old.time_zone.as_ref() != Some(zone))
    {
        validate_zone(zone, &at.child("timeZone"), errors);
    }
    let policy = text(&spec.concurrency_policy);
    errors.one_of(&at.child("concurrencyPolicy"), policy, CONCURRENCY);
    validate_template(&spec.job_template, &at.child("jobTemplate").child("spec"), errors);
    for (name, limit) in [
        ("successfulJobsHistoryLimit", spec.successful_jobs_history_limit),
        ("failedJobsHistoryLimit", spec.failed_jobs_history_limit),
    ] {
        errors.non_negative(&at.child(name), limit.unwrap_or(0).into());
    }
}

fn validate_schedule(spec: &CronJobSpec, had_zone: bool, at: &Path, errors: &mut ErrorList) {
    let schedule = &spec.schedule;
    if let Err(problem) = schedule::check(schedule) {
        errors.invalid(at, schedule, problem.to_string());
    }
    if !schedule.contains("TZ") {
        return;
    }
    if !had_zone {
        let detail = "cannot use TZ or CRON_TZ in schedule, use timeZone field instead";
        errors.invalid(at, schedule, detail);
    } else if spec.time_zone.is_some() {
        let detail = "cannot use both timeZone field and TZ or CRON_TZ in schedule";
        errors.invalid(at, schedule, detail);
    }
}

fn validate_zone(zone: &str, at: &Path, errors: &mut ErrorList) {
    if zone.is_empty() {
        return errors.invalid(at, zone, "timeZone must be nil or non-empty string");
    }
    if zone.eq_ignore_ascii_case("Local") {
        let detail =
            "timeZone must be an explicit time zone as defined in https://www.iana.org/time-zones";
        errors.invalid(at, zone, detail);
    }
    let known = zone == "Local" || schedule::is_time_zone(zone);
    if !zone.split('/').all(is_zone_part) || !known {
        errors.invalid(at, zone, format!("unknown time zone {zone}"));
    }
}

fn is_zone_part(part: &str) -> bool {
    let known = |c: char| c.is_ascii_alphanumeric() || ".-_+".contains(c);
    !matches!(part, "" | "." | "..")
        && part.len() <= MAX_ZONE_PART
        && !part.starts_with('-')
        && part.chars().all(known)
}

/// The Jobs get selectors of their own.
fn validate_template(template: &JobTemplateSpec, at: &Path, errors: &mut ErrorList) {
    let spec = template.spec.clone().unwrap_or_default();
    job::validate_spec(&spec, at, errors);
    if let Some(selector) = &spec.selector {
        errors.invalid(&at.child("selector"), selector, "`selector` will be auto-generated");
    }
    if spec.manual_selector == Some(true) {
        let at = at.child("manualSelector");
        errors.push(apimachinery::field::not_supported(&at, true, &["nil", "false"]));
    }
}
