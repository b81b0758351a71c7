//! Protobuf in both directions: what Go clients with default settings send and ask for.

use api::schema::protobuf;
use http::{Method, Request};
use http_body_util::BodyExt;
use serde_json::{Value, json};

use crate::support::{Answer, Server, admin, config_map, deployment, pod};

const MAPS: &str = "/api/v1/namespaces/default/configmaps";
const PROTOBUF: (&str, &str) = ("content-type", protobuf::MEDIA_TYPE);
const ACCEPT: (&str, &str) = ("accept", protobuf::MEDIA_TYPE);

/// A length-delimited field in wire form.
fn tagged(number: u8, content: &[u8]) -> Vec<u8> {
    [&[number << 3 | 2, u8::try_from(content.len()).unwrap()], content].concat()
}

fn envelope(api_version: &str, kind: &str, raw: &[u8]) -> Vec<u8> {
    let meta = [tagged(1, api_version.as_bytes()), tagged(2, kind.as_bytes())].concat();
    [b"k8s\0".to_vec(), tagged(1, &meta), tagged(2, raw)].concat()
}

#[tokio::test]
async fn api_protobuf_bodies_are_taken_and_answered() {
    let server = Server::start().await;
    let entry = [tagged(1, b"a"), tagged(2, b"b")].concat();
    let raw = [tagged(1, &tagged(1, b"cm")), tagged(2, &entry)].concat();
    let path = "/api/v1/namespaces/default/configmaps";
    let accept = ("accept", "application/vnd.kubernetes.protobuf,application/json");
    let body = envelope("v1", "ConfigMap", &raw);
    let created = decoded(&server.send(Method::POST, path, &[PROTOBUF, accept], body).await, 201);
    assert_eq!(
        (&created["metadata"]["name"], &created["data"]),
        (&json!("cm"), &json!({ "a": "b" }))
    );
    let options = envelope("v1", "DeleteOptions", &[0x08, 0]);
    server.send(Method::DELETE, &format!("{path}/cm"), &[PROTOBUF], options).await.expect(200);
    let wrong = envelope("v1", "Secret", &tagged(1, &tagged(1, b"x")));
    assert_eq!(server.send(Method::POST, path, &[PROTOBUF], wrong).await.failure().0, 400);
    let cut = &envelope("v1", "ConfigMap", &raw)[..20];
    let (code, _, message) =
        server.send(Method::POST, path, &[PROTOBUF], cut.to_vec()).await.failure();
    let expected = "the object provided is unrecognized (must be of type ConfigMap): unexpected EOF (6b3873000a0f";
    assert_eq!((code, &message[..expected.len()]), (400, expected));
    let untyped = envelope("", "", &tagged(1, &tagged(1, b"untyped")));
    let created = server.send(Method::POST, path, &[PROTOBUF, ACCEPT], untyped).await;
    assert_eq!(decoded(&created, 201)["metadata"]["name"], "untyped");
    let broken = envelope("v1", "ConfigMap", &[0x0a, 5]);
    let (code, _, message) = server.send(Method::POST, path, &[PROTOBUF], broken).await.failure();
    let expected = "ConfigMap in version \"v1\" cannot be handled as a ConfigMap: unexpected EOF";
    assert_eq!((code, message.as_str()), (400, expected));
}

/// The object of an answer in protobuf.
#[track_caller]
fn decoded(answer: &Answer, status: u16) -> Value {
    assert_eq!(answer.status.as_u16(), status, "{:?}", answer.body);
    assert_eq!(answer.headers["content-type"], protobuf::MEDIA_TYPE, "{:?}", answer.body);
    protobuf::decode(&answer.body).unwrap()
}

async fn get(server: &Server, path: &str) -> Value {
    decoded(&server.send(Method::GET, path, &[ACCEPT], "").await, 200)
}

/// What both forms of an object agree on: everything but texts, numbers and objects without content, which Go writes in one
/// form and not in the other.
fn essence(value: Value) -> Value {
    match value {
        Value::Object(fields) => {
            let essential = fields.into_iter().map(|(name, value)| (name, essence(value)));
            essential.filter(|(_, value)| !is_empty(value)).collect()
        }
        Value::Array(items) => items.into_iter().map(essence).collect(),
        other => other,
    }
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Object(fields) => fields.is_empty(),
        Value::Array(items) => items.is_empty(),
        _ => *value == json!("") || *value == json!(0) || *value == json!(false),
    }
}

