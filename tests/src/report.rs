//! Figures for people, and as JSON for programs.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde::Serialize;
use serde_json::Value;

use crate::tools;

type Object = serde_json::Map<String, Value>;

/// Writes `target/report/<name>.json`.
pub fn write_json(name: &str, report: &impl Serialize) -> Result<()> {
    write(&place(name)?, &serde_json::to_value(report)?)
}

/// The same for a report of which a run may measure a part: what it lacks is kept of the report that is there, if that is of
/// this machine, and `earlier` says of which run that is. `rows` names lists that several parts add to, and what tells their
/// rows apart.
pub fn merge_json(name: &str, report: &impl Serialize, rows: &[Rows<'_>]) -> Result<()> {
    let path = place(name)?;
    let new = serde_json::to_value(report)?;
    // A report that cannot be read is none.
    let old = fs::read(&path).ok().and_then(|text| serde_json::from_slice(&text).ok());
    let merged = match (new, old) {
        (Value::Object(new), Some(Value::Object(old))) => merged(new, old, rows).into(),
        (new, _) => new,
    };
    write(&path, &merged)
}

/// A list of a report by its key, and the keys that tell one row of it from another.
pub type Rows<'a> = (&'a str, &'a [&'a str]);

fn place(name: &str) -> Result<PathBuf> {
    let directory = tools::root().join("target/report");
    fs::create_dir_all(&directory)?;
    Ok(directory.join(format!("{name}.json")))
}

fn write(path: &Path, report: &Value) -> Result<()> {
    let text = serde_json::to_string_pretty(report)? + "\n";
    fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))
}

/// What says when, of what and how a report was made.
const HEADER: [&str; 4] = ["date", "commit", "machine", "config"];
const EARLIER: &str = "earlier";

fn merged(mut new: Object, mut old: Object, rows: &[Rows<'_>]) -> Object {
    if new.get("machine") != old.get("machine") {
        return new;
    }
    let run: Object = ["date", "commit"].iter().filter_map(|key| old.get_key_value(*key)).map(owned).collect();
    let mut earlier = Object::new();
    let before = old.remove(EARLIER).unwrap_or_default();
    for (key, old) in old {
        if HEADER.contains(&key.as_str()) {
            continue;
        }
        let told_apart = rows.iter().find(|(list, _)| *list == key).map(|(_, by)| *by);
        let kept = match (new.get_mut(&key), old, told_apart) {
            (Some(Value::Array(new)), Value::Array(old), Some(by)) => keep_rows(new, old, by),
            (Some(_), ..) => false,
            (None, old, _) => {
                new.insert(key.clone(), old);
                true
            }
        };
        if kept {
            let of = before.get(&key).cloned().unwrap_or_else(|| run.clone().into());
            earlier.insert(key, of);
        }
    }
    if !earlier.is_empty() {
        new.insert(EARLIER.to_owned(), earlier.into());
    }
    new
}

fn owned((key, value): (&String, &Value)) -> (String, Value) {
    (key.clone(), value.clone())
}

/// Keeps old rows that none of the new ones is like, before these; true where there are any.
fn keep_rows(new: &mut Vec<Value>, old: Vec<Value>, by: &[&str]) -> bool {
    let like = |a: &Value, b: &Value| by.iter().all(|key| a.get(key) == b.get(key));
    let kept: Vec<Value> = old.into_iter().filter(|old| !new.iter().any(|new| like(new, old))).collect();
    let stay = !kept.is_empty();
    new.splice(0..0, kept);
    stay
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
    fs::create_dir_all(path.parent().unwrap_or(Path::new(".")))?;
    fs::write(&path, replaced(&old, heading, section)).with_context(|| format!("cannot write {}", path.display()))
}

fn replaced(old: &str, heading: &str, section: &str) -> String {
    let begin = old.find(heading).unwrap_or(old.len());
    let end = old[begin..].find("\n## ").map_or(old.len(), |at| begin + at + 1);
    let (before, after) = (&old[..begin], &old[end..]);
    let gap = |needed| if needed { "\n" } else { "" };
    format!("{before}{}{section}{}{after}", gap(!before.ends_with("\n\n")), gap(!after.is_empty()))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_section_takes_the_place_of_its_like() {
        let old = "# Title\n\n## A\n\nold\n\n## B\n\nkept\n";
        assert_eq!(replaced(old, "## A", "## A\n\nnew\n"), "# Title\n\n## A\n\nnew\n\n## B\n\nkept\n");
        assert_eq!(replaced("# Title\n\n", "## A", "## A\n\nnew\n"), "# Title\n\n## A\n\nnew\n");
        let old = "# Title\n\n## A\n\nold\n";
        assert_eq!(replaced(old, "## B", "## B\n\nnew\n"), "# Title\n\n## A\n\nold\n\n## B\n\nnew\n");
    }

    fn object(value: Value) -> Object {
        value.as_object().unwrap().clone()
    }

    #[test]
    fn a_part_takes_its_place_among_the_others() {
        let rows: &[Rows<'_>] = &[("packets", &["case"])];
        let old = object(json!({
            "date": "1", "commit": "a", "machine": {"cores": 2}, "config": "c",
            "packets": [{"case": "head", "ns": 1}, {"case": "live", "ns": 2}],
            "idle": {"us": 3}, "memory": [{"workloads": 1}, {"workloads": 10}],
        }));
        let header = json!({"date": "2", "commit": "b", "machine": {"cores": 2}, "config": "d"});
        let part = |key: &str, value: Value| {
            let mut part = object(header.clone());
            part.insert(key.to_owned(), value);
            part
        };
        let live = merged(part("packets", json!([{"case": "live", "ns": 5}])), old.clone(), rows);
        let mut expected = object(header.clone());
        expected.extend(object(json!({
            "packets": [{"case": "head", "ns": 1}, {"case": "live", "ns": 5}],
            "idle": {"us": 3}, "memory": [{"workloads": 1}, {"workloads": 10}],
            "earlier": {"packets": {"date": "1", "commit": "a"}, "idle": {"date": "1", "commit": "a"},
                "memory": {"date": "1", "commit": "a"}},
        })));
        assert_eq!(live, expected);
        // Rows without a name are of one run; of what is measured again nothing is earlier.
        let again = merged(part("memory", json!([{"workloads": 1}])), live, rows);
        assert_eq!(again["memory"], json!([{"workloads": 1}]));
        assert_eq!(again["earlier"]["idle"], json!({"date": "1", "commit": "a"}));
        assert_eq!(again["earlier"].get("memory"), None);
        // Figures of two machines make no report.
        let mut other = part("memory", json!([]));
        other.insert("machine".to_owned(), json!({"cores": 64}));
        assert_eq!(merged(other.clone(), old, rows), other);
    }

    #[test]
    fn columns_stand_below_each_other() {
        let text = table(&["a", "long"], &[vec!["wide cell".to_owned(), "1".to_owned()]]);
        assert_eq!(text, "| a         | long |\n| --------- | ---- |\n| wide cell | 1    |\n");
    }
}
