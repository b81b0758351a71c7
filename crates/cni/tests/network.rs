//! The pod network in namespaces made for the test: real links, real packets, nothing left.

use std::net::{IpAddr, Ipv4Addr, TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use cni::{Cidr, Config, Network, link};
use rustix::thread::{LinkNameSpaceType, UnshareFlags, move_into_link_name_space, unshare_unsafe};

/// Runs a test on a thread that has a network namespace of its own, and gives it one more for a pod.
fn with_namespaces(test: impl FnOnce(&Path) + Send + 'static) {
    let thread = std::thread::spawn(move || {
        let pod = fresh_namespace();
        // SAFETY: only this thread's network namespace changes, and the thread was made for it.
        unsafe { unshare_unsafe(UnshareFlags::NEWNET) }
            .expect("a namespace; the tests run as root");
        test(&pod);
    });
    thread.join().unwrap();
}

/// A namespace kept alive by a thread that sleeps in it until the process ends.
fn fresh_namespace() -> PathBuf {
    let (sender, receiver) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        // SAFETY: as above.
        unsafe { unshare_unsafe(UnshareFlags::NEWNET) }.expect("a namespace");
        sender.send(rustix::thread::gettid().as_raw_nonzero()).unwrap();
        std::thread::park();
    });
    PathBuf::from(format!("/proc/self/task/{}/ns/net", receiver.recv().unwrap()))
}

fn config(dir: &Path) -> Config {
    Config {
        bridge: "kntest0".into(),
        pod_cidr: "10.42.7.0/24".parse().unwrap(),
        state_dir: dir.to_owned(),
        masquerade: true,
        cluster_cidrs: vec!["10.42.0.0/16".parse().unwrap(), "10.43.0.0/16".parse().unwrap()],
    }
}

fn inside<T: Send>(netns: &Path, f: impl FnOnce() -> T + Send) -> T {
    std::thread::scope(|scope| {
        let thread = scope.spawn(|| {
            let fd = link::open_namespace(netns).unwrap();
            move_into_link_name_space(fd.as_fd(), Some(LinkNameSpaceType::Network)).unwrap();
            f()
        });
        thread.join().unwrap()
    })
}

#[test]
fn pod_is_reached_and_sees_the_bridge_as_its_client() {
    with_namespaces(|pod| {
        let dir = tempfile::tempdir().unwrap();
        let network = Network::open(config(dir.path())).unwrap();
        let ips = network.attach("sandbox1", pod).unwrap();
        assert_eq!(ips, [IpAddr::V4(Ipv4Addr::new(10, 42, 7, 2))]);
        let listener = inside(pod, || TcpListener::bind("0.0.0.0:8080").unwrap());
        let _client = TcpStream::connect((ips[0], 8080)).unwrap();
        let (_, peer) = listener.accept().unwrap();
        assert_eq!(peer.ip(), IpAddr::V4(Ipv4Addr::new(10, 42, 7, 1)));
    });
}

#[test]
fn attach_and_detach_are_idempotent_and_leave_nothing() {
    with_namespaces(|pod| {
        let dir = tempfile::tempdir().unwrap();
        let network = Network::open(config(dir.path())).unwrap();
        let first = network.attach("sandbox1", pod).unwrap();
        assert_eq!(network.attach("sandbox1", pod).unwrap(), first);
        let reopened = Network::open(config(dir.path())).unwrap();
        assert_eq!(reopened.attach("sandbox1", pod).unwrap(), first);
        assert_eq!(reopened.attached(), ["sandbox1"]);
        reopened.detach("sandbox1").unwrap();
        reopened.detach("sandbox1").unwrap();
        reopened.teardown().unwrap();
        reopened.teardown().unwrap();
        let names = link::in_namespace(None, async |links| links.names().await).unwrap();
        let made = |name: &String| name.starts_with("veth") || name.starts_with("kntest");
        assert!(!names.iter().any(made), "{names:?}");
        assert_eq!(std::fs::read_dir(dir.path().join("addresses")).unwrap().count(), 0);
    });
}

#[test]
fn cluster_ranges_that_nobody_owns_are_unreachable() {
    with_namespaces(|_| {
        let dir = tempfile::tempdir().unwrap();
        let _network = Network::open(config(dir.path())).unwrap();
        for address in ["10.43.0.1:80", "10.42.99.1:80"] {
            let error = TcpStream::connect(address).unwrap_err();
            assert_eq!(error.kind(), std::io::ErrorKind::HostUnreachable, "{address}: {error}");
        }
        let route: Cidr = "10.43.0.0/16".parse().unwrap();
        let there = link::in_namespace(None, async |links| links.has_route(route).await).unwrap();
        assert!(there);
    });
}

/// Pod → bridge → node's own uplink → a neighbour: the neighbour sees the node, not the pod.
#[test]
fn world_sees_the_node_instead_of_the_pod() {
    with_namespaces(|pod| {
        let dir = tempfile::tempdir().unwrap();
        let world = fresh_namespace();
        let world_fd = link::open_namespace(&world).unwrap();
        link::in_namespace(None, async |links| {
            let uplink = links.ensure_bridge("uplink0").await?;
            links.ensure_address(uplink, Ipv4Addr::new(192, 168, 77, 1), 24).await?;
            let (name, peer, bridge) = ("vethworld", "eth0", "uplink0");
            let peer_netns = world_fd.as_fd();
            links.add_pair(&link::Pair { name, peer, peer_netns, bridge, mtu: 1500 }).await
        })
        .unwrap();
        let there = Ipv4Addr::new(192, 168, 77, 2);
        link::in_namespace(Some(world_fd.as_fd()), async |links| {
            let index = links.existing("eth0").await?;
            links.up(index).await?;
            links.ensure_address(index, there, 24).await
        })
        .unwrap();
        let network = Network::open(config(dir.path())).unwrap();
        network.attach("sandbox1", pod).unwrap();
        let listener = inside(&world, || TcpListener::bind("0.0.0.0:80").unwrap());
        let _client = inside(pod, || TcpStream::connect((there, 80)).unwrap());
        let (_, peer) = listener.accept().unwrap();
        assert_eq!(peer.ip(), IpAddr::V4(Ipv4Addr::new(192, 168, 77, 1)));
    });
}
