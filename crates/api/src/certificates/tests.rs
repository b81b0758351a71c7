//! Tables of CertificateSigningRequest.

use expect_test::expect;
use k8s_openapi::ByteString;
use k8s_openapi::api::certificates::v1::CertificateSigningRequest;
use serde_json::{Value, json};

use crate::kinds;
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
    expect![[r#"
        certificatesigningrequests certificatesigningrequest csr certificates.k8s.io/v1 cluster CertificateSigningRequest create,delete,deletecollection,get,list,patch,update,watch 
          approval CertificateSigningRequest get,patch,update
          status CertificateSigningRequest get,patch,update"#]].assert_eq(&crate::testing::listing(&super::rows()));
}

fn request(changes: Value, status: Value) -> CertificateSigningRequest {
    let request = serde_json::to_value(ByteString(PEM.as_bytes().to_vec())).expect("JSON");
    let mut spec =
        json!({"request": request, "signerName": "example.com/me", "usages": ["client auth"]});
    let changes = changes.as_object().expect("an object").clone();
    spec.as_object_mut().expect("an object").extend(changes);
    defaulted(
        json!({"metadata": {"name": "r", "resourceVersion": "1"}, "spec": spec, "status": status}),
    )
}

#[test]
fn request_that_is_signed_is_taken() {
    assert_eq!(create_errors(request(json!({}), json!({}))), "");
    let mut broken = request(json!({}), json!({}));
    broken.spec.request.0 = PEM.replacen("fTsB", "gTsB", 1).into_bytes();
    assert!(create_errors(broken).starts_with("spec.request: Invalid value"));
}

#[test]
fn request_with_everything_wrong_names_every_field() {
    let bad = json!({"request": "eA==", "usages": ["dance", "client auth", "client auth"], "signerName": "A/b_c", "expirationSeconds": 5});
    expect![[r#"
        spec.request: Invalid value: "eA==": PEM block type must be CERTIFICATE REQUEST
        spec.usages[0]: Unsupported value: "dance": supported values: "any", "cert sign", "client auth", "code signing", "content commitment", "crl sign", "data encipherment", "decipher only", "digital signature", "email protection", "encipher only", "ipsec end system", "ipsec tunnel", "ipsec user", "key agreement", "key encipherment", "microsoft sgc", "netscape sgc", "ocsp signing", "s/mime", "server auth", "signing", "timestamping"
        spec.usages[2]: Duplicate value: "client auth"
        spec.signerName: Invalid value: "A": validating label "A": a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')
        spec.signerName: Invalid value: "A": should be a domain with at least two segments separated by dots
        spec.signerName: Invalid value: "b_c": validating label "b_c": a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')
        spec.expirationSeconds: Invalid value: 5: may not specify a duration less than 600 seconds (10 minutes)"#]].assert_eq(&create_errors(request(bad, json!({}))));
    for (signer, problem) in [
        ("", "spec.signerName: Required value"),
        ("kubernetes.io/legacy-unknown", "the legacy signerName is not allowed"),
        ("a.b/c/d", "must be a fully qualified domain and path"),
        ("a/c", "should be a domain with at least two segments separated by dots"),
    ] {
        let told =
            create_errors(request(json!({"signerName": signer, "usages": ["any"]}), json!({})));
        assert!(told.contains(problem), "{told}");
    }
}

fn approved() -> Value {
    json!({"conditions": [{"type": "Approved", "status": "True"}]})
}

#[test]
fn request_is_approved_by_approval_alone() {
    let strategy = kinds::of::<CertificateSigningRequest>().strategy;
    let (old, wished) =
        (request(json!({}), json!({})), request(json!({"usages": ["any"]}), approved()));
    let mut new = wished.clone();
    strategy.prepare_finalize_update(&mut new, &old);
    assert_eq!(text(&strategy.validate_finalize_update(&new, &old)), "");
    assert_eq!(new.spec, old.spec);
    assert_eq!(cells(&new), "r|<unknown>|example.com/me||<none>|Approved");
    let mut new = wished.clone();
    strategy.prepare_status_update(&mut new, &old);
    expect![[
        r#"status.conditions: Forbidden: updates may not add a condition of type "Approved""#
    ]]
    .assert_eq(&text(&strategy.validate_status_update(&new, &old)));
    let mut new = wished;
    strategy.prepare_update(&mut new, &old);
    assert_eq!((new.spec, new.status), (old.spec, old.status), "a main update changes neither");
}

#[test]
fn request_conditions_have_their_rules_and_moments() {
    let strategy = kinds::of::<CertificateSigningRequest>().strategy;
    let conditions = json!([{"type": "", "status": ""}, {"type": "Approved", "status": "False"}, {"type": "Denied", "status": "True"},
        {"type": "Denied", "status": "True"}, {"type": "Mine", "status": "Perhaps"}]);
    let (mut new, old) =
        (request(json!({}), json!({"conditions": conditions})), request(json!({}), json!({})));
    expect![[r#"
        status.conditions[0].type: Required value
        status.conditions[0].status: Required value
        status.conditions[1].status: Unsupported value: "False": supported values: "True"
        status.conditions: Invalid value: "Denied": Approved and Denied conditions are mutually exclusive
        status.conditions: Invalid value: "Denied": Approved and Denied conditions are mutually exclusive
        status.conditions[3].type: Duplicate value: "Denied"
        status.conditions[4].status: Unsupported value: "Perhaps": supported values: "False", "True", "Unknown""#]].assert_eq(&text(&strategy.validate_finalize_update(&new, &old)));
    strategy.stamp(&mut new, Some(&old), "2026-01-01T00:00:00Z".parse().expect("a time"));
    let stamped = new.status.iter().flat_map(|s| s.conditions.iter().flatten());
    assert!(
        stamped
            .into_iter()
            .all(|c| c.last_update_time.is_some() && c.last_transition_time.is_some())
    );
    expect![[
        r#"status.conditions: Forbidden: updates may not remove a condition of type "Approved""#
    ]]
    .assert_eq(&text(&strategy.validate_finalize_update(&old, &request(json!({}), approved()))));
}

#[test]
fn request_gets_its_certificate_once() {
    let strategy = kinds::of::<CertificateSigningRequest>().strategy;
    let with = |bytes: &str| {
        let mut request = request(json!({"expirationSeconds": 7200}), approved());
        let status = request.status.get_or_insert_default();
        status.certificate =
            Some(ByteString(bytes.as_bytes().to_vec())).filter(|c| !c.0.is_empty());
        request
    };
    let told =
        |new: &str, old: &str| text(&strategy.validate_status_update(&with(new), &with(old)));
    expect![[r#"status.certificate: Invalid value: "<certificate data>": must contain at least one CERTIFICATE PEM block"#]].assert_eq(&told("x", ""));
    expect![[r#"status.certificate: Invalid value: "<certificate data>": only CERTIFICATE PEM blocks are allowed, found "CERTIFICATE REQUEST""#]].assert_eq(&told(PEM, ""));
    expect!["status.certificate: Forbidden: updates may not modify existing certificate content"]
        .assert_eq(&told("y", "x"));
    expect![[r#""#]].assert_eq(&update_errors(with("x"), with("x")));
    assert_eq!(cells(&with("x")), "r|<unknown>|example.com/me||120m|Approved,Issued");
}
