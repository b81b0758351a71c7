//! What updates and applies make of the managers of an object: their names, times and number.
//!
//! Counterpart: `managedfields/internal/fieldmanager.go` and the chain of managers it builds. Invariant: pure; the clock is a
//! parameter.

use std::sync::LazyLock;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{StatusCause, Time};
use serde_json::Value;

use super::created::created;
use super::element::{PathElement, path_text};
use super::field_set::{FieldSet, Filter};
use super::last_applied;
use super::managed::{Managed, Manager, Operation, Owned};
use super::schema::TypedSchema;
use super::typed::{self, Duplicates};
use super::updater::{Conflict, Updater, Versions};
use crate::status::StatusError;

/// How many managers that update an object may have; the oldest ones are put together.
const MAX_UPDATE_MANAGERS: usize = 10;
/// Whose name the oldest managers get.
const ANCIENT: &str = "ancient-changes";
/// Who owns what was there before an object was applied for the first time.
const BEFORE: &str = "before-first-apply";
/// Whose applies take over from client-side apply.
const KUBECTL: &str = "kubectl";
/// How long a manager's name may be that is taken from a `User-Agent`.
const MAX_NAME_BYTES: usize = 128;

/// Metadata that nobody owns.
const NEVER_OWNED: [&str; 9] = [
    "clusterName",
    "creationTimestamp",
    "generation",
    "managedFields",
    "name",
    "namespace",
    "resourceVersion",
    "selfLink",
    "uid",
];

/// Keeps the managers of objects of a kind, for requests of one version to the object or a subresource.
#[derive(Clone, Copy)]
pub struct FieldManager<'a> {
    /// The types.
    pub schema: &'a TypedSchema,
    /// The versions of the kind.
    pub versions: &'a dyn Versions,
    /// The version of the request.
    pub api_version: &'a str,
    /// The kind.
    pub kind: &'a str,
    /// The subresource that is written; empty for the object itself.
    pub subresource: &'a str,
    /// What the request can own.
    pub filter: &'a Filter,
    /// The present moment.
    pub now: &'a Time,
}

/// An applied configuration.
#[derive(Clone, Debug)]
pub struct Applied {
    /// The object, without its managers.
    pub object: Value,
    /// Its managers.
    pub managed: Managed,
}

/// Why a configuration was not applied.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ApplyError {
    /// It makes no sense.
    #[error("{0}")]
    BadRequest(String),
    /// It is not of the kind's type.
    #[error("{0}")]
    Untyped(String),
    /// Others own fields that it changes.
    #[error("{}", conflict_message(.0))]
    Conflicts(Vec<Conflict>),
}

impl ApplyError {
    /// The answer to the client.
    pub fn to_status(&self) -> StatusError {
        match self {
            Self::BadRequest(message) => StatusError::bad_request(message),
            Self::Untyped(message) => StatusError::new(500, "", message, None),
            Self::Conflicts(conflicts) => {
                StatusError::apply_conflict(conflicts.iter().map(cause).collect(), self.to_string())
            }
        }
    }
}

fn cause(conflict: &Conflict) -> StatusCause {
    StatusCause {
        field: Some(path_text(&conflict.path)),
        message: Some(format!("conflict with {}", conflict.manager)),
        reason: Some("FieldManagerConflict".to_owned()),
    }
}

fn conflict_message(conflicts: &[Conflict]) -> String {
    if let [one] = conflicts {
        let path = path_text(&one.path);
        return format!("Apply failed with 1 conflict: conflict with {}: {path}", one.manager);
    }
    let mut lines = Vec::new();
    let mut last = None;
    for conflict in conflicts {
        if last != Some(&conflict.manager) {
            lines.push(format!("conflicts with {}:", conflict.manager));
            last = Some(&conflict.manager);
        }
        lines.push(format!("- {}", path_text(&conflict.path)));
    }
    format!("Apply failed with {} conflicts: {}", conflicts.len(), lines.join("\n"))
}

