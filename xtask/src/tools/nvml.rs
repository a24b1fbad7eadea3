//! NVIDIA's own management library, of several drivers, as Debian ships it: what the simulated one is held against.
//!
//! It needs neither a GPU nor a driver to be looked at. It is unpacked below `target` and not installed. Debian's part for it
//! (`non-free`) is seldom among apt's sources, so that its lists are read into a place of their own.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::apt;
use crate::checkout::{self, Checkout};
use crate::run;

/// Debian's releases, each with the driver that it ships: 470, 535 and 550.
const RELEASES: [&str; 3] = ["bullseye", "bookworm", "trixie"];
const PACKAGE: &str = "libnvidia-ml1";
const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

/// The directory with one library for each release: `bookworm/libnvidia-ml.so.535.261.03`.
pub(super) fn nvml(checkout: &Checkout) -> Result<PathBuf> {
    let place = checkout.tools("nvml");
    let note = place.join("made-of");
    if fs::read_to_string(&note).is_ok_and(|made_of| made_of == RELEASES.join(" ")) {
        return Ok(place);
    }
    ensure!(checkout::on_path("apt-get").is_some(), "this system has no apt-get");
    let options = lists(&place)?;
    apt::update_with(checkout, &options)?;
    for release in RELEASES {
        let (whole, what) = (place.join("whole"), format!("NVIDIA's management library of Debian {release}"));
        apt::unpack(checkout, &options, &format!("{PACKAGE}/{release}"), &what, &whole)?;
        // The other names are links to the one that bears the version.
        let is_versioned = |path: &PathBuf| {
            let name = path.file_name().and_then(|name| name.to_str());
            let version = name.and_then(|name| name.strip_prefix("libnvidia-ml.so."));
            version.is_some_and(|version| version.contains('.'))
        };
        let library = apt::files(&whole)?.into_iter().find(is_versioned);
        let library = library.with_context(|| format!("{PACKAGE} of {release} has no library"))?;
        fs::create_dir_all(place.join(release))?;
        fs::rename(&library, place.join(release).join(library.file_name().unwrap_or_default()))?;
        fs::remove_dir_all(&whole)?;
    }
    checkout::write_if_changed(&note, RELEASES.join(" ").as_bytes())?;
    Ok(place)
}

/// Options for lists of packages that apt does not otherwise read: the releases from the mirror that it reads Debian from.
fn lists(place: &Path) -> Result<Vec<String>> {
    let mut query = Command::new("apt-get");
    query.args(["indextargets", "--format", "$(ORIGIN)|$(LABEL)|$(COMPONENT)|$(REPO_URI)", "Created-By: Packages"]);
    let sources = run::read(&mut query)?;
    let mirror = sources.lines().find_map(|line| line.strip_prefix("Debian|Debian|main|"));
    let mirror = mirror.context("apt reads no list of Debian's (`apt-get update` fetches them)")?;
    let line = |release| format!("deb [signed-by={KEYRING}] {mirror} {release} non-free\n");
    for directory in ["lists/partial", "cache/archives/partial"] {
        fs::create_dir_all(place.join(directory))?;
    }
    fs::write(place.join("sources.list"), RELEASES.map(line).concat())?;
    let place = place.display();
    let options = [
        format!("--option=Dir::State::Lists={place}/lists"),
        format!("--option=Dir::Etc::SourceList={place}/sources.list"),
        "--option=Dir::Etc::SourceParts=/dev/null".to_owned(),
        format!("--option=Dir::Cache={place}/cache"),
        // The user that it downloads as may not reach this place.
        "--option=APT::Sandbox::User=root".to_owned(),
    ];
    Ok(options.into())
}
