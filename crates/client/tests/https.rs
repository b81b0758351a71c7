//! The client over HTTPS against the API server: client certificates, IP literals and names, informers over the network.
//!
//! Invariant: all traffic stays on loopback.

use std::sync::Arc;
use std::time::Duration;

use apiserver::authn::X509;
use apiserver::authz::FixedPolicy;
use apiserver::{ApiServer, Config, DEFAULT_EVENT_TTL, DEFAULT_SERVICE_CIDR};
use client::{
    Api, ApiErrorExt, CancellationToken, Credentials, Endpoint, Informers, ObjectKey, connect,
    connect_kubeconfig,
};
use k8s_openapi::api::core::v1::{ConfigMap, Namespace};
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, IsCa, Issuer, KeyPair,
};
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

const PATIENCE: Duration = Duration::from_secs(60);

struct Authority {
    pem: String,
    der: CertificateDer<'static>,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap();
        Self {
            pem: certificate.pem(),
            der: certificate.der().clone(),
            issuer: Issuer::new(params, key),
        }
    }

    fn sign(&self, name: &str, group: &str, hosts: &[&str]) -> (rcgen::Certificate, KeyPair) {
        let mut params =
            CertificateParams::new(hosts.iter().map(ToString::to_string).collect::<Vec<_>>())
                .unwrap();
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::OrganizationName, group);
        params.distinguished_name.push(DnType::CommonName, name);
        let key = KeyPair::generate().unwrap();
        (params.signed_by(&key, &self.issuer).unwrap(), key)
    }

    fn credentials(&self, name: &str, group: &str) -> Credentials {
        let (certificate, key) = self.sign(name, group, &[]);
        Credentials::Certificate {
            certificate_pem: certificate.pem().into_bytes(),
            key_pem: key.serialize_pem().into_bytes(),
        }
    }
}

/// Serves an empty cluster on loopback; its port.
async fn serve(authority: &Authority, shutdown: &CancellationToken) -> u16 {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(authority.der.clone()).unwrap();
    let roots = Arc::new(roots);
    let config = Config {
        store: Arc::new(store::Memory::default()),
        authenticator: Arc::new(X509::new(roots.clone()).unwrap()),
        authorizer: Arc::new(FixedPolicy),
        kubelet_client: None,
        version: k8s_openapi::apimachinery::pkg::version::Info::default(),
        event_ttl: DEFAULT_EVENT_TTL,
        token_issuer: None,
        service_cidr: DEFAULT_SERVICE_CIDR,
        advertised: None,
    };
    let server = ApiServer::start(config).await.expect("the API server starts");
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let (certificate, key) = authority.sign("kube-apiserver", "", &["127.0.0.1", "localhost"]);
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let verifier =
        rustls::server::WebPkiClientVerifier::builder_with_provider(roots, provider.clone())
            .allow_unauthenticated()
            .build()
            .unwrap();
    let tls = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_client_cert_verifier(verifier)
        .with_single_cert(
            vec![certificate.der().clone()],
            PrivateKeyDer::try_from(key.serialize_der()).unwrap(),
        )
        .unwrap();
    tokio::spawn(apiserver::server::serve(server, vec![listener], Arc::new(tls), shutdown.clone()));
    port
}

#[tokio::test]
async fn api_14_client_certificate_and_ip_literal_reach_the_server() {
    let (authority, shutdown) = (Authority::new(), CancellationToken::new());
    let port = serve(&authority, &shutdown).await;
    let admin = authority.credentials("admin", "system:masters");
    for host in ["127.0.0.1", "localhost"] {
        let endpoint = Endpoint {
            url: format!("https://{host}:{port}"),
            ca_pem: authority.pem.clone().into_bytes(),
        };
        let client = connect(&endpoint, &admin).expect("a client is made");
        let namespaces: Api<Namespace> = Api::all(client);
        assert!(namespaces.get("default").await.is_ok(), "as admin at {host}");
        let stranger = connect(&endpoint, &authority.credentials("nobody", "strangers")).unwrap();
        let refused = Api::<Namespace>::all(stranger)
            .get("default")
            .await
            .expect_err("strangers are refused");
        assert!(refused.message().starts_with("namespaces \"default\" is forbidden"), "{refused}");
    }
    shutdown.cancel();
}

#[tokio::test]
async fn server_of_another_authority_is_not_trusted() {
    let (authority, shutdown) = (Authority::new(), CancellationToken::new());
    let port = serve(&authority, &shutdown).await;
    let endpoint = Endpoint {
        url: format!("https://127.0.0.1:{port}"),
        ca_pem: Authority::new().pem.into_bytes(),
    };
    let client = connect(&endpoint, &Credentials::Anonymous).unwrap();
    let error = Api::<Namespace>::all(client).get("default").await.expect_err("not trusted");
    assert!(
        !matches!(error, client::Error::Api(_)),
        "the request must not have reached the server: {error}"
    );
    shutdown.cancel();
}

#[tokio::test]
async fn kubeconfig_file_and_informer_work_over_the_network() {
    let (authority, shutdown) = (Authority::new(), CancellationToken::new());
    let port = serve(&authority, &shutdown).await;
    let Credentials::Certificate { certificate_pem, key_pem } =
        authority.credentials("admin", "system:masters")
    else {
        unreachable!()
    };
    let directory = std::env::temp_dir().join(format!("knarr-https-test-{}", std::process::id()));
    std::fs::create_dir_all(&directory).unwrap();
    let write = |name: &str, content: &[u8]| {
        let path = directory.join(name);
        std::fs::write(&path, content).unwrap();
        path.display().to_string()
    };
    let (ca, certificate, key) = (
        write("ca.pem", authority.pem.as_bytes()),
        write("cert.pem", &certificate_pem),
        write("key.pem", &key_pem),
    );
    let kubeconfig = format!(
        "apiVersion: v1\nkind: Config\ncurrent-context: c\ncontexts: [{{name: c, context: {{cluster: k, user: u}}}}]\n\
         clusters: [{{name: k, cluster: {{server: 'https://127.0.0.1:{port}', certificate-authority: {ca}}}}}]\n\
         users: [{{name: u, user: {{client-certificate: {certificate}, client-key: {key}}}}}]\n"
    );
    let client = connect_kubeconfig(write("config", kubeconfig.as_bytes()).as_ref())
        .await
        .expect("a client is made");
    std::fs::remove_dir_all(&directory).unwrap();

    let maps = Informers::new(client.clone(), shutdown.clone()).store::<ConfigMap>();
    let api: Api<ConfigMap> = Api::namespaced(client, "default");
    let mut map = ConfigMap::default();
    map.metadata.name = Some("seen".into());
    api.create(&Default::default(), &map).await.expect("created");
    let seen = maps.wait_for(|maps| maps.get(&ObjectKey::namespaced("default", "seen")).is_some());
    tokio::time::timeout(PATIENCE, seen).await.expect("the informer hears of it");
    shutdown.cancel();
}
