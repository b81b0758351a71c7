//! Pulls: from a real registry in a namespace of its own, and from one that misbehaves.

use crate::registries::{Access, Fake, PASSWORD, Registry, Reply, good};
use crate::support::{assert_untouched, gzip, layer_fs, names_in, packed, store};
use k8s_cri::v1;
use k8s_cri::v1::image_service_server::ImageService;
use runtime::image_service::ImageServer;
use runtime::images::{ImageStore, RegistryAuth, RegistryConfig};
use serde_json::json;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use testkit::images::{Image, Layer, digest};
use testkit::netns::Netns;

fn sample() -> Image {
    let content: Vec<u8> = (0..400_000u32).flat_map(u32::to_le_bytes).collect();
    let second = packed(Layer::new().file("b", 0o644, b"b"), gzip);
    Image::new("unused:1").layer(Layer::new().file("a", 0o644, &content)).blob(second)
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime")
}

fn pull(
    store: &ImageStore,
    reference: &str,
    auth: Option<&RegistryAuth>,
) -> Result<runtime::images::Image, String> {
    runtime().block_on(store.pull(reference, auth, None)).map_err(|e| e.to_string())
}

fn user() -> RegistryAuth {
    RegistryAuth::Basic { username: "user".to_owned(), password: PASSWORD.to_owned() }
}

#[test]
fn ctr_05_pull_from_a_real_registry_fetches_only_what_is_missing() {
    let netns = Netns::new("true");
    let (dir, store) = store();
    let registry = Registry::start(&netns, dir.path(), "127.0.0.1:5000", Access::Open);
    let image = sample();
    registry.put("team/app", "v1", &image);
    let more = image.clone().layer(Layer::new().file("c", 0o644, b"c"));
    registry.put("team/app", "v2", &more);
    netns.run(|| {
        let first = pull(&store, "localhost:5000/team/app:v1", None).expect("a pull");
        assert_eq!(first.id, image.id());
        assert_eq!(first.repo_tags, ["localhost:5000/team/app:v1"]);
        assert_eq!(first.repo_digests, [format!("localhost:5000/team/app@{}", digest(&image.manifest()))]);
        let steps = Arc::new(std::sync::Mutex::new(Vec::new()));
        let sink = steps.clone();
        let progress = Arc::new(move |step| sink.lock().expect("no panic").push(step));
        let pulled = runtime().block_on(store.pull("localhost:5000/team/app:v2", None, Some(progress)));
        assert_eq!(pulled.expect("a pull").id, more.id());
        let steps = steps.lock().expect("no panic");
        let missing = steps.iter().find_map(|step| match step {
            runtime::images::Progress::Resolved { missing, .. } => Some(missing.len()),
            _ => None,
        });
        assert_eq!(missing, Some(1), "{steps:?}");
        let by_digest = format!("127.0.0.1:5000/team/app@{}", digest(&image.manifest()));
        assert_eq!(pull(&store, &by_digest, None).expect("a pull").id, image.id());
        let error = pull(&store, "localhost:5000/team/app:none", None).expect_err("there is none");
        let name = "localhost:5000/team/app:none";
        assert_eq!(
            error,
            format!(
                "failed to pull and unpack image \"{name}\": failed to resolve reference \"{name}\": {name}: not found"
            )
        );
    });
    drop(registry);
    let error =
        netns.run(|| pull(&store, "localhost:5000/team/app:v1", None)).expect_err("nobody listens");
    assert!(
        error.contains(
            "failed to do request: Get \"http://localhost:5000/v2/team/app/manifests/v1\": "
        ),
        "{error}"
    );
    assert!(error.contains("dial tcp localhost:5000: connect: connection refused"), "{error}");
}

#[test]
fn ctr_11_registry_with_a_password_wants_the_right_one() {
    let netns = Netns::new("true");
    let (dir, store) = store();
    let registry = Registry::start(&netns, dir.path(), "127.0.0.1:5000", Access::Password);
    registry.put("team/app", "v1", &sample());
    let name = "127.0.0.1:5000/team/app:v1";
    netns.run(|| {
        let wrong =
            RegistryAuth::Basic { username: "user".to_owned(), password: "wrong".to_owned() };
        let error = pull(&store, name, None).expect_err("no password");
        assert!(error.contains("failed to authorize: no basic auth credentials"), "{error}");
        let error = pull(&store, name, Some(&wrong)).expect_err("a wrong password");
        assert!(
            error.contains(
                "pull access denied, repository does not exist or may require authorization"
            ),
            "{error}"
        );
        assert!(!error.contains("wrong\""), "the password is not shown: {error}");
        assert_untouched(&store);
        pull(&store, name, Some(&user())).expect("a pull");
    });
}

