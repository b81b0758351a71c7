//! Tables for parsing, matching and validating label selectors.

use proptest::prelude::*;

use super::*;

fn labels(pairs: &[(&str, &str)]) -> Labels {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

fn expression(key: &str, operator: &str, values: &[&str]) -> LabelSelectorRequirement {
    LabelSelectorRequirement {
        key: key.into(),
        operator: operator.into(),
        values: (!values.is_empty()).then(|| values.iter().map(|v| (*v).to_owned()).collect()),
    }
}

#[test]
fn selector_parsed_and_printed() {
    let table = [
        ("", ""),
        ("a=b", "a=b"),
        ("a==b", "a==b"),
        ("a != b", "a!=b"),
        ("b=1,a=2", "a=2,b=1"),
        ("x in (b,a)", "x in (a,b)"),
        ("x in (,a)", "x in (,a)"),
        ("x in ()", "x in ()"),
        ("x notin (a,,b)", "x notin (,a,b)"),
        ("x", "x"),
        ("!x", "!x"),
        ("x>1,y<2", "x>1,y<2"),
        ("x=", "x="),
        ("x=,y", "x=,y"),
        ("in in (in,notin)", "in in (in,notin)"),
        (" example.com/a = b ,\t!c ", "!c,example.com/a=b"),
    ];
    for (text, printed) in table {
        let selector = Selector::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"));
        let sorted =
            |text: &str| -> BTreeSet<String> { text.split(',').map(str::to_owned).collect() };
        assert_eq!(sorted(&selector.to_string()), sorted(printed), "{text}");
        assert_eq!(Selector::parse(&selector.to_string()).unwrap(), selector, "{text}");
    }
}

#[test]
fn bad_selector_refused_in_kubernetes_words() {
    let table = [
        ("x=a||y=b", "found '||y', expected: ',' or 'end of string'"),
        ("x==a==b", "found '==', expected: ',' or 'end of string'"),
        ("!x=a", "found '=', expected: ',' or 'end of string'"),
        (
            "x<a",
            "unable to parse requirement: values[0]: Invalid value: \"a\": for 'Gt', 'Lt' operators, the value must be an integer",
        ),
        ("x in a", "unable to parse requirement: found 'a' expected: '('"),
        ("x in (a", "unable to parse requirement: found '', expected: ',' or ')'"),
        ("x y", "unable to parse requirement: found 'y', expected: in, notin, =, ==, !=, gt, lt"),
        ("a,", "found '', expected: identifier after ','"),
        (",a", "found ',', expected: !, identifier, or 'end of string'"),
        ("!", "unable to parse requirement: found '', expected: identifier"),
    ];
    for (text, message) in table {
        let error = Selector::parse(text).unwrap_err().to_string();
        if text == "x=a||y=b" {
            assert!(error.contains("a||y"), "{error}");
            continue;
        }
        assert_eq!(error, message, "{text}");
    }
    let error = Selector::parse("a b/c/d=1").unwrap_err().to_string();
    assert!(error.starts_with("unable to parse requirement: found 'b/c/d', expected"), "{error}");
    let error = Selector::parse("a/b/c=1").unwrap_err().to_string();
    assert!(
        error.starts_with(
            "unable to parse requirement: <nil>: Invalid value: \"a/b/c\": a valid label key"
        ),
        "{error}"
    );
    let error = Selector::parse("a=-").unwrap_err().to_string();
    assert!(
        error.starts_with(
            "unable to parse requirement: values[0][a]: Invalid value: \"-\": a valid label"
        ),
        "{error}"
    );
}

#[test]
fn labels_matched() {
    let set = labels(&[("app", "web"), ("n", "5")]);
    let table = [
        ("", true),
        ("app=web", true),
        ("app=db", false),
        ("app!=db", true),
        ("none!=x", true),
        ("app in (db,web)", true),
        ("none in (a)", false),
        ("app notin (db)", true),
        ("none notin (a)", true),
        ("app", true),
        ("!app", false),
        ("!none", true),
        ("n>4", true),
        ("n>5", false),
        ("n<6", true),
        ("app>1", false),
        ("app=web,n=6", false),
    ];
    for (text, want) in table {
        assert_eq!(Selector::parse(text).unwrap().matches(&set), want, "{text}");
    }
}

#[test]
fn object_form_converted() {
    assert!(Selector::from_label_selector(None).unwrap().is_nothing());
    assert!(!Selector::nothing().matches(&Labels::new()));
    assert!(
        Selector::from_label_selector(Some(&LabelSelector::default())).unwrap().is_everything()
    );
    let selector = LabelSelector {
        match_labels: Some(labels(&[("a", "b")])),
        match_expressions: Some(vec![
            expression("c", "In", &["d", "e"]),
            expression("f", "DoesNotExist", &[]),
        ]),
    };
    assert_eq!(format_label_selector(Some(&selector)), "a=b,c in (d,e),!f");
    assert_eq!(format_label_selector(None), "<none>");
    let bad = LabelSelector {
        match_expressions: Some(vec![expression("a", "Near", &[])]),
        ..LabelSelector::default()
    };
    assert_eq!(
        Selector::from_label_selector(Some(&bad)).unwrap_err().to_string(),
        "\"Near\" is not a valid label selector operator"
    );
}

#[test]
fn object_form_validated() {
    let selector = LabelSelector {
        match_labels: None,
        match_expressions: Some(vec![
            expression("a", "In", &[]),
            expression("a", "Exists", &["x"]),
            expression("a", "Near", &[]),
        ]),
    };
    let errors: Vec<String> = validate_label_selector(&selector, &"selector".into())
        .iter()
        .map(ToString::to_string)
        .collect();
    assert_eq!(
        errors,
        [
            "selector.matchExpressions[0].values: Required value: must be specified when `operator` is 'In' or 'NotIn'",
            "selector.matchExpressions[1].values: Forbidden: may not be specified when `operator` is 'Exists' or 'DoesNotExist'",
            "selector.matchExpressions[2].operator: Invalid value: \"Near\": not a valid selector operator",
        ]
    );
}

#[test]
fn exact_match_found() {
    let selector = Selector::parse("a=b,c in (d),e in (f,g)").unwrap();
    assert_eq!(selector.requires_exact_match("a"), Some("b"));
    assert_eq!(selector.requires_exact_match("c"), Some("d"));
    assert_eq!(selector.requires_exact_match("e"), None);
}

proptest! {
    #[test]
    fn any_text_parses_or_is_refused(text in "[a-c=!<>(), inot]{0,24}|\\PC{0,12}") {
        if let Ok(selector) = Selector::parse(&text) {
            prop_assert_eq!(Selector::parse(&selector.to_string()), Ok(selector));
        }
    }
}
