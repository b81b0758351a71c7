//! Tests of the definitions and of the fact table's agreement with the types.

use super::*;

#[test]
fn definitions_every_reference_resolves() {
    let definitions = definitions();
    for (name, definition) in &definitions {
        let mut found = Vec::new();
        references(definition, &mut found);
        for target in found {
            assert!(definitions.contains_key(target), "{name} refers to {target}");
        }
    }
}

#[test]
fn definitions_every_row_has_its_kind_and_list() {
    let definitions = definitions();
    for resource in kinds::all() {
        let expected = gvk(resource.group, resource.version, resource.kind);
        assert_eq!(definitions[resource.schema_name][EXTENSION_GVK][0], expected);
        if resource.list_kind.is_empty() {
            assert!(!definitions.contains_key(&list_name(resource)));
            continue;
        }
        assert_eq!(
            definitions[&list_name(resource)]["properties"]["items"]["items"],
            reference(resource.schema_name)
        );
    }
}

#[test]
fn facts_every_row_names_a_type_and_a_field() {
    let definitions = definitions();
    for (short, fields) in facts::FAMILIES.iter().copied().flatten() {
        let definition =
            definitions.get(&long_name(short)).unwrap_or_else(|| panic!("no type {short}"));
        for (field, _) in *fields {
            assert!(definition["properties"].get(field).is_some(), "no field {short}.{field}");
        }
    }
    for (short, field, _) in facts::DEFAULTS {
        assert!(
            definitions[&long_name(short)]["properties"].get(field).is_some(),
            "no field {short}.{field}"
        );
    }
    for short in facts::NAMELESS_TYPES {
        assert!(
            definitions[&long_name(short)]["properties"].get("name").is_some(),
            "no field {short}.name"
        );
    }
    for short in facts::ATOMIC_TYPES {
        assert!(definitions.contains_key(&long_name(short)), "no type {short}");
    }
}

#[test]
fn facts_every_list_of_objects_says_how_it_merges_or_is_known_to_say_nothing() {
    // Lists of meta types and of a few older fields carry no mark in Kubernetes either.
    let lists = definitions();
    let unmarked = lists
        .iter()
        .filter(|(name, _)| name.starts_with("io.k8s.api.") && !name.ends_with("List"))
        .flat_map(|(name, d)| {
            d["properties"].as_object().into_iter().flatten().map(move |(f, p)| (name, f, p))
        })
        .filter(|(_, _, p)| p["type"] == "array" && p.get("x-kubernetes-list-type").is_none())
        .map(|(name, field, _)| format!("{name}.{field}"))
        .collect::<Vec<_>>();
    assert_eq!(unmarked, Vec::<String>::new());
}

#[test]
fn definitions_container_ports_carry_their_keys() {
    let definitions = definitions();
    let ports = &definitions["io.k8s.api.core.v1.Container"]["properties"]["ports"];
    assert_eq!(ports["x-kubernetes-list-type"], "map");
    assert_eq!(ports["x-kubernetes-list-map-keys"], json!(["containerPort", "protocol"]));
    assert_eq!(ports["x-kubernetes-patch-merge-key"], "containerPort");
    assert_eq!(ports["x-kubernetes-patch-strategy"], "merge");
    assert_eq!(
        definitions["io.k8s.api.core.v1.ContainerPort"]["properties"]["protocol"]["default"],
        "TCP"
    );
    let volumes = &definitions["io.k8s.api.core.v1.PodSpec"]["properties"]["volumes"];
    assert_eq!(volumes["x-kubernetes-patch-strategy"], "merge,retainKeys");
    assert_eq!(definitions[INT_OR_STRING]["format"], "int-or-string");
    assert_eq!(definitions[QUANTITY]["type"], "string");
}

#[test]
fn closure_of_a_leaf_is_itself_and_its_types() {
    let definitions = definitions();
    let names = closure(&definitions, ["io.k8s.api.coordination.v1.Lease"]);
    assert!(names.contains(&"io.k8s.api.coordination.v1.LeaseSpec"));
    assert!(!names.contains(&"io.k8s.api.core.v1.Pod"));
}

#[test]
fn definitions_require_what_kubernetes_requires() {
    let definitions = definitions();
    let required = |short: &str| definitions[&long_name(short)].get("required").cloned();
    assert_eq!(required("core.v1.Pod"), None);
    assert_eq!(required("core.v1.ConfigMapEnvSource"), None);
    assert_eq!(required("core.v1.SecretKeySelector"), Some(json!(["key"])));
    assert_eq!(required("core.v1.Binding"), Some(json!(["target"])));
    assert_eq!(required("core.v1.Container"), Some(json!(["name"])));
    assert_eq!(required("apps.v1.DeploymentSpec"), Some(json!(["selector", "template"])));
}
