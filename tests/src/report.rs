//! Figures for people, and as JSON for programs.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use serde::Serialize;

use crate::tools;

/// Writes `target/report/<name>.json`.
pub fn write_json(name: &str, report: &impl Serialize) -> Result<()> {
    let directory = tools::root().join("target/report");
    fs::create_dir_all(&directory)?;
    let path = directory.join(format!("{name}.json"));
    let text = serde_json::to_string_pretty(report)? + "\n";
    fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))
}

/// A Markdown table whose columns stand below each other in a terminal, too.
pub fn table(head: &[&str], rows: &[Vec<String>]) -> String {
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count());
        cells.chain([head[column].chars().count(), 3]).max().unwrap_or_default()
    };
    let widths: Vec<usize> = (0..head.len()).map(width).collect();
    let line = |cells: &mut dyn Iterator<Item = &str>| {
        let padded = cells.zip(&widths).map(|(cell, width)| format!(" {cell:<width$} ", width = *width));
        format!("|{}|\n", padded.collect::<Vec<_>>().join("|"))
    };
    let rule: Vec<String> = widths.iter().map(|width| "-".repeat(*width)).collect();
    let mut text = line(&mut head.iter().copied());
    text += &line(&mut rule.iter().map(String::as_str));
    for row in rows {
        text += &line(&mut row.iter().map(String::as_str));
    }
    text
}

/// Puts a section (`## Heading …`) in place of the one with its heading, or at the end of a document that begins with
/// `title`.
pub fn replace_section(path: &Path, title: &str, section: &str) -> Result<()> {
    let path = tools::root().join(path);
    let heading = section.lines().next().context("an empty section")?;
    let old = fs::read_to_string(&path).unwrap_or_else(|_| format!("# {title}\n\n"));
    fs::write(&path, replaced(&old, heading, section)).with_context(|| format!("cannot write {}", path.display()))
}

fn replaced(old: &str, heading: &str, section: &str) -> String {
    let begin = old.find(heading).unwrap_or(old.len());
    let end = old[begin..].find("\n## ").map_or(old.len(), |at| begin + at + 1);
    let gap = if begin == old.len() || end == old.len() { "" } else { "\n" };
    format!("{}{}{gap}{}", &old[..begin], section, &old[end..])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_section_takes_the_place_of_its_like() {
        let old = "# Title\n\n## A\n\nold\n\n## B\n\nkept\n";
        assert_eq!(replaced(old, "## A", "## A\n\nnew\n"), "# Title\n\n## A\n\nnew\n\n## B\n\nkept\n");
        assert_eq!(replaced("# Title\n\n", "## A", "## A\n\nnew\n"), "# Title\n\n## A\n\nnew\n");
    }

    #[test]
    fn columns_stand_below_each_other() {
        let text = table(&["a", "long"], &[vec!["wide cell".to_owned(), "1".to_owned()]]);
        assert_eq!(text, "| a         | long |\n| --------- | ---- |\n| wide cell | 1    |\n");
    }
}
