//! Tables: leases' candidates in; errors and rows out.

use expect_test::expect;
use k8s_openapi::api::coordination::{v1alpha2, v1beta1::LeaseCandidate};
use serde_json::{Value, json};

use crate::kinds;
use crate::testing::{cells, create_errors, defaulted, listing, update_errors};

fn candidate(spec: Value) -> LeaseCandidate {
    defaulted(json!({"metadata": {"name": "C_1"}, "spec": spec}))
}

#[test]
fn rows_say_what_discovery_of_kubernetes_says() {
    expect![[r#"
        leases lease  coordination.k8s.io/v1 namespaced Lease create,delete,deletecollection,get,list,patch,update,watch 
        leasecandidates leasecandidate  coordination.k8s.io/v1beta1 namespaced LeaseCandidate create,delete,deletecollection,get,list,patch,update,watch 
        leasecandidates leasecandidate  coordination.k8s.io/v1alpha2 namespaced LeaseCandidate create,delete,deletecollection,get,list,patch,update,watch "#]].assert_eq(&listing(&super::rows()));
}

#[test]
fn lease_candidate_tells_all_errors_at_once() {
    let good = json!({"leaseName": "l", "binaryVersion": "1.36.0", "emulationVersion": "1.36.0-rc.1+b.0", "strategy": "OldestEmulationVersion"});
    assert_eq!(create_errors(candidate(good)), "");
    expect![[r#"
        spec.leaseName: Required value
        spec.binaryVersion: Required value
        spec.strategy: Required value"#]]
    .assert_eq(&create_errors(candidate(json!({}))));
    let odd = json!({"leaseName": "l", "binaryVersion": "1.035.0", "emulationVersion": "1.36", "strategy": "x"});
    expect![[r#"
        spec.emulationVersion: Invalid value: "1.36": must be a valid semantic version
        spec.binaryVersion: Invalid value: "1.035.0": must be a valid semantic version
        spec.strategy.strategy: Unsupported value: "x": supported values: "OldestEmulationVersion""#]].assert_eq(&create_errors(candidate(odd)));
    let older = json!({"leaseName": "l", "binaryVersion": "1.36.0-rc.1", "emulationVersion": "1.36.0", "strategy": "a/b/c"});
    expect![[r#"
        spec.binaryVersion: Invalid value: "1.36.0-rc.1": must be greater than or equal to `emulationVersion`
        spec.strategy.strategy: Invalid value: "a/b/c": a valid label key must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]') with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')"#]].assert_eq(&create_errors(candidate(older)));
    let unnamed =
        json!({"leaseName": "l", "binaryVersion": "1.36.0", "strategy": "OldestEmulationVersion"});
    expect!["spec.emulationVersion: Required value: must be specified when `strategy` is 'OldestEmulationVersion'"].assert_eq(&create_errors(candidate(unnamed)));
}

#[test]
fn lease_candidate_keeps_its_lease() {
    let with = |name: &str| {
        candidate(
            json!({"leaseName": name, "binaryVersion": "1.36.0", "strategy": "example.com/a"}),
        )
    };
    assert_eq!(update_errors(with("a"), with("a")), "");
    expect![[r#"spec.leaseName: Invalid value: "a": field is immutable"#]]
        .assert_eq(&update_errors(with("a"), with("b")));
}

#[test]
fn lease_candidate_row_and_alpha_version() {
    let candidate =
        candidate(json!({"leaseName": "l", "binaryVersion": "1.36.0", "strategy": "a/b"}));
    assert_eq!(cells(&candidate), "C_1|l|1.36.0||<unknown>");
    let alpha = kinds::of::<v1alpha2::LeaseCandidate>();
    assert!(alpha.same_shape());
    let shown = alpha.show(Box::new(candidate)).to_value();
    assert_eq!(
        (&shown["apiVersion"], &shown["spec"]["leaseName"]),
        (&json!("coordination.k8s.io/v1alpha2"), &json!("l"))
    );
}