#[test]
fn registry_off_loopback_needs_tls_unless_it_is_listed() {
    let netns = Netns::new("true");
    let (dir, store) = store();
    let made = netns.command("ip").args(["addr", "add", "10.9.8.7/32", "dev", "lo"]).status();
    assert!(made.expect("ip of iproute2").success());
    let authority = write_certificates(dir.path());
    let secure = Registry::start(&netns, dir.path(), "10.9.8.7:5000", Access::Tls);
    let plain_dir = tempfile::tempdir().expect("a directory");
    let plain = Registry::start(&netns, plain_dir.path(), "10.9.8.7:5001", Access::Open);
    for registry in [&secure, &plain] {
        registry.put("x", "1", &sample());
    }
    let trusting = |config| store.clone().with_registries(config);
    let with_ca = trusting(RegistryConfig { ca_files: vec![authority], ..Default::default() });
    let listed = trusting(RegistryConfig {
        insecure: BTreeSet::from(["10.9.8.7:5001".to_owned()]),
        ..Default::default()
    });
    netns.run(|| {
        let error =
            pull(&store, "10.9.8.7:5000/x:1", None).expect_err("the certificate is unknown");
        assert!(error.contains("certificate"), "{error}");
        assert!(pull(&with_ca, "10.9.8.7:5001/x:1", None).is_err(), "plain HTTP is not tried");
        pull(&with_ca, "10.9.8.7:5000/x:1", None).expect("a pull over TLS");
        pull(&listed, "10.9.8.7:5001/x:1", None).expect("a pull over plain HTTP");
    });
}

/// Writes what the registry shows, and the certificate of the authority that it is to be trusted for.
fn write_certificates(dir: &std::path::Path) -> std::path::PathBuf {
    let key = || rcgen::KeyPair::generate().expect("a key");
    let params = |names: Vec<String>| rcgen::CertificateParams::new(names).expect("parameters");
    let mut authority = params(Vec::new());
    authority.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let (authority_key, server_key) = (key(), key());
    let authority_cert = authority.self_signed(&authority_key).expect("a certificate");
    let issuer = rcgen::Issuer::new(authority, authority_key);
    let server =
        params(vec!["10.9.8.7".to_owned()]).signed_by(&server_key, &issuer).expect("a certificate");
    let write = |name: &str, text: String| {
        let path = dir.join(name);
        std::fs::write(&path, text).expect("a file");
        path
    };
    write("cert.pem", server.pem());
    write("key.pem", server_key.serialize_pem());
    write("ca.pem", authority_cert.pem())
}

#[test]
fn wrong_content_is_refused_and_nothing_is_left() {
    let image = sample();
    let (layer, config) = (digest(&image.layers[1].bytes), image.id());
    let huge = vec![b' '; (4 << 20) + 1];
    let longer = [image.layers[1].bytes.clone(), vec![0; 10]].concat();
    let same_size = vec![0; image.layers[1].bytes.len()];
    for (path, body, message) in [
        (layer.as_str(), same_size, "has digest sha256:"),
        (layer.as_str(), longer, "is larger than"),
        (config.as_str(), b"{}".to_vec(), "has digest sha256:"),
        ("/manifests/", huge, "is larger than 4194304 bytes"),
        ("/manifests/", b"<html>".to_vec(), "malformed manifest"),
        (
            "/manifests/",
            br#"{"schemaVersion":1,"fsLayers":[]}"#.to_vec(),
            "schema version 1 is not supported",
        ),
    ] {
        let (path, image) = (path.to_owned(), image.clone());
        let fake = Fake::start(move |ask| match ask.path.contains(&path) {
            true => Reply::ok(body.clone()),
            false => good(&image, ask),
        });
        let (_dir, store) = store();
        let error = pull(&store, &fake.reference("x:1"), None).expect_err(message);
        assert!(error.starts_with("failed to pull and unpack image \"127.0.0.1:"), "{error}");
        assert!(error.contains(message), "{message}: {error}");
        assert_untouched(&store);
    }
}

