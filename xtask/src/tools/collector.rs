//! An OpenTelemetry Collector with the few components that the tests need, made by the Collector's own builder.

use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::PathBuf;

use anyhow::{Context, Result, bail};

use crate::checkout::{self, Checkout};
use crate::run;

/// Names every module with its version.
const MANIFEST: &str = "tests/collector/builder.yaml";
const BUILDER: &str = "go.opentelemetry.io/collector/cmd/builder";

/// The program, built if there is none of this manifest.
pub(super) fn collector(checkout: &Checkout) -> Result<PathBuf> {
    let path = checkout.path(MANIFEST);
    let manifest = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let mut hasher = DefaultHasher::new();
    manifest.hash(&mut hasher);
    let place = checkout.tools(&format!("collector-{:016x}", hasher.finish()));
    // The manifest names it so.
    let program = place.join("otelcol");
    if program.is_file() {
        return Ok(program);
    }
    let Some(go) = checkout::on_path("go") else {
        bail!(
            "the OpenTelemetry Collector is written in Go, and there is no `go` on PATH: install Go 1.25 or newer, see https://go.dev/doc/install"
        );
    };
    let version = version(&manifest)?;
    let log = checkout.tools("log/collector.log");
    let mut install = checkout.command(&go);
    install.args(["install", &format!("{BUILDER}@{version}")]).env("GOBIN", &place);
    run::step(&format!("Building the Collector's builder ({version})"), &log, &mut install)?;
    let mut build = checkout.command(place.join("builder"));
    // The manifest's output path is relative: to the directory that it is run in.
    build.arg("--config").arg(&path).current_dir(&place);
    run::step(&format!("Building the OpenTelemetry Collector ({version})"), &log, &mut build)?;
    Ok(program)
}

/// The one version of all modules, which is the builder's, too.
fn version(manifest: &str) -> Result<&str> {
    let modules = manifest.lines().filter_map(|line| line.split_once("gomod:"));
    let mut versions: Vec<&str> = modules.filter_map(|(_, module)| module.split_whitespace().nth(1)).collect();
    versions.sort_unstable();
    versions.dedup();
    match versions[..] {
        [version] => Ok(version),
        [] => bail!("{MANIFEST} names no modules"),
        _ => bail!("{MANIFEST} has modules of several versions ({}): use one", versions.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::version;

    #[test]
    fn one_version_or_none() {
        assert_eq!(version("a:\n  - gomod: x/y v0.1.0\n  - gomod: z v0.1.0\n").unwrap(), "v0.1.0");
        assert!(version("- gomod: x v0.1.0\n- gomod: y v0.2.0").unwrap_err().to_string().contains("v0.1.0, v0.2.0"));
        assert!(version("").is_err());
        version(include_str!("../../../tests/collector/builder.yaml")).unwrap();
    }
}