impl FieldManager<'_> {
    /// The managers of an object that `manager` changed from `live` to `new`, neither of them with their managers inside. An
    /// object that nobody owned anything of stays so, unless it is created.
    #[must_use]
    pub fn update(
        &self,
        live: Option<&Value>,
        new: &Value,
        managed: Managed,
        manager: &str,
    ) -> Managed {
        match live {
            Some(_) if managed.is_empty() => managed,
            Some(live) => self.track(live, new, managed, manager),
            None if managed.is_empty() => self.create(new, manager),
            None => self.track(super::schema::nothing(), new, managed, manager),
        }
    }

    /// What tracking a new object gives when nobody owns anything yet, without building sets of fields.
    fn create(&self, new: &Value, manager: &str) -> Managed {
        let filtered = match self.filter {
            Filter::All => None,
            Filter::Except(set) => Some(set),
            Filter::Only(_) => {
                let nothing = super::schema::nothing();
                return self.track(nothing, new, Managed::default(), manager);
            }
        };
        let mut managed = Managed::default();
        let Some((_, ty)) = self.versions.convert(new, self.api_version) else { return managed };
        let text = created(self.schema, ty, new, [filtered, Some(&NEVER)]);
        if text != "{}" {
            let now = Some(self.now.clone());
            let owned = Owned::stored(self.api_version.to_owned(), text, now);
            managed.entries.insert(self.manager(manager, Operation::Update), owned);
        }
        managed
    }

    pub(super) fn track(
        &self,
        live: &Value,
        new: &Value,
        mut managed: Managed,
        manager: &str,
    ) -> Managed {
        let own = never_owned_removed(&self.updater().update(live, new, &mut managed));
        if !own.is_empty() {
            let manager = self.manager(manager, Operation::Update);
            let mut owned = match managed.entries.remove(&manager) {
                // Who writes the same fields again and again keeps the text of its entry.
                Some(previous) if own.difference(previous.set()).is_empty() => previous,
                Some(previous) => previous.with(previous.set().union(&own)),
                None => Owned::new(self.api_version, own, None),
            };
            owned.time = Some(self.now.clone());
            managed.entries.insert(manager, owned);
        }
        capped(managed)
    }

    /// The object that applying `config` to `live` makes, neither of them with managers inside.
    ///
    /// # Errors
    /// If the configuration is none, or others own what it changes.
    pub fn apply(
        &self,
        live: &Value,
        config: &Value,
        managed: Managed,
        manager: &str,
        force: bool,
    ) -> Result<Applied, ApplyError> {
        self.check(config)?;
        let managed = match managed.is_empty() {
            true => self.track(super::schema::nothing(), live, managed, BEFORE),
            false => managed,
        };
        let mut applied = match self.merge(live, config, managed.clone(), manager, force) {
            Err(conflicts) if manager == KUBECTL => {
                self.check_conflicts(live, conflicts)?;
                self.merge(live, config, managed, manager, true)
            }
            other => other,
        }
        .map_err(ApplyError::Conflicts)?;
        if manager == KUBECTL {
            last_applied::refresh(&mut applied.object, config);
        }
        Ok(applied)
    }

    /// What a configuration must be, whatever it is applied to.
    fn check(&self, config: &Value) -> Result<(), ApplyError> {
        let text = |name: &str| config.get(name).and_then(Value::as_str).unwrap_or_default();
        let (api_version, kind) = (text("apiVersion"), text("kind"));
        if (api_version, kind) != (self.api_version, self.kind) {
            let shown = shown(api_version, kind);
            return Err(ApplyError::BadRequest(format!("invalid object type: {shown}")));
        }
        let metadata = |name: &str| config.get("metadata")?.get(name);
        if metadata("managedFields").is_some_and(|fields| !fields.is_null()) {
            let message = "metadata.managedFields must be nil".to_owned();
            return Err(ApplyError::BadRequest(message));
        }
        let Some((_, ty)) = self.versions.convert(config, self.api_version) else { return Ok(()) };
        typed::validate(self.schema, ty, config, Duplicates::Refused).map_err(|errors| {
            let name = |name| metadata(name).and_then(Value::as_str).unwrap_or_default();
            ApplyError::Untyped(format!(
                "failed to create typed patch object ({}/{}; {}): {errors}",
                name("namespace"),
                name("name"),
                shown(api_version, kind)
            ))
        })
    }

    /// Conflicts about fields that are as client-side apply left them are none for `kubectl`.
    fn check_conflicts(&self, live: &Value, conflicts: Vec<Conflict>) -> Result<(), ApplyError> {
        let ty = self.versions.convert(live, self.api_version).map(|(_, ty)| ty);
        let allowed = ty
            .and_then(|ty| last_applied::unchanged_since(self.schema, ty, self.api_version, live));
        let Some(allowed) = allowed else { return Err(ApplyError::Conflicts(conflicts)) };
        let left: Vec<Conflict> =
            conflicts.into_iter().filter(|conflict| !allowed.has(&conflict.path)).collect();
        if left.is_empty() { Ok(()) } else { Err(ApplyError::Conflicts(left)) }
    }

    fn merge(
        &self,
        live: &Value,
        config: &Value,
        mut managed: Managed,
        manager: &str,
        force: bool,
    ) -> Result<Applied, Vec<Conflict>> {
        let manager = self.manager(manager, Operation::Apply);
        let object = self.updater().apply(live, config, &mut managed, &manager, force)?;
        let time = object.is_some().then(|| self.now.clone());
        if let Some(mut owned) = managed.entries.remove(&manager) {
            let set = never_owned_removed(owned.set());
            owned = owned.with(set);
            owned.time = time.or(owned.time);
            if !owned.is_empty() {
                managed.entries.insert(manager, owned);
            }
        }
        Ok(Applied { object: object.unwrap_or_else(|| live.clone()), managed })
    }

    fn manager(&self, name: &str, operation: Operation) -> Manager {
        Manager::new(name, operation, self.api_version, self.subresource)
    }

    fn updater(&self) -> Updater<'_> {
        Updater {
            schema: self.schema,
            versions: self.versions,
            api_version: self.api_version,
            filter: self.filter,
        }
    }
}

