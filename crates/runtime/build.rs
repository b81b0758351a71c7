//! Compiles the program of the embedded image (`src/hello/hello.rs`) to one small static file, which `images::embedded` includes.
//!
//! Done with rustc directly: the program must be built without the workspace's debug flags, and cargo cannot embed one binary in another.

use std::env;
use std::path::Path;
use std::process::Command;

fn main() {
    let source = Path::new("src/hello/hello.rs");
    println!("cargo::rerun-if-changed={}", source.display());
    println!("cargo::rerun-if-changed=build.rs");
    let variable = |name: &str| env::var(name).unwrap_or_else(|_| panic!("cargo sets {name}"));
    let output = Path::new(&variable("OUT_DIR")).join("hello");
    let mut rustc = Command::new(variable("RUSTC"));
    rustc.args(["--edition", "2024", "--crate-type", "bin", "--crate-name", "hello"]);
    rustc.args(["--target", &variable("TARGET")]);
    for option in [
        "opt-level=z",
        "panic=abort",
        "target-feature=+crt-static",
        "relocation-model=static",
        "strip=symbols",
        "lto=fat",
        "codegen-units=1",
        "debuginfo=0",
    ] {
        rustc.args(["-C", option]);
    }
    if let Ok(linker) = env::var("RUSTC_LINKER") {
        rustc.arg("-C").arg(format!("linker={linker}"));
    }
    let status = rustc.arg("-o").arg(&output).arg(source).status();
    let compiled = status.is_ok_and(|status| status.success());
    assert!(compiled, "rustc could not compile {}: {rustc:?}", source.display());
}