#[test]
fn manifest_of_another_digest_than_asked_for_is_refused() {
    let image = sample();
    let fake = Fake::start(move |ask| good(&image, ask));
    let (_dir, store) = store();
    let error = pull(&store, &fake.reference(&format!("x@{}", digest(b"other"))), None)
        .expect_err("it is refused");
    assert!(error.contains("has digest"), "{error}");
    assert_untouched(&store);
}

#[test]
fn broken_download_goes_on_where_it_stopped() {
    let image = sample();
    let big = digest(&image.layers[0].bytes);
    for ranges in [true, false] {
        let (served, big, wanted) = (image.clone(), big.clone(), image.id());
        let broken = AtomicUsize::new(0);
        let fake = Fake::start(move |ask| {
            let mut ask = ask.clone();
            if !ranges {
                ask.headers.remove("range");
            }
            let reply = good(&served, &ask);
            let first = ask.path.ends_with(&big) && broken.fetch_add(1, Ordering::SeqCst) == 0;
            Reply { cut: first.then_some(700_000), ..reply }
        });
        let (_dir, store) = store();
        assert_eq!(pull(&store, &fake.reference("x:1"), None).expect("a pull").id, wanted);
        let ranges: Vec<_> =
            fake.asked().into_iter().filter_map(|ask| ask.headers.get("range").cloned()).collect();
        assert_eq!(ranges.len(), 1, "{ranges:?}");
    }
}

#[test]
fn registry_that_is_briefly_unavailable_is_asked_again() {
    let image = sample();
    let (served, times) = (image.clone(), AtomicUsize::new(0));
    let fake = Fake::start(move |ask| match times.fetch_add(1, Ordering::SeqCst) {
        0 => Reply::status(503),
        1 => Reply::status(429).header("Retry-After", "0"),
        _ => good(&served, ask),
    });
    let (_dir, store) = store();
    assert_eq!(pull(&store, &fake.reference("x:1"), None).expect("a pull").id, image.id());
}

#[test]
fn ctr_11_token_is_fetched_with_the_credentials_and_used() {
    let image = sample();
    let tokens = Fake::start(|ask| {
        let basic = ask.headers.get("authorization").is_some_and(|a| a.starts_with("Basic "));
        match basic {
            true => Reply::ok(json!({"token": "T1"}).to_string()),
            false => Reply::status(401),
        }
    });
    let challenge = format!(
        "Bearer realm=\"http://{}/token\",service=\"s\",scope=\"repository:x:pull\"",
        tokens.address
    );
    let served = image.clone();
    let fake = Fake::start(move |ask| match ask.headers.get("authorization").map(String::as_str) {
        Some("Bearer T1") => good(&served, ask),
        _ => Reply::status(401).header("WWW-Authenticate", challenge.clone()),
    });
    let (_dir, store) = store();
    let error = pull(&store, &fake.reference("x:1"), None).expect_err("it is refused");
    assert!(error.contains("failed to authorize: failed to fetch anonymous token"), "{error}");
    assert_eq!(pull(&store, &fake.reference("x:1"), Some(&user())).expect("a pull").id, image.id());
    let asked = tokens.asked().pop().expect("it was asked").path;
    assert_eq!(asked, "/token?service=s&scope=repository%3Ax%3Apull");
}

#[test]
fn credentials_do_not_follow_a_redirect_to_another_server() {
    let image = sample();
    let served = image.clone();
    let storage = Fake::start(move |ask| good(&served, ask));
    let (served, elsewhere) = (image.clone(), storage.address);
    let fake = Fake::start(move |ask| match ask.headers.contains_key("authorization") {
        false => Reply::status(401).header("WWW-Authenticate", "Basic realm=\"x\""),
        true if ask.path.contains("/blobs/") => {
            Reply::status(307).header("Location", format!("http://{elsewhere}{}", ask.path))
        }
        true => good(&served, ask),
    });
    let (_dir, store) = store();
    assert_eq!(pull(&store, &fake.reference("x:1"), Some(&user())).expect("a pull").id, image.id());
    let asked = storage.asked();
    assert!(
        !asked.is_empty() && asked.iter().all(|ask| !ask.headers.contains_key("authorization")),
        "{asked:?}"
    );
    let circle = Fake::start(|ask| Reply::status(302).header("Location", ask.path.clone()));
    let error = pull(&store, &circle.reference("y:1"), None).expect_err("it ends");
    assert!(error.contains("more than 8 redirects"), "{error}");
}

