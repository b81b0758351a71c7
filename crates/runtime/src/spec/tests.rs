//! Tables of the spec function.

use super::*;
use k8s_cri::v1::{
    Capability as CriCapabilities, Int64Value, KeyValue, LinuxContainerConfig, Mount as CriMount,
    NamespaceOption,
};
use oci_spec::image::ConfigBuilder;

const PASSWD: &str = "root:x:0:0:root:/root:/bin/sh\napp:x:1000:1001:App:/home/app:/bin/sh\n";
const GROUP: &str = "root:x:0:\nstaff:x:50:app,other\nweb:x:33:\n";

fn sandbox() -> SandboxFacts {
    SandboxFacts {
        hostname: "pod-1".into(),
        shim_pid: 77,
        host_network: false,
        host_ipc: false,
        etc: "/state/etc".into(),
    }
}

fn node() -> NodeFacts {
    NodeFacts {
        bounding: (1 << 41) - 1 - (1 << 24),
        oom_score_adj: -100,
        open_files: 20_000,
        devices: Vec::new(),
    }
}

fn container(security: LinuxContainerSecurityContext) -> ContainerConfig {
    ContainerConfig {
        command: vec!["/bin/app".into()],
        linux: Some(LinuxContainerConfig { resources: None, security_context: Some(security) }),
        ..Default::default()
    }
}

fn make(config: &ContainerConfig, image: Option<&ImageConfig>) -> Result<Spec, SpecError> {
    spec(&Input {
        config,
        image,
        passwd: PASSWD,
        group: GROUP,
        sandbox: &sandbox(),
        node: &node(),
        seccomp: SeccompChoice::RuntimeDefault,
        devices: Vec::new(),
        cgroup: "/pods/x",
        pid_namespace: None,
    })
}

fn process_of(config: &ContainerConfig, image: Option<&ImageConfig>) -> Process {
    make(config, image).expect("a spec").process().clone().expect("a process")
}

#[test]
fn args_follow_the_rules_of_the_cri() {
    let strings = |list: &[&str]| list.iter().map(|s| (*s).to_owned()).collect::<Vec<_>>();
    let image = ConfigBuilder::default()
        .entrypoint(strings(&["/e"]))
        .cmd(strings(&["c"]))
        .build()
        .expect("a config");
    for (command, args, expected) in [
        (&[][..], &[][..], Some(&["/e", "c"][..])),
        (&[], &["a"], Some(&["/e", "a"])),
        (&["/x"], &[], Some(&["/x"])),
        (&["/x"], &["a"], Some(&["/x", "a"])),
    ] {
        let config = ContainerConfig {
            command: strings(command),
            args: strings(args),
            ..Default::default()
        };
        assert_eq!(environment::args(&config, Some(&image)).ok(), expected.map(strings));
    }
    assert_eq!(environment::args(&ContainerConfig::default(), None), Err(SpecError::NoCommand));
}

#[test]
fn env_config_overrides_image_and_defaults_fill() {
    let image = ConfigBuilder::default()
        .env(vec!["A=image".into(), "B=image".into()])
        .build()
        .expect("a config");
    let mut config = container(LinuxContainerSecurityContext::default());
    config.envs = vec![KeyValue { key: "A".into(), value: "x=y".into() }];
    config.tty = true;
    let env = process_of(&config, Some(&image)).env().clone().expect("variables");
    assert_eq!(
        env,
        [
            "TERM=xterm",
            "HOSTNAME=pod-1",
            "A=x=y",
            "B=image",
            "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            "HOME=/root"
        ]
    );
}

#[test]
fn user_sources_are_ranked() {
    let by = |security: LinuxContainerSecurityContext, image: Option<&str>| {
        user::identity(&security, image, PASSWD, GROUP).map(|i| {
            (
                i.user.uid(),
                i.user.gid(),
                i.user.additional_gids().clone().unwrap_or_default(),
                i.home,
            )
        })
    };
    let uid = |value| LinuxContainerSecurityContext {
        run_as_user: Some(Int64Value { value }),
        ..Default::default()
    };
    assert_eq!(by(Default::default(), None), Ok((0, 0, vec![0], "/root".into())));
    assert_eq!(
        by(Default::default(), Some("app")),
        Ok((1000, 1001, vec![1001, 50], "/home/app".into()))
    );
    assert_eq!(
        by(Default::default(), Some("app:web")),
        Ok((1000, 33, vec![33, 50], "/home/app".into()))
    );
    assert_eq!(by(Default::default(), Some("7:8")), Ok((7, 8, vec![8], "/".into())));
    assert_eq!(by(uid(1000), Some("root")), Ok((1000, 1001, vec![1001, 50], "/home/app".into())));
    assert!(by(uid(-1), None).is_err());
    assert!(by(Default::default(), Some("nobody")).is_err());
    let strict = LinuxContainerSecurityContext {
        supplemental_groups_policy: 1,
        supplemental_groups: vec![9],
        ..uid(1000)
    };
    assert_eq!(by(strict, None).map(|i| i.2), Ok(vec![1001, 9]));
    let group_only = LinuxContainerSecurityContext {
        run_as_group: Some(Int64Value { value: 3 }),
        ..Default::default()
    };
    assert!(by(group_only, None).is_err());
}

