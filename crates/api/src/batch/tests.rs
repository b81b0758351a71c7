//! Tables: Jobs and CronJobs in; defaults, errors, columns out.

use expect_test::expect;
use k8s_openapi::api::batch::v1::{CronJob, Job};
use serde_json::{Value, json};

use super::schedule;
use crate::kinds;
use crate::strategy::KindStrategy;
use crate::testing::{cells, create_errors, defaulted, text, update_errors};

#[test]
fn rows_say_what_discovery_of_kubernetes_says() {
    expect![[r#"
        cronjobs cronjob cj batch/v1 namespaced CronJob create,delete,deletecollection,get,list,patch,update,watch all
          status CronJob get,patch,update
        jobs job  batch/v1 namespaced Job create,delete,deletecollection,get,list,patch,update,watch all
          status Job get,patch,update"#]].assert_eq(&crate::testing::listing(&super::rows()));
}

fn merged(mut base: Value, more: Value) -> Value {
    base.as_object_mut().expect("an object").extend(more.as_object().expect("fields").clone());
    base
}

fn pods() -> Value {
    json!({"spec": {"restartPolicy": "Never", "containers": [{"name": "c", "image": "i"}]}})
}

fn job(more: Value) -> Job {
    defaulted(
        json!({"metadata": {"name": "j", "uid": "u"}, "spec": merged(json!({"template": pods()}), more)}),
    )
}

/// A Job as it is after its creation.
fn created(more: Value) -> Job {
    let mut job = job(more);
    kinds::of::<Job>().strategy.prepare_create(&mut job);
    job
}

fn cron_job(more: Value) -> CronJob {
    let spec = merged(
        json!({"schedule": "*/5 * * * *", "jobTemplate": {"spec": {"template": pods()}}}),
        more,
    );
    defaulted(json!({"metadata": {"name": "c"}, "spec": spec}))
}

fn without_template(job: &impl KindStrategy, at: &str) -> String {
    let mut spec = serde_json::to_value(job).expect("JSON")["spec"].take();
    spec.pointer_mut(at).and_then(Value::as_object_mut).expect("an object").remove("template");
    spec.to_string()
}

#[test]
fn job_is_filled_in_and_gets_a_selector_of_its_own() {
    expect![[r#"{"backoffLimit":6,"completionMode":"NonIndexed","completions":1,"manualSelector":false,"parallelism":1,"podReplacementPolicy":"TerminatingOrFailed","suspend":false}"#]].assert_eq(&without_template(&job(json!({})), ""));
    expect![[r#"{"backoffLimit":2147483647,"backoffLimitPerIndex":1,"completionMode":"Indexed","manualSelector":false,"parallelism":2,"podFailurePolicy":{"rules":[{"action":"Ignore","onPodConditions":[{"status":"True","type":"X"}]}]},"podReplacementPolicy":"Failed","suspend":false}"#]].assert_eq(&without_template(&job(json!({"parallelism": 2, "completionMode": "Indexed", "backoffLimitPerIndex": 1, "podFailurePolicy": {"rules": [{"action": "Ignore", "onPodConditions": [{"type": "X"}]}]}})), ""));
    assert_eq!(create_errors(job(json!({}))), "");
    let made = created(json!({}));
    expect![[r#"[{"matchLabels":{"batch.kubernetes.io/controller-uid":"u"}},{"batch.kubernetes.io/controller-uid":"u","batch.kubernetes.io/job-name":"j","controller-uid":"u","job-name":"j"},{"labels":{"batch.kubernetes.io/controller-uid":"u","batch.kubernetes.io/job-name":"j","controller-uid":"u","job-name":"j"}}]"#]].assert_eq(
        &json!([
            made.spec.clone().map(|s| s.selector),
            made.metadata.labels,
            made.spec.and_then(|s| s.template.metadata)
        ])
        .to_string(),
    );
}

#[test]
fn job_keeps_the_selector_it_is_told_to() {
    let manual = json!({"manualSelector": true, "selector": {"matchLabels": {"a": "b"}}});
    expect!["spec.template.metadata.labels: Invalid value: null: `selector` does not match template `labels`"].assert_eq(&create_errors(job(manual)));
    let wrong = json!({"template": merged(pods(), json!({"metadata": {"labels": {"job-name": "x", "controller-uid": "y"}}})), "selector": {"matchLabels": {"a": "b"}}});
    expect![[r#"
        spec.template.metadata.labels[controller-uid]: Invalid value: {"batch.kubernetes.io/controller-uid":"u","batch.kubernetes.io/job-name":"j","controller-uid":"y","job-name":"x"}: must be 'u'
        spec.template.metadata.labels[job-name]: Invalid value: {"batch.kubernetes.io/controller-uid":"u","batch.kubernetes.io/job-name":"j","controller-uid":"y","job-name":"x"}: must be 'j'
        spec.selector: Invalid value: {"matchLabels":{"a":"b","batch.kubernetes.io/controller-uid":"u"}}: `selector` not auto-generated
        spec.template.metadata.labels: Invalid value: {"batch.kubernetes.io/controller-uid":"u","batch.kubernetes.io/job-name":"j","controller-uid":"y","job-name":"x"}: `selector` does not match template `labels`"#]].assert_eq(&create_errors(job(wrong)));
}

#[test]
fn job_with_everything_wrong_names_every_field() {
    let numbers = json!({"parallelism": -1, "completions": -1, "activeDeadlineSeconds": -1, "backoffLimit": -1, "ttlSecondsAfterFinished": -1,
        "maxFailedIndexes": -1, "managedBy": "x", "podReplacementPolicy": "Never", "successPolicy": {"rules": []},
        "template": {"spec": {"containers": [{"name": "c", "image": "i"}]}}});
    expect![[r#"
        spec.parallelism: Invalid value: -1: must be greater than or equal to 0
        spec.completions: Invalid value: -1: must be greater than or equal to 0
        spec.activeDeadlineSeconds: Invalid value: -1: must be greater than or equal to 0
        spec.backoffLimit: Invalid value: -1: must be greater than or equal to 0
        spec.ttlSecondsAfterFinished: Invalid value: -1: must be greater than or equal to 0
        spec.maxFailedIndexes: Invalid value: -1: must be greater than or equal to 0
        spec.backoffLimitPerIndex: Required value: when maxFailedIndexes is specified
        spec.managedBy: Invalid value: "x": must be a domain-prefixed path (such as "acme.io/foo")
        spec.maxFailedIndexes: Invalid value: -1: requires indexed completion mode
        spec.successPolicy: Invalid value: {"rules":[]}: requires indexed completion mode
        spec.podReplacementPolicy: Unsupported value: "Never": supported values: "Failed", "TerminatingOrFailed"
        spec.template.spec.restartPolicy: Required value: valid values: "OnFailure", "Never""#]].assert_eq(&create_errors(job(numbers)));
    let indexed = json!({"completionMode": "Indexed", "completions": 100_001, "parallelism": 100_001, "backoffLimitPerIndex": 1, "maxFailedIndexes": 100_002});
    let bad = job(indexed);
    let strategy = kinds::of::<Job>().strategy;
    expect!["spec: In Indexed Jobs with a number of completions higher than 10^5 and a parallelism higher than 10^4, Kubernetes might not be able to track completedIndexes when a big number of indexes fail"].assert_eq(&strategy.warnings(&bad, None).join("\n"));
    expect![[r#"
        spec.parallelism: Invalid value: 100001: must be less than or equal to 100000 when completion mode is Indexed
        spec.maxFailedIndexes: Invalid value: 100002: must be less than or equal to completions
        spec.maxFailedIndexes: Invalid value: 100002: must be less than or equal to 100000
        spec.parallelism: Invalid value: 100001: must be less than or equal to 10000 when completions are above 100000 and used with backoff limit per index
        spec.maxFailedIndexes: Invalid value: 100002: must be less than or equal to 10000 when completions are above 100000 and used with backoff limit per index"#]].assert_eq(&create_errors(bad));
    expect![[r#"spec.completionMode: Unsupported value: "Wild": supported values: "NonIndexed", "Indexed""#]].assert_eq(&create_errors(job(json!({"completionMode": "Wild"}))));
    let mut long = job(json!({"completionMode": "Indexed", "completions": 10}));
    long.metadata.name = Some("a".repeat(62));
    expect![[r#"metadata.name: Invalid value: "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa": will not able to create pod with invalid DNS label: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa-9"#]].assert_eq(&create_errors(long));
}

#[test]
fn policies_with_everything_wrong_name_every_field() {
    let codes = json!([{"action": "", "onExitCodes": {"operator": "", "values": []}},
        {"action": "Hope", "onExitCodes": {"operator": "Near", "values": [1], "containerName": "x"}, "onPodConditions": [{"type": "a b", "status": "Maybe"}]},
        {"action": "FailIndex", "onExitCodes": {"operator": "In", "values": [2, 0, 2]}}, {"action": "Count"}]);
    let pods = json!({"spec": {"restartPolicy": "OnFailure", "containers": [{"name": "c", "image": "i"}]}});
    expect![[r#"
        spec.podFailurePolicy.rules[0].action: Required value: valid values: ["Count" "FailIndex" "FailJob" "Ignore"]
        spec.podFailurePolicy.rules[0].onExitCodes.operator: Required value: valid values: ["In" "NotIn"]
        spec.podFailurePolicy.rules[0].onExitCodes.values: Invalid value: []: at least one value is required
        spec.podFailurePolicy.rules[1].action: Unsupported value: "Hope": supported values: "Count", "FailIndex", "FailJob", "Ignore"
        spec.podFailurePolicy.rules[1].onExitCodes.operator: Unsupported value: "Near": supported values: "In", "NotIn"
        spec.podFailurePolicy.rules[1].onExitCodes.containerName: Invalid value: "x": must be one of the container or initContainer names in the pod template
        spec.podFailurePolicy.rules[1].onPodConditions[0].type: Invalid value: "a b": name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')
        spec.podFailurePolicy.rules[1].onPodConditions[0].status: Unsupported value: "Maybe": supported values: "False", "True", "Unknown"
        spec.podFailurePolicy.rules[1]: Invalid value: specifying both OnExitCodes and OnPodConditions is not supported
        spec.podFailurePolicy.rules[2].action: Invalid value: "FailIndex": requires the backoffLimitPerIndex to be set
        spec.podFailurePolicy.rules[2].onExitCodes.values[1]: Invalid value: 0: must not be 0 for the In operator
        spec.podFailurePolicy.rules[2].onExitCodes.values[2]: Duplicate value: 2
        spec.podFailurePolicy.rules[2].onExitCodes.values: Invalid value: [2,0,2]: must be ordered
        spec.podFailurePolicy.rules[3]: Invalid value: specifying one of OnExitCodes and OnPodConditions is required
        spec.podReplacementPolicy: Unsupported value: "TerminatingOrFailed": supported values: "Failed"
        spec.template.spec.restartPolicy: Invalid value: "OnFailure": only "Never" is supported when podFailurePolicy is specified"#]].assert_eq(&create_errors(job(json!({"podFailurePolicy": {"rules": codes}, "template": pods, "podReplacementPolicy": "TerminatingOrFailed"}))));
    let rules = json!([{}, {"succeededIndexes": "0,2-3,3"}, {"succeededIndexes": "1-2-3"}, {"succeededIndexes": "a"}, {"succeededIndexes": "3-9"},
        {"succeededIndexes": "0,2-3", "succeededCount": 4}, {"succeededCount": 6}, {"succeededCount": -1}]);
    let bad =
        json!({"completionMode": "Indexed", "completions": 5, "successPolicy": {"rules": rules}});
    expect![[r#"
        spec.successPolicy.rules[0]: Required value: at least one of succeededCount or succeededIndexes must be specified
        spec.successPolicy.rules[1].succeededIndexes: Invalid value: "0,2-3,3": error parsing succeededIndexes: non-increasing order, previous: 3, current: 3
        spec.successPolicy.rules[2].succeededIndexes: Invalid value: "1-2-3": error parsing succeededIndexes: the fragment "1-2-3" violates the requirement that an index interval can have at most two parts separated by '-'
        spec.successPolicy.rules[3].succeededIndexes: Invalid value: "a": error parsing succeededIndexes: cannot convert string to integer for index: "a"
        spec.successPolicy.rules[4].succeededIndexes: Invalid value: "3-9": error parsing succeededIndexes: too large index: "9"
        spec.successPolicy.rules[5].succeededCount: Invalid value: 4: must be less than or equal to 3 (the number of indexes in the specified succeededIndexes field)
        spec.successPolicy.rules[6].succeededCount: Invalid value: 6: must be less than or equal to 5 (the number of specified completions)
        spec.successPolicy.rules[7].succeededCount: Invalid value: -1: must be greater than or equal to 0"#]].assert_eq(&create_errors(job(bad)));
}

#[test]
fn update_of_a_job_may_change_little() {
    let old = created(json!({}));
    let mut new =
        created(json!({"parallelism": 3, "completions": 1, "suspend": true, "backoffLimit": 1}));
    assert_eq!(update_errors(new.clone(), old.clone()), "");
    let spec = new.spec.as_mut().expect("a spec");
    (spec.completions, spec.managed_by) = (Some(4), Some("a.io/b".to_owned()));
    spec.template.spec.as_mut().expect("pods").node_name = Some("n".to_owned());
    let told = update_errors(new, old);
    let told: Vec<_> =
        told.lines().map(|line| line.split_once(':').map_or(line, |(at, _)| at)).collect();
    expect![[r#"
        spec.completions
        spec.template
        spec.managedBy"#]]
    .assert_eq(&told.join("\n"));
    let indexed = |n: i32, at_once: i32| {
        created(json!({"completionMode": "Indexed", "completions": n, "parallelism": at_once}))
    };
    assert_eq!(update_errors(indexed(3, 3), indexed(2, 2)), "");
    expect![
        "spec.completions: Invalid value: 3: can only be modified in tandem with spec.parallelism"
    ]
    .assert_eq(&update_errors(indexed(3, 2), indexed(2, 2)));
}

#[test]
fn template_of_a_suspended_job_may_be_placed_anew() {
    let more = json!({"suspend": true});
    let old = created(more.clone());
    let placed = json!({"spec": {"restartPolicy": "Never", "nodeSelector": {"a": "b"}, "tolerations": [{"operator": "Exists"}],
        "affinity": {"nodeAffinity": {}}, "containers": [{"name": "c", "image": "i", "resources": {"limits": {"cpu": "1"}}}]}});
    let new = created(merged(more, json!({"template": placed})));
    assert_eq!(update_errors(new.clone(), old.clone()), "");
    let mut running = old;
    running.status.get_or_insert_default().active = Some(1);
    assert!(update_errors(new, running).starts_with("spec.template: Invalid value"));
}

fn status_errors(spec: Value, old: Value, new: Value) -> String {
    let with = |status: Value| {
        let mut job = created(spec.clone());
        job.metadata.resource_version = Some("1".to_owned());
        job.status = serde_json::from_value(status).expect("a status");
        job
    };
    text(&kinds::of::<Job>().strategy.validate_status_update(&with(new), &with(old)))
}

#[test]
fn status_of_a_job_ends_as_kubernetes_wants_it() {
    let is = |types: &[&str]| -> Vec<Value> {
        types.iter().map(|t| json!({"type": t, "status": "True"})).collect()
    };
    let (start, end) = ("2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z");
    let done = json!({"startTime": start, "completionTime": end, "conditions": is(&["SuccessCriteriaMet", "Complete"])});
    assert_eq!(status_errors(json!({}), json!({"startTime": start}), done.clone()), "");
    let bad = json!({"active": 1, "ready": 2, "terminating": 1, "failed": -1, "conditions": is(&["Complete", "Failed"]), "completedIndexes": "0",
        "failedIndexes": "0", "uncountedTerminatedPods": {"succeeded": ["", "a"], "failed": ["a"]}});
    expect![[r#"
        status.failed: Invalid value: -1: must be greater than or equal to 0
        status.uncountedTerminatedPods.succeeded[0]: Invalid value: "": must not be empty
        status.uncountedTerminatedPods.failed[0]: Duplicate value: "a"
        status.conditions: Invalid value: cannot set Complete=True and Failed=true conditions
        status.conditions: Invalid value: cannot set Failed=True condition without the FailureTarget=true condition
        status.conditions: Invalid value: cannot set Complete=True condition without the SuccessCriteriaMet=true condition
        status.completionTime: Required value: completionTime is required for Complete jobs
        status.startTime: Required value: startTime is required for finished job
        status.active: Invalid value: 1: active>0 is invalid for finished job
        status.uncountedTerminatedPods: Invalid value: {"failed":["a"],"succeeded":["","a"]}: must be empty for finished job
        status.terminating: Invalid value: 1: terminating>0 is invalid for finished job
        status.ready: Invalid value: 2: cannot set more ready pods than active
        status.completedIndexes: Invalid value: "0": cannot set non-empty completedIndexes when non-indexed completion mode
        status.failedIndexes: Invalid value: "0": cannot set non-null failedIndexes when backoffLimitPerIndex is null
        status.failedIndexes: Invalid value: "0": failedIndexes and completedIndexes overlap at index: 0
        status.failed: Invalid value: -1: cannot decrease the failed counter"#]].assert_eq(&status_errors(json!({}), json!({}), bad));
    let undone = json!({"startTime": end, "completionTime": start, "failed": 0});
    expect![[r#"
        status.completionTime: Invalid value: "2026-01-01T00:00:00Z": cannot set completionTime when there is no Complete=True condition
        status.completionTime: Invalid value: "2026-01-01T00:00:00Z": must be equal to or after `startTime`
        status.completionTime: Invalid value: "2026-01-01T00:00:00Z": field is immutable
        status.startTime: Invalid value: "2026-01-02T00:00:00Z": field is immutable for unsuspended job once set
        status.conditions: Invalid value: cannot disable the terminal Complete=True condition
        status.failed: Invalid value: 0: cannot decrease the failed counter
        status.succeeded: Invalid value: 0: cannot decrease the succeeded counter
        status.conditions: Invalid value: cannot disable the SuccessCriteriaMet=True condition"#]].assert_eq(&status_errors(
        json!({}),
        merged(done, json!({"failed": 1, "succeeded": 1})),
        undone,
    ));
    let indexed = json!({"completionMode": "Indexed", "completions": 5, "backoffLimitPerIndex": 1});
    let overlap = json!({"completedIndexes": "0-2", "failedIndexes": "2,9"});
    expect![[r#"
        status.failedIndexes: Invalid value: "2,9": error parsing failedIndexes: too large index: "9"
        status.failedIndexes: Invalid value: "2,9": failedIndexes and completedIndexes overlap at index: 2"#]].assert_eq(&status_errors(indexed, json!({}), overlap));
}

#[test]
fn rows_of_jobs_read_as_in_kubernetes() {
    let mut job = created(json!({}));
    expect!["j|Running|0/1||<unknown>|c|i|batch.kubernetes.io/controller-uid=u"]
        .assert_eq(&cells(&job));
    job.status = serde_json::from_value(json!({"succeeded": 1, "startTime": "2025-01-01T00:00:00Z", "completionTime": "2025-01-01T00:03:00Z", "conditions": [{"type": "Complete", "status": "True"}]})).expect("a status");
    expect!["j|Complete|1/1|3m|<unknown>|c|i|batch.kubernetes.io/controller-uid=u"]
        .assert_eq(&cells(&job));
    let mut cron = cron_job(json!({"timeZone": "Europe/Berlin"}));
    expect!["c|*/5 * * * *|Europe/Berlin|False|0|<none>|<unknown>|c|i|<none>"]
        .assert_eq(&cells(&cron));
    cron.status =
        serde_json::from_value(json!({"active": [{}], "lastScheduleTime": "2025-12-31T23:59:00Z"}))
            .expect("a status");
    expect!["c|*/5 * * * *|Europe/Berlin|False|1|60s|<unknown>|c|i|<none>"]
        .assert_eq(&cells(&cron));
}

#[test]
fn cron_job_is_filled_in() {
    expect![[r#"{"concurrencyPolicy":"Allow","failedJobsHistoryLimit":1,"jobTemplate":{"metadata":{},"spec":{}},"schedule":"*/5 * * * *","successfulJobsHistoryLimit":3,"suspend":false}"#]].assert_eq(&without_template(&cron_job(json!({})), "/jobTemplate/spec"));
    assert_eq!(create_errors(cron_job(json!({"timeZone": "Europe/Berlin"}))), "");
}

#[test]
fn cron_job_with_everything_wrong_names_every_field() {
    let template = json!({"spec": {"template": {"spec": {"containers": []}}, "manualSelector": true, "selector": {}, "parallelism": -1}});
    let mut bad = cron_job(
        json!({"schedule": "TZ=UTC * * * * *", "timeZone": "Mars/Base", "concurrencyPolicy": "Maybe", "startingDeadlineSeconds": -1,
        "successfulJobsHistoryLimit": -1, "failedJobsHistoryLimit": -1, "jobTemplate": template}),
    );
    bad.metadata.name = Some("a".repeat(53));
    expect![[r#"
        spec.schedule: Invalid value: "TZ=UTC * * * * *": cannot use TZ or CRON_TZ in schedule, use timeZone field instead
        spec.startingDeadlineSeconds: Invalid value: -1: must be greater than or equal to 0
        spec.timeZone: Invalid value: "Mars/Base": unknown time zone Mars/Base
        spec.concurrencyPolicy: Unsupported value: "Maybe": supported values: "Allow", "Forbid", "Replace"
        spec.jobTemplate.spec.parallelism: Invalid value: -1: must be greater than or equal to 0
        spec.jobTemplate.spec.template.spec.containers: Required value
        spec.jobTemplate.spec.template.spec.restartPolicy: Required value: valid values: "OnFailure", "Never"
        spec.jobTemplate.spec.selector: Invalid value: {}: `selector` will be auto-generated
        spec.jobTemplate.spec.manualSelector: Unsupported value: true: supported values: "nil", "false"
        spec.successfulJobsHistoryLimit: Invalid value: -1: must be greater than or equal to 0
        spec.failedJobsHistoryLimit: Invalid value: -1: must be greater than or equal to 0
        metadata.name: Invalid value: "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa": must be no more than 52 characters"#]].assert_eq(&create_errors(bad));
    expect![[r#"
        spec.schedule: Required value
        spec.timeZone: Invalid value: "": timeZone must be nil or non-empty string"#]]
    .assert_eq(&create_errors(cron_job(json!({"schedule": "", "timeZone": ""}))));
    expect![[r#"
        spec.timeZone: Invalid value: "local": timeZone must be an explicit time zone as defined in https://www.iana.org/time-zones
        spec.timeZone: Invalid value: "local": unknown time zone local"#]].assert_eq(&create_errors(cron_job(json!({"timeZone": "local"}))));
}

#[test]
fn cron_job_that_had_a_zone_in_its_schedule_may_keep_it() {
    let old = cron_job(json!({"schedule": "TZ=UTC * * * * *"}));
    assert_eq!(update_errors(old.clone(), old.clone()), "");
    let new = cron_job(json!({"schedule": "TZ=UTC * * * * *", "timeZone": "Etc/UTC"}));
    expect![[r#"spec.schedule: Invalid value: "TZ=UTC * * * * *": cannot use both timeZone field and TZ or CRON_TZ in schedule"#]].assert_eq(&update_errors(new.clone(), old.clone()));
    expect!["cannot use TZ or CRON_TZ in spec.spec.schedule, use timeZone instead, see https://kubernetes.io/docs/concepts/workloads/controllers/cron-jobs/ for more details"].assert_eq(&kinds::of::<CronJob>().strategy.warnings(&new, Some(&old)).join("\n"));
}

#[test]
fn schedules_are_read_as_kubernetes_reads_them() {
    for good in [
        "* * * * *",
        "*/5 0-3,7 1 JAN-mar sun",
        "? ? ? ? ?",
        "5/10 * * * 0-6/2",
        "@daily",
        "@every 1h30m",
        "@every 1.5s",
        "CRON_TZ=Asia/Tokyo 0 0 * * *",
    ] {
        assert_eq!(schedule::check(good), Ok(()), "{good}");
    }
    let bad = [
        "* * * *",
        "60 * * * *",
        "* * 0 * *",
        "* * * * 7",
        "5-3 * * * *",
        "*/0 * * * *",
        "1-2-3 * * * *",
        "1/2/3 * * * *",
        "x * * * *",
        "-1 * * * *",
        "*/-1 * * * *",
        "@never",
        "@every 5",
        "@every 1d",
        "@every",
        "@every x",
        "TZ=0",
        "TZ=Mars * * * * *",
    ];
    let told: Vec<_> = bad
        .iter()
        .map(|text| format!("{text}: {}", schedule::check(text).expect_err("no schedule")))
        .collect();
    expect![[r#"
        * * * *: expected exactly 5 fields, found 4: [* * * *]
        60 * * * *: end of range (60) above maximum (59): 60
        * * 0 * *: beginning of range (0) below minimum (1): 0
        * * * * 7: end of range (7) above maximum (6): 7
        5-3 * * * *: beginning of range (5) beyond end of range (3): 5-3
        */0 * * * *: step of range should be a positive number: */0
        1-2-3 * * * *: too many hyphens: 1-2-3
        1/2/3 * * * *: too many slashes: 1/2/3
        x * * * *: failed to parse int from x: strconv.Atoi: parsing "x": invalid syntax
        -1 * * * *: failed to parse int from : strconv.Atoi: parsing "": invalid syntax
        */-1 * * * *: negative number (-1) not allowed: -1
        @never: unrecognized descriptor: @never
        @every 5: failed to parse duration @every 5: time: missing unit in duration "5"
        @every 1d: failed to parse duration @every 1d: time: unknown unit "d" in duration "1d"
        @every: unrecognized descriptor: @every
        @every x: failed to parse duration @every x: time: invalid duration "x"
        TZ=0: invalid schedule format: runtime error: slice bounds out of range [:-1]
        TZ=Mars * * * * *: provided bad location Mars: unknown time zone Mars"#]]
    .assert_eq(&told.join("\n"));
}
