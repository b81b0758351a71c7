//! Tables of CertificateSigningRequest.

use expect_test::expect;
use k8s_openapi::ByteString;
use k8s_openapi::api::certificates::v1::CertificateSigningRequest;
use serde_json::{Value, json};

use crate::kinds;
use crate::strategy::KindStrategy;
use crate::testing::{cells, create_errors, defaulted, text, update_errors};

/// An Ed25519 request of `O=dev, CN=jane`.
const PEM: &str = "\
-----BEGIN CERTIFICATE REQUEST-----\n\
MIGcMFACAQAwHTEMMAoGA1UECgwDZGV2MQ0wCwYDVQQDDARqYW5lMCowBQYDK2Vw\n\
AyEAJk8fKwof42BjmA+dZJsZh7aEZDUjO5JxpwYj1DTNcKKgADAFBgMrZXADQQDJ\n\
wvJ4LKVd0VYN7AG8M9BbQzrY9w6Q8wYSiAAEhGq/Thcp5m9BA6Hxx7TXC5ik08WL\n\
TMNeoXfN6M+gNLe/fTsB\n\
-----END CERTIFICATE REQUEST-----\n\
";

#[test]
fn rows_say_what_discovery_of_kubernetes_says() {
    expect![[r#""#]].assert_eq(&crate::testing::listing(&super::rows()));
}

fn request(changes: Value, status: Value) -> CertificateSigningRequest {
    let request = serde_json::to_value(ByteString(PEM.as_bytes().to_vec())).expect("JSON");
    let mut spec = json!({"request": request, "signerName": "example.com/me", "usages": ["client auth"]});
    let changes = changes.as_object().expect("an object").clone();
    spec.as_object_mut().expect("an object").extend(changes);
    defaulted(json!({"metadata": {"name": "r", "resourceVersion": "1"}, "spec": spec, "status": status}))
}

#[test]
fn request_that_is_signed_is_taken() {
    assert_eq!(create_errors(request(json!({}), json!({}))), "");
    let mut broken = request(json!({}), json!({}));
    broken.spec.request.0 = PEM.replacen("ME", "MF", 1).into_bytes();
    assert!(create_errors(broken).starts_with("spec.request: Invalid value"));
}

#[test]
fn request_with_everything_wrong_names_every_field() {
    let bad = json!({"request": "eA==", "usages": ["dance", "client auth", "client auth"], "signerName": "A/b_c", "expirationSeconds": 5});
    expect![[r#""#]].assert_eq(&create_errors(request(bad, json!({}))));
    for (signer, problem) in [
        ("", "spec.signerName: Required value"),
        ("kubernetes.io/legacy-unknown", "the legacy signerName is not allowed"),
        ("a.b/c/d", "must be a fully qualified domain and path"),
        ("a/c", "should be a domain with at least two segments separated by dots"),
    ] {
        let told = create_errors(request(json!({"signerName": signer, "usages": ["any"]}), json!({})));
        assert!(told.contains(problem), "{told}");
    }
}

fn approved() -> Value {
    json!({"conditions": [{"type": "Approved", "status": "True"}]})
}

#[test]
fn request_is_approved_by_approval_alone() {
    let strategy = kinds::of::<CertificateSigningRequest>().strategy;
    let (old, wished) = (request(json!({}), json!({})), request(json!({"usages": ["any"]}), approved()));
    let mut new = wished.clone();
    strategy.prepare_finalize_update(&mut new, &old);
    assert_eq!(text(&strategy.validate_finalize_update(&new, &old)), "");
    assert_eq!(new.spec, old.spec);
    assert_eq!(cells(&new), "r|<unknown>|example.com/me||<none>|Approved");
    let mut new = wished.clone();
    strategy.prepare_status_update(&mut new, &old);
    expect![[r#""#]].assert_eq(&text(&strategy.validate_status_update(&new, &old)));
    let mut new = wished;
    strategy.prepare_update(&mut new, &old);
    assert_eq!((new.spec, new.status), (old.spec, old.status), "a main update changes neither");
}

#[test]
fn request_conditions_have_their_rules_and_moments() {
    let strategy = kinds::of::<CertificateSigningRequest>().strategy;
    let conditions = json!([{"type": "", "status": ""}, {"type": "Approved", "status": "False"}, {"type": "Denied", "status": "True"},
        {"type": "Denied", "status": "True"}, {"type": "Mine", "status": "Perhaps"}]);
    let (mut new, old) = (request(json!({}), json!({"conditions": conditions})), request(json!({}), json!({})));
    expect![[r#""#]].assert_eq(&text(&strategy.validate_finalize_update(&new, &old)));
    strategy.stamp(&mut new, Some(&old), "2026-01-01T00:00:00Z".parse().expect("a time"));
    let stamped = new.status.iter().flat_map(|s| s.conditions.iter().flatten());
    assert!(stamped.into_iter().all(|c| c.last_update_time.is_some() && c.last_transition_time.is_some()));
    expect![[r#""#]].assert_eq(&text(&strategy.validate_finalize_update(&old, &request(json!({}), approved()))));
}

#[test]
fn request_gets_its_certificate_once() {
    let strategy = kinds::of::<CertificateSigningRequest>().strategy;
    let with = |bytes: &str| {
        let mut request = request(json!({"expirationSeconds": 7200}), approved());
        let status = request.status.get_or_insert_default();
        status.certificate = Some(ByteString(bytes.as_bytes().to_vec())).filter(|c| !c.0.is_empty());
        request
    };
    let told = |new: &str, old: &str| text(&strategy.validate_status_update(&with(new), &with(old)));
    expect![[r#""#]].assert_eq(&told("x", ""));
    expect![[r#""#]].assert_eq(&told(PEM, ""));
    expect![[r#""#]].assert_eq(&told("y", "x"));
    expect![[r#""#]].assert_eq(&update_errors(with("x"), with("x")));
    assert_eq!(cells(&with("x")), "r|<unknown>|example.com/me||120m|Approved,Issued");
}
