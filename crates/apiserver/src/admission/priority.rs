//! Every pod has a number for its priority: that of its class, of the default class, or 0. One class is the default.
//!
//! Counterpart in Kubernetes: `plugin/pkg/admission/priority`. The two built-in classes are known before they are stored.

use std::sync::Arc;

use api::kinds::{self, Resource};
use api::scheduling::priority_class::SYSTEM_CLASSES;
use apimachinery::status::StatusError;
use async_trait::async_trait;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::api::scheduling::v1::PriorityClass;

use super::{Creation, Plugin, Replacement};
use crate::storage::{self, Encoded};
use crate::watch_cache::WatchCache;

const DEFAULT_PREEMPTION_POLICY: &str = "PreemptLowerPriority";

pub(super) struct Priority {
    cache: Arc<WatchCache>,
    classes: &'static Resource,
}

/// What a class gives to a pod.
struct Class {
    name: String,
    value: i32,
    policy: String,
}

impl From<PriorityClass> for Class {
    fn from(class: PriorityClass) -> Self {
        Self {
            name: class.metadata.name.unwrap_or_default(),
            value: class.value.unwrap_or_default(),
            policy: class.preemption_policy.unwrap_or_else(|| DEFAULT_PREEMPTION_POLICY.to_owned()),
        }
    }
}

/// Whether the text says that the class is the default one; every pod asks, so classes that are not are never decoded.
fn is_marked(json: &[u8]) -> bool {
    const MARK: &[u8] = br#""globalDefault":true"#;
    json.windows(MARK.len()).any(|window| window == MARK)
}

#[async_trait]
impl Plugin for Priority {
    async fn create(&self, creation: &mut Creation<'_>) -> Result<(), StatusError> {
        if self.needs_every_class(creation) {
            // Should memory stay behind, it is asked as it is.
            self.cache.read_your_writes().await.ok();
        }
        let refusal = match creation.typed::<PriorityClass>() {
            Some(class) => self.second_default(class),
            None => creation.typed::<Pod>().and_then(|pod| self.establish(pod).err()),
        };
        refusal.map_or(Ok(()), |reason| Err(creation.forbidden(reason)))
    }

    fn update(&self, replacement: &mut Replacement<'_>) -> Result<(), StatusError> {
        if let Some((class, _)) = replacement.whole::<PriorityClass>() {
            let refusal = self.second_default(class);
            return refusal.map_or(Ok(()), |reason| Err(replacement.forbidden(reason)));
        }
        let Some((new, old)) = replacement.whole::<Pod>() else {
            return Ok(());
        };
        if let (Some(new), Some(old)) = (&mut new.spec, &old.spec) {
            new.priority = new.priority.or(old.priority);
            new.preemption_policy =
                new.preemption_policy.take().or_else(|| old.preemption_policy.clone());
        }
        Ok(())
    }
}

impl Priority {
    pub(super) fn new(cache: Arc<WatchCache>) -> Self {
        Self { cache, classes: kinds::of::<PriorityClass>() }
    }

    /// Whether the classes in memory are not enough: for a new default class, and for a pod of a class that is not among them.
    fn needs_every_class(&self, creation: &mut Creation<'_>) -> bool {
        if let Some(class) = creation.typed::<PriorityClass>() {
            return class.global_default == Some(true);
        }
        let spec = creation.typed::<Pod>().and_then(|pod| pod.spec.as_ref());
        let name = spec.and_then(|spec| spec.priority_class_name.as_deref()).unwrap_or_default();
        !name.is_empty() && self.class(name).is_none()
    }

    fn decode(&self, class: &Encoded) -> Option<PriorityClass> {
        let object = class.decode(self.classes).ok()?;
        object.as_any().downcast_ref::<PriorityClass>().cloned()
    }

    /// Of several default classes, as a race can leave them behind, the lowest counts.
    fn default_class(&self) -> Option<Class> {
        let all = self.cache.snapshot(self.classes).objects;
        let marked = all.values().filter(|class| is_marked(&class.json()));
        let classes = marked.filter_map(|class| self.decode(class));
        let defaults = classes.filter(|class| class.global_default == Some(true)).map(Class::from);
        defaults.min_by_key(|class| class.value)
    }

    fn class(&self, name: &str) -> Option<Class> {
        let system = SYSTEM_CLASSES.iter().find(|(known, _)| *known == name);
        if let Some((name, value)) = system {
            let policy = DEFAULT_PREEMPTION_POLICY.to_owned();
            return Some(Class { name: (*name).to_owned(), value: *value, policy });
        }
        let key = storage::key(self.classes, "", name);
        let found = self.cache.of(self.classes)?.get(&key)?;
        self.decode(&found).map(Class::from)
    }

    fn second_default(&self, class: &PriorityClass) -> Option<String> {
        let default = self.default_class().filter(|_| class.global_default == Some(true))?;
        (class.metadata.name.as_deref() != Some(default.name.as_str())).then(|| {
            format!(
                "PriorityClass {} is already marked as default. Only one default can exist",
                default.name
            )
        })
    }

    /// Sets the priority and the preemption policy.
    fn establish(&self, pod: &mut Pod) -> Result<(), String> {
        let spec = pod.spec.get_or_insert_default();
        let wanted = spec.priority_class_name.clone().filter(|name| !name.is_empty());
        let class = match wanted {
            None => self.default_class(),
            Some(name) => Some(
                self.class(&name)
                    .ok_or_else(|| format!("no PriorityClass with name {name} was found"))?,
            ),
        };
        let none =
            Class { name: String::new(), value: 0, policy: DEFAULT_PREEMPTION_POLICY.to_owned() };
        let Class { name, value, policy } = class.unwrap_or(none);
        if let Some(given) = spec.priority.filter(|given| *given != value) {
            return Err(format!(
                "the integer value of priority ({given}) must not be provided in pod spec; priority admission controller computed \
                 {value} from the given PriorityClass name"
            ));
        }
        if let Some(given) = spec.preemption_policy.as_ref().filter(|given| **given != policy) {
            return Err(format!(
                "the string value of PreemptionPolicy ({given}) must not be provided in pod spec; priority admission controller \
                 computed {policy} from the given PriorityClass name"
            ));
        }
        if !name.is_empty() {
            spec.priority_class_name = Some(name);
        }
        spec.priority = Some(value);
        spec.preemption_policy = Some(policy);
        Ok(())
    }
}
