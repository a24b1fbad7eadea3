//! Rows to text.

use super::columns::{Column, Kind, columns};
use super::notes::notes;
use super::row::Row;
use super::text::{fit, pad, width as columns_of};

/// Columns between two columns.
const GAP: usize = 2;
const NOTHING: &str = "no inference server found yet; watching …";

/// The rows as a table, no line of which is wider than `width` columns; what there is no room for is left out, the
/// least important first.
pub fn render(rows: &[Row], width: usize) -> String {
    if rows.is_empty() {
        return fit(NOTHING, width) + "\n";
    }
    let mut lines = Table::new(rows, width).lines();
    lines.extend(notes(rows, width));
    lines.iter().map(|line| line.trim_end().to_owned() + "\n").collect()
}

struct Table {
    shown: Vec<Shown>,
}

/// A column with its cells.
struct Shown {
    column: &'static Column,
    cells: Vec<String>,
    width: usize,
}

impl Shown {
    fn new(column: &'static Column, rows: &[Row]) -> Self {
        let cells: Vec<String> = rows.iter().map(column.cell).collect();
        let widest = cells.iter().map(|cell| columns_of(cell)).max().unwrap_or(0);
        Self { column, cells, width: widest.max(columns_of(column.head)) }
    }

    /// The width without which the column is of no use.
    fn least(&self) -> usize {
        match self.column.kind {
            Kind::Number => self.width,
            Kind::Text { least, .. } => self.width.min(least),
        }
    }

    fn line(&self, text: &str) -> String {
        pad(&fit(text, self.width), self.width, self.column.kind == Kind::Number)
    }
}

impl Table {
    /// Chooses as many columns as there is room for.
    fn new(rows: &[Row], width: usize) -> Self {
        let mut shown: Vec<Shown> = columns(rows).map(|column| Shown::new(column, rows)).collect();
        loop {
            widen_for_groups(&mut shown);
            let least: usize = shown.iter().map(Shown::least).sum::<usize>() + GAP * (shown.len() - 1);
            if least <= width || shown.len() == 1 {
                share_out(&mut shown, width.saturating_sub(least));
                break;
            }
            let dispensable = shown.iter().map(|shown| shown.column.dispensable).max();
            shown.retain(|shown| Some(shown.column.dispensable) != dispensable);
        }
        if let [only] = shown.as_mut_slice() {
            only.width = only.width.min(width);
        }
        Self { shown }
    }

    fn lines(&self) -> Vec<String> {
        let rows = self.shown.first().map_or(0, |shown| shown.cells.len());
        let line = |text: &dyn Fn(&Shown) -> String| {
            let cells: Vec<String> = self.shown.iter().map(|shown| shown.line(&text(shown))).collect();
            cells.join(&" ".repeat(GAP))
        };
        let groups = self.groups();
        let heads = line(&|shown| shown.column.head.to_owned());
        let cells = (0..rows).map(|row| line(&|shown| shown.cells[row].clone()));
        // Without groups the first line has nothing to say.
        let groups = if groups.trim().is_empty() { None } else { Some(groups) };
        groups.into_iter().chain([heads]).chain(cells).collect()
    }

    /// The line of the groups' names, each above its columns.
    fn groups(&self) -> String {
        let names = spans(&self.shown).into_iter().map(|span| {
            let width = span.iter().map(|shown| shown.width).sum::<usize>() + GAP * (span.len() - 1);
            let name = span[0].column.group;
            match width.checked_sub(columns_of(name) + 2) {
                Some(rest) if span.len() > 1 => {
                    format!("{} {name} {}", "─".repeat(rest / 2), "─".repeat(rest - rest / 2))
                }
                _ => pad(name, width, true),
            }
        });
        names.collect::<Vec<_>>().join(&" ".repeat(GAP))
    }
}

/// Columns side by side that share a group; one without a group is by itself.
fn spans(shown: &[Shown]) -> Vec<&[Shown]> {
    shown.chunk_by(|a, b| !a.column.group.is_empty() && a.column.group == b.column.group).collect()
}

/// Makes room for the name of a group above its columns.
fn widen_for_groups(shown: &mut [Shown]) {
    for span in shown.chunk_by_mut(|a, b| !a.column.group.is_empty() && a.column.group == b.column.group) {
        let width = span.iter().map(|shown| shown.width).sum::<usize>() + GAP * (span.len() - 1);
        if let Some(first) = span.first_mut() {
            first.width += columns_of(first.column.group).saturating_sub(width);
        }
    }
}

/// Gives columns of text what is left, the first one first.
fn share_out(shown: &mut [Shown], spare: usize) {
    let mut spare = spare;
    for shown in shown {
        if let Kind::Text { least, most } = shown.column.kind {
            let least = shown.width.min(least);
            let more = (shown.width.min(most) - least).min(spare);
            shown.width = least + more;
            spare -= more;
        }
    }
}
