//! Tables of the group.

use expect_test::expect;
use k8s_openapi::api::admissionregistration::v1::{
    MutatingWebhookConfiguration, ValidatingWebhookConfiguration,
};
use serde_json::{Value, json};

use crate::testing::{cells, create_errors, defaulted, update_errors};

#[test]
fn rows_say_what_discovery_of_kubernetes_says() {
    expect![[r#"
        mutatingwebhookconfigurations mutatingwebhookconfiguration  admissionregistration.k8s.io/v1 cluster MutatingWebhookConfiguration create,delete,deletecollection,get,list,patch,update,watch api-extensions
        validatingwebhookconfigurations validatingwebhookconfiguration  admissionregistration.k8s.io/v1 cluster ValidatingWebhookConfiguration create,delete,deletecollection,get,list,patch,update,watch api-extensions"#]].assert_eq(&crate::testing::listing(&super::rows()));
}

fn validating(hooks: Value) -> ValidatingWebhookConfiguration {
    defaulted(json!({"metadata": {"name": "w"}, "webhooks": hooks}))
}

fn hook(changes: Value) -> Value {
    let mut hook = json!({"name": "a.b.c", "sideEffects": "None", "admissionReviewVersions": ["v1"],
        "clientConfig": {"service": {"name": "s", "namespace": "n"}},
        "rules": [{"operations": ["CREATE"], "apiGroups": [""], "apiVersions": ["v1"], "resources": ["pods"]}]});
    let changes = changes.as_object().expect("an object").clone();
    hook.as_object_mut().expect("an object").extend(changes);
    hook
}

#[test]
fn webhook_is_filled_in() {
    let filled = validating(json!([hook(json!({}))]));
    expect![[r#"[{"admissionReviewVersions":["v1"],"clientConfig":{"service":{"name":"s","namespace":"n","port":443}},"failurePolicy":"Fail","matchPolicy":"Equivalent","name":"a.b.c","namespaceSelector":{},"objectSelector":{},"rules":[{"apiGroups":[""],"apiVersions":["v1"],"operations":["CREATE"],"resources":["pods"],"scope":"*"}],"sideEffects":"None","timeoutSeconds":10}]"#]].assert_eq(&serde_json::to_string(&filled.webhooks).expect("JSON"));
    assert_eq!(create_errors(filled.clone()), "");
    assert_eq!(cells(&filled), "w|1|<unknown>");
}

#[test]
fn webhook_with_everything_wrong_names_every_field() {
    let rules = json!([{}, {"operations": ["*", "DANCE"], "apiGroups": ["*", "a"], "apiVersions": ["*", ""],
        "resources": ["*", "*/*", "pods/*", "pods/log", "*/scale", "a/scale", "", "pods"], "scope": "World"}]);
    let conditions = json!([{"name": "", "expression": " "}, {"name": "a b", "expression": "true"}, {"name": "x", "expression": "true"}, {"name": "x", "expression": "true"}]);
    let bad = hook(
        json!({"name": "a.b", "rules": rules, "failurePolicy": "x", "matchPolicy": "y", "sideEffects": "Some", "timeoutSeconds": 31,
        "objectSelector": {"matchLabels": {"a b": ""}}, "clientConfig": {}, "matchConditions": conditions, "admissionReviewVersions": ["V9", "V9"]}),
    );
    let again = hook(
        json!({"sideEffects": "", "admissionReviewVersions": [], "clientConfig": {"url": "http://u@/p?q#f"}}),
    );
    let service = json!({"service": {"name": "", "namespace": "", "port": 0, "path": "a//B"}});
    let odd = hook(json!({"clientConfig": service}));
    expect![[r#"
        webhooks[0].name: Invalid value: "a.b": should be a domain with at least three segments separated by dots
        webhooks[0].rules[0].operations: Required value
        webhooks[0].rules[0].apiGroups: Required value
        webhooks[0].rules[0].apiVersions: Required value
        webhooks[0].rules[0].resources: Required value
        webhooks[0].rules[1].operations: Invalid value: ["*","DANCE"]: if '*' is present, must not specify other operations
        webhooks[0].rules[1].operations[1]: Unsupported value: "DANCE": supported values: "*", "CONNECT", "CREATE", "DELETE", "UPDATE"
        webhooks[0].rules[1].apiGroups: Invalid value: ["*","a"]: if '*' is present, must not specify other API groups
        webhooks[0].rules[1].apiVersions: Invalid value: ["*",""]: if '*' is present, must not specify other API versions
        webhooks[0].rules[1].apiVersions[1]: Required value
        webhooks[0].rules[1].resources[2]: Invalid value: "pods/*": if '*/*' is present, must not specify pods/*
        webhooks[0].rules[1].resources[3]: Invalid value: "pods/log": if 'pods/*' is present, must not specify pods/log
        webhooks[0].rules[1].resources[4]: Invalid value: "*/scale": if '*/*' is present, must not specify */scale
        webhooks[0].rules[1].resources[5]: Invalid value: "a/scale": if '*/scale' is present, must not specify a/scale
        webhooks[0].rules[1].resources[6]: Required value
        webhooks[0].rules[1].resources: Invalid value: ["*","*/*","pods/*","pods/log","*/scale","a/scale","","pods"]: if '*/*' is present, must not specify other resources
        webhooks[0].rules[1].resources: Invalid value: ["*","*/*","pods/*","pods/log","*/scale","a/scale","","pods"]: if '*' is present, must not specify other resources without subresources
        webhooks[0].rules[1].scope: Unsupported value: "World": supported values: "*", "Cluster", "Namespaced"
        webhooks[0].failurePolicy: Unsupported value: "x": supported values: "Fail", "Ignore"
        webhooks[0].matchPolicy: Unsupported value: "y": supported values: "Equivalent", "Exact"
        webhooks[0].sideEffects: Unsupported value: "Some": supported values: "None", "NoneOnDryRun"
        webhooks[0].timeoutSeconds: Invalid value: 31: the timeout value must be between 1 and 30 seconds
        webhooks[0].objectSelector.matchLabels: Invalid value: "a b": name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')
        webhooks[0].clientConfig: Required value: exactly one of url or service is required
        webhooks[0].matchConditions[0].expression: Required value
        webhooks[0].matchConditions[0].name: Required value
        webhooks[0].matchConditions[1].name: Invalid value: "a b": name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')
        webhooks[0].matchConditions[3].name: Duplicate value: "x"
        webhooks[0].admissionReviewVersions[0]: Invalid value: "V9": a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic character, and end with an alphanumeric character (e.g. 'my-name',  or 'abc-123', regex used for validation is '[a-z]([-a-z0-9]*[a-z0-9])?')
        webhooks[0].admissionReviewVersions[1]: Invalid value: "V9": duplicate version
        webhooks[0].admissionReviewVersions: Invalid value: ["V9","V9"]: must include at least one of v1, v1beta1
        webhooks[1].sideEffects: Required value: must specify one of None, NoneOnDryRun
        webhooks[1].clientConfig.url: Invalid value: "http": 'https' is the only allowed URL scheme; desired format: https://host[/path]
        webhooks[1].clientConfig.url: Invalid value: "": host must be specified; desired format: https://host[/path]
        webhooks[1].clientConfig.url: Invalid value: "u": user information is not permitted in the URL
        webhooks[1].clientConfig.url: Invalid value: "f": fragments are not permitted in the URL
        webhooks[1].clientConfig.url: Invalid value: "q": query parameters are not permitted in the URL
        webhooks[1].admissionReviewVersions: Required value: must specify one of v1, v1beta1
        webhooks[2].clientConfig.service.name: Required value
        webhooks[2].clientConfig.service.namespace: Required value
        webhooks[2].clientConfig.service.port: Invalid value: 0: port is not valid: must be between 1 and 65535, inclusive
        webhooks[2].clientConfig.service.path: Invalid value: "a//B": must start with a '/'
        webhooks[2].clientConfig.service.path: Invalid value: "a//B": segment[0] may not be empty
        webhooks[2].clientConfig.service.path: Invalid value: "a//B": segment[1] may not be empty
        webhooks[2].clientConfig.service.path: Invalid value: "a//B": segment[2]: a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')
        webhooks[2].name: Duplicate value: "a.b.c""#]].assert_eq(&create_errors(validating(json!([bad, again, odd]))));
    let mutating: MutatingWebhookConfiguration = defaulted(
        json!({"metadata": {"name": "w"}, "webhooks": [hook(json!({"reinvocationPolicy": "Often"}))]}),
    );
    expect![[r#"webhooks[0].reinvocationPolicy: Unsupported value: "Often": supported values: "IfNeeded", "Never""#]].assert_eq(&create_errors(mutating));
}

#[test]
fn webhook_may_keep_what_older_rules_accepted() {
    let old = || {
        validating(json!([
            hook(json!({"sideEffects": "Some", "admissionReviewVersions": ["v9"]})),
            hook(json!({}))
        ]))
    };
    assert_eq!(update_errors(old(), old()), "");
    assert_ne!(update_errors(old(), validating(json!([hook(json!({}))]))), "");
}