#[test]
fn capabilities_are_cut_to_the_node_and_never_inheritable() {
    let security = LinuxContainerSecurityContext {
        capabilities: Some(CriCapabilities {
            add_capabilities: vec!["SYS_RESOURCE".into(), "SYS_TIME".into()],
            ..Default::default()
        }),
        ..Default::default()
    };
    let sets = process_of(&container(security), None).capabilities().clone().expect("capabilities");
    let effective: Vec<String> =
        sets.effective().iter().flatten().map(ToString::to_string).collect();
    assert!(effective.iter().any(|c| c.contains("SYS_TIME")), "{effective:?}");
    assert!(!effective.iter().any(|c| c.contains("SYS_RESOURCE")), "{effective:?}");
    assert_eq!(sets.inheritable().clone().map(|s| s.len()), Some(0));
}

#[test]
fn oom_score_is_clamped_to_our_own() {
    for (asked, given) in [(-998, -100), (0, 0), (1000, 1000), (2000, 1000)] {
        let mut config = container(LinuxContainerSecurityContext::default());
        let resources =
            k8s_cri::v1::LinuxContainerResources { oom_score_adj: asked, ..Default::default() };
        config.linux =
            Some(LinuxContainerConfig { resources: Some(resources), security_context: None });
        assert_eq!(process_of(&config, None).oom_score_adj(), Some(given));
    }
}

#[test]
fn mounts_volumes_replace_standard_ones() {
    let mut config = container(LinuxContainerSecurityContext::default());
    let volume = |to: &str| CriMount {
        container_path: to.into(),
        host_path: "/v".into(),
        ..Default::default()
    };
    config.mounts = vec![volume("/etc/hosts"), volume("/data/deep/er"), volume("/data")];
    let destinations: Vec<String> = make(&config, None)
        .expect("a spec")
        .mounts()
        .iter()
        .flatten()
        .map(|m| {
            format!(
                "{} {}",
                m.destination().display(),
                m.source().as_ref().expect("a source").display()
            )
        })
        .collect();
    assert_eq!(
        destinations[7..],
        [
            "/etc/hostname /state/etc/hostname",
            "/etc/resolv.conf /state/etc/resolv.conf",
            "/data /v",
            "/etc/hosts /v",
            "/data/deep/er /v"
        ]
    );
    config.mounts = vec![volume("/dev")];
    let spec = make(&config, None).expect("a spec");
    assert_eq!(
        spec.mounts().iter().flatten().filter(|m| m.destination().starts_with("/dev")).count(),
        1
    );
    for wrong in ["relative", "/a/../b"] {
        config.mounts = vec![volume(wrong)];
        assert!(make(&config, None).is_err(), "{wrong}");
    }
}

#[test]
fn namespaces_of_the_pod_are_the_shims() {
    let spec = make(&container(LinuxContainerSecurityContext::default()), None).expect("a spec");
    let namespaces =
        spec.linux().as_ref().and_then(|l| l.namespaces().clone()).expect("namespaces");
    let path = |typ| namespaces.iter().find(|n| n.typ() == typ).map(|n| n.path().clone());
    assert_eq!(path(LinuxNamespaceType::Network), Some(Some("/proc/77/ns/net".into())));
    assert_eq!(path(LinuxNamespaceType::Pid), Some(None));
    let host = NamespaceOption { pid: NamespaceMode::Node as i32, ..Default::default() };
    let security =
        LinuxContainerSecurityContext { namespace_options: Some(host), ..Default::default() };
    let spec = make(&container(security), None).expect("a spec");
    let namespaces =
        spec.linux().as_ref().and_then(|l| l.namespaces().clone()).expect("namespaces");
    assert!(!namespaces.iter().any(|n| n.typ() == LinuxNamespaceType::Pid));
}

#[test]
fn unsupported_fields_are_named() {
    let mut config = container(LinuxContainerSecurityContext::default());
    config.cdi_devices = vec![k8s_cri::v1::CdiDevice { name: "x".into() }];
    assert_eq!(make(&config, None), Err(SpecError::Unsupported("CDI_devices")));
}

#[test]
fn privileged_has_no_filter_and_nothing_hidden() {
    let security = LinuxContainerSecurityContext { privileged: true, ..Default::default() };
    let linux = make(&container(security), None).expect("a spec").linux().clone().expect("linux");
    assert!(linux.seccomp().is_none());
    assert!(linux.masked_paths().clone().unwrap_or_default().is_empty());
}