#[test]
fn concurrent_pulls_download_each_layer_once() {
    let image = sample();
    let served = image.clone();
    let fake = Fake::start(move |ask| good(&served, ask));
    let (_dir, store) = store();
    let names: Vec<String> = (0..6).map(|n| fake.reference(&format!("x:{n}"))).collect();
    let pulls = names.iter().map(|name| store.pull(name, None, None));
    for pulled in runtime().block_on(futures::future::join_all(pulls)) {
        assert_eq!(pulled.expect("a pull").id, image.id());
    }
    for layer in &image.layers {
        assert_eq!(fake.count(&digest(&layer.bytes)), 1);
    }
    assert_eq!((names_in(&store, "layers").len(), names_in(&store, "blobs/sha256").len()), (2, 2));
    assert!(names_in(&store, "ingest").is_empty() && names_in(&store, "locks").is_empty());
}

#[test]
fn ctr_07_tag_that_moved_is_pulled_anew_and_the_old_image_goes() {
    let images = [sample(), sample().layer(Layer::new().file("c", 0o644, b"fixed"))];
    let (served, which) = (images.clone(), Arc::new(AtomicUsize::new(0)));
    let now = which.clone();
    let fake = Fake::start(move |ask| {
        let new = good(&served[now.load(Ordering::SeqCst)], ask);
        if new.status == 404 { good(&served[0], ask) } else { new }
    });
    let (_dir, store) = store();
    let name = fake.reference("x:1");
    pull(&store, &name, None).expect("a pull");
    which.store(1, Ordering::SeqCst);
    let new = pull(&store, &name, None).expect("a pull");
    assert_eq!(new.id, images[1].id());
    assert_eq!(std::fs::read(layer_fs(&store, &new, 2).join("c")).expect("a file"), b"fixed");
    assert_eq!(store.get(&name).expect("an image").id, images[1].id());
    assert_eq!(
        fake.count(&digest(&images[0].layers[0].bytes)),
        1,
        "what is here is not fetched again"
    );
}

#[test]
fn pull_given_up_half_way_leaves_nothing() {
    let image = sample();
    let big = digest(&image.layers[0].bytes);
    let (begun, wait) = std::sync::mpsc::channel();
    let (release, released) = std::sync::mpsc::channel::<()>();
    let (begun, released) = (std::sync::Mutex::new(begun), std::sync::Mutex::new(released));
    let served = image.clone();
    let fake = Fake::start(move |ask| {
        if ask.path.ends_with(&big) {
            begun.lock().expect("no panic").send(()).expect("the test waits");
            let _ = released.lock().expect("no panic").recv();
        }
        good(&served, ask)
    });
    let (_dir, store) = store();
    let runtime = runtime();
    let (name, pulling) = (fake.reference("x:1"), store.clone());
    let task = runtime.spawn(async move { pulling.pull(&name, None, None).await });
    wait.recv().expect("the download begins");
    task.abort();
    assert!(runtime.block_on(task).expect_err("it was given up").is_cancelled());
    // Waits for what still runs in blocking threads.
    drop(runtime);
    drop(release);
    assert!(names_in(&store, "ingest").is_empty());
    store.collect_garbage().expect("a sweep");
    assert_untouched(&store);
}

#[tokio::test(flavor = "multi_thread")]
async fn pull_over_the_cri_answers_the_id_and_typed_errors() {
    let image = sample();
    let served = image.clone();
    let fake = Fake::start(move |ask| match ask.path.as_str() {
        path if path.contains("/secret/") => Reply::status(403),
        path if path.contains("/missing/") => Reply::status(404),
        path if path.contains("/down/") => Reply::status(502),
        _ => good(&served, ask),
    });
    let (_dir, store) = store();
    let server = ImageServer::new(store);
    let pull = |name: &str| {
        let image = Some(v1::ImageSpec { image: fake.reference(name), ..Default::default() });
        server.pull_image(tonic::Request::new(v1::PullImageRequest {
            image,
            auth: None,
            sandbox_config: None,
        }))
    };
    assert_eq!(pull("x:1").await.expect("a pull").into_inner().image_ref, image.id());
    for (name, code) in [
        ("missing/x:1", tonic::Code::NotFound),
        ("secret/x:1", tonic::Code::PermissionDenied),
        ("down/x:1", tonic::Code::Unavailable),
        ("Bad:1", tonic::Code::InvalidArgument),
    ] {
        assert_eq!(pull(name).await.expect_err(name).code(), code, "{name}");
    }
}
