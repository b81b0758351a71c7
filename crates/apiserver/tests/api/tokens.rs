//! Tokens of ServiceAccounts: issued, believed, and no longer believed.

use apiserver::service_account::{SigningKey, TokenIssuer};
use http::{Request, StatusCode};
use serde_json::{Value, json};

use crate::support::{Answer, Server, collect, pod};
use apiserver::Body;

const PODS: &str = "/api/v1/namespaces/default/pods";
const ISSUER: &str = "https://kubernetes.default.svc.cluster.local";
const ACCOUNT: &str = "/api/v1/namespaces/default/serviceaccounts/default";

async fn server() -> Server {
    let (issuer, slot) = TokenIssuer::new(ISSUER, "https://127.0.0.1:6443/openid/v1/jwks");
    slot.set(SigningKey::from_pem(&SigningKey::generate().unwrap()).unwrap());
    Server::start_with(|config| config.token_issuer = Some(issuer)).await
}

async fn request(server: &Server, spec: Value) -> Answer {
    server.post(&format!("{ACCOUNT}/token"), json!({ "spec": spec })).await
}

async fn token(server: &Server, spec: Value) -> String {
    let answer = request(server, spec).await.expect(201);
    answer["status"]["token"].as_str().unwrap().to_owned()
}

/// What a request with this token is answered.
async fn get(server: &Server, token: &str, path: &str) -> Answer {
    let request = Request::builder()
        .uri(path)
        .header("authorization", format!("Bearer {token}"))
        .body(Body::empty())
        .unwrap();
    collect(server.api.handle(request).await).await
}

