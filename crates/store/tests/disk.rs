//! What only an engine with a disk can get wrong: restarts, locks, formats, and death in the middle of a write.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::sync::Arc;

use bytes::Bytes;
use futures::StreamExt;
use proptest::prelude::*;
use store::{Expect, Fjall, Memory, Page, Put, Store, StoreError};

/// Set in the process that is to be killed: the directory it writes to.
const VICTIM: &str = "KNARR_STORE_TEST_VICTIM";

#[tokio::test]
async fn reopened_store_goes_on_where_it_was() {
    let dir = tempfile::tempdir().unwrap();
    let store = Fjall::open(dir.path()).unwrap();
    let Ok(Put::Done(a)) = store.put("/a".into(), "1".into(), Expect::Absent, None).await else {
        panic!("no put")
    };
    let Ok(Put::Done(gone)) = store.delete("/a".into(), Expect::Revision(a)).await else {
        panic!("no delete")
    };
    store.compact(gone).await.unwrap();
    drop(store);
    let store = Fjall::open(dir.path()).unwrap();
    assert_eq!(store.revision(), gone, "a compacted tombstone does not set the clock back");
    assert!(matches!(store.watch("/", a), Err(StoreError::Compacted { .. })));
    let put = store.put("/a".into(), "2".into(), Expect::Absent, None).await;
    assert_eq!(put, Ok(Put::Done(gone + 1)));
}

#[tokio::test]
async fn ttl_survives_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let store = Fjall::open(dir.path()).unwrap();
    let ttl = Some(std::time::Duration::from_millis(30));
    store.put("/a".into(), "1".into(), Expect::Absent, ttl).await.unwrap();
    let before = store.revision();
    drop(store);
    let store = Fjall::open(dir.path()).unwrap();
    let mut events = store.watch("/", before - 1).unwrap();
    let mut kinds = Vec::new();
    while kinds.len() < 2 {
        kinds.extend(events.next().await.unwrap().unwrap().into_iter().map(|e| e.kind));
    }
    assert_eq!(kinds, [store::EventKind::Put, store::EventKind::Delete]);
}

#[tokio::test]
async fn second_process_is_told_the_directory_is_locked() {
    let dir = tempfile::tempdir().unwrap();
    let _store = Fjall::open(dir.path()).unwrap();
    assert!(matches!(Fjall::open(dir.path()).err(), Some(StoreError::Locked { .. })));
}

#[test]
fn directory_of_a_newer_version_is_refused_and_untouched() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("knarr-format"), "999\n").unwrap();
    let error = Fjall::open(dir.path()).err();
    assert!(matches!(error, Some(StoreError::Format { found: 999, .. })), "{error:?}");
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
}

/// Not a test of its own: the process that the next test kills. It writes without end and prints what was acknowledged.
#[test]
fn victim_writes_until_killed() {
    let Ok(dir) = std::env::var(VICTIM) else { return };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let store = Arc::new(Fjall::open(dir.as_ref()).unwrap());
        let writers = (0..16).map(|w| {
            let store = store.clone();
            tokio::spawn(async move {
                for n in 0u64.. {
                    let key = format!("/{}/{w}/{n}", std::process::id());
                    let put = store.put(
                        key.as_str().into(),
                        Bytes::from(vec![7; 512]),
                        Expect::Absent,
                        None,
                    );
                    if let Ok(Put::Done(revision)) = put.await {
                        println!("acked {key} {revision}");
                    }
                }
            })
        });
        futures::future::join_all(writers).await;
    });
}

#[tokio::test]
async fn acknowledged_writes_survive_kill_9() {
    let dir = tempfile::tempdir().unwrap();
    let mut acked: Vec<(String, u64)> = Vec::new();
    for round in 0..5 {
        let mut victim = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "victim_writes_until_killed", "--nocapture"])
            .env(VICTIM, dir.path())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(victim.stdout.take().unwrap()).lines();
        let (target, mut seen) = (300 + 137 * round, 0);
        for line in lines.map_while(Result::ok) {
            let words: Vec<_> = line.split(' ').collect();
            if let ["acked", key, revision] = words[..] {
                acked.push((key.to_string(), revision.parse().unwrap()));
                seen += 1;
            }
            if seen == target {
                victim.kill().unwrap();
            }
        }
        victim.wait().unwrap();
        let store = Fjall::open(dir.path()).unwrap();
        for (key, revision) in &acked {
            let entry =
                store.get(key).await.unwrap().value.expect("an acknowledged write is there");
            assert_eq!((entry.mod_revision, entry.value.len()), (*revision, 512));
        }
        assert!(store.revision() >= acked.iter().map(|(_, r)| *r).max().unwrap());
    }
}

#[derive(Clone, Debug)]
enum Step {
    Create(u8),
    Update(u8),
    Delete(u8),
    Compact(u8),
    Reopen,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0u8..5).prop_map(Step::Create),
        4 => (0u8..5).prop_map(Step::Update),
        3 => (0u8..5).prop_map(Step::Delete),
        1 => (0u8..20).prop_map(Step::Compact),
        1 => Just(Step::Reopen),
    ]
}

async fn take(store: &dyn Store, step: &Step, n: usize) -> Option<Put> {
    let key = |k: &u8| std::sync::Arc::from(format!("/{k}"));
    let expect =
        |entry: Option<store::Entry>| Expect::Revision(entry.map_or(0, |e| e.mod_revision));
    let value = Bytes::from(n.to_string());
    match step {
        Step::Create(k) => Some(store.put(key(k), value, Expect::Absent, None).await.unwrap()),
        Step::Update(k) => {
            let expect = expect(store.get(&key(k)).await.unwrap().value);
            Some(store.put(key(k), value, expect, None).await.unwrap())
        }
        Step::Delete(k) => {
            let expect = expect(store.get(&key(k)).await.unwrap().value);
            Some(store.delete(key(k), expect).await.unwrap())
        }
        Step::Compact(back) => {
            store.compact(store.revision().saturating_sub(u64::from(*back))).await.unwrap();
            None
        }
        Step::Reopen => None,
    }
}

async fn history(store: &dyn Store) -> Vec<Result<Vec<store::Entry>, StoreError>> {
    let mut pages = Vec::new();
    for revision in 1..=store.revision() {
        let page = Page { revision: Some(revision), ..Page::default() };
        pages.push(store.list("/", page).await.map(|at| at.value));
    }
    pages
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    /// Any sequence of steps leaves both engines with the same answers, the same history, at every revision.
    #[test]
    fn disk_equals_the_model(steps in proptest::collection::vec(step(), 1..60)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let dir = tempfile::tempdir().unwrap();
            let model = Memory::new();
            let mut disk = Some(Fjall::open(dir.path()).unwrap());
            for (n, step) in steps.iter().enumerate() {
                if matches!(step, Step::Reopen) {
                    disk = None;
                }
                let disk = disk.get_or_insert_with(|| Fjall::open(dir.path()).unwrap());
                assert_eq!(take(disk, step, n).await, take(&model, step, n).await, "step {n}: {step:?}");
            }
            let disk = disk.unwrap();
            assert_eq!(history(&disk).await, history(&model).await);
        });
    }
}