#[tokio::test]
async fn api_protobuf_answers_say_what_json_says() {
    let server = Server::start().await;
    for name in ["a", "b"] {
        server.post(MAPS, config_map(name)).await.expect(201);
    }
    server.post("/api/v1/namespaces/default/pods", pod("p")).await.expect(201);
    server.post("/apis/apps/v1/namespaces/default/deployments", deployment("d")).await.expect(201);
    let service =
        json!({"metadata": {"name": "s"}, "spec": {"ports": [{"port": 80, "targetPort": "web"}]}});
    server.post("/api/v1/namespaces/default/services", service).await.expect(201);
    for path in [
        "/api/v1/namespaces/default/configmaps/a",
        "/api/v1/namespaces/default/pods/p",
        "/api/v1/namespaces/default/services/s",
        "/apis/apps/v1/namespaces/default/deployments/d",
        "/apis/apps/v1/namespaces/default/deployments/d/scale",
        "/api/v1/namespaces/default/pods",
        "/api/v1/configmaps?limit=1",
        "/api/v1/namespaces",
        "/apis/apps/v1/deployments",
        "/api",
        "/apis",
        "/apis/apps",
        "/apis/apps/v1",
        "/api/v1",
    ] {
        let json = server.get(path).await.expect(200);
        let mut protobuf = get(&server, path).await;
        // Items say their type in JSON only.
        for (item, shown) in protobuf["items"]
            .as_array_mut()
            .into_iter()
            .flatten()
            .zip(json["items"].as_array().into_iter().flatten())
        {
            item["kind"] = shown["kind"].clone();
            item["apiVersion"] = shown["apiVersion"].clone();
        }
        if path == "/api/v1/configmaps?limit=1" {
            assert!(protobuf["metadata"]["continue"].is_string());
        }
        assert_eq!(essence(protobuf), essence(json), "{path}");
    }
}

#[tokio::test]
async fn api_protobuf_lists_of_many_chunks_are_whole_and_compressed_for_those_who_accept_it() {
    let server = Server::start().await;
    for number in 0..40 {
        let mut map = config_map(&format!("m{number:02}"));
        map["data"] = json!({ "k": "v".repeat(5_000 + number) });
        server.post(MAPS, map).await.expect(201);
    }
    for _ in 0..2 {
        let list = get(&server, MAPS).await;
        let names: Vec<&str> = list["items"]
            .as_array()
            .unwrap()
            .iter()
            .map(|i| i["metadata"]["name"].as_str().unwrap())
            .collect();
        assert_eq!((names.len(), names[0], names[39]), (40, "m00", "m39"));
        assert_eq!(list["items"][39]["data"]["k"].as_str().unwrap().len(), 5_039);
    }
    let gzip = ("accept-encoding", "gzip");
    let answer = server.send(Method::GET, MAPS, &[ACCEPT, gzip], "").await;
    assert_eq!(answer.headers["content-encoding"], "gzip");
    let mut plain = Vec::new();
    std::io::Read::read_to_end(&mut flate2::read::GzDecoder::new(&answer.body[..]), &mut plain)
        .unwrap();
    assert_eq!(protobuf::decode(&plain).unwrap()["items"].as_array().unwrap().len(), 40);
}

