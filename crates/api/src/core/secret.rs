//! Secret: bytes under keys that are not to be shown; its type says which keys must be there.
//!
//! Counterpart in Kubernetes: `pkg/registry/core/secret`. Values never appear in an error.

use std::collections::BTreeMap;

use apimachinery::field::{ErrorList, Path};
use apimachinery::names;
use jiff::Timestamp;
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use serde_json::Value;

use super::config_map::MAX_DATA_BYTES;
use crate::columns::{self, column};
use crate::fields;
use crate::kinds::{Column, Scope};
use crate::report::{Report, SEALED, omit_empty, text};
use crate::strategy::KindStrategy;

const OPAQUE: &str = "Opaque";
const SERVICE_ACCOUNT_TOKEN: &str = "kubernetes.io/service-account-token";
const SERVICE_ACCOUNT_NAME: &str = "kubernetes.io/service-account.name";
const DOCKER_CFG: &str = "kubernetes.io/dockercfg";
const DOCKER_CONFIG_JSON: &str = "kubernetes.io/dockerconfigjson";
const BASIC_AUTH: &str = "kubernetes.io/basic-auth";
const SSH_AUTH: &str = "kubernetes.io/ssh-auth";
const TLS: &str = "kubernetes.io/tls";
const REDACTED: &str = "<secret contents redacted>";

impl KindStrategy for Secret {
    const SELECTABLE: &'static [&'static str] = &["metadata.name", "metadata.namespace", "type"];
    const COLUMNS: &'static [Column] = &[
        columns::NAME,
        column("Type", "string", "Kind of content the secret holds."),
        column("Data", "string", "Number of keys."),
        columns::AGE,
    ];

    fn default_fields(&mut self) {
        if let Some(strings) = self.string_data.take() {
            let bytes = strings.into_iter().map(|(k, v)| (k, ByteString(v.into_bytes())));
            self.data.get_or_insert_default().extend(bytes);
        }
        if text(&self.type_).is_empty() {
            self.type_ = Some(OPAQUE.to_owned());
        }
        omit_empty!(self; data);
    }

    fn validate(&self, errors: &mut ErrorList) {
        let empty = BTreeMap::new();
        let data = self.data.as_ref().unwrap_or(&empty);
        let at = Path::new("data");
        for key in data.keys() {
            errors.invalid_all(&at.key(key), key, names::is_config_map_key(key));
        }
        if data.values().map(|v| v.0.len()).sum::<usize>() > MAX_DATA_BYTES {
            errors.too_long(&at, MAX_DATA_BYTES);
        }
        validate_type(self, data, errors);
    }

    fn validate_update(&self, old: &Self, errors: &mut ErrorList) {
        errors.unchanged(&Path::new("type"), &self.type_, &old.type_);
        if old.immutable != Some(true) {
            return;
        }
        if self.immutable != Some(true) {
            errors.forbidden(&Path::new("immutable"), SEALED);
        }
        if self.data != old.data {
            errors.forbidden(&Path::new("data"), SEALED);
        }
    }

    fn fields(&self) -> Vec<(&'static str, String)> {
        let mut all = fields::metadata(&self.metadata, Scope::Namespaced);
        all.push(("type", text(&self.type_).to_owned()));
        all
    }

    fn row(&self, now: Timestamp) -> Vec<Value> {
        let keys = self.data.as_ref().map_or(0, BTreeMap::len);
        vec![
            columns::name(&self.metadata),
            text(&self.type_).into(),
            keys.into(),
            columns::age(&self.metadata, now),
        ]
    }
}

type Data = BTreeMap<String, ByteString>;

/// The keys that the secret's type demands.
fn validate_type(secret: &Secret, data: &Data, errors: &mut ErrorList) {
    match text(&secret.type_) {
        SERVICE_ACCOUNT_TOKEN => require_account(secret, errors),
        DOCKER_CFG => require_json(".dockercfg", data, errors),
        DOCKER_CONFIG_JSON => require_json(".dockerconfigjson", data, errors),
        BASIC_AUTH if !data.contains_key("username") && !data.contains_key("password") => {
            require("username", data, errors);
            require("password", data, errors);
        }
        SSH_AUTH if data.get("ssh-privatekey").is_none_or(|v| v.0.is_empty()) => {
            errors.required(&Path::new("data").key("ssh-privatekey"), "");
        }
        TLS => {
            require("tls.crt", data, errors);
            require("tls.key", data, errors);
        }
        _ => {}
    }
}

fn require(key: &str, data: &Data, errors: &mut ErrorList) {
    if !data.contains_key(key) {
        errors.required(&Path::new("data").key(key), "");
    }
}

fn require_json(key: &str, data: &Data, errors: &mut ErrorList) {
    let at = Path::new("data").key(key);
    let Some(value) = data.get(key) else { return errors.required(&at, "") };
    if let Err(error) = serde_json::from_slice::<serde_json::Map<String, Value>>(&value.0) {
        let detail = if error.is_eof() {
            "unexpected end of JSON input".to_owned()
        } else {
            error.to_string()
        };
        errors.invalid(&at, REDACTED, detail);
    }
}

fn require_account(secret: &Secret, errors: &mut ErrorList) {
    let name = secret.metadata.annotations.as_ref().and_then(|a| a.get(SERVICE_ACCOUNT_NAME));
    if name.is_none_or(String::is_empty) {
        errors.required(&Path::new("metadata").child("annotations").key(SERVICE_ACCOUNT_NAME), "");
    }
}