#[tokio::test]
async fn token_stands_for_its_account_until_that_is_gone() {
    let server = server().await;
    let made = request(&server, json!({"expirationSeconds": 600})).await.expect(201);
    assert_eq!(
        (&made["kind"], &made["apiVersion"]),
        (&json!("TokenRequest"), &json!("authentication.k8s.io/v1"))
    );
    assert_eq!(made["spec"], json!({"audiences": [ISSUER], "expirationSeconds": 600}));
    assert_eq!(made["metadata"]["name"], "default");
    let token = made["status"]["token"].as_str().unwrap();
    assert_eq!(get(&server, token, "/api").await.status, StatusCode::OK);
    let forbidden = get(&server, token, PODS).await.failure();
    let user = "User \"system:serviceaccount:default:default\" cannot list resource \"pods\"";
    assert!(forbidden.0 == 403 && forbidden.2.contains(user), "{forbidden:?}");
    assert_eq!(get(&server, &format!("{token}x"), "/api").await.status, StatusCode::UNAUTHORIZED);
    server.delete(ACCOUNT, Value::Null).await.expect(200);
    server.service_account("default").await;
    assert_eq!(get(&server, token, "/api").await.status, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn unknown_tokens_do_not_make_their_bearers_anonymous() {
    let server = server().await;
    let foreign = "eyJhbGciOiJub25lIn0.eyJpc3MiOiJvdGhlciJ9.";
    let ours = "eyJhbGciOiJub25lIn0.eyJpc3MiOiJodHRwczovL2t1YmVybmV0ZXMuZGVmYXVsdC5zdmMuY2x1c3Rlci5sb2NhbCJ9.";
    for token in ["nonsense", foreign, ours] {
        assert_eq!(
            get(&server, token, "/version").await.status,
            StatusCode::UNAUTHORIZED,
            "{token}"
        );
    }
}

#[tokio::test]
async fn token_review_says_whom_a_token_stands_for() {
    let server = server().await;
    let token = token(&server, json!({"audiences": ["vault", "db"]})).await;
    let review = async |token: &str, audiences: Value| {
        let asked = json!({"spec": {"token": token, "audiences": audiences}});
        let answer = server.post("/apis/authentication.k8s.io/v1/tokenreviews", asked).await;
        answer.expect(201)["status"].clone()
    };
    let known = review(&token, json!(["vault", "x"])).await;
    assert_eq!(known["authenticated"], true);
    assert_eq!(known["audiences"], json!(["vault"]));
    assert_eq!(known["user"]["username"], "system:serviceaccount:default:default");
    let groups =
        json!(["system:serviceaccounts", "system:serviceaccounts:default", "system:authenticated"]);
    assert_eq!(known["user"]["groups"], groups);
    let ids = &known["user"]["extra"]["authentication.kubernetes.io/credential-id"];
    assert!(ids[0].as_str().is_some_and(|id| id.starts_with("JTI=")), "{known}");
    let ours = review(&token, Value::Null).await;
    let wanted = format!(
        "[invalid bearer token, token audiences [\"vault\" \"db\"] is invalid for the target audiences [\"{ISSUER}\"]]"
    );
    assert_eq!(ours, json!({"error": wanted}));
}

#[tokio::test]
async fn token_of_a_pod_is_only_for_the_account_and_the_pod_it_names() {
    let server = server().await;
    server.post(PODS, pod("p")).await.expect(201);
    let accounts = "/api/v1/namespaces/default/serviceaccounts";
    server.post(accounts, json!({"metadata": {"name": "other"}})).await.expect(201);
    let path = &format!("{accounts}/other/token");
    let reference = json!({"apiVersion": "v1", "kind": "Pod", "name": "p"});
    let refused = server.post(path, json!({"spec": {"boundObjectRef": reference}})).await.failure();
    let message = "cannot bind token for serviceaccount \"other\" to pod running with different serviceaccount name.";
    assert_eq!((refused.0, refused.2.as_str()), (400, message));
    let reference = json!({"apiVersion": "v1", "kind": "Pod", "name": "p", "uid": "u"});
    let refused = request(&server, json!({"boundObjectRef": reference})).await.failure();
    assert!(refused.0 == 409 && refused.2.contains("bound object reference (u)"), "{refused:?}");
}

#[tokio::test]
async fn token_for_another_audience_is_refused() {
    let server = server().await;
    let other = token(&server, json!({"audiences": ["vault"]})).await;
    assert_eq!(get(&server, &other, "/api").await.status, StatusCode::UNAUTHORIZED);
    let wanted = ["vault".to_owned(), "x".to_owned()];
    let (user, audiences) = server.api.service_account_of(&other, &wanted).await.unwrap().unwrap();
    assert_eq!(
        (user.name.as_str(), audiences),
        ("system:serviceaccount:default:default", vec!["vault".to_owned()])
    );
    let both = token(&server, json!({"audiences": ["vault", ISSUER]})).await;
    assert_eq!(get(&server, &both, "/api").await.status, StatusCode::OK);
}

#[tokio::test]
async fn token_bound_to_an_object_ends_with_it() {
    let server = server().await;
    server.post(PODS, pod("p")).await.expect(201);
    let secrets = "/api/v1/namespaces/default/secrets";
    server.post(secrets, json!({"metadata": {"name": "s"}})).await.expect(201);
    let bound = |kind: &str, name: &str| json!({"boundObjectRef": {"apiVersion": "v1", "kind": kind, "name": name}});
    let pod_token = token(&server, bound("Pod", "p")).await;
    let secret_token = token(&server, bound("Secret", "s")).await;
    for token in [&pod_token, &secret_token] {
        assert_eq!(get(&server, token, "/api").await.status, StatusCode::OK);
    }
    let now = json!({"gracePeriodSeconds": 0});
    server.delete(&format!("{PODS}/p"), now.clone()).await.expect(200);
    server.delete(&format!("{secrets}/s"), now).await.expect(200);
    for token in [&pod_token, &secret_token] {
        assert_eq!(get(&server, token, "/api").await.status, StatusCode::UNAUTHORIZED);
    }
    assert_eq!(request(&server, bound("Pod", "p")).await.failure().0, 404);
    let message = "cannot bind token to object of type /v1, Kind=ConfigMap";
    assert_eq!(
        request(&server, bound("ConfigMap", "c")).await.failure(),
        (400, "BadRequest".into(), message.into())
    );
}

#[tokio::test]
async fn token_requests_are_validated() {
    let server = server().await;
    let table = [
        (
            json!({"expirationSeconds": 599}),
            "TokenRequest.authentication.k8s.io \"\" is invalid: spec.expirationSeconds: Invalid value: 599: may not specify a duration less than 10 minutes",
        ),
        (
            json!({"expirationSeconds": 4_294_967_297_i64}),
            "TokenRequest.authentication.k8s.io \"\" is invalid: spec.expirationSeconds: Invalid value: 4294967297: may not specify a duration larger than 2^32 seconds",
        ),
    ];
    for (spec, message) in table {
        let refused = request(&server, spec).await.failure();
        assert_eq!(refused, (422, "Invalid".to_owned(), message.to_owned()));
    }
    let path = format!("{ACCOUNT}/token");
    let other = server.post(&path, json!({"metadata": {"name": "other"}})).await.failure();
    assert!(other.2.ends_with("metadata.name: Invalid value: \"other\": must match the service account name if specified"), "{other:?}");
    let uid = server.post(&path, json!({"metadata": {"uid": "other"}})).await.failure();
    assert_eq!(uid.0, 409);
    let none =
        server.post("/api/v1/namespaces/default/serviceaccounts/none/token", json!({})).await;
    assert_eq!(none.failure().2, "serviceaccounts \"none\" not found");
}

#[tokio::test]
async fn public_keys_are_for_service_accounts_to_read() {
    let server = server().await;
    let token = token(&server, json!({})).await;
    let configuration = get(&server, &token, "/.well-known/openid-configuration").await.expect(200);
    assert_eq!(configuration["issuer"], ISSUER);
    assert_eq!(configuration["jwks_uri"], "https://127.0.0.1:6443/openid/v1/jwks");
    let keys = get(&server, &token, "/openid/v1/jwks").await;
    assert_eq!(keys.headers["content-type"], "application/jwk-set+json");
    let keys = keys.expect(200);
    assert_eq!(
        (&keys["keys"][0]["alg"], &keys["keys"][0]["use"]),
        (&json!("RS256"), &json!("sig"))
    );
    assert_eq!(keys["keys"][0]["d"], Value::Null);
    assert_eq!(server.get("/openid/v1/jwks").await.status, 200);
}