/// A kind as Go prints it.
fn shown(api_version: &str, kind: &str) -> String {
    let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
    format!("{group}/{version}, Kind={kind}")
}

/// The set without what nobody owns: what identifies an object, and what only the server sets.
fn never_owned_removed(set: &FieldSet) -> FieldSet {
    let metadata = FieldSet::of([[PathElement::field("metadata")].as_slice()]);
    set.difference(&NEVER).difference(&metadata)
}

/// What nobody owns; `metadata` itself is not in it, but nobody owns that either.
static NEVER: LazyLock<FieldSet> = LazyLock::new(|| {
    let field = PathElement::field;
    let mut never = FieldSet::default();
    for name in ["apiVersion", "kind"] {
        never.insert(&[field(name)]);
    }
    for name in NEVER_OWNED {
        never.insert(&[field("metadata"), field(name)]);
    }
    never
});

/// Puts the oldest managers together, version by version, until there are not too many that update.
fn capped(mut managed: Managed) -> Managed {
    let seconds = |owned: &Owned| owned.time.as_ref().map_or(0, |time| time.0.as_second());
    let updaters = managed.entries.iter().filter(|(m, _)| m.operation == Operation::Update);
    let mut updaters: Vec<(i64, Manager)> =
        updaters.map(|(manager, owned)| (seconds(owned), manager.clone())).collect();
    let mut count = updaters.len();
    if count <= MAX_UPDATE_MANAGERS {
        return managed;
    }
    updaters.sort();
    let mut first: std::collections::BTreeMap<String, Manager> = std::collections::BTreeMap::new();
    for (_, manager) in updaters {
        if count <= MAX_UPDATE_MANAGERS {
            break;
        }
        let Some(owned) = managed.entries.get(&manager).cloned() else { continue };
        let version = owned.api_version.clone();
        let Some(first) = first.get(&version) else {
            first.insert(version, manager);
            continue;
        };
        let bucket = Manager::new(ANCIENT, Operation::Update, &version, "");
        if !managed.entries.contains_key(&bucket)
            && let Some(oldest) = managed.entries.remove(first)
        {
            managed.entries.insert(bucket.clone(), oldest);
        }
        let ancient = managed.entries.get(&bucket).map(|owned| owned.set().clone());
        let set = owned.set().union(&ancient.unwrap_or_default());
        if manager != bucket {
            managed.entries.remove(&manager);
        }
        // The time is that of the more recent change.
        managed.entries.insert(bucket, Owned::new(&version, set, owned.time));
        count -= 1;
    }
    managed
}

/// The name of a manager that did not give one: its `User-Agent` up to the first slash, printable characters only.
pub fn user_agent_manager(user_agent: &str) -> String {
    let mut name = String::new();
    for c in user_agent.split('/').next().unwrap_or_default().chars() {
        if c.is_control() || (c.is_whitespace() && c != ' ') {
            continue;
        }
        if name.len() + c.len_utf8() > MAX_NAME_BYTES {
            break;
        }
        name.push(c);
    }
    name
}