#[tokio::test]
async fn api_protobuf_writes_and_errors_are_answered_in_it() {
    let server = Server::start().await;
    let put = |map: Value| protobuf::encode(map.to_string().as_bytes()).unwrap();
    let mut map = config_map("a");
    let created = server.send(Method::POST, MAPS, &[PROTOBUF, ACCEPT], put(map.clone())).await;
    assert_eq!(decoded(&created, 201)["metadata"]["name"], "a");
    map["data"] = json!({ "k": "v" });
    let path = format!("{MAPS}/a");
    let updated = server.send(Method::PUT, &path, &[PROTOBUF, ACCEPT], put(map.clone())).await;
    assert_eq!(decoded(&updated, 200)["data"], json!({ "k": "v" }));
    let merge = ("content-type", "application/merge-patch+json");
    let patched =
        server.send(Method::PATCH, &path, &[merge, ACCEPT], r#"{"data":{"l":"w"}}"#).await;
    assert_eq!(decoded(&patched, 200)["data"], json!({ "k": "v", "l": "w" }));
    let exists = server.send(Method::POST, MAPS, &[PROTOBUF, ACCEPT], put(map)).await;
    let status = decoded(&exists, 409);
    assert_eq!(
        (&status["kind"], &status["reason"], &status["code"]),
        (&json!("Status"), &json!("AlreadyExists"), &json!(409))
    );
    assert_eq!(status["details"], json!({ "name": "a", "kind": "configmaps" }));
    let deleted = server.send(Method::DELETE, &path, &[ACCEPT], "").await;
    assert_eq!(decoded(&deleted, 200)["status"], "Success");
    let gone = decoded(&server.send(Method::GET, &path, &[ACCEPT], "").await, 404);
    assert_eq!(gone["message"], "configmaps \"a\" not found");
}

#[tokio::test]
async fn api_protobuf_bodies_of_subresources_are_taken() {
    let server = Server::start().await;
    let pods = "/api/v1/namespaces/default/pods";
    server.post(pods, pod("p")).await.expect(201);
    let body = |json: Value| protobuf::encode(json.to_string().as_bytes()).unwrap();
    let binding = json!({"apiVersion": "v1", "kind": "Binding", "metadata": {"name": "p"}, "target": {"name": "n"}});
    let bound = server
        .send(Method::POST, &format!("{pods}/p/binding"), &[PROTOBUF, ACCEPT], body(binding))
        .await;
    assert_eq!(decoded(&bound, 201)["status"], "Success");
    let deployments = "/apis/apps/v1/namespaces/default/deployments";
    server.post(deployments, deployment("d")).await.expect(201);
    let scale_path = format!("{deployments}/d/scale");
    let mut scale = get(&server, &scale_path).await;
    scale["spec"] = json!({ "replicas": 5 });
    let scaled = server.send(Method::PUT, &scale_path, &[PROTOBUF, ACCEPT], body(scale)).await;
    assert_eq!(decoded(&scaled, 200)["spec"]["replicas"], 5);
}

#[tokio::test]
async fn api_protobuf_shows_metadata_but_no_tables() {
    let server = Server::start().await;
    server.post(MAPS, config_map("a")).await.expect(201);
    let asking = |kind: &str, version: &str| {
        format!("{};as={kind};g=meta.k8s.io;v={version}", protobuf::MEDIA_TYPE)
    };
    for version in ["v1", "v1beta1"] {
        let accept = asking("PartialObjectMetadata", version);
        let answer =
            server.send(Method::GET, &format!("{MAPS}/a"), &[("accept", &accept)], "").await;
        let one = decoded(&answer, 200);
        assert_eq!(
            (&one["kind"], &one["metadata"]["name"]),
            (&json!("PartialObjectMetadata"), &json!("a"))
        );
        let accept = asking("PartialObjectMetadataList", version);
        let list = decoded(&server.send(Method::GET, MAPS, &[("accept", &accept)], "").await, 200);
        assert_eq!(list["items"][0]["metadata"]["name"], "a");
        assert!(list["metadata"]["resourceVersion"].is_string());
    }
    let table = asking("Table", "v1");
    let refused = server.send(Method::GET, MAPS, &[("accept", &table)], "").await;
    assert_eq!((refused.failure().0, refused.failure().1), (406, "NotAcceptable".to_owned()));
    let other = format!("{table},application/json");
    let list = server.send(Method::GET, MAPS, &[("accept", &other)], "").await.expect(200);
    assert_eq!(list["kind"], "ConfigMapList");
    let missing = format!("{},application/json", asking("PartialObjectMetadata", "v1"));
    let path = format!("{MAPS}/missing");
    let answer = server.send(Method::GET, &path, &[("accept", &missing)], "").await;
    assert_eq!(answer.failure().0, 404);
}

#[tokio::test]
async fn api_protobuf_discovery_comes_aggregated_too_and_version_in_json() {
    let server = Server::start().await;
    for version in ["v2", "v2beta1"] {
        let parameters = format!("g=apidiscovery.k8s.io;v={version};as=APIGroupDiscoveryList");
        let accept = format!("{};{parameters}", protobuf::MEDIA_TYPE);
        let answer = server.send(Method::GET, "/apis", &[("accept", &accept)], "").await;
        assert_eq!(answer.headers["content-type"], accept);
        let list = protobuf::decode(&answer.body).unwrap();
        let json = format!("application/json;{parameters}");
        let json = server.send(Method::GET, "/apis", &[("accept", &json)], "").await.expect(200);
        assert_eq!(essence(list), essence(json));
    }
    let version = server.send(Method::GET, "/version", &[ACCEPT], "").await;
    assert_eq!(version.headers["content-type"], "application/json");
}

/// An open watch in protobuf.
struct Frames {
    body: apiserver::Body,
    rest: Vec<u8>,
}

impl Frames {
    async fn open(server: &Server, path: &str, accept: &str) -> Self {
        let request = Request::get(path).header("accept", accept).extension(admin());
        let response = server.api.handle(request.body(apiserver::Body::empty()).unwrap()).await;
        assert_eq!(response.status(), 200);
        assert_eq!(response.headers()["content-type"], protobuf::WATCH_MEDIA_TYPE);
        Self { body: response.into_body(), rest: Vec::new() }
    }

    /// Type and object of the next event.
    async fn next(&mut self) -> (String, Value) {
        loop {
            if let Some((head, rest)) = self.rest.split_first_chunk::<4>() {
                let length = u32::from_be_bytes(*head) as usize;
                if rest.len() >= length {
                    let event = rest[..length].to_vec();
                    self.rest.drain(..4 + length);
                    return Self::read(&event);
                }
            }
            let frame = self.body.frame().await.expect("an event").expect("a frame");
            self.rest.extend_from_slice(&frame.into_data().expect("data"));
        }
    }

    fn read(event: &[u8]) -> (String, Value) {
        let (kind, rest) = field(0x0a, event);
        let (extension, rest) = field(0x12, rest);
        assert!(rest.is_empty());
        let (object, rest) = field(0x0a, extension);
        assert!(rest.is_empty());
        (String::from_utf8(kind.to_vec()).unwrap(), protobuf::decode(object).unwrap())
    }
}

/// The content of the first field, and what follows it.
fn field(tag: u8, bytes: &[u8]) -> (&[u8], &[u8]) {
    assert_eq!(bytes[0], tag);
    let end = bytes[1..].iter().position(|byte| byte & 0x80 == 0).unwrap() + 1;
    let digits = bytes[1..=end].iter().rev();
    let length = digits.fold(0, |length, byte| length << 7 | usize::from(byte & 0x7f));
    bytes[end + 1..].split_at(length)
}

#[tokio::test]
async fn watch_in_protobuf_frames_every_event() {
    let server = Server::start().await;
    server.post(MAPS, config_map("a")).await.expect(201);
    let path = format!(
        "{MAPS}?watch=1&sendInitialEvents=true&allowWatchBookmarks=true&resourceVersionMatch=NotOlderThan"
    );
    let mut watch = Frames::open(&server, &path, protobuf::WATCH_MEDIA_TYPE).await;
    let mut second = Frames::open(&server, &path, "application/vnd.kubernetes.protobuf, */*").await;
    for watch in [&mut watch, &mut second] {
        let (kind, object) = watch.next().await;
        assert_eq!((kind.as_str(), &object["metadata"]["name"]), ("ADDED", &json!("a")));
        let (kind, object) = watch.next().await;
        assert_eq!((kind.as_str(), &object["kind"]), ("BOOKMARK", &json!("ConfigMap")));
        assert_eq!(
            object["metadata"]["annotations"],
            json!({ "k8s.io/initial-events-end": "true" })
        );
    }
    let large = json!({ "data": { "k": "v".repeat(100_000) } });
    let changed = server.patch(&format!("{MAPS}/a"), "merge-patch", large).await.expect(200);
    server.delete(&format!("{MAPS}/a"), Value::Null).await.expect(200);
    for watch in [&mut watch, &mut second] {
        assert_eq!(watch.next().await, ("MODIFIED".to_owned(), changed.clone()));
        assert_eq!(watch.next().await.0, "DELETED");
    }
}

#[tokio::test]
async fn watch_in_protobuf_shows_metadata() {
    let server = Server::start().await;
    let accept = format!("{};as=PartialObjectMetadata;g=meta.k8s.io;v=v1", protobuf::MEDIA_TYPE);
    let mut watch = Frames::open(&server, &format!("{MAPS}?watch=1"), &accept).await;
    server.post(MAPS, config_map("a")).await.expect(201);
    let (kind, object) = watch.next().await;
    assert_eq!((kind.as_str(), &object["kind"]), ("ADDED", &json!("PartialObjectMetadata")));
    let mut old =
        Frames::open(&server, &format!("{MAPS}?watch=1&resourceVersion=1"), &accept).await;
    let (kind, object) = old.next().await;
    assert_eq!((kind.as_str(), &object["metadata"]["name"]), ("ADDED", &json!("a")));
}
