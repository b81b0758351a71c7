//! The rules of the house that everyone forgets: arrows between crates, heads of files, lengths of functions.
//!
//! Invariant: the list of long functions may only shrink; a function that got shorter must leave it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use serde_json::Value;
use syn::spanned::Spanned;
use syn::visit::Visit;

/// A function longer than this must be on the list.
const LONG: usize = 70;
/// Where the list is.
const LIST: &str = "crates/xtask/long-functions.txt";

/// Which crates each crate may depend on, beside tests. `knarr`, `testkit` and `xtask` may use everything.
const ARROWS: &[(&str, &[&str])] = &[
    ("apimachinery", &[]),
    ("api", &["apimachinery"]),
    ("store", &[]),
    ("apiserver", &["api", "apimachinery", "store"]),
    ("client", &["api", "apimachinery"]),
    ("controller-manager", &["client", "api", "apimachinery"]),
    ("scheduler", &["client", "api", "apimachinery"]),
    ("runtime", &[]),
    ("kubelet", &["client", "api", "apimachinery"]),
    ("cni", &[]),
];
const FREE: &[&str] = &["knarr", "testkit", "xtask"];

/// Checks all of them and reports every breach.
///
/// # Errors
/// When there is one.
pub fn run(bless: bool) -> Result<()> {
    let mut breaches = arrows()?;
    let mut long = BTreeMap::new();
    for file in sources(&crate::root().join("crates"))? {
        let text = std::fs::read_to_string(&file)?;
        let name = relative(&file);
        if !text.starts_with("//!") {
            breaches.push(format!("{name}: the first line is not its //! head"));
        }
        long.extend(long_functions(&name, &text)?);
    }
    match bless {
        true => std::fs::write(crate::root().join(LIST), list(&long))?,
        false => breaches.extend(compare(&long)?),
    }
    if breaches.is_empty() {
        println!("tidy: {} long functions, no breach", long.len());
        return Ok(());
    }
    bail!("{} breaches\n{}", breaches.len(), breaches.join("\n"))
}

fn arrows() -> Result<Vec<String>> {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--no-deps", "--format-version", "1", "--locked"])
        .current_dir(crate::root())
        .output()?;
    let metadata: Value = serde_json::from_slice(&output.stdout).context("cargo metadata")?;
    let packages = metadata["packages"].as_array().context("packages")?;
    let ours: Vec<&str> = packages.iter().filter_map(|p| p["name"].as_str()).collect();
    let mut breaches = Vec::new();
    for package in packages {
        let name = package["name"].as_str().unwrap_or_default();
        if FREE.contains(&name) {
            continue;
        }
        let Some((_, allowed)) = ARROWS.iter().find(|(known, _)| *known == name) else {
            breaches.push(format!("crate {name} is not in the table of arrows"));
            continue;
        };
        let uses = package["dependencies"].as_array().into_iter().flatten();
        let uses = uses.filter(|d| d["kind"] != "dev").filter_map(|d| d["name"].as_str());
        let wrong = uses.filter(|used| ours.contains(used) && !allowed.contains(used));
        breaches.extend(wrong.map(|used| format!("{name} must not depend on {used}")));
    }
    Ok(breaches)
}

fn sources(dir: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(dir)? {
        let path = entry?.path();
        if path.is_dir() {
            files.extend(sources(&path)?);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

fn relative(file: &Path) -> String {
    file.strip_prefix(crate::root()).unwrap_or(file).display().to_string()
}

/// Functions over [`LONG`] lines, by file and name.
fn long_functions(file: &str, text: &str) -> Result<BTreeMap<String, usize>> {
    let parsed = syn::parse_file(text).with_context(|| format!("{file} does not parse"))?;
    let mut found = Functions::default();
    found.visit_file(&parsed);
    let long = found.0.into_iter().filter(|(_, lines)| *lines > LONG);
    Ok(long.map(|(name, lines)| (format!("{file} {name}"), lines)).collect())
}

#[derive(Default)]
struct Functions(Vec<(String, usize)>);

impl Functions {
    fn add(&mut self, name: &syn::Ident, whole: proc_macro2::Span) {
        self.0.push((name.to_string(), whole.end().line - whole.start().line + 1));
    }
}

impl<'ast> Visit<'ast> for Functions {
    fn visit_item_fn(&mut self, item: &'ast syn::ItemFn) {
        let span = item.sig.span().join(item.block.span());
        self.add(&item.sig.ident, span.unwrap_or_else(|| item.block.span()));
        syn::visit::visit_item_fn(self, item);
    }

    fn visit_impl_item_fn(&mut self, item: &'ast syn::ImplItemFn) {
        let span = item.sig.span().join(item.block.span());
        self.add(&item.sig.ident, span.unwrap_or_else(|| item.block.span()));
        syn::visit::visit_impl_item_fn(self, item);
    }
}

fn list(long: &BTreeMap<String, usize>) -> String {
    long.iter().map(|(name, lines)| format!("{lines} {name}\n")).collect()
}

fn compare(long: &BTreeMap<String, usize>) -> Result<Vec<String>> {
    let text = std::fs::read_to_string(crate::root().join(LIST)).unwrap_or_default();
    let mut listed = BTreeMap::new();
    for line in text.lines() {
        let (lines, name) = line.split_once(' ').context("a line of the list")?;
        listed.insert(name.to_owned(), lines.parse::<usize>()?);
    }
    let grown =
        long.iter().filter(|(name, lines)| listed.get(*name).is_none_or(|old| *lines > old));
    let mut breaches: Vec<String> = grown
        .map(|(name, lines)| format!("{name} has {lines} lines; split it (over {LONG} is long)"))
        .collect();
    let shrunk = listed.iter().filter(|(name, old)| long.get(*name).is_none_or(|now| now < *old));
    breaches.extend(
        shrunk.map(|(name, _)| format!("{name} got shorter; run cargo xtask tidy --bless")),
    );
    Ok(breaches)
}
