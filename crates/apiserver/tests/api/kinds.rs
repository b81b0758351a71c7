//! What single kinds ask of the request path: reviews, approvals, a default among classes, what the server says about itself.

use apimachinery::status::StatusError;
use apiserver::authn::{Authenticator, UserInfo};
use http::Method;
use serde_json::{Value, json};

use crate::support::{Server, admin, pod};

fn jane() -> UserInfo {
    UserInfo::authenticated("jane", ["dev"])
}

const AUTHORIZATION: &str = "/apis/authorization.k8s.io/v1";
const AUTHENTICATION: &str = "/apis/authentication.k8s.io/v1";

async fn ask(server: &Server, user: UserInfo, path: &str, spec: Value) -> Value {
    server.send_as(user, Method::POST, path, json!({"spec": spec})).await.expect(201)
}

#[tokio::test]
async fn own_access_is_what_the_authorizer_says() {
    let server = Server::start().await;
    let path = format!("{AUTHORIZATION}/selfsubjectaccessreviews");
    let pods =
        json!({"resourceAttributes": {"verb": "list", "resource": "pods", "namespace": "default"}});
    let health = json!({"nonResourceAttributes": {"verb": "get", "path": "/healthz"}});
    for (user, spec, allowed) in
        [(admin(), &pods, true), (jane(), &pods, false), (jane(), &health, true)]
    {
        let review = ask(&server, user, &path, spec.clone()).await;
        assert_eq!(review["status"]["allowed"], allowed, "{review}");
        assert_eq!((&review["kind"], &review["spec"]), (&json!("SelfSubjectAccessReview"), spec));
    }
    let answer = server.post(&path, json!({"spec": {}})).await.failure();
    assert_eq!((answer.0, answer.1.as_str()), (422, "Invalid"), "{}", answer.2);
}

#[tokio::test]
async fn access_of_others_may_be_asked_by_those_who_may() {
    let server = Server::start().await;
    let attributes = json!({"verb": "create", "resource": "pods", "namespace": "default"});
    let spec =
        json!({"user": "jane", "groups": ["system:masters"], "resourceAttributes": attributes});
    let everywhere = format!("{AUTHORIZATION}/subjectaccessreviews");
    let review = ask(&server, admin(), &everywhere, spec.clone()).await;
    assert_eq!(review["status"], json!({"allowed": true}));
    let local = format!("{AUTHORIZATION}/namespaces/default/localsubjectaccessreviews");
    let review = ask(&server, admin(), &local, spec.clone()).await;
    assert_eq!(review["status"], json!({"allowed": true}));
    let refused = server.send_as(jane(), Method::POST, &everywhere, json!({"spec": spec})).await;
    assert_eq!(refused.status, 403);
    assert_eq!(server.get(&everywhere).await.status, 405);
}

