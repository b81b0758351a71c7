//! The CRI's ImageService, called as the kubelet calls it.

use crate::support::{import, store};
use k8s_cri::v1;
use k8s_cri::v1::image_service_server::ImageService;
use runtime::image_service::ImageServer;
use runtime::images::{HELLO_IMAGE, ImageStore};
use testkit::images::{Image, Layer};
use tonic::{Code, Request};

fn spec(image: &str) -> Option<v1::ImageSpec> {
    Some(v1::ImageSpec { image: image.to_owned(), ..Default::default() })
}

async fn status(server: &ImageServer, image: &str) -> Option<v1::Image> {
    let request = v1::ImageStatusRequest { image: spec(image), verbose: false };
    server.image_status(Request::new(request)).await.expect("a status").into_inner().image
}

#[tokio::test]
async fn image_status_of_a_missing_image_is_empty_and_of_a_bad_name_invalid() {
    let (_dir, store) = store();
    let server = ImageServer::new(store);
    assert_eq!(status(&server, "t/x:1").await, None);
    for name in ["", "Bad Name"] {
        let request = v1::ImageStatusRequest { image: spec(name), verbose: false };
        let error = server.image_status(Request::new(request)).await.expect_err("it is refused");
        assert_eq!(error.code(), Code::InvalidArgument);
    }
}

#[tokio::test]
async fn image_status_has_user_names_and_on_demand_the_config() {
    let (dir, store) = store();
    let image = Image::new("t/x:1").layer(Layer::new()).with("User", "1000:1000");
    let imported = import(dir.path(), &store, &image).expect("an image");
    let server = ImageServer::new(store);
    let found = status(&server, "t/x:1").await.expect("an image");
    assert_eq!((found.id.clone(), found.size), (imported.id.clone(), imported.size));
    assert_eq!((found.uid, found.username), (Some(v1::Int64Value { value: 1000 }), String::new()));
    assert_eq!(found.repo_tags, ["docker.io/t/x:1"]);
    assert!(!found.pinned);
    assert_eq!(status(&server, &imported.id).await.map(|i| i.id), Some(imported.id.clone()));
    let request = v1::ImageStatusRequest { image: spec("t/x:1"), verbose: true };
    let info =
        server.image_status(Request::new(request)).await.expect("a status").into_inner().info;
    let info: serde_json::Value = serde_json::from_str(&info["info"]).expect("JSON");
    assert_eq!(info["imageSpec"]["config"]["User"], "1000:1000");
}

#[tokio::test]
async fn list_and_remove_go_by_image() {
    let (dir, store) = store();
    let image = Image::new("t/x:1").layer(Layer::new());
    import(dir.path(), &store, &image).expect("an image");
    import(dir.path(), &store, &Image { name: "t/x:2".to_owned(), ..image }).expect("an image");
    let server = ImageServer::new(store);
    let list = |filter: Option<&str>| {
        let filter = filter.map(|f| v1::ImageFilter { image: spec(f) });
        let server = server.clone();
        async move {
            server
                .list_images(Request::new(v1::ListImagesRequest { filter }))
                .await
                .expect("a list")
                .into_inner()
                .images
        }
    };
    assert_eq!(list(None).await.len(), 1);
    assert_eq!(list(Some("t/x:2")).await.len(), 1);
    assert!(list(Some("t/none")).await.is_empty());
    for _ in 0..2 {
        let request = v1::RemoveImageRequest { image: spec("t/x:1") };
        server.remove_image(Request::new(request)).await.expect("a removal, also of what is gone");
    }
    assert!(list(None).await.is_empty());
}

#[tokio::test]
async fn embedded_image_is_pinned_and_the_file_system_is_measured() {
    let dir = tempfile::tempdir().expect("a directory");
    let server = ImageServer::new(ImageStore::open(dir.path()).expect("a store"));
    assert!(status(&server, HELLO_IMAGE).await.expect("the embedded image").pinned);
    let info = server
        .image_fs_info(Request::new(v1::ImageFsInfoRequest {}))
        .await
        .expect("info")
        .into_inner();
    let usage = &info.image_filesystems[0];
    assert_eq!(usage.fs_id.as_ref().map(|f| f.mountpoint.as_str()), dir.path().to_str());
    assert!(
        usage.used_bytes.is_some_and(|b| b.value > 100 << 10)
            && usage.inodes_used.is_some_and(|i| i.value > 3)
    );
    assert!(usage.timestamp > 0);
}
