//! What the probes keep in the kernel. By itself, since it looks at every map of its process. Needs root.

use std::collections::HashSet;
use std::fs;

use anyhow::{Result, ensure};
use inferscope::bpf::host::Options;
use inferscope_tests::host::watch::probes_of;

/// The formula for the kernel's memory, against what the kernel says of each map.
#[test]
fn kernel_memory_is_what_the_formula_says() -> Result<()> {
    let options = Options { workloads: 101, rows: 202 };
    let before = maps()?;
    let host = probes_of(options.workloads, options.rows)?;
    let cpus = std::thread::available_parallelism()?.get() as u32;
    let formula = options.kernel_bytes(cpus);
    let (kept, largest) = maps()?
        .into_iter()
        .filter(|map| !before.contains(map))
        .fold((0, 0), |(sum, most), (_, bytes)| (sum + bytes, most.max(bytes)));
    println!("{formula} bytes by the formula, {kept} by the kernel");
    drop(host);
    // Each map is rounded up to pages and has a head; tables of names are small, and in no formula.
    ensure!(largest > formula / 4, "the maps were found");
    ensure!(kept >= formula && kept < formula + (1 << 20), "{kept} and {formula}");
    Ok(())
}

/// This process's maps, with the bytes that the kernel says each has.
fn maps() -> Result<HashSet<(u32, usize)>> {
    let number = |text: &str, name: &str| text.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok());
    let mut found = HashSet::new();
    for entry in fs::read_dir("/proc/self/fdinfo")?.flatten() {
        // Descriptors come and go in other tests.
        let Ok(text) = fs::read_to_string(entry.path()) else { continue };
        if let (Some(id), Some(bytes)) = (number(&text, "map_id:"), number(&text, "memlock:")) {
            found.insert((id as u32, bytes));
        }
    }
    Ok(found)
}