#[tokio::test]
async fn own_identity_and_rules_are_told() {
    let server = Server::start().await;
    let path = format!("{AUTHENTICATION}/selfsubjectreviews");
    let review = server.send_as(jane(), Method::POST, &path, json!({})).await.expect(201);
    let user = json!({"username": "jane", "groups": ["dev", "system:authenticated"]});
    assert_eq!(review["status"]["userInfo"], user);
    let path = format!("{AUTHORIZATION}/selfsubjectrulesreviews");
    let review = ask(&server, admin(), &path, json!({"namespace": "default"})).await;
    let all = json!([{"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]}]);
    assert_eq!(review["status"]["resourceRules"], all);
    let review = ask(&server, jane(), &path, json!({"namespace": "default"})).await;
    let rules = review["status"]["resourceRules"].as_array().expect("rules").len();
    assert_eq!(rules, 3, "the questions about oneself: {review}");
}

/// Knows one token.
struct OneToken;

#[async_trait::async_trait]
impl Authenticator for OneToken {
    async fn authenticate(
        &self,
        parts: &http::request::Parts,
    ) -> Result<Option<UserInfo>, StatusError> {
        match parts.headers.get("authorization").and_then(|value| value.to_str().ok()) {
            Some("Bearer good") => Ok(Some(jane())),
            Some(_) => Err(StatusError::unauthorized("Unauthorized")),
            None => Ok(None),
        }
    }
}

#[tokio::test]
async fn tokens_are_judged_by_the_servers_own_authenticators() {
    let server =
        Server::start_with(|config| config.authenticator = std::sync::Arc::new(OneToken)).await;
    let path = format!("{AUTHENTICATION}/tokenreviews");
    let good = ask(&server, admin(), &path, json!({"token": "good"})).await;
    assert_eq!(good["status"]["authenticated"], true);
    assert_eq!(good["status"]["user"]["username"], "jane");
    let bad = ask(&server, admin(), &path, json!({"token": "bad"})).await;
    assert_eq!(bad["status"], json!({"error": "invalid bearer token"}));
    let other =
        ask(&server, admin(), &path, json!({"token": "good", "audiences": ["vault"]})).await;
    assert_eq!(other["status"], json!({}), "the token is for the API server");
    let none = server.post(&path, json!({"spec": {"token": ""}})).await.failure();
    assert_eq!(none.2, "token is required for TokenReview in authentication");
}

#[tokio::test]
async fn one_priority_class_is_the_default_and_pods_follow_it() {
    let server = Server::start().await;
    let path = "/apis/scheduling.k8s.io/v1/priorityclasses";
    let class = |name: &str, default: bool| json!({"metadata": {"name": name}, "value": 7, "globalDefault": default, "preemptionPolicy": "Never"});
    server.post(path, class("plain", false)).await.expect(201);
    server.post(path, class("usual", true)).await.expect(201);
    let second = server.post(path, class("second", true)).await.failure();
    assert_eq!(
        second.2,
        "priorityclasses.scheduling.k8s.io \"second\" is forbidden: PriorityClass usual is already marked as default. Only one default can exist"
    );
    server.get(path).await.expect(200);
    let pods = "/api/v1/namespaces/default/pods";
    let made = server.post(pods, pod("a")).await.expect(201);
    let spec = &made["spec"];
    assert_eq!(
        (&spec["priorityClassName"], &spec["priority"], &spec["preemptionPolicy"]),
        (&json!("usual"), &json!(7), &json!("Never"))
    );
    let mut critical = pod("b");
    critical["spec"]["priorityClassName"] = json!("system-node-critical");
    assert_eq!(server.post(pods, critical).await.expect(201)["spec"]["priority"], 2_000_001_000);
    let built_in = server.get(&format!("{path}/system-cluster-critical")).await.expect(200);
    assert_eq!(built_in["value"], 2_000_000_000);
}

#[tokio::test]
async fn signing_request_notes_who_asks_and_is_approved_apart() {
    let server = Server::start().await;
    let path = "/apis/certificates.k8s.io/v1/certificatesigningrequests";
    let pem = include_str!("request.pem");
    let request =
        serde_json::to_value(k8s_openapi::ByteString(pem.as_bytes().to_vec())).expect("JSON");
    let spec = json!({"request": request, "signerName": "example.com/me", "usages": ["client auth"], "username": "root"});
    let made =
        server.post(path, json!({"metadata": {"name": "r"}, "spec": spec})).await.expect(201);
    assert_eq!(made["spec"]["username"], "admin");
    assert_eq!(made["status"], json!({}));
    let mut approved = made;
    approved["status"] = json!({"conditions": [{"type": "Approved", "status": "True", "reason": "r", "message": "m"}]});
    let kept = server.put(&format!("{path}/r"), approved.clone()).await.expect(200);
    assert_eq!(kept["status"], json!({}), "the object itself keeps its status");
    let refused = server.put(&format!("{path}/r/status"), approved.clone()).await;
    assert_eq!(refused.status, 422);
    let done = server.put(&format!("{path}/r/approval"), approved).await.expect(200);
    let condition = &done["status"]["conditions"][0];
    assert_eq!(condition["type"], "Approved");
    assert!(condition["lastUpdateTime"].is_string(), "{condition}");
    let shown = server.get(&format!("{path}?fieldSelector=spec.signerName=example.com/me")).await;
    assert_eq!(shown.expect(200)["items"].as_array().map(Vec::len), Some(1));
}

#[tokio::test]
async fn server_says_how_its_store_is() {
    let server = Server::start().await;
    let list = server.get("/api/v1/componentstatuses").await.expect(200);
    assert_eq!(list["kind"], "ComponentStatusList");
    let one = server.get("/api/v1/componentstatuses/etcd-0").await.expect(200);
    assert_eq!(one["conditions"], json!([{"type": "Healthy", "status": "True", "message": "ok"}]));
    assert_eq!(server.get("/api/v1/componentstatuses/nothing").await.status, 404);
    let refused = server.post("/api/v1/componentstatuses", json!({})).await;
    assert_eq!(refused.status, 405);
}

#[tokio::test]
async fn volume_notes_when_its_phase_changed() {
    let server = Server::start().await;
    let path = "/api/v1/persistentvolumes";
    let spec = json!({"capacity": {"storage": "1Gi"}, "accessModes": ["ReadWriteOnce"], "hostPath": {"path": "/d"}});
    let mut volume =
        server.post(path, json!({"metadata": {"name": "v"}, "spec": spec})).await.expect(201);
    assert_eq!(volume["status"]["phase"], "Pending");
    let first = volume["status"]["lastPhaseTransitionTime"].clone();
    assert!(first.is_string());
    volume["status"] = json!({"phase": "Available"});
    let now = server.put(&format!("{path}/v/status"), volume).await.expect(200);
    assert!(now["status"]["lastPhaseTransitionTime"].is_string());
}
